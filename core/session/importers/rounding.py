"""Log-probabilities that a file holds rounded: their differences are not drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from logdrift.core.session.importers.arrays import quick_numbers
from logdrift.core.session.importers.notes import Notes

_MOST_DECIMALS = 6
"""Numbers of more decimals are as good as float32."""
_ENOUGH = 8
"""Numbers that must be there: one alone may end early by chance."""
_ROUNDED = (
    "log-probabilities of %s are rounded to %d decimals: that alone moves each by up to"
    " %g nats, and by %g on average"
)


class Rounding:
    """Numbers of one capture, and the decimals that all of them have at most."""

    def __init__(self) -> None:
        self._decimals = 0
        self._numbers = 0

    def see(self, values: Sequence[Any]) -> None:
        """Look at numbers; None and what is no number are left out."""
        numbers = quick_numbers(values)
        if numbers is None or self._decimals > _MOST_DECIMALS:
            return
        known = numbers[np.isfinite(numbers)]
        self._numbers += int(np.count_nonzero(known))
        while self._decimals <= _MOST_DECIMALS:
            rounded = np.round(known, self._decimals)
            if np.array_equal(rounded, known):
                return
            self._decimals += 1

    def tell(self, name: str, notes: Notes) -> None:
        """Note the rounding of the capture ``name``, where there is one.

        The error of rounding is uniform within half of a last digit, so it is a quarter
        of one on average.
        """
        if self._decimals > _MOST_DECIMALS or self._numbers < _ENOUGH:
            return
        digit = 10.0**-self._decimals
        most = digit / 2
        mean = digit / 4
        sentence = _ROUNDED % (name, self._decimals, most, mean)
        notes.count(sentence)
