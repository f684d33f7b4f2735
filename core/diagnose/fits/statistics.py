"""Ranks, medians and correlations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def middle(values: Array, weights: Array) -> float:
    """The median of ``values`` f64[n], each as often as its weight; 0 without any."""
    if not len(values):
        return 0.0
    order = np.argsort(values)
    weight_so_far = np.cumsum(weights[order])
    beyond_half = weight_so_far >= weights.sum() / 2
    place = order[np.argmax(beyond_half)]
    return float(values[place])


def standard_ranks(values: Array) -> npt.NDArray[np.float64]:
    """Ranks of ``values`` f64[n] with mean 0 and variance 1, f64[n]: no heavy tail can
    make a trend.

    Equal values share one rank: two sides that agree exactly on most tokens would have
    a trend of their order otherwise. All 0 where no two values differ.
    """
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    shared = np.cumsum(count) - (count + 1) / 2
    mean = (len(values) - 1) / 2
    ranks = shared[which.ravel()] - mean
    if len(values):
        spread = float(ranks.std())
    else:
        spread = 0.0
    if spread == 0:
        return np.zeros(len(values))
    standard: npt.NDArray[np.float64] = ranks / spread
    return standard


def correlation(x: Array, y: Array) -> float:
    """Pearson's r of f64[n] and f64[n] over what is finite on both sides, 0 where a
    side does not vary.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    x = x[finite]
    y = y[finite]
    if len(x) < 3:
        return 0.0
    x = x - x.mean()
    y = y - y.mean()
    xx = (x * x).sum()
    yy = (y * y).sum()
    xy = (x * y).sum()
    scale = float(np.sqrt(xx * yy))
    if scale > 0:
        return float(xy / scale)
    return 0.0
