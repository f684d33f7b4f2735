"""Drawing units again: ratios of sums and their standard errors, of data and draws.

A draw costs a row of counts times a small matrix, never the tokens. To redo it, see
`logdrift.core.compare.uncertainty`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

MAX_DRAWN = 512
"""More units than this are drawn in as many random groups, so that the cost of a draw
has a bound.
"""
_CELLS = 1 << 18
_ROUNDING = 1e-12
"""Of a spread: below it, units differ by the rounding of their sums alone."""
_ROUNDING_OF_A_DRAW = 1e-7

_TOKENS_WEIGHT = 0.7548776662
_SUM_WEIGHTS = (0.5698402910, 0.8191725134, 0.6710436067)
"""Powers of 1/1.3247 (the plastic number) and 1/1.2207, the generalised golden ratios
of 2 and 3 dimensions (M. Roberts, "The Unreasonable Effectiveness of Quasirandom
Sequences", 2018). They have no common measure, so units with different sums hardly ever
get the same key.
"""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnRatios:
    """C ratios and their standard errors: of the data f64[C], of each draw f64[R, C].

    An error of 0 means that there is no spread.
    """

    value: Floats
    error: Floats
    values: Floats
    errors: Floats


def draw_ratios(tokens: Floats, sums: Floats, resamples: int, seed: int) -> DrawnRatios:
    """sum(sums) / sum(tokens) of U units and of ``resamples`` draws of them.

    ``tokens`` is f64[U], ``sums`` f64[U, C]. The standard errors are the linearised
    ones of a ratio R: sqrt(U / (U - 1) sum((y - R n)^2)) / sum(n).
    """
    tokens, sums = in_order(tokens, sums)
    total = tokens.sum()
    with np.errstate(invalid="ignore", over="ignore"):
        value = sums.sum(0) / total
        expected = value * tokens[:, None]
        rest = sums - expected
        tokens, rest = _grouped(tokens, rest, seed)
        units = len(tokens)
        scale = units / (units - 1)
        squares = (rest * rest).sum(0)
        error = np.sqrt(scale * squares) / total
        rounding = _ROUNDING * np.abs(sums).sum(0) / total
        error[error <= rounding] = 0.0
        shift, errors = _of_draws(tokens, rest, scale, resamples, seed)
        # A draw of units that are all alike has no spread but for the rounding of its
        # sums.
        errors[errors <= _ROUNDING_OF_A_DRAW * error] = 0.0
    return DrawnRatios(value, error, value + shift, errors)


def _of_draws(
    tokens: Floats, rest: Floats, scale: float, resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """By how much each draw's ratios are off the data's, and their errors, f64[R, C].

    ``rest`` f64[U, C] is y - R n of each unit.
    """
    cross = rest * tokens[:, None]
    terms = [tokens, tokens * tokens, rest, cross, rest * rest]
    sums = _sums_of_draws(np.column_stack(terms), resamples, seed)
    sum_tokens = sums[:, :1]
    sum_squared_tokens = sums[:, 1:2]
    sum_rest, sum_cross, sum_squared_rest = np.split(sums[:, 2:], 3, 1)
    shift = sum_rest / sum_tokens
    spread = sum_squared_rest - 2 * shift * sum_cross
    spread += shift * shift * sum_squared_tokens
    variance = scale * np.maximum(spread, 0.0)
    errors = np.sqrt(variance) / sum_tokens
    return shift, errors


def in_order(tokens: Floats, sums: Floats) -> tuple[Floats, Floats]:
    """Units sorted by a key of their numbers.

    Neither their order in the session nor which side is A then changes a draw.
    """
    key = tokens * _TOKENS_WEIGHT
    for column, weight in zip(sums.T[:3], _SUM_WEIGHTS, strict=True):
        key += np.abs(column) * weight
    order = np.lexsort((sums[:, 0], key))
    return tokens[order], sums[order]


def _grouped(tokens: Floats, rest: Floats, seed: int) -> tuple[Floats, Floats]:
    """At most `MAX_DRAWN` units: random groups of equal number.

    Groups are independent and alike as units are.
    """
    units = len(tokens)
    if units <= MAX_DRAWN:
        return tokens, rest
    random = np.random.default_rng([seed, units])
    order = random.permutation(units)
    starts = np.arange(MAX_DRAWN) * units // MAX_DRAWN
    group_tokens = np.add.reduceat(tokens[order], starts)
    group_rest = np.add.reduceat(rest[order], starts, axis=0)
    return group_tokens, group_rest


def _sums_of_draws(columns: Floats, resamples: int, seed: int) -> Floats:
    """Sums of ``columns`` f64[U, C] over U units drawn with replacement, f64[R, C]."""
    units = len(columns)
    rows = max(1, _CELLS // units)
    blocks = []
    for counts in draw_counts(units, rows, resamples, seed):
        blocks.append(counts @ columns)
    if not blocks:
        return np.empty((0, columns.shape[1]))
    return np.concatenate(blocks)


def draw_counts(units: int, rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each unit was drawn, f64[r, U], for at most ``rows`` draws at a time.

    Draw i takes row i of ``np.random.default_rng(seed).integers(0, U, (R, U))``.
    """
    random = np.random.default_rng(seed)
    for start in range(0, resamples, rows):
        number = min(rows, resamples - start)
        size = (number, units)
        picks = random.integers(0, units, size)
        first_cell_of_draw = np.arange(number) * units
        picks += first_cell_of_draw[:, None]
        counts = np.bincount(picks.ravel(), minlength=number * units)
        yield counts.reshape(size).astype(np.float64)
