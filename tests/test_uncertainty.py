"""Intervals: how often they hold a truth that is known, against plain loops and SciPy,
and in every corner.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from logdrift.core.compare import bootstrap
from logdrift.core.compare import units as unit_module
from logdrift.core.compare.uncertainty import (
    Intervals,
    intervals,
    intervals_of,
    paired_changes,
)
from logdrift.core.compare.units import UnitSums, unit_sums

NAMES = ("mean", "mae", "rmse", "k3")
RUNS = 1000
LEVEL_SD = 0.5
LEVEL = 0.03
FREEDOM = 3.0
# Sums of some hundred float64 in another order, then a difference of two of them that
# is 1e-3 of their size.
REL = 1e-9


def mean_abs_student(freedom: float) -> float:
    """E|t| of Student's t."""
    ratio = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2)
    return 2 * math.sqrt(freedom) * ratio / (math.sqrt(math.pi) * (freedom - 1))


def make_set(
    random: np.random.Generator,
    sequences: int,
    level_sd: float = LEVEL_SD,
    freedom: float = FREEDOM,
) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of lognormal length with lognormal levels, heavy-tailed tokens.
    E|delta| = LEVEL E|t|, E delta = 0.
    """
    lengths = np.clip(
        np.exp(4.2 + 0.7 * random.standard_normal(sequences)), 8, 600
    ).astype(np.int64)
    levels = LEVEL * np.exp(
        level_sd * random.standard_normal(sequences) - level_sd**2 / 2
    )
    delta = np.repeat(levels, lengths) * random.standard_t(freedom, int(lengths.sum()))
    return delta.astype(np.float32), lengths


def share_held(
    make: Callable[[np.random.Generator], Intervals], truth: dict[str, float]
) -> dict[str, float]:
    random = np.random.default_rng(20260101)
    held = dict.fromkeys(truth, 0)
    for _ in range(RUNS):
        found = make(random)
        for name, value in truth.items():
            interval = getattr(found, name)
            assert interval is not None
            held[name] += interval[0] <= value <= interval[1]
    return {name: count / RUNS for name, count in held.items()}


@pytest.mark.parametrize("sequences", [16, 24, 64])
def test_the_interval_holds_the_truth(sequences: int) -> None:
    """Of 1,000 sets with a known mean |delta| and mean delta, 92 to 98% of the
    intervals hold it.
    """
    truth = {"mae": LEVEL * mean_abs_student(FREEDOM), "mean": 0.0}
    held = share_held(lambda random: intervals(*make_set(random, sequences)), truth)
    assert all(0.92 <= share <= 0.98 for share in held.values()), held


def test_the_interval_of_the_rmse_holds_the_truth() -> None:
    """Where the square of a token has a variance: levels apart by 30%, as in the
    shipped sample, t with 5 degrees.

    E delta^2 = LEVEL^2 exp(sd^2) 5/3. With heavier tails the module's docstring says
    how often it fails.
    """
    truth = {
        "rmse": LEVEL * math.exp(0.3**2 / 2) * math.sqrt(5 / 3),
        "mae": LEVEL * mean_abs_student(5),
    }
    held = share_held(lambda random: intervals(*make_set(random, 24, 0.3, 5)), truth)
    assert all(0.92 <= share <= 0.98 for share in held.values()), held


def test_the_interval_of_k3_over_sequences_holds_the_truth() -> None:
    """Normal tokens whose spread s is lognormal over sequences: E k3 = E exp(s^2 / 2) -
    1, by quadrature over s.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    levels = LEVEL * np.exp(0.3 * nodes - 0.3**2 / 2)
    truth = {"k3": float(weights @ np.expm1(levels**2 / 2) / weights.sum())}

    def make(random: np.random.Generator) -> Intervals:
        _, lengths = make_set(random, 24)
        level = LEVEL * np.exp(0.3 * random.standard_normal(24) - 0.3**2 / 2)
        delta = np.repeat(level, lengths) * random.standard_normal(int(lengths.sum()))
        return intervals(delta.astype(np.float32), lengths)

    held = share_held(make, truth)
    assert all(0.92 <= share <= 0.98 for share in held.values()), held


