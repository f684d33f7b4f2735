"""Probability-space numbers against plain loops, and in every corner."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.compare.mismatch import mismatch_stats
from logdrift.core.compare.probability import Probability, probability_stats
from logdrift.core.compare.sums import BLOCK
from tests.common import INF, NAN, Fields

Table = Sequence[tuple[float, float]]

# Sums of n float64 in another order differ by up to n units in the last place of the
# sum of sizes; n is at most 100 here. Twice that for the exponentials, quotients and
# roots on the way.
REL = 200 * 2**-52

logprobs = st.sampled_from([-INF, NAN]) | st.floats(-40, 0, width=32)
tables = st.lists(st.tuples(logprobs, logprobs), max_size=100)


def stats_of(table: Table, dtype: type = np.float64) -> Probability:
    return probability_stats(
        *(np.array([pair[side] for pair in table], dtype) for side in (0, 1))
    )


def by_hand(table: Table) -> dict[str, float | None]:
    scored = [(x, y) for x, y in table if not math.isnan(x) and not math.isnan(y)]
    out = dict.fromkeys(Probability().to_json())
    if not scored:
        return out
    n = len(scored)
    p = [math.exp(x) for x, _ in scored]
    q = [math.exp(y) for _, y in scored]
    gaps = [abs(x - y) for x, y in zip(p, q, strict=True)]
    out["mean"] = math.fsum(x - y for x, y in zip(p, q, strict=True)) / n
    out["mae"], out["max"] = math.fsum(gaps) / n, max(gaps)
    out["rmse"] = math.sqrt(math.fsum(g * g for g in gaps) / n)
    if n > 1:
        out["std"] = math.sqrt(math.fsum((g - out["mae"]) ** 2 for g in gaps) / (n - 1))
    if len(set(p)) > 1 and len(set(q)) > 1:
        mp = math.fsum(p) / n
        mq = math.fsum(q) / n
        top = math.fsum((x - mp) * (y - mq) for x, y in zip(p, q, strict=True))
        out["pearson"] = top / math.sqrt(
            math.fsum((x - mp) ** 2 for x in p) * math.fsum((y - mq) ** 2 for y in q)
        )
    deltas = [0.0 if x == y else x - y for x, y in scored]
    sizes = [abs(d) for d in deltas if math.isfinite(d)]
    if sizes:
        out["mult_prob_error"] = math.fsum(math.exp(s) for s in sizes) / len(sizes)
    return out


def assert_equal(got: Fields, wanted: Fields, table: Table) -> None:
    """Probabilities are at most 1, so what cancels is off by REL at most."""
    assert got.keys() == wanted.keys()
    known = [(x, y) for x, y in table if not math.isnan(x + y)]
    for key, value in wanted.items():
        if key == "pearson" and known:
            # Where p or q hardly varies, its spread is rounding; below that whether it
            # is nothing is a matter of order.
            spread = min(
                np.std(np.exp([pair[side] for pair in known])) for side in (0, 1)
            )
            if spread < 1e-6:
                assert got[key] is None or -1 <= got[key] <= 1
            else:
                assert got[key] == pytest.approx(value, abs=1e-9)
        elif value is None:
            assert got[key] is None, key
        else:
            assert got[key] == pytest.approx(
                value, rel=REL, abs=0.0 if key == "mult_prob_error" else REL
            ), key


@given(tables)
def test_against_plain_loops(table: list[tuple[float, float]]) -> None:
    got = stats_of(table).to_json()
    assert_equal(got, by_hand(table), table)
    json.dumps(got, allow_nan=False)


@pytest.mark.parametrize("scale", [1e-6, 0.03, 1.0])
def test_blocks_change_nothing(scale: float) -> None:
    """More tokens than three blocks, float32 as in a session, unlikely tokens first so
    that blocks differ.
    """
    rng = np.random.default_rng(2)
    b = np.sort((-rng.exponential(3.0, 3 * BLOCK + 11)).astype(np.float32))
    a = np.minimum(b + rng.normal(0, scale, len(b)).astype(np.float32), np.float32(0))
    got = probability_stats(a, b).to_json()
    wanted = by_hand(list(zip(a.tolist(), b.tolist(), strict=True)))
    # float32 deltas are rounded once more than the loop's: by 2^-24 of at most 7 nats.
    rel = {"mult_prob_error": 7 * 2**-24}
    for key, value in wanted.items():
        # Pairwise sums within a block are 13 roundings deep; the loop is exact but for
        # its terms.
        assert got[key] == pytest.approx(
            value, rel=rel.get(key, 1e-13), abs=40 * 2**-52
        ), key


def test_known_numbers() -> None:
    half = math.log(0.5)
    quarter = math.log(0.25)
    stats = stats_of(
        [(half, quarter), (quarter, half), (quarter, quarter), (0.0, half)]
    )
    approx = pytest.approx
    assert stats.mean == approx(0.125)
    assert stats.mae == approx(0.25)
    assert stats.max == approx(0.5)
    expected = math.sqrt((0 + 0 + 1 / 16 + 1 / 16) / 3)
    assert stats.std == approx(expected)
    assert stats.mult_prob_error == approx((2 + 2 + 1 + 2) / 4)
    assert stats.pearson == approx(
        np.corrcoef([0.5, 0.25, 0.25, 1], [0.25, 0.5, 0.25, 0.5])[0, 1]
    )


def test_nothing_scored_gives_none_everywhere() -> None:
    assert (
        stats_of([])
        == stats_of([(NAN, -1.0), (-1.0, NAN), (NAN, NAN), (NAN, -INF)])
        == Probability()
    )


def test_one_token() -> None:
    stats = stats_of([(-1.0, -1.5)])
    assert stats.std is None
    assert stats.pearson is None
    assert stats.mae == stats.max == stats.mean == math.exp(-1) - math.exp(-1.5)
    assert stats.mult_prob_error == pytest.approx(math.exp(0.5), rel=2**-51)


def test_all_equal() -> None:
    stats = stats_of([(-1.0, -1.0), (-2.0, -2.0), (-3.3, -3.3)])
    assert stats.mean == 0.0
    assert stats.mae == 0.0
    assert stats.max == 0.0
    assert stats.std == 0.0
    assert stats.mult_prob_error == 1.0
    assert stats.pearson == pytest.approx(1.0, abs=2**-50)


@pytest.mark.parametrize("value", [0.0, -0.1, -1 / 3, -12.7, -INF])
def test_no_variance_is_no_correlation(value: float) -> None:
    varied = [-float(i) for i in range(7)]
    assert stats_of([(value, y) for y in varied]).pearson is None
    assert stats_of([(x, value) for x in varied]).pearson is None
    assert stats_of([(value, -1.0)] * 7).std == 0.0


def test_impossible_tokens_have_probability_0() -> None:
    stats = stats_of(
        [(-INF, math.log(0.5)), (math.log(0.25), -INF), (-INF, -INF), (-1.0, -1.0)]
    )
    assert stats.mae == pytest.approx(0.75 / 4)
    assert stats.max == 0.5
    assert stats.mean == pytest.approx(-0.25 / 4)
    assert stats.mult_prob_error == 1.0
    only = stats_of([(-INF, -1.0)])
    assert only.mult_prob_error is None
    assert only.mae == math.exp(-1)


def test_what_float64_cannot_hold_is_none() -> None:
    stats = stats_of([(-1.0, -801.0), (-1.0, -1.0)])
    assert stats.mult_prob_error is None
    expected = math.exp(-1) / 2
    assert stats.mae == pytest.approx(expected)
    assert (
        stats_of([(800.0, -1.0), (-1.0, -2.0)]) == Probability()
    )  # no probability at all: nothing is made up
    with pytest.raises(ValueError, match="1 and 2 log-probabilities"):
        probability_stats(np.zeros(1), np.zeros(2))


@given(tables)
def test_bounds_and_symmetry(table: list[tuple[float, float]]) -> None:
    one = stats_of(table)
    other = stats_of([(y, x) for x, y in table])
    assert one.mae == other.mae
    assert one.max == other.max
    assert one.std == other.std
    assert one.mult_prob_error == other.mult_prob_error
    assert one.mean == (None if other.mean is None else -other.mean)
    if one.mae is not None:
        assert abs(one.mean) <= one.mae * (1 + REL)
        assert one.mae <= one.max * (1 + REL)
        assert one.max <= 1
        assert one.mult_prob_error is None or one.mult_prob_error >= 1
        assert one.pearson is None or -1 <= one.pearson <= 1


@given(tables)
def test_masking_equals_deleting(table: list[tuple[float, float]]) -> None:
    assert stats_of(table) == stats_of(
        [(x, y) for x, y in table if not math.isnan(x + y)]
    )


@given(tables, st.randoms(use_true_random=False))
def test_order_of_tokens_changes_nothing(
    table: list[tuple[float, float]], random: Any
) -> None:
    shuffled = list(table)
    random.shuffle(shuffled)
    assert_equal(stats_of(shuffled).to_json(), stats_of(table).to_json(), table)


@given(tables, st.integers(0, 100))
def test_two_halves_recombine(table: list[tuple[float, float]], cut: int) -> None:
    """Prompt and completion partition all: weighted by their tokens, their means are
    those of all.
    """

    def sums(part: Table) -> tuple[float, ...]:
        stats = stats_of(part)
        known = [(x, y) for x, y in part if not math.isnan(x + y)]
        finite = sum(x == y or math.isfinite(x - y) for x, y in known)
        means = (stats.mean or 0.0) * len(known), (stats.mae or 0.0) * len(known)
        return (*means, (stats.mult_prob_error or 0.0) * finite)

    left = sums(table[:cut])
    right = sums(table[cut:])
    whole = sums(table)
    assert left[0] + right[0] == pytest.approx(whole[0], abs=REL * 100)
    for i in (1, 2):
        assert left[i] + right[i] == pytest.approx(whole[i], rel=REL)


def test_mult_prob_error_is_that_of_the_mismatch() -> None:
    rng = np.random.default_rng(9)
    b = (-rng.exponential(1.0, 500)).astype(np.float32)
    a = b + rng.normal(0, 0.1, 500).astype(np.float32)
    one = mismatch_stats(a - b, a, b, np.array([500]), None)
    assert probability_stats(a, b).mult_prob_error == pytest.approx(
        one.sequence_mult_prob_error_mean, rel=500 * 2**-52
    )
