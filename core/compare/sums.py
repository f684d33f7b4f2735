"""Sums that lose no digits, and what becomes of numbers that float64 does not have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BLOCK = 1 << 13
"""Tokens of a block: its ten float64 rows stay in the second-level cache."""


def exact_sum(values: Array) -> float:
    """Sum of f64[n] without rounding between the terms (`math.fsum`).

    Infinity if a term is infinite or the sum overflows.
    """
    try:
        return math.fsum(values.tolist())
    except (OverflowError, ValueError):
        return math.inf


def block_lengths(count: int) -> Array:
    """Tokens of each block of ``count`` tokens, int64: `BLOCK`, but for the last."""
    starts = np.arange(0, count, BLOCK)
    return np.minimum(count - starts, BLOCK)


def blocks_of(count: int) -> Iterator[slice]:
    """The blocks of ``count`` tokens."""
    for start in range(0, count, BLOCK):
        yield slice(start, start + BLOCK)


def finite_or_none(value: float) -> float | None:
    """``value`` as float, None where float64 has no number for it."""
    if math.isfinite(value):
        return float(value)
    return None


def log_or_minus_infinity(ratio: float) -> float:
    """The natural logarithm of a ratio that may be 0 or infinite."""
    if ratio > 0:
        return math.log(ratio)
    return -math.inf


def check_lengths(delta: Array, lengths: Array) -> None:
    """ValueError unless the lengths of sequences, int[S], add up to those deltas."""
    total = int(lengths.sum())
    has_negative = len(lengths) > 0 and int(lengths.min()) < 0
    if total != len(delta) or has_negative:
        raise ValueError(f"sequences of {total} tokens for {len(delta)} deltas")


def check_same_length(delta: Array, logprob_a: Array, logprob_b: Array) -> None:
    """ValueError unless every delta has its two log-probabilities."""
    count_a = len(logprob_a)
    count_b = len(logprob_b)
    if not len(delta) == count_a == count_b:
        raise ValueError(
            f"{len(delta)} deltas for {count_a} and {count_b} log-probabilities"
        )