def test_blocks_of_one_long_sequence_hold_the_truth() -> None:
    """2,000 autocorrelated tokens, AR(1) with 0.6 and normal errors: E|delta| = sigma
    sqrt(2 / pi).
    """

    def make(random: np.random.Generator) -> Intervals:
        noise = random.standard_normal(2000) * math.sqrt(1 - 0.6**2)
        noise[0] /= math.sqrt(1 - 0.6**2)
        delta = noise.copy()
        for i in range(1, len(delta)):
            delta[i] = noise[i] + 0.6 * delta[i - 1]
        found = intervals((0.03 * delta).astype(np.float32), np.array([2000]))
        assert found.method == "blocks"
        return found

    truth = {
        "mae": 0.03 * math.sqrt(2 / math.pi),
        "rmse": 0.03,
        "mean": 0.0,
        "k3": math.exp(0.03**2 / 2) - 1,
    }
    held = share_held(make, truth)
    assert all(0.92 <= share <= 0.98 for share in held.values()), held


def test_the_interval_of_a_change_holds_the_truth() -> None:
    """The same tokens before and after a change that takes a third of the level and
    adds noise of its own.
    """

    def make(random: np.random.Generator) -> Intervals:
        old, lengths = make_set(random, 24)
        size = np.repeat(
            np.add.reduceat(np.abs(old), np.cumsum(lengths) - lengths) / lengths,
            lengths,
        )
        sign = random.choice([-1.0, 1.0], len(old))
        new = np.where(random.random(len(old)) < 0.5, old, 2 / 3 * size * sign)
        return paired_changes(
            unit_sums(old, lengths), unit_sums(new.astype(np.float32), lengths)
        )

    # Half of the tokens keep |delta|; the other half has two thirds of the sequence's
    # own mean |delta|.
    mae = LEVEL * mean_abs_student(FREEDOM)
    held = share_held(make, {"mae": -mae / 6, "mean": 0.0})
    assert all(0.92 <= share <= 0.98 for share in held.values()), held


