"""The line between both sides' alternatives, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.fits.statistics import middle
from logdrift.core.diagnose.view import Shared

Array = npt.NDArray[Any]

_OWN_SLOPE = 8
"""Rows of a sequence from which its own slope says something. By judgement."""
_NOTHING_LEFT = 1e-9
"""Share of the squares that is float32's own rounding, and has no shape."""


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


@dataclass(frozen=True, eq=False)
class _RowSums:
    """Sums of squares and products over the alternatives of each row, or of each group
    of rows, f64[k] nats^2 each.
    """

    xx: Array
    yy: Array
    xy: Array

    def of_groups(self, groups: Array) -> _RowSums:
        """The same over rows of one group (``groups`` i64[n])."""
        return _RowSums(
            xx=np.bincount(groups, self.xx),
            yy=np.bincount(groups, self.yy),
            xy=np.bincount(groups, self.xy),
        )

    @property
    def rest(self) -> Array:
        """What a slope leaves of the squared gap once both sides are scaled to one
        spread: 2 (sqrt(xx yy) - xy), f64[k].
        """
        at_one_spread = np.sqrt(self.xx * self.yy)
        left: Array = 2 * (at_one_spread - self.xy)
        return left


def fit_line(shared: Shared, sequence: Array | None = None) -> FittedLine | None:
    """The line of ``shared``; None without rows, or where one side has no spread.

    ``sequence`` i64[n] is that of each row; None: they are all of one. The slope is the
    standardised major axis, sqrt(yy / xx): both sides have errors (Warton et al.,
    Bivariate line-fitting methods for allometry, 2006).
    """
    rows = len(shared.at)
    if rows < 2:
        return None
    x = shared.x.astype(np.float64)
    y = shared.y.astype(np.float64)
    sums = _sums(x, y)
    xx = _total(sums.xx)
    yy = _total(sums.yy)
    xy = _total(sums.xy)
    if xx <= 0 or yy <= 0:
        return None
    if sequence is None:
        groups = np.zeros(rows, np.int64)
    else:
        groups = sequence
    slope = float(np.sqrt(yy / xx))
    common = 2 * xy
    gap = xx + yy - common
    rest = yy / slope + xx * slope - common
    explained = 0.0
    if gap > 0:
        explained = 1 - rest / gap
    scaled = y / slope
    bend, bend_z = _bend(x, scaled, shared)
    relative_gap = max(gap, 0) / xx
    noise = np.sqrt(relative_gap)
    squared_xy = xy * xy
    return FittedLine(
        rows=rows,
        slope=slope,
        error=slope * _relative_error(sums, xx, yy),
        r2=squared_xy / (xx * yy),
        explained=explained,
        apart=_apart(sums, groups, rest, xx),
        bend=bend,
        bend_z=bend_z,
        uneven=_uneven(sums, shared, groups),
        noise=float(noise),
    )


def _total(values: Array) -> float:
    return float(values.sum())


def _apart(sums: _RowSums, groups: Array, rest: float, xx: float) -> float:
    """The share of ``rest``, what one slope leaves of the squared gap, that one slope
    for each group takes away.
    """
    if rest <= _NOTHING_LEFT * xx:
        return 0.0
    by_group = sums.of_groups(groups)
    return 1 - _total(by_group.rest) / rest


def _sums(x: Array, y: Array) -> _RowSums:
    """Of x, y f64[n, K]."""
    return _RowSums(
        xx=np.einsum("ij,ij->i", x, x),
        yy=np.einsum("ij,ij->i", y, y),
        xy=np.einsum("ij,ij->i", x, y),
    )


def _relative_error(sums: _RowSums, xx: float, yy: float) -> float:
    """The slope's standard error over the slope: the root of the squared influences
    d log slope = (row's yy / yy - row's xx / xx) / 2, rows being independent units.
    """
    part_of_y = sums.yy / yy
    part_of_x = sums.xx / xx
    influence = (part_of_y - part_of_x) / 2
    squares = influence**2
    variance = squares.sum()
    return float(np.sqrt(variance))


