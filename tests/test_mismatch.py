"""RL mismatch numbers against their definitions in decimal loops, and in every
corner.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.compare.corrections import WhatIf, what_if
from logdrift.core.compare.mismatch import (
    CLIP_BOUNDS,
    EXTREME_BOUNDS,
    Mismatch,
    mismatch_stats,
)
from logdrift.core.compare.rules import RULES, Rule
from logdrift.core.compare.sums import BLOCK
from tests.common import INF, NAN, Fields

Tokens = Sequence[Sequence[tuple[float, float]]]

# A sum of n float64 in any order is off by up to n units in the last place of the sum
# of sizes; n is at most 80 here. Twice that for the exponentials, quotients and roots
# on the way, each good to a few units.
REL = 160 * 2**-52

near = st.floats(-40, 0, width=32)
logprobs = st.sampled_from([-INF, NAN]) | near
sequences = st.lists(st.lists(st.tuples(logprobs, logprobs), max_size=10), max_size=8)
scored_sequences = st.lists(
    st.lists(st.tuples(near, near), max_size=10), min_size=1, max_size=8
).filter(any)


def arrays_of(table: Tokens) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """delta, logprob_a, logprob_b and lengths; delta as in a pair: 0 where both sides
    are -inf.
    """
    flat = [pair for row in table for pair in row]
    a, b = (np.array([pair[side] for pair in flat], np.float64) for side in (0, 1))
    with np.errstate(invalid="ignore"):
        delta = np.where((a == -INF) & (b == -INF), 0.0, a - b)
    return delta, a, b, np.array([len(row) for row in table], np.int64)


def stats_of(table: Tokens, sampled_by_b: bool | None = None) -> Mismatch:
    return mismatch_stats(*arrays_of(table), sampled_by_b)


def number(value: Decimal) -> float | None:
    return float(value) if math.isfinite(float(value)) else None


def mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, Decimal(0)) / len(values)


def spread(values: Sequence[Decimal]) -> float | None:
    if len(values) < 2:
        return None
    middle = mean(values)
    return number(
        (
            sum(((v - middle) ** 2 for v in values), Decimal(0)) / (len(values) - 1)
        ).sqrt()
    )


def effective(weights: Sequence[Decimal]) -> float:
    return float(sum(weights) ** 2 / (len(weights) * sum(w * w for w in weights)))


def quantile(values: Sequence[Decimal], q: float) -> Decimal:
    ordered = sorted(values)
    at = q * (len(values) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (Decimal(at) - low)


def by_hand(table: Tokens) -> Fields:
    """Every number by its definition. Decimals have no overflow to speak of, so no
    trick is needed.
    """
    out: Fields = Mismatch().to_json()
    out["clip_fraction"] = {f"{c:g}": None for c in CLIP_BOUNDS}
    out["extreme_fraction"] = {f"{t:g}": None for t in EXTREME_BOUNDS}
    rows = [
        [(0.0 if x == y else x - y, x, y) for x, y in row if not math.isnan(x + y)]
        for row in table
    ]
    rows = [kept for row in rows if (kept := [t for t in row if math.isfinite(t[0])])]
    if not rows:
        return out
    with localcontext() as context:
        context.prec = 130  # js of a delta of 1e-45, the least float32, is 1e-91 of 1
        deltas = [[Decimal(t[0]) for t in row] for row in rows]
        flat = [d for row in deltas for d in row]
        ratios = [d.exp() for d in flat]
        out["k1"] = number(-mean(flat))
        out["k2"] = number(mean([d * d / 2 for d in flat]))
        out["k3"] = number(mean([r - d - 1 for r, d in zip(ratios, flat, strict=True)]))
        each = [r - d - 1 for r, d in zip(ratios, flat, strict=True)]
        out["k3_std"], out["k3_max"] = spread(each), number(max(each))
        out["k3_reverse"] = number(
            mean([1 / r + d - 1 for r, d in zip(ratios, flat, strict=True)])
        )
        out["chi2_token"] = number(mean([r * r for r in ratios]) - 1)
        out["ess_token"] = effective(ratios)
        held = [min(max(r, Decimal("0.5")), Decimal(2)) for r in ratios]
        out["ess_token_clamped"] = effective(held)
        out["ratio_std_clamped"] = number(
            mean([(r - mean(held)) ** 2 for r in held]).sqrt()
        )
        out["ratio_mean"] = number(mean(ratios))
        out["ratio_min"], out["ratio_max"] = number(min(ratios)), number(max(ratios))
        out["ratio_p99"], out["ratio_std"] = (
            number(quantile(ratios, 0.99)),
            spread(ratios),
        )
        # NeMo-RL's definition on the chosen token: two k3 estimates against the
        # mixture. p is 1 and q is r here, as p and q enter by their quotients alone.
        mixtures = [(1 + r) / 2 for r in ratios]
        halves = [
            ((r / m - (r / m).ln() - 1) + (1 / m + m.ln() - 1)) / 2
            for r, m in zip(ratios, mixtures, strict=True)
        ]
        out["js"] = number(mean(halves))
        for c in CLIP_BOUNDS:
            outside = sum(r > Decimal(1 + c) or r < Decimal(1 - c) for r in ratios)
            out["clip_fraction"][f"{c:g}"] = outside / len(ratios)
        for tau in EXTREME_BOUNDS:
            out["extreme_fraction"][f"{tau:g}"] = sum(
                max(r, 1 / r) > Decimal(tau) for r in ratios
            ) / len(ratios)
        out["sequence_mae"] = number(
            mean([mean([abs(d) for d in row]) for row in deltas])
        )
        totals = [sum(row, Decimal(0)) for row in deltas]
        out["chi2_sequence"] = number(mean([(2 * t).exp() for t in totals]) - 1)
        out["ess_sequence"] = effective([t.exp() for t in totals])
        out["log_ratio_sequence_mean"], out["log_ratio_sequence_std"] = (
            number(mean(totals)),
            spread(totals),
        )
        out["log_ratio_sequence_max_abs"] = number(max(abs(t) for t in totals))
        errors = [mean([abs(d).exp() for d in row]) for row in deltas]
        for name, value in (
            ("mean", mean(errors)),
            ("max", max(errors)),
            ("min", min(errors)),
        ):
            out[f"sequence_mult_prob_error_{name}"] = number(value)
        possible = [
            kept
            for row in rows
            if (kept := [t for t in row if t[1] > -INF and t[2] > -INF])
        ]
        if possible:
            a, b = (
                [mean([Decimal(t[side]) for t in row]) for row in possible]
                for side in (1, 2)
            )
            differences = [y - x for x, y in zip(a, b, strict=True)]
            out["ppl_a"], out["ppl_b"] = (
                number(mean([(-x).exp() for x in side])) for side in (a, b)
            )
            out["ppl_ratio"] = number(mean([d.exp() for d in differences]))
            out["log_ppl_diff"] = number(mean(differences))
            out["log_ppl_a"], out["log_ppl_b"] = (
                number(-mean(side)) for side in (a, b)
            )
            out["log_ppl_diff_max"], out["log_ppl_diff_min"] = (
                number(max(differences)),
                number(min(differences)),
            )
            out["log_ppl_abs_diff"] = number(mean([abs(d) for d in differences]))
    return out


def assert_equal(got: Fields, wanted: Fields, table: Tokens) -> None:
    """Tolerances: what cancels is off relative to the sizes that were summed, not to
    the result.
    """
    assert got.keys() == wanted.keys()
    deltas = [[abs(x - y) for x, y in row if math.isfinite(x - y)] for row in table]
    size = max((d for row in deltas for d in row), default=0.0)
    total = max((sum(row) for row in deltas), default=0.0)
    largest = wanted["ratio_max"] or 0.0
    cancels = {
        "k1": size,
        "log_ppl_diff": size,
        "log_ppl_diff_max": size,
        "log_ppl_diff_min": size,
        "k3_max": size,
        "k3_std": size + largest,
        "log_ppl_abs_diff": size,
        "log_ratio_sequence_mean": total,
        "log_ratio_sequence_std": total,
        "log_ratio_sequence_max_abs": total,
        "ratio_std": largest,
        "ratio_std_clamped": 1.0,
        # r - delta - 1 is the difference of two numbers of the size of delta (r - 1 is
        # computed as one number).
        "k3": size,
        "k3_reverse": size,
        "chi2_token": size,
        "chi2_sequence": total,
    }
    for key, value in wanted.items():
        if value is None or isinstance(value, dict):
            assert got[key] == value, key
            continue
        # The exponential of a sum that is off by x is off by the factor exp(x).
        rel = (
            REL * (1 + 2 * total)
            if key in ("chi2_sequence", "ess_sequence", "ppl_ratio")
            else REL
        )
        assert got[key] == pytest.approx(
            value, rel=rel, abs=REL * cancels.get(key, 0.0)
        ), key


@given(sequences)
def test_against_decimal_loops(table: list[list[tuple[float, float]]]) -> None:
    got = stats_of(table).to_json()
    assert_equal(got, by_hand(table), table)
    json.dumps(got, allow_nan=False)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 0.03, 1.0, 30.0])
def test_random_sequences_against_decimal_loops(scale: float) -> None:
    rng = np.random.default_rng(7)
    b = -rng.exponential(1.0, 80)
    a = b + rng.normal(0, scale, 80)
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    table = [pairs[:1], pairs[1:40], [], pairs[40:42], pairs[42:]]
    assert_equal(stats_of(table).to_json(), by_hand(table), table)


def test_known_numbers() -> None:
    half = math.log(2)
    stats = stats_of(
        [[(-1.0, -1.0), (-1.0, -1.0 - half)], [(-2.0 - half, -2.0)]], sampled_by_b=True
    )
    approx = pytest.approx
    assert stats.k1 == approx(
        0.0, abs=1e-16
    )  # deltas 0, log 2, -log 2: ratios 1, 2, 1/2
    assert stats.k3 == approx((2 - half - 1 + 0.5 + half - 1) / 3, rel=1e-14)
    assert stats.chi2_token == approx((1 + 4 + 0.25) / 3 - 1, rel=1e-14)
    assert stats.ess_token == approx(3.5**2 / (3 * 5.25), rel=1e-14)
    assert stats.ess_sequence == approx(2.5**2 / (2 * 4.25), rel=1e-14)
    expected = (math.exp(1) + 2 * math.exp(2)) / 2
    assert stats.ppl_a == approx(expected, rel=1e-14)
    assert stats.ratio_min == approx(0.5)
    assert stats.ratio_max == approx(2.0)
    assert stats.clip_fraction == {"0.1": 2 / 3, "0.2": 2 / 3, "0.3": 2 / 3}
    assert stats.sequence_mult_prob_error_max == approx(2.0)
    assert stats.sampled_by_b is True
    own = mismatch_stats(
        *arrays_of([[(-1.0, -1.5)], [(-1.0, -1.0)]]),
        None,
        clip_bounds=(0.7, 0.6),
        extreme_bounds=(1.5,),
    )
    assert own.clip_fraction == {"0.7": 0.0, "0.6": 0.5}
    assert own.extreme_fraction == {"1.5": 0.5}


def test_blocks_change_nothing() -> None:
    """More tokens than three blocks, sequences across their borders, float32 as in a
    session.
    """
    rng = np.random.default_rng(3)
    n = 3 * BLOCK + 17
    b = (-rng.exponential(1.0, n)).astype(np.float32)
    a = b + rng.normal(0, 0.05, n).astype(np.float32)
    delta = a - b
    lengths = np.array([1, 0, BLOCK - 5, 2 * BLOCK, n - 3 * BLOCK + 4])
    got = mismatch_stats(delta, a, b, lengths, None)
    d = [float(x) for x in delta]
    r = [math.exp(x) for x in d]
    total = math.fsum(r)
    square = math.fsum(x * x for x in r)
    # Sums are pairwise within blocks of 2^13: about 13 roundings deep, 40 with what
    # comes before. Where 1 is subtracted here after the exponential, that is relative
    # to 1.
    tight = 40 * 2**-52
    one = 40 * 2**-52
    assert got.k1 == pytest.approx(-math.fsum(d) / n, abs=tight * 0.05)
    expected = math.fsum(x * x for x in d) / n / 2
    assert got.k2 == pytest.approx(expected, rel=tight)
    assert got.k3 == pytest.approx(
        math.fsum(math.exp(x) - x - 1 for x in d) / n, abs=one
    )
    assert got.js == pytest.approx(
        math.fsum(math.log(math.cosh(x / 2)) for x in d) / n, abs=one
    )
    assert got.chi2_token == pytest.approx(square / n - 1, abs=one)
    assert got.ess_token == pytest.approx(total**2 / (n * square), rel=one)
    assert got.ratio_mean == pytest.approx(total / n, rel=one)
    around = math.fsum((x - total / n) ** 2 for x in r)
    assert got.ratio_std == pytest.approx(
        math.sqrt(around / (n - 1)), rel=40 * one
    )  # one relative to a spread of 1/20
    assert got.ratio_p99 == pytest.approx(
        float(np.quantile(np.array(r), 0.99)), rel=one
    )
    ends = np.cumsum(lengths).tolist()
    filled = [(e - k, e) for e, k in zip(ends, lengths.tolist(), strict=True) if k]
    sums = [math.fsum(d[s:e]) for s, e in filled]
    assert got.log_ratio_sequence_max_abs == pytest.approx(
        max(map(abs, sums)), abs=tight * 0.05 * n
    )
    errors = [math.fsum(math.exp(abs(x)) for x in d[s:e]) / (e - s) for s, e in filled]
    assert got.sequence_mult_prob_error_mean == pytest.approx(
        math.fsum(errors) / 4, rel=one
    )
    assert got.sequence_mult_prob_error_min == pytest.approx(min(errors), rel=one)


@pytest.mark.parametrize("n", [1, 2, 3, 64, 65, 101, 1000, 6401])
def test_ratio_quantile_is_that_of_sorting(n: int) -> None:
    """Also where the sample that finds the tail misleads: ties, sorted, one value
    only.
    """
    rng = np.random.default_rng(n)
    periodic = np.where(np.arange(n) % 64 == 0, 3.0, rng.normal(0, 0.1, n))
    for values in (
        rng.normal(0, 1, n),
        np.sort(rng.normal(0, 1, n)),
        np.zeros(n),
        rng.integers(0, 2, n) * 1.0,
        periodic,
    ):
        got = mismatch_stats(
            values, values - 9, np.full(n, -9.0), np.array([n]), None
        ).ratio_p99
        assert got == pytest.approx(
            float(np.quantile(np.exp(values), 0.99)), rel=8 * 2**-52
        )


def test_small_deltas_keep_their_digits() -> None:
    """float32 engines differ by 1e-6: exp(d) - d - 1 would leave 4 of 16 digits of
    k3.
    """
    rng = np.random.default_rng(5)
    table = [[(-1.0 + x, -1.0) for x in rng.normal(0, 1e-6, 50).tolist()]]
    got = stats_of(table).to_json()
    wanted = by_hand(table)
    # Each r - 1 - d is off by 2^-53 of |d|, which is 2^-52 / |d| = 2e-10 of d^2 / 2.
    for key in ("k3", "k3_reverse", "js", "k2"):
        assert got[key] == pytest.approx(wanted[key], rel=1e-9), key


def test_nothing_scored_gives_none_everywhere() -> None:
    for table in ([], [[]], [[(NAN, -1.0)], []], [[(-INF, -1.0), (-1.0, -INF)]]):
        stats = stats_of(table, sampled_by_b=False).to_json()
        assert stats.pop("sampled_by_b") is False
        assert (
            set(stats.pop("clip_fraction").values())
            == set(stats.pop("extreme_fraction").values())
            == {None}
        )
        assert set(stats.values()) == {None}


def test_one_token() -> None:
    stats = stats_of([[(-1.0, -1.5)]])
    assert stats.ratio_std is None
    assert stats.log_ratio_sequence_std is None
    assert stats.ess_token == 1.0
    assert stats.ess_sequence == 1.0
    assert stats.ratio_p99 == stats.ratio_min == stats.ratio_max == math.exp(0.5)
    assert stats.k1 == -0.5
    assert stats.log_ppl_diff == -0.5


def test_all_equal() -> None:
    row = [(-1.0, -1.0), (-3.3, -3.3)]
    stats = stats_of([row, [], [(-0.1, -0.1)]])
    zeros = (
        "k1 k2 k3 k3_reverse chi2_token chi2_sequence js ratio_std log_ppl_diff"
        " log_ppl_abs_diff log_ratio_sequence_std"
    )
    ones = (
        "ess_token ess_sequence ppl_ratio ratio_mean ratio_min ratio_max ratio_p99"
        " sequence_mult_prob_error_mean"
    )
    got = stats.to_json()
    found = {key: got[key] for key in zeros.split()}
    assert found == dict.fromkeys(zeros.split(), 0.0)
    assert {key: got[key] for key in ones.split()} == dict.fromkeys(ones.split(), 1.0)
    assert str(stats.k1) == "0.0" and str(stats.log_ppl_diff) == "0.0"  # no -0.0
    assert (
        set(stats.clip_fraction.values())
        == set(stats.extreme_fraction.values())
        == {0.0}
    )


@pytest.mark.parametrize("shift", [-350.0, -1.7, -1e-9, 0.1, 1 / 3, 200.0, 350.0])
def test_a_constant_delta_has_no_spread(shift: float) -> None:
    """Although the mean of 13 equal numbers is not that number: it rounds."""
    stats = mismatch_stats(
        np.full(91, shift), np.full(91, -9.0), np.full(91, -9.0), np.full(13, 7), None
    )
    assert stats.ratio_std == 0.0
    assert stats.log_ratio_sequence_std == 0.0
    assert stats.ess_token == 1.0
    assert stats.ess_sequence == 1.0


def test_what_float64_cannot_hold_is_none() -> None:
    up = stats_of([[(-1.0, -801.0), (-1.0, -1.0)]])
    assert up.k1 == -400.0
    assert up.k2 == 160000.0
    assert up.k3_reverse == pytest.approx(799 / 2)
    assert (up.k3, up.chi2_token, up.ratio_mean, up.ratio_max, up.ratio_std) == (
        None,
    ) * 5
    assert up.sequence_mult_prob_error_mean is None
    assert up.ratio_p99 is None
    assert up.ppl_b == pytest.approx(math.exp(401))
    assert up.ess_token == 0.5
    assert up.ratio_min == 1.0
    expected = (400 - math.log(2)) / 2
    assert up.js == pytest.approx(expected)
    down = stats_of([[(-801.0, -1.0), (-1.0, -1.0)]])
    assert down.k3 == pytest.approx(799 / 2)
    assert down.ratio_mean == 0.5
    assert down.ratio_min == 0.0
    assert down.k3_reverse is None
    assert down.ess_token == 0.5
    assert down.chi2_token == -0.5
    # r^2 is beyond float64, its square root, the standard deviation, is not.
    middle = stats_of([[(-1.0, -501.0), (-1.0, -1.0)]])
    assert middle.chi2_token is None
    assert middle.ratio_std == pytest.approx(
        math.exp(500) / math.sqrt(2), rel=1e-13
    )  # exp(500) is off by 500 units
    json.dumps([up.to_json(), down.to_json(), middle.to_json()], allow_nan=False)


def test_long_sequences_beyond_the_exponential() -> None:
    """2,000 tokens of +-0.5: no sequence ratio is a float64, but their ESS is a
    number.
    """
    table = [
        [(-1.0, -1.5)] * 2000,
        [(-1.0, -1.5)] * 1999 + [(-1.0, -1.0)],
        [(-1.5, -1.0)] * 2000,
    ]
    stats = stats_of(table)
    small = math.exp(-0.5)
    assert stats.chi2_sequence is None
    assert stats.ess_sequence == pytest.approx(
        (1 + small) ** 2 / (3 * (1 + small**2)), rel=1e-12
    )
    assert stats.log_ratio_sequence_max_abs == 1000.0
    # Underflow: all weights are 0 in float64, and yet two of them are equal.
    assert stats_of([[(-1.5, -1.0)] * 2000] * 2).ess_sequence == 1.0
    assert stats_of([[(-1.5, -1.0)] * 2000] * 2).chi2_sequence == -1.0


def test_impossible_tokens_leave_the_numbers_alone() -> None:
    clean = stats_of([[(-1.0, -2.0), (-3.0, -2.5)], [(-2.0, -2.0)]])
    mixed = stats_of(
        [
            [(-1.0, -2.0), (-INF, -1.0), (-3.0, -2.5)],
            [(-1.0, -INF)],
            [(-2.0, -2.0), (-INF, -2.0)],
        ]
    )
    assert mixed == clean
    # Impossible to both: a ratio of 1, but no perplexity.
    both = stats_of(
        [[(-1.0, -2.0), (-3.0, -2.5)], [(-2.0, -2.0), (-INF, -INF)], [(-INF, -INF)]]
    )
    assert both.ppl_a == clean.ppl_a
    assert both.ppl_b == clean.ppl_b
    assert both.ppl_ratio == clean.ppl_ratio
    expected = (math.exp(1) + math.exp(-0.5) + 3) / 5
    assert both.ratio_mean == pytest.approx(expected)
    assert stats_of([[(-INF, -INF)]]).ppl_a is None
    assert stats_of([[(-INF, -INF)]]).k3 == 0.0


def test_lengths_have_to_add_up() -> None:
    three = np.zeros(3)
    for lengths in ([2], [4], [4, -1], []):
        with pytest.raises(ValueError, match="3 deltas"):
            mismatch_stats(three, three, three, np.array(lengths, np.int64), None)
        with pytest.raises(ValueError, match="3 deltas"):
            what_if(three, np.array(lengths, np.int64))
    with pytest.raises(ValueError, match="log-probabilities"):
        mismatch_stats(three, three, np.zeros(2), np.array([3]), None)


@given(scored_sequences)
def test_bounds_and_signs(table: list[list[tuple[float, float]]]) -> None:
    stats = stats_of(table)
    assert stats.k2 >= 0
    assert stats.k3 >= 0
    assert stats.k3_reverse >= 0
    assert stats.js >= 0
    assert 0 < stats.ess_token <= 1
    assert 0 < stats.ess_sequence <= 1
    assert stats.sequence_mult_prob_error_min >= 1
    top = 1 + REL
    assert (
        stats.sequence_mult_prob_error_min <= stats.sequence_mult_prob_error_mean * top
    )
    assert (
        stats.sequence_mult_prob_error_mean <= stats.sequence_mult_prob_error_max * top
    )
    assert stats.ratio_min <= stats.ratio_mean * top
    assert stats.ratio_mean <= stats.ratio_max * top
    assert stats.ratio_p99 <= stats.ratio_max * top
    assert stats.log_ppl_abs_diff >= abs(stats.log_ppl_diff)
    assert stats.js <= stats.k2 / 4 * top  # log cosh x <= x^2 / 2
    # Jensen: E[r] >= exp(E[log r]), E[r^2] >= E[r]^2.
    assert stats.ratio_mean >= math.exp(-stats.k1) * (1 - REL * 41)
    assert (
        stats.chi2_token + 1 >= stats.ratio_mean**2 * (1 - REL) - REL
    )  # near -1, chi2 is rounded relative to 1
    shares = (
        [stats.clip_fraction[f"{c:g}"] for c in CLIP_BOUNDS],
        [stats.extreme_fraction[f"{t:g}"] for t in EXTREME_BOUNDS],
    )
    for share in shares:
        assert share == sorted(share, reverse=True)
        assert share[-1] >= 0
        assert share[0] <= 1


@given(scored_sequences)
def test_a_more_likely_everywhere(table: list[list[tuple[float, float]]]) -> None:
    """A above B: k1 negative, ratios above 1, A's perplexity the smaller one; and the
    other way round.
    """
    rows = [[(max(x, y) + 0.5, min(x, y)) for x, y in row] for row in table]
    above = stats_of(rows)
    assert above.k1 < 0
    assert above.log_ppl_diff < 0
    assert above.ppl_ratio < 1
    assert above.ppl_a < above.ppl_b
    assert above.ratio_min > 1
    assert above.log_ratio_sequence_mean > 0
    assert above.chi2_token > 0
    rows = [[(min(x, y), max(x, y) + 0.5) for x, y in row] for row in table]
    below = stats_of(rows)
    assert below.k1 > 0
    assert below.ppl_ratio > 1
    assert below.ratio_max < 1
    assert below.chi2_token < 0


@given(scored_sequences)
def test_swapping_the_sides(table: list[list[tuple[float, float]]]) -> None:
    """Rounding is symmetric, so most of it is exact."""
    one = stats_of(table)
    other = stats_of([[(y, x) for x, y in row] for row in table])
    assert one.k1 == -other.k1
    assert one.k2 == other.k2
    assert one.js == other.js
    assert one.k3 == other.k3_reverse
    assert one.k3_reverse == other.k3
    assert one.ppl_a == other.ppl_b
    assert one.ppl_b == other.ppl_a
    assert one.log_ppl_diff == -other.log_ppl_diff
    assert one.log_ppl_abs_diff == other.log_ppl_abs_diff
    assert one.sequence_mult_prob_error_mean == other.sequence_mult_prob_error_mean
    assert one.extreme_fraction == other.extreme_fraction
    assert one.ratio_min == pytest.approx(1 / other.ratio_max, rel=4 * 2**-52)
    assert one.log_ratio_sequence_mean == -other.log_ratio_sequence_mean


@given(sequences, st.randoms(use_true_random=False))
def test_order_of_sequences_changes_nothing(
    table: list[list[tuple[float, float]]], random: Any
) -> None:
    shuffled = list(table)
    random.shuffle(shuffled)
    assert_equal(stats_of(shuffled).to_json(), stats_of(table).to_json(), table)
    delta, _, _, lengths = arrays_of(table)
    other, _, _, other_lengths = arrays_of(shuffled)
    if not np.isinf(delta).any():
        # Sums of the same tokens in the same order: shares of a sequence do not depend
        # on where it stands.
        assert what_if(delta, lengths) == what_if(other, other_lengths)


@given(sequences)
def test_masking_equals_deleting(table: list[list[tuple[float, float]]]) -> None:
    deleted = [[(x, y) for x, y in row if not math.isnan(x + y)] for row in table]
    assert (
        stats_of(table)
        == stats_of(deleted)
        == stats_of([row for row in deleted if row])
    )
    delta, _, _, lengths = arrays_of(table)
    kept, _, _, kept_lengths = arrays_of(deleted)
    assert what_if(delta, lengths) == what_if(kept, kept_lengths)


@given(scored_sequences, st.integers(0, 10))
def test_prompt_and_completion_recombine(
    table: list[list[tuple[float, float]]], cut: int
) -> None:
    """Means over tokens, weighted by tokens, are those of all; so are sums of log
    ratios over sequences.
    """
    parts = [[row[:cut] for row in table], [row[cut:] for row in table]]
    weights = [sum(map(len, part)) for part in parts]
    left, right, whole = (stats_of(part).to_json() for part in (*parts, table))
    n = sum(weights)

    def joined(key: str) -> float:
        return (
            sum(
                (side[key] or 0.0) * weight
                for side, weight in zip((left, right), weights, strict=True)
            )
            / n
        )

    for key in ("k2", "k3", "k3_reverse", "js", "ratio_mean"):
        # k3 of tokens that differ by less than 1e-16 of what others differ by is below
        # the rounding of the sum.
        assert joined(key) == pytest.approx(
            whole[key], rel=REL, abs=REL * 40 * (key[:2] == "k3")
        ), key
    assert joined("k1") == pytest.approx(whole["k1"], abs=REL * 40)
    assert joined("chi2_token") == pytest.approx(
        whole["chi2_token"], rel=REL, abs=REL * 40
    )
    for key in ("clip_fraction", "extreme_fraction"):
        for bound, value in whole[key].items():
            share = (
                sum(
                    (side[key][bound] or 0.0) * w
                    for side, w in zip((left, right), weights, strict=True)
                )
                / n
            )
            assert share == pytest.approx(value, rel=4 * 2**-52)
    sums = [
        (side["log_ratio_sequence_mean"] or 0.0) * sum(map(bool, part))
        for side, part in zip((left, right, whole), (*parts, table), strict=True)
    ]
    assert sums[0] + sums[1] == pytest.approx(sums[2], abs=REL * 40 * n)


# What a correction would drop
# -----------------------------------------------------------------------------


def shares_by_hand(table: Tokens, rule: Rule) -> tuple[float | None, float | None]:
    rows = [
        [0.0 if x == y else x - y for x, y in row if not math.isnan(x + y)]
        for row in table
    ]
    rows = [row for row in rows if row]
    if not rows:
        return None, None

    def outside(log_ratio: float) -> bool:
        if math.isnan(log_ratio):
            return True
        ratio = (
            Decimal(log_ratio).exp() if log_ratio > -INF else Decimal(0)
        )  # Decimal has an infinity
        above = rule.high is not None and ratio > Decimal(rule.high)
        return above or (rule.low is not None and ratio < Decimal(rule.low))

    def total(row: Sequence[float]) -> float:
        return math.fsum(row) if all(map(math.isfinite, row)) else sum(row)

    tokens = dropped = 0
    for row in rows:
        if rule.level == "token":
            hits = sum(outside(d) for d in row)
            if rule.rule == "veto":
                tokens += len(row) if hits else 0
            else:
                tokens += hits
            dropped += hits > 0
        else:
            hit = outside(total(row) / (len(row) if rule.level == "geometric" else 1))
            tokens += len(row) if hit else 0
            dropped += hit
    return tokens / sum(map(len, rows)), dropped / len(rows)


@given(sequences)
def test_what_if_against_loops(table: list[list[tuple[float, float]]]) -> None:
    """Exact: shares are quotients of counts. Drawn float32 values do not come within
    rounding of a bound's logarithm.
    """
    delta, _, _, lengths = arrays_of(table)
    found = what_if(delta, lengths)
    for rule, result in zip(RULES, found, strict=True):
        assert (result.tokens, result.sequences) == shares_by_hand(table, rule), rule
        assert result.rule == rule.rule
        assert result.name == rule.name
        assert result.level == rule.level
        assert result.low == rule.low
        assert result.high == rule.high
    json.dumps([result.to_json() for result in found], allow_nan=False)


@pytest.mark.parametrize("scale", [3e-4, 0.01, 0.2, 2.0])
def test_what_if_on_random_data(scale: float) -> None:
    rng = np.random.default_rng(11)
    table = [
        [(-5.0 + x, -5.0) for x in rng.normal(0, scale, k).tolist()]
        for k in (1, 30, 0, 7, 200, 2)
    ]
    delta, _, _, lengths = arrays_of(table)
    for rule, result in zip(RULES, what_if(delta, lengths), strict=True):
        assert (result.tokens, result.sequences) == shares_by_hand(table, rule), rule


def only(
    delta: list[float], lengths: list[int], rule: Rule
) -> tuple[float | None, float | None]:
    (result,) = what_if(np.array(delta), np.array(lengths, np.int64), (rule,))
    return result.tokens, result.sequences


def test_infinite_ratios_are_outside() -> None:
    tis = Rule("tis", "", None, 2.0, "token")
    mask = Rule("mis", "", 0.5, 2.0, "token")
    delta = [INF, 0.0, -INF, 0.0]
    lengths = [2, 2]
    assert only(delta, lengths, tis) == (0.25, 0.5)  # 0 is below 2: nothing to cut
    assert only(delta, lengths, mask) == (0.5, 1.0)
    assert only(delta, lengths, Rule("mis", "", None, 3.0, "sequence")) == (0.5, 0.5)
    assert only(delta, lengths, Rule("mis", "", 0.9, 1.1, "geometric")) == (1.0, 1.0)
    assert only([INF, -INF, 0.0], [2, 1], Rule("mis", "", None, 3.0, "sequence")) == (
        2 / 3,
        0.5,
    )  # no ratio at all
    assert only(delta, lengths, Rule("veto", "", 1e-4, None, "token")) == (0.5, 0.5)


def test_bounds_themselves_are_inside() -> None:
    rule = Rule("mis", "", 0.5, 2.0, "token")
    exact = [math.log(0.5), math.log(2.0)]
    assert only(exact, [2], rule) == (0.0, 0.0)
    assert only(
        [np.nextafter(exact[0], -1), np.nextafter(exact[1], 1)], [1, 1], rule
    ) == (1.0, 1.0)
    assert only([0.0, -745.0], [2], Rule("tis", "", 0.0, 2.0, "token")) == (0.0, 0.0)


def test_a_veto_drops_the_sequence_for_one_token() -> None:
    veto = Rule("veto", "", 1e-4, None, "token")
    assert only([0.0, -9.3, 0.0, 0.1], [3, 1], veto) == (0.75, 0.5)
    assert only([0.0, -9.2, 0.0, 0.1], [3, 1], veto) == (0.0, 0.0)


def test_nothing_to_correct() -> None:
    assert (
        only([], [], RULES[0])
        == only([], [0, 0], RULES[0])
        == only([NAN], [1], RULES[0])
        == (None, None)
    )
    assert only([0.0], [0, 1, 0], RULES[0]) == (0.0, 0.0)
    assert isinstance(what_if(np.zeros(1), np.array([1]))[0], WhatIf)


def test_rules_are_what_the_frameworks_ship() -> None:
    got = {(rule.rule, rule.level, rule.low, rule.high) for rule in RULES}
    assert got == {
        ("tis", "token", None, 2.0),
        ("tis", "token", 0.5, 5.0),
        ("icepop", "token", 0.5, 5.0),
        ("mis", "token", 0.5, 2.0),
        ("veto", "token", 1e-4, None),
        ("tis", "sequence", None, 2.0),
        ("tis", "sequence", None, 5.0),
        ("mis", "sequence", None, 3.0),
        ("mis", "sequence", 0.5, 2.0),
        ("mis", "geometric", 0.999, 1.001),
        ("mis", "geometric", 0.999, 1.002),
        ("mis", "geometric", 0.99, 1.01),
        ("mis", "geometric", 0.5, 5.0),
    }
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(
    ("low", "high"),
    [(2.0, 0.5), (None, None), (-0.1, 2.0), (1.0, 1.0), (0.0, None), (NAN, 2.0)],
)
def test_bounds_that_keep_nothing_or_everything_are_refused(
    low: float | None, high: float | None
) -> None:
    with pytest.raises(ValueError, match="low < high"):
        Rule("mis", "mine", low, high, "token")