def by_loops(
    units: UnitSums, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """The definition: each draw's ratio and its linearised standard error, one unit
    after the other.
    """
    tokens, sums = bootstrap.in_order(units.tokens, units.sums)
    count = len(tokens)
    draws = np.random.default_rng(seed).integers(0, count, (resamples, count))
    student = stats.t.ppf(0.975, count - 1) / stats.norm.ppf(0.975)

    def ratio(chosen: list[int], column: int) -> tuple[float, float]:
        n = math.fsum(tokens[i] for i in chosen)
        value = math.fsum(sums[i, column] for i in chosen) / n
        squares = math.fsum((sums[i, column] - value * tokens[i]) ** 2 for i in chosen)
        return value, math.sqrt(count / (count - 1) * squares) / n

    out = {}
    for column, name in enumerate(NAMES):
        value, error = ratio(list(range(count)), column)
        ts = []
        for chosen in draws.tolist():
            v, e = ratio(chosen, column)
            ts.append(
                abs(v - value) / e
                if name == "mean"
                else abs(math.log(v) - math.log(value)) * v / e
            )
        t = min(
            sorted(ts)[math.ceil(0.95 * (resamples + 1)) - 1],
            1.5 * student * stats.norm.ppf(0.975),
        )
        if name == "mean":
            out[name] = (value - t * error, value + t * error)
        else:
            factor = math.exp(t * student * error / value)
            ends = value / factor, value * factor
            out[name] = (
                (math.sqrt(ends[0]), math.sqrt(ends[1])) if name == "rmse" else ends
            )
    return out


@pytest.mark.parametrize(("sequences", "seed"), [(8, 0), (9, 1), (30, 2)])
def test_against_plain_loops(sequences: int, seed: int) -> None:
    units = unit_sums(*make_set(np.random.default_rng(seed + 10), sequences))
    found = intervals_of(units, resamples=199, seed=seed)
    wanted = by_loops(units, 199, seed)
    for name in NAMES:
        # Student's t is an expansion there, good to 3e-5 at 7 degrees of freedom; |t|
        # reaches the limit in some.
        assert getattr(found, name) == pytest.approx(wanted[name], rel=2e-4), name


def test_against_scipy_where_every_method_agrees() -> None:
    """With 400 alike sequences of light tails, BCa of SciPy on its own draws gives the
    same interval.
    """
    random = np.random.default_rng(3)
    lengths = random.integers(40, 60, 400)
    delta = (0.03 * random.standard_normal(int(lengths.sum()))).astype(np.float32)
    units = unit_sums(delta, lengths)
    found = intervals_of(units, resamples=4000)

    def statistic(tokens: np.ndarray, sums: np.ndarray, axis: int) -> np.ndarray:
        return sums.sum(axis) / tokens.sum(axis)

    for column, name in ((0, "mean"), (1, "mae"), (3, "k3")):
        result = stats.bootstrap(
            (units.tokens, units.sums[:, column]),
            statistic,
            paired=True,
            n_resamples=4000,
            random_state=1,
        ).confidence_interval
        low, high = getattr(found, name)
        # 2.5% quantiles of 4,000 draws have a standard error of 0.04 standard
        # deviations, 1% of the width.
        assert (low, high) == pytest.approx(tuple(result), abs=0.06 * (high - low)), (
            name
        )


def test_sums_of_units_are_those_of_their_tokens() -> None:
    delta, lengths = make_set(np.random.default_rng(5), 9)
    units = unit_sums(delta, lengths)
    ends = np.cumsum(lengths)
    for i, (n, end) in enumerate(zip(lengths, ends, strict=True)):
        values = [float(d) for d in delta[end - n : end]]
        wanted = [
            math.fsum(values),
            math.fsum(map(abs, values)),
            math.fsum(d * d for d in values),
            math.fsum(math.expm1(d) - d for d in values),
        ]
        assert units.tokens[i] == n
        assert units.sums[i] == pytest.approx(wanted, rel=REL, abs=1e-12)


def test_many_tokens_are_added_up_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    delta, lengths = make_set(np.random.default_rng(6), 40)
    whole = unit_sums(delta, lengths)
    for tokens in (1, 7, 100, 1000):
        monkeypatch.setattr(unit_module, "_TOKENS", tokens)
        assert np.array_equal(unit_sums(delta, lengths).sums, whole.sums)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 2**32 - 1)), min_size=1, max_size=40
    ),
    st.data(),
)
def test_order_of_sequences_changes_nothing(
    described: list[tuple[int, int]], data: st.DataObject
) -> None:
    rows = [
        np.random.default_rng(s).standard_normal(n).astype(np.float32)
        for n, s in described
    ]
    shuffled = data.draw(st.permutations(rows))
    one, other = (
        intervals(np.concatenate(r), np.array([len(x) for x in r]), resamples=100)
        for r in (rows, shuffled)
    )
    # Blocks of few sequences are cut within them: their sums are the same, whatever the
    # order.
    assert one == other


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_impossible_and_deleted_tokens_are_the_same(seed: int, sequences: int) -> None:
    random = np.random.default_rng(seed)
    delta, lengths = make_set(random, sequences)
    gone = random.random(len(delta)) < 0.3
    kept = np.array(
        [int((~part).sum()) for part in np.split(gone, np.cumsum(lengths)[:-1])]
    )
    marked = np.where(gone, random.choice([-np.inf, np.inf], len(delta)), delta)
    assert intervals(marked, lengths, resamples=100) == intervals(
        delta[~gone], kept, resamples=100
    )


def test_the_same_data_gives_the_same_interval() -> None:
    delta, lengths = make_set(np.random.default_rng(7), 24)
    one = intervals(delta, lengths)
    assert one == intervals(delta, lengths)
    assert one.mae != intervals(delta, lengths, seed=1).mae
    size = np.abs(delta.astype(np.float64))
    for name, value in (
        ("mae", size.mean()),
        ("rmse", math.sqrt((size**2).mean())),
        ("mean", delta.mean()),
    ):
        low, high = getattr(one, name)
        assert low < value < high


@pytest.mark.parametrize("value", [0.0, 0.25, -0.1])
def test_all_equal(value: float) -> None:
    delta = np.full(900, value, np.float32)
    for lengths in ([900], [100] * 9, [10, 0, 90] * 9):
        found = intervals(delta, np.array(lengths))
        d = float(np.float32(value))
        for name, x in (
            ("mean", d),
            ("mae", abs(d)),
            ("rmse", abs(d)),
            ("k3", math.expm1(d) - d),
        ):
            low, high = getattr(found, name)
            assert low == high == pytest.approx(x, rel=REL), name


