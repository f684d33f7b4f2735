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
        keep = min(len(sizes), max(_FEWEST, int(_SPARE * (1 - at) * len(sizes))))
        if keep < len(sizes):
            largest = np.argpartition(sizes, len(sizes) - keep)[len(sizes) - keep :]
            kept = sizes[largest]
            kept_unit = unit[largest]
        else:
            kept = sizes
            kept_unit = unit
        order = np.argsort(-kept, kind="stable")
        self.sizes: Floats = kept[order].astype(np.float64)
        self._unit = kept_unit[order]
        self._counts = np.bincount(unit, minlength=units).astype(np.float64)
        self._at = at

    def quantile(self, counts: Floats) -> Floats:
        """The quantile of each draw, f64[r] in nats; NaN where out of reach.

        ``counts`` f64[r, units] says how often each unit was drawn. Linear between
        neighbours, as `numpy.quantile`.
        """
        out = np.full(len(counts), np.nan)
        if not len(self.sizes):
            return out
        total = counts @ self._counts
        below = (total - 1) * (1 - self._at)
        covered = np.cumsum(counts[:, self._unit], axis=1)
        reach = (total > 0) & (covered[:, -1] > np.ceil(below))
        rows = np.flatnonzero(reach)
        first = (covered[rows] <= np.floor(below[rows])[:, None]).sum(axis=1)
        second = (covered[rows] <= np.ceil(below[rows])[:, None]).sum(axis=1)
        share = below[rows] - np.floor(below[rows])
        out[rows] = self.sizes[first] * (1 - share) + self.sizes[second] * share
        return out