def _uneven(sums: _RowSums, shared: Shared, groups: Array) -> float:
    """After one slope for each of ``groups`` i64[n]: what slopes of their own for every
    row explain beyond chance, in the middle one of the groups.
    """
    together = sums.of_groups(groups)
    rest = together.rest
    own = np.bincount(groups, sums.rest)
    rows = np.bincount(groups)
    largest_group = int(rows.max())
    fewest_rows = min(_OWN_SLOPE, largest_group)
    enough = rows >= fewest_rows
    left = _total(rest[enough])
    total = _total(sums.xx)
    if left <= _NOTHING_LEFT * total:
        return 0.0
    rounding = _NOTHING_LEFT * together.xx
    enough &= rest > rounding
    # One slope for k - 1 degrees of freedom takes 1 / (k - 1) of noise.
    freedom = np.maximum(shared.count - 1, 1)
    by_row = np.bincount(groups, 1 / freedom)
    rows_or_one = np.maximum(rows, 1)
    by_group = by_row / rows_or_one
    chance = by_group[enough]
    left_by_own = own[enough] / rest[enough]
    explained = 1 - left_by_own
    beyond = explained - chance
    beyond_chance = beyond / (1 - chance)
    return middle(beyond_chance, rows[enough])


def _bend(x: Array, y: Array, shared: Shared) -> tuple[float, float]:
    """What x^2 and x^3, centred in each row, take away of y - x (f64[n, K]); and their
    largest |t|, with the cluster-robust covariance of rows as units (Liang and Zeger,
    1986).
    """
    # Products, since a power of three costs twenty times as much.
    square = _centred(x * x, shared)
    cube = _centred(x * x * x, shared)
    columns = _scaled([x, square, cube])
    products = [_products(column, columns) for column in columns]
    gram = np.array(products)
    products_with_y = _products(y, columns)
    right = np.array(products_with_y)
    try:
        inverse = np.linalg.inv(gram)
    except np.linalg.LinAlgError:
        return 0.0, 0.0
    weights = inverse @ right
    linear, squared, cubed = columns
    by_linear = weights[0] * linear
    by_square = weights[1] * squared
    by_cube = weights[2] * cubed
    fitted = by_linear + by_square + by_cube
    residual = y - fitted
    total = _inner(y, y)
    taken_by_line = right[0] ** 2 / gram[0, 0]
    by_line = total - taken_by_line
    bent = _inner(residual, residual)
    share = 0.0
    if by_line > _NOTHING_LEFT * total:
        share = float(1 - bent / by_line)
    largest_t = _largest_t(columns, residual, weights, inverse)
    return share, largest_t


def _centred(values: Array, shared: Shared) -> Array:
    """Values less their mean over the shared ids of each row, f64[n, K]; 0
    elsewhere.
    """
    present = shared.present
    there = np.where(present, values, 0.0)
    total = there.sum(axis=1, keepdims=True)
    count = shared.count[:, None]
    mean = total / count
    off_mean = there - mean
    centred: Array = np.where(present, off_mean, 0.0)
    return centred


def _scaled(columns: list[Array]) -> list[Array]:
    """The columns at unit norm, for an inverse that means something."""
    scaled = []
    for column in columns:
        squares = _inner(column, column)
        norm = float(np.sqrt(squares)) or 1.0
        scaled.append(column / norm)
    return scaled


def _products(values: Array, columns: list[Array]) -> list[float]:
    """The inner product of ``values`` f64[n, K] with each column."""
    return [_inner(column, values) for column in columns]


def _inner(a: Array, b: Array) -> float:
    """The inner product of two f64[n, K]."""
    product = a * b
    return _total(product)


def _row_products(a: Array, b: Array) -> Array:
    """The inner product of each row of two f64[n, K], f64[n]."""
    product = a * b
    products: Array = product.sum(axis=1)
    return products


def _largest_t(
    columns: list[Array], residual: Array, weights: Array, inverse: Array
) -> float:
    """The largest |t| of all weights but the first, rows being the units."""
    by_row = [_row_products(column, residual) for column in columns]
    scores = np.stack(by_row, axis=1)
    middle_part = scores.T @ scores
    covariance = inverse @ middle_part @ inverse
    diagonal = np.diag(covariance)
    variance = np.maximum(diagonal, 1e-300)
    t = weights / np.sqrt(variance)
    sizes = np.abs(t[1:])
    return float(sizes.max())