def test_nothing_and_too_little() -> None:
    nothing = Intervals()
    assert intervals(np.empty(0, np.float32), np.empty(0, np.int64)) == nothing
    assert intervals(np.empty(0, np.float32), np.zeros(12, np.int64)) == nothing
    assert intervals(np.array([0.5], np.float32), np.array([1])) == nothing
    assert intervals(np.full(300, np.inf, np.float32), np.array([100] * 3)) == nothing
    assert intervals(np.full(127, 0.5, np.float32), np.array([127])) == nothing
    assert nothing.to_json() == {
        "mae": None,
        "rmse": None,
        "mean": None,
        "k3": None,
        "method": None,
        "units": 0,
        "resamples": 0,
    }


@pytest.mark.parametrize(
    ("lengths", "method", "units"),
    [
        ([128], "blocks", 8),
        ([2000], "blocks", 16),
        ([100] * 7, "blocks", 21),
        ([3, 0, 125], "blocks", 9),
        ([50] * 8, "sequences", 8),
        ([50] * 8 + [0] * 5, "sequences", 8),
        ([350] + [50] * 7, "sequences", 8),
        ([351] + [50] * 7, "blocks", 23),
    ],
)
def test_what_is_drawn(lengths: list[int], method: str, units: int) -> None:
    delta = np.random.default_rng(8).standard_normal(sum(lengths)).astype(np.float32)
    found = intervals(delta, np.array(lengths))
    assert found.method == method
    assert found.units == units
    assert found.resamples == 2000


@settings(deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=40))
def test_blocks_are_contiguous_and_within_a_sequence(lengths: list[int]) -> None:
    kept = np.array([n for n in lengths if n], np.int64)
    starts, tokens, method = (
        unit_module.cut_units(kept) if len(kept) else (kept, kept, None)
    )
    assert int(tokens.sum()) == int(kept.sum())
    assert (tokens > 0).all()
    assert np.array_equal(starts, np.cumsum(tokens) - tokens)
    assert set(np.cumsum(kept) - kept) <= set(starts)
    if method == "blocks":
        assert (
            unit_module.MIN_UNITS <= len(starts) <= unit_module.MAX_BLOCKS + len(kept)
        )


def test_a_gap_of_one_sequence_has_no_interval() -> None:
    """With all of the gap in 1 of 24 sequences, a third of the draws have none of it:
    nothing can be said.
    """
    delta, lengths = make_set(np.random.default_rng(9), 24)
    delta[int(lengths[0]) :] = 0
    found = intervals(delta, lengths)
    assert found.mae is None
    assert found.rmse is None
    assert found.k3 is None
    assert found.method == "sequences"


def test_a_ratio_that_overflows_takes_only_k3_away() -> None:
    delta, lengths = make_set(np.random.default_rng(10), 24)
    delta[5] = 800.0
    found = intervals(delta, lengths)
    assert found.k3 is None
    assert found.mae is not None
    assert all(map(math.isfinite, found.mae))


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="5 deltas for lengths that add up to 4"):
        intervals(np.zeros(5, np.float32), np.array([1, 3]))


