"""The running sum of delta over the position."""

from __future__ import annotations

import math

import numpy as np

from logdrift.core.charts.along import (
    AlongChart,
    around_zero,
    band_ends,
    band_marks,
    band_table,
    even_ticks,
    with_room,
)
from logdrift.core.charts.base import Array, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.guides import ZERO
from logdrift.core.charts.marks import (
    BAND,
    Area,
    Axes,
    Curve,
    Ends,
    Picture,
    Tick,
)
from logdrift.core.charts.reduce import count_true, envelope, make_band, running_sums
from logdrift.core.numbers import short, signed

_LARGEST_EXPONENT = 700
"""exp of more overflows a float64."""


class CumulativeChart(AlongChart):
    """The sum of delta so far: its exponential is the importance ratio of the
    sequence.
    """

    def prepare_one(self) -> None:
        super().prepare_one()
        delta = self.data.delta[self.part]
        counted = self.data.counted[self.part]
        is_finite = np.isfinite(delta)
        is_infinite = np.isinf(delta)
        length = len(delta)
        whole = np.array([0, length])
        self.sums = running_sums(delta, counted, whole)
        self.tokens = count_true(counted & is_finite)
        self.infinite = count_true(counted & is_infinite)
        if not self.tokens:
            raise NothingToDraw(
                "nothing to add up: no token of this sequence counts"
                f" ({self.scope_words})"
            )

    def prepare_all(self) -> None:
        super().prepare_all()
        data = self.data
        delta = data.delta
        counted = data.counted
        sums = running_sums(delta, counted, data.offsets)
        is_infinite = np.isinf(delta)
        self.infinite = count_true(counted & is_infinite)
        filled = np.diff(data.offsets) > 0
        stops = data.offsets[1:]
        last_tokens = stops[filled] - 1
        self.totals = sums[last_tokens]
        kept_sums = sums[self.kept]
        self.band = make_band(kept_sums, self.place_of, self.count, self.bins)

    @property
    def heading(self) -> str:
        if self.reach == "all":
            return "Sum of Δ up to the position"
        return f"Sum of Δ, {self.what}"

    @property
    def description(self) -> str:
        if self.reach == "all":
            return f"Line: mean; band: the middle 80%; {self.what} together."
        return (
            "The sum of delta up to each token; its exponential is the ratio,"
            f" ×{_ratio(float(self.sums[-1]))} at the end."
        )

    def axes(self, width: int) -> Axes:
        low, high = self._ends()
        ticks = _ratio_ticks(low, high)
        ends = with_room(low, high)
        return self.axes_of("sum of Δ, nats", ends, ticks)

    def _ends(self) -> Ends:
        """Lowest and highest sum, and 0."""
        if self.reach == "all":
            return band_ends(self.band)
        lowest = self.sums.min()
        highest = self.sums.max()
        return around_zero(lowest, highest)

    def picture(self, area: Area) -> Picture:
        if self.reach == "all":
            marks = band_marks(self.band)
            legend = self._legend_of_all()
            return self.pictured(marks, legend, area)
        at, sums = envelope(self.sums, area.columns)
        legend = self._legend_of_one()
        curve = Curve(at, sums)
        return self.pictured([curve, ZERO], legend, area)

    def _legend_of_all(self) -> list[str]:
        quantiles = np.quantile(self.totals, (0.1, 0.5, 0.9))
        low, median, high = map(_ratio, quantiles.tolist())
        size = np.abs(self.totals)
        twofold = math.log(2)
        far = count_true(size > twofold)
        return [
            f"sum of Δ so far; ratio of a sequence = exp(sum) · line: mean · {BAND}"
            " middle 80%",
            f"whole sequences: median ×{median}, 80% within ×{low} to ×{high}",
            f"{far:,} of {len(self.totals):,} off by more than ×2",
            *self._left_out(),
            self.x_words,
        ]

    def _legend_of_one(self) -> list[str]:
        total = float(self.sums[-1])
        ratio = _ratio(total)
        of_token = _ratio(total / self.tokens)
        return [
            f"sum of Δ so far, {self.scope_words}: {signed(total)} nats at the end",
            f"ratio of the sequence ×{ratio}, of a token on average ×{of_token}",
            *self._left_out(),
            self.x_words,
        ]

    def _left_out(self) -> list[str]:
        if self.infinite:
            return [f"{self.infinite} infinite Δ left out"]
        return []

    def table(self) -> Table:
        if self.reach == "all":
            return band_table(self.band)
        return {
            **self.tokens_table(),
            "sum": self.sums,
            "ratio": _exp(self.sums),
        }


def _exp(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.exp(values)


def _ratio(total: float) -> str:
    """exp of a sum of delta in nats, as text."""
    if total < _LARGEST_EXPONENT:
        return short(math.exp(total))
    return short(math.inf)


def _ratio_ticks(low: float, high: float) -> list[Tick]:
    """Ticks at sums of delta, each with its ratio."""
    ticks = []
    for value, text in even_ticks(low, high):
        ratio = _ratio(value)
        ticks.append((value, f"{text} ×{ratio}"))
    return ticks
