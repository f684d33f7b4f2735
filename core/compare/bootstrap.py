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
"""Counts that are held at once while units are drawn."""
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
    magnitudes = np.abs(sums)
    with np.errstate(invalid="ignore", over="ignore"):
        value = sums.sum(0) / total
        expected = value * tokens[:, None]
        rest = sums - expected
        tokens, rest = _grouped(tokens, rest, seed)
        units = len(tokens)
        scale = units / (units - 1)
        squares = rest * rest
        variance = scale * squares.sum(0)
        error = np.sqrt(variance) / total
        rounding = _ROUNDING * magnitudes.sum(0) / total
        error[error <= rounding] = 0.0
        draws = _Draws(units, resamples, seed)
        shift, errors = _of_draws(tokens, rest, scale, draws)
        # A draw of units that are all alike has no spread but for the rounding of its
        # sums.
        rounding_of_draw = _ROUNDING_OF_A_DRAW * error
        errors[errors <= rounding_of_draw] = 0.0
    values = value + shift
    return DrawnRatios(value=value, error=error, values=values, errors=errors)


@dataclass(frozen=True, slots=True)
class _Draws:
    """``resamples`` draws of so many ``units``, as ``seed`` has them."""

    units: int
    resamples: int
    seed: int

    def sums_of(self, columns: Floats) -> Floats:
        """Sums of ``columns`` f64[U, C] over U units drawn with replacement,
        f64[R, C].
        """
        rows = max(1, _CELLS // self.units)
        blocks = []
        for counts in draw_counts(self.units, rows, self.resamples, self.seed):
            blocks.append(counts @ columns)
        if not blocks:
            width = columns.shape[1]
            return np.empty((0, width))
        return np.concatenate(blocks)


def _of_draws(
    tokens: Floats, rest: Floats, scale: float, draws: _Draws
) -> tuple[Floats, Floats]:
    """By how much each draw's ratios are off the data's, and their errors, f64[R, C].

    ``rest`` f64[U, C] is y - R n of each unit.
    """
    cross = rest * tokens[:, None]
    squared_tokens = tokens * tokens
    squared_rest = rest * rest
    terms = [tokens, squared_tokens, rest, cross, squared_rest]
    columns = np.column_stack(terms)
    sums = draws.sums_of(columns)
    sum_tokens = sums[:, :1]
    sum_squared_tokens = sums[:, 1:2]
    of_ratios = sums[:, 2:]
    sum_rest, sum_cross, sum_squared_rest = np.split(of_ratios, 3, 1)
    shift = sum_rest / sum_tokens
    twice_cross = 2 * shift * sum_cross
    spread = sum_squared_rest - twice_cross
    spread += shift * shift * sum_squared_tokens
    spread = np.maximum(spread, 0.0)
    variance = scale * spread
    errors = np.sqrt(variance) / sum_tokens
    return shift, errors


def in_order(tokens: Floats, sums: Floats) -> tuple[Floats, Floats]:
    """Units sorted by a key of their numbers.

    Neither their order in the session nor which side is A then changes a draw.
    """
    key = tokens * _TOKENS_WEIGHT
    first_columns = sums.T[:3]
    for column, weight in zip(first_columns, _SUM_WEIGHTS, strict=True):
        key += np.abs(column) * weight
    first_sum = sums[:, 0]
    order = np.lexsort((first_sum, key))
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
    ordered_tokens = tokens[order]
    ordered_rest = rest[order]
    group_tokens = np.add.reduceat(ordered_tokens, starts)
    group_rest = np.add.reduceat(ordered_rest, starts, axis=0)
    return group_tokens, group_rest


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
        cells = number * units
        counts = np.bincount(picks.ravel(), minlength=cells)
        table = counts.reshape(size)
        yield table.astype(np.float64)
