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
        share_above = 1 - at
        spare = int(_SPARE * share_above * len(sizes))
        count = max(_FEWEST, spare)
        largest = _places_of_largest(sizes, count)
        largest_sizes = sizes[largest]
        falling = np.argsort(-largest_sizes, kind="stable")
        places = largest[falling]
        own_sizes = sizes[places]
        self.sizes: Floats = own_sizes.astype(np.float64)
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
        last = tokens - 1
        share_above = 1 - self._at
        above = last * (share_above)
        counts_of_sizes = counts[:, self._unit]
        drawn = np.cumsum(counts_of_sizes, axis=1)
        drawn_in_all = drawn[:, -1]
        in_reach = (tokens > 0) & (drawn_in_all > np.ceil(above))
        draws = np.flatnonzero(in_reach)
        above = above[draws]
        drawn = drawn[draws]
        lower_place = np.floor(above)
        larger = self._size_behind(lower_place, drawn)
        upper_place = np.ceil(above)
        smaller = self._size_behind(upper_place, drawn)
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
