"""The good range of a metric: what the numbers of a healthy pair are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logdrift.core.numbers import is_number

Standing = Literal["good", "outside", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodRange:
    """What is good, in the unit of the metric; None is open.

    ``times_mae``: the ends are multiples of the pair's MAE. ``surely_bad`` is given
    where what is good depends on how many tokens there are, or on their length: a
    number between the good end and this one cannot be judged.
    """

    low: float | None = None
    high: float | None = None
    times_mae: bool = False
    surely_bad: float | None = None

    @property
    def words(self) -> str:
        """As the table of metrics writes it: ``below 0.01``, ``1.2 to 3 times the
        MAE``.
        """
        words = self._ends
        if self.times_mae:
            return f"{words} times the MAE"
        return words

    @property
    def _ends(self) -> str:
        if self.low is None:
            return f"below {self.high:g}"
        if self.high is None:
            return f"above {self.low:g}"
        if self.low == self.high:
            return f"{self.low:g}"
        return f"{self.low:g} to {self.high:g}"

    def standing(self, value: float | None, mae: float | None) -> Standing:
        """Where the value of a pair with this MAE stands."""
        unit = 1.0
        if self.times_mae:
            if not is_number(mae):
                return "unknown"
            unit = mae
        if value is None:
            return "unknown"
        if self._holds(value, unit):
            return "good"
        if self._depends(value):
            return "unknown"
        return "outside"

    def _holds(self, value: float, unit: float) -> bool:
        if self.low is not None and value < self.low * unit:
            return False
        return self.high is None or value <= self.high * unit

    def _depends(self, value: float) -> bool:
        """Whether a value outside may still be good."""
        if self.surely_bad is None:
            return False
        if self.low is None:
            return value < self.surely_bad
        return value > self.surely_bad
