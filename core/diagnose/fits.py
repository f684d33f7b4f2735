"""Small fits that the signatures share: the line between both sides' alternatives, and
the lattice that values lie on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.view import Shared

Array = npt.NDArray[Any]

FINEST = 11
"""Lattices are looked for from 1 to 2**-FINEST nats: below, the rounding of float32
log-probabilities around -20 (2**-20) is no longer small against `_NEAR` of a step.
"""
_TOP = 6
_NEAR = 0.02
ON_LATTICE = 0.8
"""Share of gaps on a step from which values are said to lie on it. Chance gives 0.04 (2
x `_NEAR`), so with 50 gaps a share of 0.8 has a probability below 1e-40; what misses
1.0 are a few rows below a power of two.
"""
MIN_GAPS = 50


@dataclass(frozen=True, slots=True)
class FittedLine:
    """B's centred alternatives against A's, over all rows.

    ``slope`` is the ratio of their spreads, so noise of one size on both sides leaves
    it at 1; ``error`` its standard error, rows being the units. ``r2`` of the plain
    regression. ``explained``: share of the squared gap that is gone when both are
    scaled to one spread. ``apart``: share of what is left then that a slope for every
    sequence takes away. ``bend``: share of the rest that a square and a cube take away,
    ``bend_z`` the larger of their |t|, rows being the units. ``uneven``: share of the
    rest that a slope of its own for every row takes away beyond one for every sequence,
    less what it does by chance, in the middle sequence; a factor on all logits, or on
    those of some sequences, leaves 0, a cap presses rows of high logits more. ``noise``
    the root of the mean squared gap over the mean square of A.
    """

    rows: int
    slope: float
    error: float
    r2: float
    explained: float
    apart: float
    bend: float
    bend_z: float
    uneven: float
    noise: float


def fit_line(shared: Shared, sequence: Array | None = None) -> FittedLine | None:
    """None without rows, or where one side has no spread. ``sequence`` i64[n] is that
    of each row; None: they are all of one.
    """
    n = len(shared.at)
    if n < 2:
        return None
    x, y = shared.x.astype(np.float64), shared.y.astype(np.float64)
    row_xx, row_yy, row_xy = (
        np.einsum("ij,ij->i", p, q) for p, q in ((x, x), (y, y), (x, y))
    )
    xx, yy, xy = (float(each.sum()) for each in (row_xx, row_yy, row_xy))
    if xx <= 0 or yy <= 0:
        return None
    slope = float(np.sqrt(yy / xx))
    # d log slope = (sum y^2 / yy - sum x^2 / xx) / 2, summed over rows as independent
    # units.
    influence = (row_yy / yy - row_xx / xx) / 2
    error = slope * float(np.sqrt((influence**2).sum()))
    gap = xx + yy - 2 * xy
    rest = yy / slope + xx * slope - 2 * xy
    bend, z = _bend(x, y / slope, shared)
    groups = np.zeros(n, np.int64) if sequence is None else sequence
    uneven = _uneven(row_xx, row_yy, row_xy, shared, groups)
    by_group = float(
        _rest(*(np.bincount(groups, sums) for sums in (row_xx, row_yy, row_xy))).sum()
    )
    apart = 1 - by_group / rest if rest > 1e-9 * xx else 0.0
    noise = float(np.sqrt(max(gap, 0) / xx))
    explained = 1 - rest / gap if gap > 0 else 0.0
    return FittedLine(
        rows=n,
        slope=slope,
        error=error,
        r2=xy * xy / (xx * yy),
        explained=explained,
        apart=apart,
        bend=bend,
        bend_z=z,
        uneven=uneven,
        noise=noise,
    )


_OF_GROUP = 8
"""Rows of a sequence from which its own slope says something."""


def _uneven(xx: Array, yy: Array, xy: Array, shared: Shared, groups: Array) -> float:
    """From the sums of each row, f64[n], after one slope for each of ``groups`` i64[n]:
    what slopes of their own explain beyond chance, in the middle one of the groups.
    """
    rest = _rest(*(np.bincount(groups, sums) for sums in (xx, yy, xy)))
    own = np.bincount(groups, _rest(xx, yy, xy))
    rows = np.bincount(groups)
    # One slope for k - 1 degrees of freedom takes 1 / (k - 1) of noise.
    chance = np.bincount(groups, 1 / np.maximum(shared.count - 1, 1)) / np.maximum(
        rows, 1
    )
    told = rows >= min(_OF_GROUP, int(rows.max()))
    if float(rest[told].sum()) <= 1e-9 * float(xx.sum()):
        return 0.0  # float32's own rounding is left, and has no shape
    told &= rest > 1e-9 * np.bincount(groups, xx)
    found = (1 - own[told] / rest[told] - chance[told]) / (1 - chance[told])
    return middle(found, rows[told])


def _rest(xx: Array, yy: Array, xy: Array) -> Array:
    """What a slope leaves of the squared gap once both sides are scaled to one spread,
    by its sums.
    """
    left: Array = 2 * (np.sqrt(xx * yy) - xy)
    return left


def middle(values: Array, weights: Array) -> float:
    """The median of ``values`` f64[n], each as often as its weight; 0 without any."""
    if not len(values):
        return 0.0
    order = np.argsort(values)
    half = np.cumsum(weights[order]) >= weights.sum() / 2
    return float(values[order][np.argmax(half)])


def _bend(x: Array, y: Array, shared: Shared) -> tuple[float, float]:
    """What x^2 and x^3, centred in each row, take away of y - x; and their largest |t|
    with rows as units.
    """
    present, count = shared.present, shared.count[:, None]
    columns = [x]
    for power in (2, 3):
        raised = np.where(present, x**power, 0.0)
        columns.append(
            np.where(present, raised - raised.sum(axis=1, keepdims=True) / count, 0.0)
        )
    scale = [float(np.sqrt((c * c).sum())) or 1.0 for c in columns]
    columns = [c / s for c, s in zip(columns, scale, strict=True)]
    gram = np.array([[float((p * q).sum()) for q in columns] for p in columns])
    right = np.array([float((c * y).sum()) for c in columns])
    try:
        inverse = np.linalg.inv(gram)
    except np.linalg.LinAlgError:
        return 0.0, 0.0
    weights = inverse @ right
    total = float((y * y).sum())
    plain = total - right[0] ** 2 / gram[0, 0]
    residual = y - sum(w * c for w, c in zip(weights, columns, strict=True))
    bent = float((residual * residual).sum())
    scores = np.stack([(c * residual).sum(axis=1) for c in columns], axis=1)
    covariance = inverse @ (scores.T @ scores) @ inverse
    spread = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    return float(1 - bent / plain if plain > 1e-9 * total else 0.0), float(
        np.abs(weights[1:] / spread[1:]).max()
    )


@dataclass(frozen=True, slots=True)
class Lattice:
    """``step`` in nats is the coarsest on which the gaps between the first values of
    each list lie, None for none.

    ``share`` of the ``gaps`` that lie on it (for none: the largest share on any step;
    chance 0.04).
    """

    step: float | None
    share: float
    gaps: int


def fit_lattice(values: Array) -> Lattice:
    """``values`` f32[n, K] nats, best first."""
    gaps = _gaps(values)
    if len(gaps) < MIN_GAPS:
        return Lattice(step=None, share=0.0, gaps=len(gaps))
    shares = [_share(gaps * 2.0**q) for q in range(FINEST + 1)]
    for q, share in enumerate(shares):
        if share >= ON_LATTICE:
            return Lattice(step=2.0**-q, share=share, gaps=len(gaps))
    return Lattice(step=None, share=max(shares), gaps=len(gaps))


def gaps_on_step(values: Array, step: float) -> float:
    """Share of the gaps between the first values of each list (f32[n, K] nats) that are
    multiples of ``step``; 0 without any.
    """
    gaps = _gaps(values)
    return _share(gaps / step) if len(gaps) else 0.0


def _gaps(values: Array) -> Array:
    top = values[:, :_TOP].astype(np.float64)
    with np.errstate(invalid="ignore"):
        gaps = top[:, :-1] - top[:, 1:]
        found: Array = gaps[np.isfinite(gaps) & (gaps > 0)]
    return found


def _share(scaled: Array) -> float:
    return float(np.mean(np.abs(scaled - np.round(scaled)) < _NEAR))


def values_on_step(values: Array, step: float) -> float:
    """Share of the first values of each list (f32[n, K] nats) that are themselves
    multiples of ``step``; 0 without any. Lists whose first value is about 0 are left
    out: what is certain has a normaliser that lies on the lattice of the logits.
    """
    top = values[:, :_TOP].astype(np.float64)
    top = top[top[:, 0] < -step]
    top = top[np.isfinite(top)]
    return _share(top / step) if len(top) else 0.0


def row_steps(values: Array) -> npt.NDArray[np.float64]:
    """The coarsest step that all gaps of a row's first values lie on, f64[n]; NaN where
    there is none.
    """
    top = values[:, :_TOP].astype(np.float64)
    with np.errstate(invalid="ignore"):
        gaps = top[:, :-1] - top[:, 1:]
    steps = np.full(len(values), np.nan)
    for q in range(FINEST, -1, -1):
        scaled = gaps * 2.0**q
        with np.errstate(invalid="ignore"):
            fits = (np.abs(scaled - np.round(scaled)) < _NEAR).all(axis=1)
        steps[fits] = 2.0**-q
    return steps


def bfloat16_share(values: Array) -> tuple[float, int]:
    """Share of the finite values whose lower 16 bits are 0 (chance 2^-16), and how many
    there are. Whole numbers do not count: they are bfloat16 numbers whatever they were
    rounded to or filled in by.
    """
    flat = np.ascontiguousarray(values, np.float32).ravel()
    flat = flat[np.isfinite(flat) & (flat != np.round(flat))]
    if not len(flat):
        return 0.0, 0
    return float(np.mean((flat.view(np.uint32) & 0xFFFF) == 0)), len(flat)


def standard_ranks(values: Array) -> npt.NDArray[np.float64]:
    """Ranks of ``values`` f64[n] with mean 0 and variance 1: no heavy tail can make a
    trend.

    Equal values share one rank: two sides that agree exactly on most tokens would have
    a trend of their order otherwise. All 0 where no two values differ.
    """
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    shared = np.cumsum(count) - (count + 1) / 2
    ranks = shared[which.ravel()] - (len(values) - 1) / 2
    spread = float(ranks.std()) if len(values) else 0.0
    standard: npt.NDArray[np.float64] = (
        ranks / spread if spread > 0 else np.zeros(len(values))
    )
    return standard


def correlation(x: Array, y: Array) -> float:
    """Pearson's r over what is finite on both sides, 0 where a side does not vary."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < 3:
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum() / scale) if scale > 0 else 0.0
