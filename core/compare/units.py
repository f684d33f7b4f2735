"""The units of a bootstrap: sequences, or blocks of tokens where there are few.

`logdrift.core.compare.uncertainty` says why, and what the numbers below were measured
to do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logdrift.core.compare import estimators
from logdrift.core.compare.segments import count_kept

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Method = Literal["sequences", "blocks"]

MIN_UNITS = 8
"""The MAE's upper end is 3.5 times its lower one with 8 sequences of heavy tails
(median), 5.5 times with 6.
"""
MAX_BLOCKS = 16
MIN_BLOCK = 16
_BLOCK = 32
_TOKENS = 1 << 15
"""Tokens that are added up at a time: temporaries of a million of them cost more than
the arithmetic.
"""

DELTA, SIZE, SQUARE, K3 = range(4)
"""Columns of `UnitSums.sums`: delta, |delta|, delta^2 and k3."""


@dataclass(frozen=True, slots=True, eq=False)
class UnitSums:
    """What a bootstrap needs of n tokens in U units.

    ``tokens`` f64[U] counts them, ``sums`` f64[U, 4] has the sums of delta, |delta|
    and k3 in nats and of delta^2 over each unit's tokens (`DELTA` to `K3`). ``method``
    says what the units are; None: too few to draw from.
    """

    tokens: Floats
    sums: Floats
    method: Method | None

    def __len__(self) -> int:
        return len(self.tokens)


def unit_sums(delta: Array, lengths: Array) -> UnitSums:
    """Cut n tokens into units and add them up.

    ``delta`` is f32[n] in nats (not NaN), ``lengths`` int64[S] the tokens of each
    sequence, with the sum n. Infinite deltas are left out. ValueError where the lengths
    do not add up to n.
    """
    lengths = np.asarray(lengths, np.int64)
    total = int(lengths.sum())
    if len(delta) != total:
        raise ValueError(f"{len(delta)} deltas for lengths that add up to {total}")
    finite = np.isfinite(delta)
    if not finite.all():
        lengths = count_kept(finite, lengths)
        delta = delta[finite]
    filled = lengths[lengths > 0]
    starts, tokens, method = cut_units(filled)
    sums = np.zeros((len(starts), 4))
    if len(delta) == 0:
        return UnitSums(np.zeros(0), sums, None)
    for units, low, high in _stretches(starts, len(delta)):
        begins = starts[units] - low
        terms = _terms(delta[low:high])
        for column, values in enumerate(terms):
            sums[units, column] = np.add.reduceat(values, begins, dtype=np.float64)
    return UnitSums(tokens.astype(np.float64), sums, method)


def _stretches(starts: Array, total: int) -> Iterator[tuple[slice, int, int]]:
    """Stretches of whole units with about `_TOKENS` tokens.

    Each is the slice of its units and its first and last token.
    """
    positions = np.arange(0, total, _TOKENS)
    units_at = np.searchsorted(starts, positions, "right") - 1
    borders = [*np.unique(units_at).tolist(), len(starts)]
    tokens_at = [*starts.tolist(), total]
    for first, last in itertools.pairwise(borders):
        yield slice(first, last), tokens_at[first], tokens_at[last]


def _terms(delta: Array) -> tuple[Array, Array, Array, Array]:
    """The columns of `UnitSums.sums` for some tokens."""
    wide = delta.astype(np.float64)
    with np.errstate(over="ignore"):
        k3 = estimators.k3(wide)
    return delta, np.abs(wide), wide * wide, k3


def cut_units(lengths: Array) -> tuple[Array, Array, Method | None]:
    """(first token, number of tokens, method) of each unit, int64[U] each.

    ``lengths`` int64[S] are those of sequences that all have tokens.
    """
    total = int(lengths.sum())
    starts = np.cumsum(lengths) - lengths
    are_many = len(lengths) >= MIN_UNITS
    if are_many and 2 * int(lengths.max()) <= total:
        return starts, lengths, "sequences"
    if total < MIN_UNITS * MIN_BLOCK:
        return starts, lengths, None
    blocks = _starts_of_blocks(starts, lengths, total)
    return blocks, np.diff(blocks, append=total), "blocks"


def _starts_of_blocks(starts: Array, lengths: Array, total: int) -> Array:
    """The first token of each block: equal parts of each sequence, int64[U]."""
    blocks = min(max(total // _BLOCK, MIN_UNITS), MAX_BLOCKS)
    # Rounded up: every sequence has a block.
    parts = -(-lengths * blocks // total)
    first_part = np.cumsum(parts) - parts
    number_in_sequence = np.arange(int(parts.sum())) - np.repeat(first_part, parts)
    parts_of_sequence = np.repeat(parts, parts)
    tokens_of_sequence = np.repeat(lengths, parts)
    offsets = number_in_sequence * tokens_of_sequence // parts_of_sequence
    blocks_at: Array = np.repeat(starts, parts) + offsets
    return blocks_at
