"""An upper quantile of |delta| for any draw of units, without going back to tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_SPARE = 2.5
"""A draw would have to hold so many times the large deltas of the data."""
_FEWEST = 20_000


class Tail:
    """The largest |delta| with their units: enough for the quantile ``at`` of any draw.

    ``sizes`` f64[m] are in nats, the largest first.
    """

    def __init__(self, sizes: Array, unit: Array, units: int, at: float) -> None:
        spare = int(_SPARE * (1 - at) * len(sizes))
        largest = _places_of_largest(sizes, max(_FEWEST, spare))
        falling = np.argsort(-sizes[largest], kind="stable")
        places = largest[falling]
        self.sizes: Floats = sizes[places].astype(np.float64)
        self._unit = unit[places]
        tokens_of_unit = np.bincount(unit, minlength=units)
        self._tokens = tokens_of_unit.astype(np.float64)
        self._at = at

    def quantile(self, counts: Floats) -> Floats:
        """The quantile of each draw, f64[r] in nats; NaN where out of reach.

        ``counts`` f64[r, units] says how often each unit was drawn. Linear between
        neighbours, as `numpy.quantile`.
        """
        quantiles = np.full(len(counts), np.nan)
        if not len(self.sizes):
            return quantiles
        tokens = counts @ self._tokens
        # How many tokens of a draw are larger than its quantile, with a fraction.
        above = (tokens - 1) * (1 - self._at)
        drawn = np.cumsum(counts[:, self._unit], axis=1)
        drawn_in_all = drawn[:, -1]
        in_reach = (tokens > 0) & (drawn_in_all > np.ceil(above))
        draws = np.flatnonzero(in_reach)
        above = above[draws]
        drawn = drawn[draws]
        larger = self._size_behind(np.floor(above), drawn)
        smaller = self._size_behind(np.ceil(above), drawn)
        share = above - np.floor(above)
        quantiles[draws] = larger * (1 - share) + smaller * share
        return quantiles

    def _size_behind(self, number: Floats, drawn: Floats) -> Floats:
        """The |delta| behind the ``number`` largest of each draw, f64[r].

        ``drawn`` f64[r, m] says how many tokens of the draw each |delta| of the tail
        closes.
        """
        is_before = drawn <= number[:, None]
        places = is_before.sum(axis=1)
        sizes: Floats = self.sizes[places]
        return sizes


def _places_of_largest(sizes: Array, most: int) -> Array:
    """Where the ``most`` largest stand, in any order; all where there are fewer."""
    rest = len(sizes) - most
    if rest <= 0:
        return np.arange(len(sizes))
    return np.argpartition(sizes, rest)[rest:]
