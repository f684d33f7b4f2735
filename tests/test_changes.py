"""The metrics of two sides over the same tokens: values, intervals and verdicts against
straightforward computation.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logdrift.core.compare.bootstrap import draw_counts
from logdrift.core.compare.changes import (
    METRICS,
    STUDENTISED,
    Change,
    change_stats,
)
from logdrift.core.compare.errors import error_stats
from logdrift.core.compare.metric import METRICS as TABLE
from logdrift.core.compare.mismatch import mismatch_stats
from logdrift.core.compare.probability import probability_stats
from logdrift.core.compare.sessions import growth
from logdrift.core.compare.uncertainty import paired_changes
from logdrift.core.compare.unit_totals import TOPK, PairTokens
from logdrift.core.compare.units import unit_sums
from tests.common import INF, NAN, Fields

# Sums of at most some thousand float64 terms in another order: 2^-53 for each term,
# with room for cancellation.
CLOSE: Fields = {"rel": 1e-9, "abs": 1e-12}


def random_side(
    rng: np.random.Generator, n: int, infinite: bool, spread: float = 0.1
) -> PairTokens:
    a = -rng.exponential(2, n).astype(np.float32)
    b = np.minimum(a + rng.normal(0, spread, n), -1e-4).astype(np.float32)
    if infinite:
        a[rng.random(n) < 0.05] = -INF
        b[rng.random(n) < 0.05] = -INF
    with np.errstate(invalid="ignore"):
        delta = a - b
    delta[np.isneginf(a) & np.isneginf(b)] = 0
    known = np.where(rng.random(n) < 0.2, NAN, 0.0)
    return PairTokens(delta, a, b, {m: known + rng.random(n) for m in TOPK})


def plain(
    side: PairTokens, other: PairTokens, lengths: np.ndarray
) -> dict[str, float | None]:
    """The metrics by the functions of the report, over the tokens that are finite in
    both sessions.
    """
    both = np.isfinite(side.delta) & np.isfinite(other.delta)
    a = side.logprob_a
    b = side.logprob_b
    d = side.delta
    e = error_stats(d[both], a[both], b[both])
    whole = error_stats(d, a, b)
    kept = np.add.reduceat(both.astype(np.int64), np.cumsum(lengths) - lengths)
    m = mismatch_stats(d[both], a[both], b[both], kept, None)
    p = probability_stats(a, b)
    out = {
        f"errors.{k}": getattr(e, k)
        for k in ("mae", "rmse", "mean", "p99", "max_abs", "pearson")
    }
    out |= {
        "errors.exact_fraction": whole.exact_fraction,
        "errors.infinite": whole.infinite,
    }
    out |= {f"mismatch.{k}": getattr(m, k) for k in ("k3", "chi2_token", "ess_token")}
    out["mismatch.clip_fraction.0.2"] = m.clip_fraction["0.2"]
    out["probability.mae"] = p.mae
    out["probability.mult_prob_error"] = probability_stats(
        a[both], b[both]
    ).mult_prob_error
    for metric in TOPK:
        x = side.topk[metric]
        y = other.topk[metric]
        out[metric] = float(x[np.isfinite(x) & np.isfinite(y)].mean())
    return out


@pytest.mark.parametrize("infinite", [False, True])
@pytest.mark.parametrize("size", [1, 7, 400])
def test_values_are_those_of_the_report(size: int, infinite: bool) -> None:
    rng = np.random.default_rng(size)
    lengths = rng.integers(1, size + 1, 15)
    sides = [random_side(rng, int(lengths.sum()), infinite, s) for s in (0.1, 0.02)]
    rows = change_stats(sides[0], sides[1], lengths, resamples=0).rows
    assert [row.metric for row in rows] == list(METRICS)
    expected = plain(sides[0], sides[1], lengths), plain(sides[1], sides[0], lengths)
    for row in rows:
        for found, wanted in zip((row.old, row.new), expected, strict=True):
            assert found == pytest.approx(wanted[row.metric], **CLOSE), row.metric


def test_intervals_against_repeating_the_tokens() -> None:
    """Every draw written out token by token, and each metric computed by the functions
    of the report.
    """
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 60, 12)
    unit = np.repeat(np.arange(12), lengths)
    sides = [random_side(rng, len(unit), False, s) for s in (0.1, 0.08)]
    sides[1].topk.update(sides[0].topk)
    found = change_stats(*sides, lengths, resamples=60, seed=4)
    assert found.method == "sequences"
    assert found.units == 12
    assert found.resamples == 60
    drawn: dict[str, list[tuple[float, float]]] = {metric: [] for metric in METRICS}
    for weights in np.concatenate(list(draw_counts(12, 7, 60, 4))):
        at = np.repeat(np.arange(len(unit)), weights[unit].astype(int))
        old, new = (
            PairTokens(
                s.delta[at],
                s.logprob_a[at],
                s.logprob_b[at],
                {m: v[at] for m, v in s.topk.items()},
            )
            for s in sides
        )
        ones = np.ones(len(at), np.int64)
        values = plain(old, new, ones), plain(new, old, ones)
        for metric in METRICS:
            drawn[metric].append((values[0][metric], values[1][metric]))  # type: ignore[arg-type]
    for row in found.rows:
        if row.metric == "errors.max_abs":
            assert row.ci95 is None
            assert row.verdict() is None
        if row.metric == "errors.max_abs" or row.metric in STUDENTISED:
            continue
        old, new = np.asarray(drawn[row.metric]).T
        perfect = TABLE[row.metric].perfect
        assert row.ci95 == pytest.approx(
            tuple(np.quantile(new - old, (0.025, 0.975))), **CLOSE
        ), row.metric
        distance = np.abs(new - perfect) - np.abs(old - perfect)
        assert row.closer == pytest.approx(
            tuple(np.quantile(distance, (0.025, 0.975))), **CLOSE
        ), row.metric


def test_intervals_of_means_are_those_of_the_report() -> None:
    """MAE, RMSE, mean and k3 have the intervals of logdrift.core.compare.uncertainty,
    over tokens finite in both sessions.
    """
    rng = np.random.default_rng(7)
    lengths = rng.integers(1, 60, 12)
    old, new = (random_side(rng, int(lengths.sum()), True, s) for s in (0.1, 0.08))
    both = np.isfinite(old.delta) & np.isfinite(new.delta)
    kept = np.add.reduceat(both.astype(np.int64), np.cumsum(lengths) - lengths)
    wanted = paired_changes(
        unit_sums(old.delta[both], kept), unit_sums(new.delta[both], kept)
    )
    rows = {row.metric: row for row in change_stats(old, new, lengths).rows}
    for metric in STUDENTISED:
        assert rows[metric].ci95 == getattr(wanted, metric.rpartition(".")[2])
        assert metric == "errors.mean" or rows[metric].closer == rows[metric].ci95


def test_draws_do_not_depend_on_the_size_of_a_block() -> None:
    draws = [np.concatenate(list(draw_counts(5, rows, 40, 1))) for rows in (40, 2)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0].sum(axis=1) == 5).all()


def test_the_tail_of_many_tokens_has_the_quantile() -> None:
    """Above 20,000 tokens only the largest are kept: the draws must give the same as
    all tokens would.
    """
    rng = np.random.default_rng(5)
    lengths = np.full(40, 1000)
    sides = [
        PairTokens(d, -np.ones(40_000, np.float32), d - 1)
        for d in rng.normal(0, 0.1, (2, 40_000)).astype(np.float32)
    ]
    row = next(
        r
        for r in change_stats(*sides, lengths, resamples=30).rows
        if r.metric == "errors.p99"
    )
    sizes = [np.abs(side.delta).astype(np.float64) for side in sides]
    assert row.old == pytest.approx(np.quantile(sizes[0], 0.99), **CLOSE)
    drawn = []
    for weights in np.concatenate(list(draw_counts(40, 30, 30, 0))):
        at = np.repeat(np.arange(40_000), np.repeat(weights.astype(int), 1000))
        drawn.append(np.quantile(sizes[1][at], 0.99) - np.quantile(sizes[0][at], 0.99))
    expected = tuple(np.quantile(drawn, (0.025, 0.975)))
    assert row.ci95 == pytest.approx(expected, **CLOSE)


def test_coverage_of_the_interval_of_a_change() -> None:
    """Sequences have levels of their own, shared by both sessions; the true change of
    the MAE is known.
    """
    rng = np.random.default_rng(11)
    runs = 500
    held = 0
    change = -0.01
    lengths = np.full(40, 8)
    for _ in range(runs):
        level = np.repeat(rng.gamma(4, 0.02, 40), 8)
        old, new = (
            (level + shift) * rng.exponential(1, 320) for shift in (0.03, 0.03 + change)
        )
        sides = [
            PairTokens(
                d.astype(np.float32),
                -np.ones(320, np.float32),
                -1 - d.astype(np.float32),
            )
            for d in (old, new)
        ]
        row = change_stats(*sides, lengths, resamples=200, seed=1).rows[0]
        assert row.ci95 is not None
        held += row.ci95[0] <= change <= row.ci95[1]
    assert 0.92 <= held / runs <= 0.98, held


@pytest.mark.parametrize("lengths", [[200], [100, 0, 100], [0, 0, 200]])
def test_few_sequences_fall_back_to_blocks(lengths: list[int]) -> None:
    rng = np.random.default_rng(1)
    found = change_stats(
        random_side(rng, 200, False), random_side(rng, 200, False), np.asarray(lengths)
    )
    assert found.method == "blocks"
    assert found.units == 8
    assert found.rows[0].ci95 is not None


@pytest.mark.parametrize("n", [1, 5])
def test_too_few_tokens_have_no_interval_and_no_verdict(n: int) -> None:
    rng = np.random.default_rng(n)
    found = change_stats(
        random_side(rng, n, False), random_side(rng, n, False), np.asarray([n])
    )
    assert found.method is None
    assert found.resamples == 0
    assert all(
        row.ci95 is None and row.verdict() == (None if row.change != 0 else "no_change")
        for row in found.rows
    )
    assert found.rows[0].change not in (0, None)


def test_what_cannot_be_computed_is_none() -> None:
    n = 30
    a = np.full(n, -1, np.float32)
    infinite = PairTokens(np.full(n, INF, np.float32), a, np.full(n, -INF, np.float32))
    rows = {
        row.metric: row
        for row in change_stats(infinite, PairTokens(a * 0, a, a), np.full(n, 1)).rows
    }
    assert set(rows) == set(METRICS) - set(TOPK)
    for metric in (
        "errors.mae",
        "errors.pearson",
        "errors.p99",
        "mismatch.k3",
        "probability.mult_prob_error",
    ):
        assert rows[metric].old is None, metric
        assert rows[metric].new is None, metric
        assert rows[metric].change is None, metric
    assert rows["errors.infinite"].old == n
    assert rows["errors.infinite"].new == 0
    assert (
        rows["errors.infinite"].verdict()
        == rows["errors.exact_fraction"].verdict()
        == "better"
    )
    constant = {
        row.metric: row
        for row in change_stats(
            PairTokens(a * 0, a, a), PairTokens(a * 0, a, a), np.full(n, 1)
        ).rows
    }
    assert constant["errors.pearson"].old is None
    assert constant["errors.mae"].verdict() == "no_change"


def test_lengths_must_fit() -> None:
    side = PairTokens(*(np.zeros(3, np.float32),) * 3)
    with pytest.raises(ValueError, match="3 and 3 deltas for 4 tokens"):
        change_stats(side, side, np.asarray([4]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_exchanging_the_sessions_changes_every_sign(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 6, 20)
    sides = [random_side(rng, int(lengths.sum()), True, s) for s in (0.2, 0.1)]
    there, back = (
        change_stats(*order, lengths, resamples=50) for order in (sides, sides[::-1])
    )
    opposite = {
        "better": "worse",
        "worse": "better",
        "no_change": "no_change",
        None: None,
    }
    for one, other in zip(there.rows, back.rows, strict=True):
        assert one.old == other.new
        assert one.new == other.old
        # The draws of logdrift.core.compare.uncertainty are ordered by the sums, so the
        # other sign is another draw.
        if one.metric in STUDENTISED:
            continue
        assert one.verdict() == opposite[other.verdict()], one.metric
        if one.ci95 is not None:
            assert one.ci95 == pytest.approx(
                tuple(-v for v in reversed(other.ci95 or ())), **CLOSE
            )


@pytest.mark.parametrize(
    ("change", "closer", "floor", "verdict"),
    [
        (-0.1, (-0.12, -0.08), None, "better"),
        (0.1, (0.08, 0.12), None, "worse"),
        (-0.1, (-0.3, 0.0), None, "no_change"),
        (-0.1, (-0.12, -0.08), 0.2, "no_change"),
        (-0.1, (-0.12, -0.08), 0.1, "better"),
        (-0.1, None, None, None),
        (0.0, None, None, "no_change"),
        (None, None, None, None),
    ],
)
def test_verdict(
    change: float | None,
    closer: tuple[float, float] | None,
    floor: float | None,
    verdict: str | None,
) -> None:
    assert (
        Change("errors.mae", 1.0, 0.9, change, closer, closer).verdict(floor) == verdict
    )


def test_a_signed_mean_is_better_nearer_to_zero() -> None:
    rng = np.random.default_rng(2)
    sides = [
        PairTokens(d, np.full(400, -3, np.float32), -3 - d)
        for d in rng.normal([[-0.3], [0.1]], 0.05, (2, 400)).astype(np.float32)
    ]
    row = next(
        r
        for r in change_stats(*sides, np.full(20, 20)).rows
        if r.metric == "errors.mean"
    )
    assert row.change == pytest.approx(
        0.4, abs=0.02
    )  # 8 standard errors of the difference of two means of 400
    assert row.verdict() == "better"


def test_growth_of_impossible_tokens() -> None:
    old = np.float32([1, -2, INF, -INF, 0.5])
    new = np.float32([-3, 1, -INF, 0.5, INF])
    expected = [2, -1, 0, -INF, INF]
    assert growth(old, new).tolist() == expected
