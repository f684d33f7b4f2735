"""Top-k metrics against a loop over rows with dictionaries and sets, on lists cut from
full distributions.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import logdrift.core.compare.distribution as distribution
from logdrift.core.compare.alternatives import alternatives, top_list
from logdrift.core.compare.distribution import (
    TokenTopK,
    rank_flips,
    token_topk,
    topk_stats,
)
from logdrift.core.compare.pair import list_pairs, make_pair
from logdrift.core.session.reader import open_session
from logdrift.core.session.tensors import Column
from tests.common import INF, NAN, SAMPLE

NOISE = {np.float32: 2.0**-20, np.float64: 2.0**-46}


@dataclass(frozen=True)
class Lists:
    top_ids: Column
    top_logprobs: Column
    logprob: Column


def kl_lower_bounds(a: Any, b: Any, targets: Any, keep: Any) -> Any:
    """The lower bounds per token, NaN without two lists."""
    found = token_topk(a, b, targets, keep)
    return np.where(found.usable, found.kl, np.nan)


def lists(
    ids: object,
    values: object,
    target: object,
    dtype: type = np.float32,
    parts: int = 1,
) -> Lists:
    arrays = (
        np.asarray(ids, np.int32),
        np.asarray(values, dtype),
        np.asarray(target, dtype),
    )
    if arrays[0].ndim == 1:
        arrays = arrays[0][None], arrays[1][None], arrays[2].reshape(1)
    return Lists(*(Column(np.array_split(array, parts)) for array in arrays))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def cut(
    full: np.ndarray,
    k: int,
    targets: np.ndarray,
    dtype: type = np.float64,
    parts: int = 1,
) -> Lists:
    """The k most likely of full distributions [N, V], as a backend writes them."""
    ids = np.argsort(-full, 1, kind="stable")[:, :k]
    return lists(
        ids,
        np.take_along_axis(full, ids, 1),
        full[np.arange(len(full)), targets],
        dtype,
        parts,
    )


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    bits = np.asarray(values, np.float32).view(np.uint32)
    return (
        ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000)
        .astype(np.uint32)
        .view(np.float32)
    )


def entries(side: Lists, row: int) -> dict[int, float]:
    """id -> logprob of the entries that are there, most likely first, ties in the order
    of the list.
    """
    found = zip(
        side.top_ids.whole()[row].tolist(),
        side.top_logprobs.whole()[row].tolist(),
        strict=True,
    )
    kept = [(i, v) for i, v in found if i >= 0 and not math.isnan(v)]
    return dict(sorted(kept, key=lambda entry: -entry[1]))


def ranks(side: dict[int, float], target: float) -> tuple[int, float]:
    more = sum(v > target for v in side.values())
    least = sum(v >= target for v in side.values())
    return more + 1, INF if least == len(side) else max(more + 1, least)


def precision(side: Lists, row: int) -> float:
    """The relative rounding of the coarsest format that can hold all of a float32 list;
    0 for one that needs float32.
    """
    values = [v for v in side.top_logprobs.whole()[row].tolist() if not math.isnan(v)]
    if side.top_logprobs.whole().dtype == np.float64:
        return 0.0
    if all(float(to_bfloat16(np.float32(v))) == v for v in values):
        return 2.0**-8
    with np.errstate(over="ignore"):
        return 2.0**-11 if all(float(np.float16(v)) == v for v in values) else 0.0


def smallest_rest(
    rest_a: float, rest_b: float, noise_a: float, noise_b: float
) -> float:
    """The least x log(x / r) over both intervals, found by trying: the minimum over x
    is at an end or at r / e.
    """
    r = max(rest_a, 0.0) + noise_a
    low = max(rest_b - noise_b, 0.0)
    high = max(rest_b, 0.0) + noise_b
    tried = [x for x in (low, high, r / math.e) if low <= x <= high]
    return min(x * math.log(x / r) if x > 0 else 0.0 for x in tried)


def expected_kl(a: Lists, b: Lists, row: int, target: int) -> tuple[float, float]:
    """The bound and how far two orders of summation may leave it: 2e-15 in a rest, seen
    through x log(x / r).
    """
    in_a = entries(a, row)
    in_b = entries(b, row)
    ta = float(a.logprob.whole()[row])
    tb = float(b.logprob.whole()[row])
    cells = {i: (in_a[i], in_b[i]) for i in in_a if i in in_b}
    if not math.isnan(ta) and not math.isnan(tb):
        cells[target] = (ta, tb)
    total = sum(math.exp(y) * (y - x) for x, y in cells.values() if y > -INF)
    rests = []
    noises = []
    for side, lists_of in enumerate((a, b)):
        seen = [cell[side] for cell in cells.values() if cell[side] > -INF]
        rests.append(1 - math.fsum(map(math.exp, seen)))
        floor = NOISE[lists_of.top_logprobs.whole().dtype.type]
        noises.append(
            floor
            + precision(lists_of, row) * math.fsum(math.exp(v) * abs(v) for v in seen)
        )
    tolerance = 1e-13 + 2e-15 * (max(rests[1], 0) / (max(rests[0], 0) + noises[0]) + 40)
    return max(0.0, total + smallest_rest(*rests, *noises)), tolerance


def check_rows(a: Lists, b: Lists, targets: np.ndarray, keep: np.ndarray) -> TokenTopK:
    found = token_topk(a, b, targets, keep)
    for at, row in enumerate(np.flatnonzero(keep)):
        in_a = entries(a, row)
        in_b = entries(b, row)
        ta = float(a.logprob.whole()[row])
        tb = float(b.logprob.whole()[row])
        likely_a, likely_b = (
            [i for i, v in side.items() if v > -INF] for side in (in_a, in_b)
        )
        k = min(len(likely_a), len(likely_b))
        assert found.usable[at] == (k > 0)
        assert found.k[at] == k
        if k == 0:
            continue
        assert found.common[at] == len(set(likely_a[:k]) & set(likely_b[:k]))
        known = not math.isnan(ta) and not math.isnan(tb)
        best = [
            {i for i, v in side.items() if v == max(side.values())}
            for side in (in_a, in_b)
        ]
        for ids, side, value in zip(best, (in_a, in_b), (ta, tb), strict=True):
            ids |= (
                {int(targets[row])} if known and value >= max(side.values()) else set()
            )
        assert found.same_top1[at] == bool(best[0] & best[1])
        range_a = ranks(in_a, ta)
        range_b = ranks(in_b, tb)
        ranked = known and min(range_a[0], range_b[0]) <= k
        assert found.ranked[at] == ranked
        assert found.flipped[at] == (
            ranked and (range_a[1] < range_b[0] or range_b[1] < range_a[0])
        )
        # Both sum some ten float64 of up to 1 (tails) or some nats (kl): relative
        # rounding 1e-16 each.
        for tail, likely, side in (
            (found.tail_a, likely_a, in_a),
            (found.tail_b, likely_b, in_b),
        ):
            expected = max(0.0, 1 - sum(math.exp(side[i]) for i in likely[:k]))
            assert tail[at] == pytest.approx(expected, abs=1e-14)
        bound, tolerance = expected_kl(a, b, row, int(targets[row]))
        assert found.kl[at] == pytest.approx(bound, abs=tolerance)
    return found


def check_aggregate(
    a: Lists, b: Lists, targets: np.ndarray, keep: np.ndarray, found: TokenTopK
) -> None:
    stats = topk_stats(a, b, targets, keep)
    rows = [i for i in range(len(found.usable)) if found.usable[i]]
    if not rows:
        assert stats is None
        return
    assert stats is not None
    assert stats.k == max(found.k[i] for i in rows)
    assert stats.tokens == len(rows)
    expected = sum(int(found.common[i]) / int(found.k[i]) for i in rows) / len(rows)
    assert stats.overlap == pytest.approx(expected)
    assert stats.same_top1 == sum(bool(found.same_top1[i]) for i in rows) / len(rows)
    ranked = [i for i in rows if found.ranked[i]]
    assert stats.ranked == len(ranked)
    assert stats.rank_flips == (
        sum(bool(found.flipped[i]) for i in ranked) / len(ranked) if ranked else None
    )
    finite = [float(found.kl[i]) for i in rows if math.isfinite(found.kl[i])]
    assert stats.kl_infinite == len(rows) - len(finite)
    if finite:
        assert stats.kl_lower_bound_mean == pytest.approx(
            sum(finite) / len(finite), rel=1e-12, abs=1e-300
        )
        assert stats.kl_lower_bound_max == max(finite)
        assert stats.kl_lower_bound_p99 == pytest.approx(
            float(np.percentile(finite, 99)), rel=1e-12, abs=1e-300
        )
    else:
        assert (
            stats.kl_lower_bound_mean
            is stats.kl_lower_bound_p99
            is stats.kl_lower_bound_max
            is None
        )
    assert stats.tail_mass_a == pytest.approx(
        sum(float(found.tail_a[i]) for i in rows) / len(rows), abs=1e-14
    )
    assert stats.tail_mass_b == pytest.approx(
        sum(float(found.tail_b[i]) for i in rows) / len(rows), abs=1e-14
    )
    json.dumps(stats.to_json(), allow_nan=False)


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(
    seeds,
    st.integers(2, 12),
    st.integers(1, 12),
    st.integers(1, 12),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_every_row_against_sets_and_dictionaries(
    seed: int, vocab: int, ka: int, kb: int, single: bool, ties: bool, shuffled: bool
) -> None:
    rng = np.random.default_rng(seed)
    rows = 40
    dtype = np.float32 if single else np.float64
    logits = rng.normal(0, 2, (2, rows, vocab))
    logits[1] = logits[0] + rng.normal(0, 0.5, (rows, vocab))
    if ties:
        logits = np.round(logits)
    targets = rng.integers(0, vocab, rows)
    sides = []
    for full, k in zip(logits, (ka, kb), strict=True):
        full = log_softmax(full)
        full[rng.random(full.shape) < 0.05] = -INF
        k = min(k, vocab)
        ids = np.argsort(-full, 1, kind="stable")[:, :k]
        values = np.take_along_axis(full, ids, 1)
        target = full[np.arange(rows), targets]
        if shuffled:
            order = np.argsort(rng.random(ids.shape), 1)
            ids, values = (
                np.take_along_axis(ids, order, 1),
                np.take_along_axis(values, order, 1),
            )
        ids[rng.random(ids.shape) < 0.05] = -1
        values[rng.random(ids.shape) < 0.05] = NAN
        target[rng.random(rows) < 0.1] = NAN
        sides.append(lists(ids, values, target, dtype, parts=3))
    keep = rng.random(rows) < 0.8
    found = check_rows(*sides, targets, keep)
    check_aggregate(*sides, targets, keep, found)


@settings(max_examples=60, deadline=None)
@given(
    seeds,
    st.integers(2, 40),
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(0.1, 20),
    st.floats(0, 3),
)
@example(0, 30, 30, 30, 20.0, 0.0)
def test_the_bound_is_below_the_divergence(
    seed: int, vocab: int, ka: int, kb: int, scale: float, apart: float
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (50, vocab))
    a = log_softmax(logits)
    b = log_softmax(logits + rng.normal(0, apart, (50, vocab)))
    targets = rng.integers(0, vocab, 50)
    keep = np.ones(50, bool)
    true = (np.exp(b) * (b - a)).sum(1)
    bounds = kl_lower_bounds(
        cut(a, min(ka, vocab), targets), cut(b, min(kb, vocab), targets), targets, keep
    )
    # The divergence itself is a float64 sum of products of up to 1 x 100 nats.
    assert np.all(bounds >= 0)
    assert np.all(bounds <= true + 1e-12)
    whole = kl_lower_bounds(
        cut(a, vocab, targets), cut(b, vocab, targets), targets, keep
    )
    np.testing.assert_allclose(whole, np.maximum(true, 0), rtol=0, atol=1e-12)
    assert np.all(
        kl_lower_bounds(
            cut(a, min(ka, vocab), targets),
            cut(a, min(ka, vocab), targets),
            targets,
            keep,
        )
        == 0
    )


@settings(max_examples=60, deadline=None)
@given(
    seeds,
    st.floats(0.5, 10),
    st.sampled_from(["float16", "bfloat16", "float32"]),
    st.booleans(),
)
def test_rounded_lists_make_no_divergence_of_their_rest(
    seed: int, scale: float, rounded: str, side_a: bool
) -> None:
    rng = np.random.default_rng(seed)
    full = log_softmax(rng.normal(0, scale, (50, 200)))
    targets = np.argmax(full, 1)
    exact = cut(full, 20, targets, np.float32)
    raw = exact.top_logprobs.whole()
    values = {
        "float32": raw,
        "bfloat16": to_bfloat16(raw),
        "float16": raw.astype(np.float16).astype(np.float32),
    }[rounded]
    other = lists(exact.top_ids.whole(), values, values[:, 0])
    a, b = (other, exact) if side_a else (exact, other)
    found = kl_lower_bounds(a, b, targets, np.ones(50, bool))
    # Same distribution: all that may be left is the rounding of the cells, p u |log p|
    # of each, and its second order.
    u = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}[rounded]
    p_b = np.exp(b.top_logprobs.whole().astype(float))
    step = (
        u * np.abs(full[np.arange(50)[:, None], exact.top_ids.whole()]) + 2.0**-24 * 20
    )
    assert np.all(np.isfinite(found))
    assert np.all(found <= (p_b * step * (1 + step)).sum(1))


def test_a_rest_of_rounding_is_not_divided_by() -> None:
    # B's list, in bfloat16, leaves what A's, in float32, does not have: 1e-3 log(1e-3 /
    # 1e-9) would be 0.01 nats.
    a = lists([0, 1], np.log([0.87, 0.13]), math.log(0.87))
    values = to_bfloat16(np.log([0.87, 0.13]))
    assert 1 - np.exp(values.astype(float)).sum() > 1e-4
    b = lists([0, 1], values, values[0])
    found = kl_lower_bounds(a, b, np.array([0]), np.array([True]))[0]
    # Rounded cells alone: at most u (0.87 |log 0.87| + 0.13 |log 0.13|) = 0.0016 nats.
    assert 0 <= found <= 0.0016
    # Where the rest is no rounding it counts: 0.1 of B against at most 2^-20 of A.
    b = lists([0, 1], np.log([0.77, 0.13]), math.log(0.77))
    found = kl_lower_bounds(a, b, np.array([0]), np.array([True]))[0]
    assert (
        found > 0.1 * math.log(0.1 / 2e-6) + 0.77 * math.log(0.77 / 0.87) - 1e-4 > 0.9
    )


def test_a_target_outside_of_both_lists_is_a_cell() -> None:
    a = lists([0, 1], np.log([0.5, 0.25]), math.log(0.125), np.float64)
    b = lists([0, 2], np.log([0.5, 0.25]), math.log(0.0625), np.float64)
    found = kl_lower_bounds(a, b, np.array([7]), np.array([True]))[0]
    cells = [(0.5, 0.5), (0.125, 0.0625), (0.375, 0.4375)]
    expected = sum(q * math.log(q / p) for p, q in cells)
    assert found == pytest.approx(expected, abs=1e-12)


def test_impossible_in_a_is_infinite_and_counted() -> None:
    rows = [[0, 1], [0, 1], [0, 1]]
    a = lists(
        rows,
        [[math.log(0.5), -INF], [0.0, -INF], [math.log(0.5)] * 2],
        [math.log(0.5), 0.0, math.log(0.5)],
    )
    b = lists(
        rows,
        [[math.log(0.5), math.log(0.5)], [0.0, -INF], [0.0, -INF]],
        [math.log(0.5), 0.0, 0.0],
    )
    targets = np.zeros(3, int)
    keep = np.ones(3, bool)
    found = kl_lower_bounds(a, b, targets, keep)
    assert found[0] == INF
    assert found[1] == 0
    # log 2 of the cells; the rests of rounding take off less than 2 x 2^-20.
    assert found[2] == pytest.approx(math.log(2), abs=2 * 2.0**-20)
    stats = topk_stats(a, b, targets, keep)
    assert stats is not None
    assert stats.kl_infinite == 1
    assert stats.kl_lower_bound_max == found[2]
    expected = found[1:].mean()
    assert stats.kl_lower_bound_mean == pytest.approx(expected)
    json.dumps(stats.to_json(), allow_nan=False)
    only = topk_stats(a, b, targets, np.array([True, False, False]))
    assert only is not None
    assert only.kl_lower_bound_mean is None
    assert only.kl_infinite == 1


def test_a_target_that_one_side_calls_impossible() -> None:
    a = lists([0], [math.log(0.9)], -INF, np.float64)
    b = lists([0], [math.log(0.9)], math.log(0.05), np.float64)
    one = np.array([True])
    assert kl_lower_bounds(a, b, np.array([5]), one)[0] == INF
    back = kl_lower_bounds(b, a, np.array([5]), one)[0]
    expected = 0.1 * math.log(0.1 / 0.05)
    assert back == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "target", "ranked", "flipped"),
    [
        ([-1, -2, -3], [-1, -2, -3], (-2, -2), True, False),
        ([-1, -2, -3], [-2, -1, -3], (-1, -2), True, True),
        # B has both at the same place: the target's ranks there are 1 and 2.
        ([-1, -2, -3], [-1, -1, -3], (-2, -1), True, False),
        ([-2, -2, -2], [-1, -2, -3], (-2, -3), True, False),
        # Behind B's list: 4 or more. In A it is 3, but tied with the last entry, so
        # maybe 4.
        ([-1, -2, -3], [-1, -2, -3], (-2, -4), True, True),
        ([-1, -2, -3], [-1, -2, -3], (-3, -4), True, False),
        ([-1, -2, -3], [-1, -2, -3], (-4, -5), False, False),
        ([-1, -2, -3], [-1, -2, -3], (-INF, -1), True, True),
        ([-1, -2, -3], [-1, -2, -3], (-INF, -INF), False, False),
        ([-1, -2, -3], [-1, -2, -3], (NAN, -1), False, False),
    ],
)
def test_rank_flips(
    a: list[float],
    b: list[float],
    target: tuple[float, float],
    ranked: bool,
    flipped: bool,
) -> None:
    sides = lists([0, 1, 2], a, target[0]), lists([0, 1, 2], b, target[1])
    found = token_topk(*sides, np.array([1]), np.array([True]))
    assert found.ranked[0] == ranked
    assert found.flipped[0] == flipped
    assert rank_flips(*sides, np.array([1]), np.array([True])).tolist() == [flipped]
    assert rank_flips(*reversed(sides), np.array([1]), np.array([True])).tolist() == [
        flipped
    ]
    stats = topk_stats(*sides, np.array([1]), np.array([True]))
    assert stats is not None
    assert stats.rank_flips == (float(flipped) if ranked else None)


def test_a_tie_at_the_top_is_agreement() -> None:
    keep = np.array([True])
    targets = np.array([9])
    a = lists([0, 1, 2], [-1, -1, -3], -5)
    for ids, values, same in (
        ([1, 0, 2], [-1, -2, -3], True),
        ([2, 1, 0], [-1, -1, -2], True),
        ([2, 1, 0], [-1, -2, -2], False),
    ):
        stats = topk_stats(a, lists(ids, values, -5), targets, keep)
        assert stats is not None
        assert stats.same_top1 == float(same)
    # One entry each, of two that are tied: the target is as likely as the best on both
    # sides.
    stats = topk_stats(
        lists([0], [-0.7], -0.7), lists([1], [-0.7], -0.7), np.array([1]), keep
    )
    assert stats is not None
    assert stats.same_top1 == 1.0
    assert stats.overlap == 0.0
    assert stats.rank_flips == 0.0


def test_lists_of_different_length_are_compared_over_the_shorter() -> None:
    probabilities = [0.4, 0.3, 0.2, 0.05]
    a = lists([0, 1, 2, 3], np.log(probabilities), math.log(0.4))
    b = lists([1, 3], np.log([0.5, 0.2]), math.log(0.1))
    stats = topk_stats(a, b, np.array([0]), np.array([True]))
    # 3 is in both lists, but not among A's first two.
    assert stats is not None
    assert stats.k == 2
    assert stats.overlap == 0.5
    assert stats.tokens == 1
    assert stats.tail_mass_a == pytest.approx(0.3, abs=1e-7)
    assert stats.tail_mass_b == pytest.approx(0.3, abs=1e-7)


def test_nothing_to_compare() -> None:
    ids = [0, 1]
    values = [-1, -2]
    side = lists([ids, ids], [values, values], [-1, -1])
    targets = np.zeros(2, int)
    assert topk_stats(side, side, targets, np.zeros(2, bool)) is None
    for ids, values in (
        ([-1, -1], [-1, -2]),
        ([0, 1], [NAN, NAN]),
        ([0, 1], [-INF, -INF]),
    ):
        empty = lists([ids, ids], [values, values], [-1, -1])
        assert topk_stats(side, empty, targets, np.ones(2, bool)) is None
        assert topk_stats(empty, empty, targets, np.ones(2, bool)) is None
        assert np.isnan(kl_lower_bounds(side, empty, targets, np.ones(2, bool))).all()
    without = lists(np.empty((2, 0)), np.empty((2, 0)), [-1, -1])
    assert topk_stats(side, without, targets, np.ones(2, bool)) is None
    nobody = lists(np.empty((0, 2)), np.empty((0, 2)), np.empty(0))
    assert topk_stats(nobody, nobody, targets[:0], np.ones(0, bool)) is None
    assert kl_lower_bounds(nobody, nobody, targets[:0], np.ones(0, bool)).shape == (0,)


def test_hostile_values_give_no_nan() -> None:
    values = [[1e30, -1.0], [INF, -1.0], [5.0, 4.0], [-1e30, -3e38]]
    side = lists([[0, 1]] * 4, values, [1e30, INF, 5.0, -1e30])
    calm = lists([[1, 0]] * 4, [[-1.0, -2.0]] * 4, [-2.0] * 4)
    for a, b in ((side, calm), (calm, side), (side, side)):
        stats = topk_stats(a, b, np.zeros(4, int), np.ones(4, bool))
        assert stats is not None
        json.dumps(stats.to_json(), allow_nan=False)


@pytest.mark.parametrize("width", [1, 20, 254, 255, 300])
def test_blocks_and_parts_change_nothing(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(width)
    logits = rng.normal(0, 2, (700, 400))
    a = log_softmax(logits)
    b = log_softmax(logits + rng.normal(0, 0.3, logits.shape))
    targets = rng.integers(0, 400, 700)
    keep = rng.random(700) < 0.7
    whole = token_topk(cut(a, width, targets), cut(b, width, targets), targets, keep)
    monkeypatch.setattr(distribution, "_BLOCK", 1)
    split = token_topk(
        cut(a, width, targets, parts=5), cut(b, width, targets, parts=3), targets, keep
    )
    for field in fields(TokenTopK):
        np.testing.assert_array_equal(
            getattr(whole, field.name), getattr(split, field.name), field.name
        )
    deleted = token_topk(
        cut(a[keep], width, targets[keep]),
        cut(b[keep], width, targets[keep]),
        targets[keep],
        np.ones(keep.sum(), bool),
    )
    np.testing.assert_array_equal(whole.kl, deleted.kl)
    if width > 250:
        check_rows(
            cut(a, width, targets), cut(b, width, targets), targets, np.arange(700) < 20
        )


def test_the_sample_is_in_range_and_as_the_loop_says() -> None:
    session = open_session(SAMPLE)
    targets = session.sequences.token_ids
    for labels in list_pairs(session):
        pair = make_pair(session, *labels)
        keep = pair.scope_mask("completion")
        stats = topk_stats(pair.a, pair.b, targets, keep)
        assert stats is not None
        assert stats.k == 20
        assert stats.tokens == np.count_nonzero(keep)
        assert stats.kl_infinite == 0
        assert stats.rank_flips is not None
        for share in (
            stats.same_top1,
            stats.overlap,
            stats.rank_flips,
            stats.tail_mass_a,
            stats.tail_mass_b,
        ):
            assert 0 <= share <= 1
        repeats = labels[0].partition("#")[0] == labels[1].partition("#")[0]
        assert stats.kl_lower_bound_mean is not None
        assert stats.kl_lower_bound_max is not None
        assert (stats.kl_lower_bound_max == 0) == repeats
        assert (stats.same_top1 == stats.overlap == 1.0) == repeats
        few = np.flatnonzero(keep)[::10]
        check_rows(pair.a, pair.b, targets, np.isin(np.arange(pair.tokens), few))  # type: ignore[arg-type]


def test_flips_do_not_depend_on_who_gives_ranks_outside_of_its_list() -> None:
    # vLLM gives a rank for every target, SGLang for those in its list only: the shares
    # must still be alike.
    session = open_session(SAMPLE)
    shares = []
    for label in ("vllm/prefill", "sglang/prefill"):
        pair = make_pair(session, "trainer/prefill", label)
        stats = topk_stats(
            pair.a, pair.b, session.sequences.token_ids, pair.scope_mask("all")
        )
        assert stats is not None
        assert stats.rank_flips is not None
        shares.append(stats.rank_flips)
    # Measured 0.0166 and 0.0179 of 2,290 tokens, one standard error each 0.0027.
    assert abs(shares[0] - shares[1]) < 3 * 0.0038


def test_the_union_of_three_lists() -> None:
    sides = [
        top_list(
            np.array([5, 3, -1]), np.array([-1.0, -0.5, NAN], np.float32), -4.0, 17
        ),
        top_list(
            np.array([3, 8, 9]), np.array([-0.25, -INF, NAN], np.float32), -0.25, 2
        ),
        top_list(np.array([-1]), np.array([NAN], np.float32), None, None),
    ]
    found = alternatives(sides, 7)
    assert [(row.token_id, row.target) for row in found] == [
        (3, False),
        (5, False),
        (8, False),
        (7, True),
    ]
    cells = [[(c.logprob, c.rank, c.below) for c in row.cells] for row in found]
    nothing = (None, None, None)
    expected = [
        [(-0.5, 1, None), (-0.25, 1, None), nothing],
        [(-1.0, 2, None), (None, None, -INF), nothing],
        [(None, None, -1.0), (-INF, 2, None), nothing],
        [(-4.0, 17, None), (-0.25, 2, None), nothing],
    ]
    assert cells == expected
    assert [side.rest for side in sides] == [
        pytest.approx(1 - math.exp(-1) - math.exp(-0.5)),
        pytest.approx(1 - math.exp(-0.25)),
        None,
    ]
    assert alternatives([], 7) == ()


def test_the_target_in_a_list_has_its_given_rank() -> None:
    ids = np.array([4, 6])
    values = np.array([-1.0, -1.0], np.float32)
    side = top_list(ids, values, -1.0, 2)
    unknown = top_list(ids, values, -1.0, None)
    row = next(row for row in alternatives([side, unknown], 4) if row.target)
    found = [cell.rank for cell in row.cells]
    assert found == [2, 1]
