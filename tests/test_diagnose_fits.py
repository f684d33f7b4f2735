"""The fits behind the signatures, against plain loops and SciPy, and on their
corners.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose.fits import (
    ValueGrid,
    bfloat16_grid,
    correlation,
    fit_lattice,
    fit_line,
    row_steps,
    standard_ranks,
)
from logdrift.core.diagnose.view import MIN_SHARED, Shared, View
from tests.planted.made import bfloat16, draw, log_softmax, made, noise, same


def shared_of(a: np.ndarray, b: np.ndarray) -> Shared:
    a, b = a.astype(np.float32), b.astype(np.float32)
    count = (~np.isnan(a)).sum(axis=1)
    return Shared(
        at=np.arange(len(a)),
        ids=np.tile(np.arange(a.shape[1]), (len(a), 1)),
        a=a,
        b=b,
        count=count,
    )


@given(st.integers(0, 10_000), st.floats(0.3, 3.0))
@settings(max_examples=40, deadline=None)
def test_an_exact_factor_is_found(seed: int, factor: float) -> None:
    x = np.random.default_rng(seed).normal(0, 2, (40, 12))
    line = fit_line(shared_of(x, x * factor + 1.0))
    assert line is not None
    # float32 inputs: relative 1e-6 of each value
    assert line.slope == pytest.approx(factor, rel=1e-5)
    assert line.r2 == pytest.approx(1.0, abs=1e-6)
    if abs(factor - 1) > 0.01:
        assert line.explained == pytest.approx(1.0, abs=1e-4)


def test_the_line_against_loops() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(0, 2, (50, 8))
    b = 1.1 * a + rng.normal(0, 0.2, a.shape)
    a[3, 5:] = b[3, 5:] = np.nan
    line = fit_line(shared_of(a, b))
    assert line is not None
    x = []
    y = []
    for p, q in zip(a.astype(np.float32), b.astype(np.float32), strict=True):
        good = ~np.isnan(p)
        x.append(p[good] - p[good].mean())
        y.append(q[good] - q[good].mean())
    xs = np.concatenate(x).astype(float)
    ys = np.concatenate(y).astype(float)
    slope = np.sqrt((ys**2).sum() / (xs**2).sum())
    assert line.slope == pytest.approx(slope, rel=1e-5)
    assert line.r2 == pytest.approx(stats.pearsonr(xs, ys).statistic ** 2, rel=1e-5)
    expected = np.sqrt(((ys - xs) ** 2).sum() / (xs**2).sum())
    assert line.noise == pytest.approx(expected, rel=1e-5)


def test_the_error_of_the_slope_covers_it() -> None:
    """Of 200 draws with slope 1, the |z| beyond 1.96 are 5%: at most 11% with
    probability 0.9999 (binomial).
    """
    beyond = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        a = rng.normal(0, 2, (60, 10))
        line = fit_line(shared_of(a, a + rng.normal(0, 0.3, a.shape)))
        assert line is not None
        expected = np.sqrt(1 + 0.3**2 / 4)
        beyond += abs(line.slope - expected) > 1.96 * line.error
    assert beyond <= 22


def test_equal_noise_on_both_sides_leaves_the_slope_at_one() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 2, (4000, 10))
    line = fit_line(
        shared_of(
            truth + rng.normal(0, 1, truth.shape), truth + rng.normal(0, 1, truth.shape)
        )
    )
    assert line is not None
    assert abs(line.slope - 1) < 4 * line.error < 0.02
    assert line.explained < 0.01
    assert line.bend < 0.01


def test_a_cap_bends_and_a_factor_does_not() -> None:
    x = np.random.default_rng(0).normal(0, 6, (500, 15)) + 8
    bent = fit_line(shared_of(x, 12 * np.tanh(x / 12)))
    straight = fit_line(shared_of(x, 0.7 * x))
    assert bent is not None
    assert straight is not None
    assert bent.bend > 0.5
    assert bent.bend_z > 10
    assert straight.bend < 0.01


@pytest.mark.parametrize("q", [2, 4, 7, 9])
def test_a_lattice_is_found_at_its_step_and_not_elsewhere(q: int) -> None:
    rng = np.random.default_rng(q)
    values = -np.sort(
        -np.round(rng.normal(0, 3, (200, 20)) * 2**q) / 2**q, axis=1
    ) - rng.uniform(5, 9, (200, 1))
    found = fit_lattice(values.astype(np.float32))
    assert found.step == 2.0**-q
    assert found.share > 0.99
    steps = row_steps(values.astype(np.float32))
    assert np.nanmin(steps) >= 2.0**-q
    smooth = fit_lattice(
        (-np.sort(-rng.normal(0, 3, (200, 20)), axis=1)).astype(np.float32)
    )
    assert smooth.step is None
    # Chance is 0.04; of about 1,000 gaps the largest of 12 shares is below 0.07 (4
    # standard deviations).
    assert smooth.share < 0.07


def test_lattices_of_rounded_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 6, (300, 500)) + 10
    top = -np.sort(-log_softmax(bfloat16(logits)), axis=1)[:, :20].astype(np.float32)
    # The first values lie between 16 and 32, where bfloat16 has steps of 1/8; rows that
    # start above 32 have coarser ones.
    assert fit_lattice(top).step in (0.125, 0.0625)
    assert (
        fit_lattice(
            -np.sort(-log_softmax(logits), axis=1)[:, :20].astype(np.float32)
        ).step
        is None
    )


@pytest.mark.parametrize(
    "values",
    [
        np.empty((0, 20)),
        np.full((50, 20), np.nan),
        np.zeros((50, 20)),
        np.zeros((50, 1)),
        np.full((50, 20), -np.inf),
    ],
)
def test_nothing_to_see_is_no_lattice(values: np.ndarray) -> None:
    assert fit_lattice(values.astype(np.float32)).step is None


def test_shares_of_bfloat16_numbers() -> None:
    values = np.random.default_rng(0).normal(-5, 2, 4000).astype(np.float32)
    assert bfloat16_grid(values).share < 0.01
    rounded = bfloat16(values.astype(np.float64)).astype(np.float32)
    assert bfloat16_grid(rounded) == ValueGrid(
        1.0,
        np.count_nonzero(rounded != np.round(rounded)),
    )
    assert bfloat16_grid(np.array([0.0, -np.inf, np.nan], np.float32)) == ValueGrid(
        0.0, 0
    )


def test_ranks_and_correlation_against_scipy() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = rng.normal(size=300)
    ranks = standard_ranks(x)
    assert ranks.mean() == pytest.approx(0, abs=1e-12)
    assert ranks.var() == pytest.approx(1)
    assert correlation(standard_ranks(x), standard_ranks(y)) == pytest.approx(
        stats.spearmanr(x, y).statistic
    )
    expected = stats.pearsonr(x, y).statistic
    assert correlation(x, y) == pytest.approx(expected)
    assert correlation(x, np.ones(300)) == 0.0
    assert correlation(x[:2], y[:2]) == 0.0


def test_ids_are_joined_as_a_loop_joins_them(tmp_path: Path) -> None:
    session = made(
        tmp_path / "s", draw(2, (30, 40)), {"trainer": same, "rollout": noise(0.8)}
    )
    pair = make_pair(session, "trainer", "rollout")
    view = View(pair)
    shared = view.shared
    rows = dict(zip(shared.at.tolist(), range(len(shared.at)), strict=True))
    for at in view.sample.tolist():
        a = dict(
            zip(
                pair.a.top_ids.rows(at, at + 1)[0].tolist(),
                pair.a.top_logprobs.rows(at, at + 1)[0].tolist(),
                strict=True,
            )
        )
        b = dict(
            zip(
                pair.b.top_ids.rows(at, at + 1)[0].tolist(),
                pair.b.top_logprobs.rows(at, at + 1)[0].tolist(),
                strict=True,
            )
        )
        common = set(a) & set(b)
        assert (at in rows) == (len(common) >= MIN_SHARED)
        if at in rows:
            i = rows[at]
            found = {
                int(k): (float(p), float(q))
                for k, p, q in zip(shared.ids[i], shared.a[i], shared.b[i], strict=True)
                if not np.isnan(p)
            }
            assert found == {k: (a[k], b[k]) for k in common}
            assert shared.shift[i] == pytest.approx(
                np.mean([a[k] - b[k] for k in common]), abs=1e-5
            )


def test_equal_values_share_a_rank_and_make_no_trend() -> None:
    """Most tokens of two paths of one engine agree exactly; their order in the session
    is no order of their gaps.
    """
    values = np.zeros(1000)
    values[[40, 500, 900]] = [0.3, 0.1, 0.2]
    ranks = standard_ranks(values)
    assert len(np.unique(ranks)) == 4
    assert abs(ranks.mean()) < 1e-12
    assert abs(ranks.std() - 1) < 1e-12
    assert abs(np.corrcoef(ranks, np.arange(1000))[0, 1]) < 0.05
    assert (standard_ranks(np.ones(7)) == 0).all()
    assert len(standard_ranks(np.empty(0))) == 0
