"""Buckets against a loop over tokens."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.compare.buckets import (
    ENTROPY_EDGES,
    PROBABILITY_EDGES,
    Bucket,
    by_position,
    make_buckets,
)

CLOSE = 1e-12
"""Sums of some hundred float64 round to about 1e-14 of their size, in whatever order
they are added.
"""


def loop(
    delta: np.ndarray, value: Sequence[float], edges: Sequence[float]
) -> list[Bucket]:
    """The buckets of float64 values, token by token; a last one without end takes all
    above.
    """
    rows: list[list[float]] = [[] for _ in edges[1:]]
    for d, v in zip(delta.tolist(), value, strict=True):
        rows[min(max(bisect_right(edges, v) - 1, 0), len(rows) - 1)].append(d)
    out = []
    for low, high, row in zip(edges[:-1], edges[1:], rows, strict=True):
        finite = [d for d in row if math.isfinite(d)]
        end = None if math.isinf(high) else high
        if not finite:
            out.append(Bucket(low, end, len(row)))
            continue
        n = len(finite)
        out.append(
            Bucket(
                low,
                end,
                len(row),
                math.fsum(finite) / n,
                math.fsum(map(abs, finite)) / n,
                math.sqrt(math.fsum(d * d for d in finite) / n),
                max(map(abs, finite)),
            )
        )
    return out


def same(found: Sequence[Bucket], expected: Sequence[Bucket]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.low == b.low
        assert a.high == b.high
        assert a.tokens == b.tokens
        assert a.max_abs == b.max_abs
        for name in ("mean", "mae", "rmse"):
            x = getattr(a, name)
            y = getattr(b, name)
            assert (x is None) == (y is None)
            # A mean of signed values can cancel: its error is that of the sum of sizes.
            assert x is None or x == pytest.approx(
                y, rel=CLOSE, abs=CLOSE * (b.mae or 0)
            )


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    delta = rng.normal(0, 0.05, n).astype(np.float32)
    delta[rng.random(n) < 0.02] = np.inf
    delta[rng.random(n) < 0.02] = -np.inf
    logprob = (-rng.exponential(3.0, n)).astype(np.float32)
    logprob[rng.random(n) < 0.05] = 0.0
    logprob[rng.random(n) < 0.02] = -np.inf
    entropy = rng.exponential(1.0, n).astype(np.float32)
    entropy[rng.random(n) < 0.1] = np.nan
    return delta, logprob, rng.integers(0, 400, n), entropy


@pytest.mark.parametrize("n", [0, 1, 2, 50, 700])
def test_equals_a_loop(n: int) -> None:
    delta, logprob, position, entropy = draw(n, n)
    found = make_buckets(delta, logprob, position, entropy)
    same(
        found.by_probability,
        loop(delta, [math.exp(x) for x in logprob.tolist()], PROBABILITY_EDGES),
    )
    last = int(position.max()).bit_length() if n else 0
    same(
        found.by_position,
        loop(delta, position.tolist(), [0, *(2.0**i for i in range(last + 1))]),
    )
    known = ~np.isnan(entropy)
    assert found.by_entropy is not None
    same(found.by_entropy, loop(delta[known], entropy[known].tolist(), ENTROPY_EDGES))


def test_borders_are_those_of_float64_and_rounding_above_one_is_in_the_last() -> None:
    below = np.float32(
        -2.3025851
    )  # p = 0.0999999968: the float32 nearest to log 0.1 lies below it
    values = np.array(
        [below, np.nextafter(below, np.float32(0)), 0.0, 1e-5], np.float32
    )
    entropy = np.array(
        [np.float32(0.01), np.nextafter(np.float32(0.01), np.float32(1)), 5.0, 0.0],
        np.float32,
    )
    found = make_buckets(np.ones(4, np.float32), values, np.zeros(4, int), entropy)
    assert [(b.low, b.tokens) for b in found.by_probability if b.tokens] == [
        (0.01, 1),
        (0.1, 1),
        (0.99, 2),
    ]
    assert found.by_entropy is not None  # float32(0.01) is 0.00999999978
    assert [(b.low, b.tokens) for b in found.by_entropy if b.tokens] == [
        (0.0, 2),
        (0.01, 1),
        (4.0, 1),
    ]


def test_positions_double() -> None:
    found = by_position(np.ones(9, np.float32), np.arange(9))
    assert [(b.low, b.high, b.tokens) for b in found] == [
        (0, 1, 1),
        (1, 2, 1),
        (2, 4, 2),
        (4, 8, 4),
        (8, 16, 1),
    ]


def test_no_entropy_is_none() -> None:
    assert (
        make_buckets(
            np.ones(1, np.float32), np.zeros(1, np.float32), np.zeros(1, int), None
        ).by_entropy
        is None
    )


@given(st.integers(0, 300), st.integers(0, 2**31))
def test_buckets_recombine_to_all_tokens(n: int, seed: int) -> None:
    delta, logprob, position, _ = draw(n, seed)
    found = make_buckets(delta, logprob, position, None)
    finite = delta[np.isfinite(delta)].astype(np.float64)
    for buckets in (found.by_probability, found.by_position):
        assert sum(b.tokens for b in buckets) == n
        inside = [
            (
                b,
                int(
                    np.isfinite(
                        delta[
                            _within(b, logprob, position, buckets is found.by_position)
                        ]
                    ).sum()
                ),
            )
            for b in buckets
        ]
        total = math.fsum(b.mae * count for b, count in inside if b.mae is not None)
        expected = float(np.abs(finite).sum())
        assert total == pytest.approx(expected, rel=CLOSE, abs=0)


def _within(
    bucket: Bucket, logprob: np.ndarray, position: np.ndarray, by_place: bool
) -> np.ndarray:
    if by_place:
        return (position >= bucket.low) & (position < (bucket.high or math.inf))
    low, high = (np.log(x) if x else -np.inf for x in (bucket.low, bucket.high or 1.0))
    logprob = logprob.astype(np.float64)
    return (logprob >= low) & ((logprob < high) | (bucket.high == 1.0))
