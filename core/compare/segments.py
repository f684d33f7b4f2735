"""Sums over stretches of a flat array: tokens of one sequence after those of
another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def reduce_segments(reduce: np.ufunc, values: Array, offsets: Array) -> Array:
    """``reduce`` over each segment of ``values``, [S]; 0 for an empty one.

    ``offsets`` int[S+1] has the first position of each segment and the end of the last.
    """
    # reduceat has no empty segments: they are left out and stay 0.
    filled = np.diff(offsets) > 0
    out = np.zeros(len(offsets) - 1, values.dtype)
    if filled.any():
        starts = offsets[:-1][filled]
        out[filled] = reduce.reduceat(values, starts)
    return out


def filled_segments(lengths: Array) -> tuple[Array, Array]:
    """Lengths and first positions of the segments that are not empty, int64 each."""
    counts = lengths[lengths > 0]
    ends = np.cumsum(counts)
    return counts, ends - counts


def count_kept(mask: Array, lengths: Array) -> Array:
    """How many entries of each segment the mask keeps, int64[S].

    ``mask`` bool[n] is over all entries, ``lengths`` int[S] has the sum n.
    """
    before = np.concatenate(([0], np.cumsum(mask, dtype=np.int64)))
    ends = np.cumsum(lengths)
    starts = ends - lengths
    counts: Array = before[ends] - before[starts]
    return counts