def test_more_sequences_than_are_drawn_are_grouped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Long sequences are worse here: groups of neighbours by length would be alike
    within and overstate the spread.
    """
    delta, lengths = make_set(np.random.default_rng(11), 3000)
    units = unit_sums(delta * np.repeat(lengths, lengths) / 80, lengths)
    grouped = intervals_of(units)
    assert grouped.method == "sequences"
    assert grouped.units == 3000
    monkeypatch.setattr(bootstrap, "MAX_DRAWN", 3000)
    single = intervals_of(units)
    for name in ("mean", "mae"):
        (low, high), (a, b) = getattr(grouped, name), getattr(single, name)
        # The spread of 512 groups has a standard error of 1 / sqrt(2 x 512) = 3%; three
        # of them.
        assert high - low == pytest.approx(b - a, rel=0.1)
        expected = (a + b) / 2
        assert (low + high) / 2 == pytest.approx(expected, abs=0.1 * (b - a))


def test_memory_has_a_bound() -> None:
    units = unit_sums(*make_set(np.random.default_rng(12), 10_000))
    tracemalloc.start()
    try:
        intervals_of(units, resamples=2000)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_no_change_and_a_change_of_scale() -> None:
    delta, lengths = make_set(np.random.default_rng(13), 24)
    old = unit_sums(delta, lengths)
    same = paired_changes(old, old)
    assert all(getattr(same, name) == (0.0, 0.0) for name in NAMES)
    assert same.method == "sequences"
    assert same.units == 24
    half = paired_changes(old, unit_sums(delta / 2, lengths))
    level = intervals_of(old)
    assert half.mae is not None
    assert half.rmse is not None
    assert level.mae is not None
    assert half.mae[0] < half.mae[1] < 0
    assert half.rmse[0] < half.rmse[1] < 0


def change_by_loops(
    old: UnitSums, new: UnitSums, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Influence of each unit on new - old, from the definition; the root mean square by
    its derivative.
    """
    joint = np.column_stack(
        [new.sums - old.sums, new.sums[:, 2], old.sums[:, 2], new.sums, old.sums]
    )
    key, _ = bootstrap.in_order(new.tokens, joint)
    order = [int(np.flatnonzero(new.tokens == n)[0]) for n in key]
    count = len(order)
    draws = np.random.default_rng(seed).integers(0, count, (resamples, count)).tolist()

    def change(chosen: list[int], column: int) -> tuple[float, float]:
        n = math.fsum(new.tokens[i] for i in chosen)
        a, b = (
            math.fsum(side.sums[i, column] for i in chosen) / n for side in (new, old)
        )
        p, q = (0.5 / math.sqrt(a), 0.5 / math.sqrt(b)) if column == 2 else (1.0, 1.0)
        influence = [
            p * (new.sums[i, column] - a * new.tokens[i])
            - q * (old.sums[i, column] - b * new.tokens[i])
            for i in chosen
        ]
        error = math.sqrt(count / (count - 1) * math.fsum(x * x for x in influence)) / n
        return (math.sqrt(a) - math.sqrt(b) if column == 2 else a - b), error

    limit = 1.5 * stats.t.ppf(0.975, count - 1)
    out = {}
    for column, name in enumerate(NAMES):
        value, error = change(order, column)
        found = [change([order[i] for i in chosen], column) for chosen in draws]
        ts = sorted(abs(v - value) / e for v, e in found)
        t = min(ts[math.ceil(0.95 * (resamples + 1)) - 1], limit)
        out[name] = (value - t * error, value + t * error)
    return out


def test_changes_against_plain_loops() -> None:
    random = np.random.default_rng(14)
    lengths = np.arange(20, 35)
    random.shuffle(lengths)
    old = (random.standard_normal(int(lengths.sum())) * 0.05).astype(np.float32)
    new = (0.7 * old + 0.01 * random.standard_normal(len(old))).astype(np.float32)
    sides = unit_sums(old, lengths), unit_sums(new, lengths)
    found = paired_changes(*sides, resamples=199, seed=4)
    wanted = change_by_loops(*sides, 199, 4)
    for name in NAMES:
        scale = wanted[name][1] - wanted[name][0]
        assert getattr(found, name) == pytest.approx(wanted[name], abs=2e-4 * scale), (
            name
        )


def test_pairs_cancel_what_sequences_share() -> None:
    delta, lengths = make_set(np.random.default_rng(15), 64)
    old = unit_sums(delta, lengths)
    new = unit_sums(np.float32(0.9) * delta, lengths)
    paired = paired_changes(old, new)
    sides = intervals_of(old), intervals_of(new)
    for name in ("mae", "rmse", "k3"):
        low, high = getattr(paired, name)
        # The variance of two independent sets is the sum of theirs.
        widths = [b - a for a, b in (getattr(side, name) for side in sides)]
        assert high < 0
        assert high - low < 0.5 * math.hypot(*widths)


def test_a_side_of_zeros_changes_by_the_other_side() -> None:
    delta, lengths = make_set(np.random.default_rng(16), 24)
    zero = unit_sums(np.zeros_like(delta), lengths)
    some = unit_sums(delta, lengths)
    value = math.sqrt(some.sums[:, 2].sum() / some.tokens.sum())
    found = paired_changes(zero, some)
    assert found.rmse is not None
    assert found.rmse[0] < value < found.rmse[1]
    gone = paired_changes(some, zero)
    assert gone.rmse is not None
    assert gone.rmse[0] < -value < gone.rmse[1]


def test_changes_need_the_same_tokens() -> None:
    one, other = (unit_sums(*make_set(np.random.default_rng(s), 24)) for s in (17, 18))
    with pytest.raises(ValueError, match="not the same tokens"):
        paired_changes(one, other)
    few = unit_sums(np.zeros(5, np.float32), np.array([5]))
    assert paired_changes(few, few) == Intervals()
