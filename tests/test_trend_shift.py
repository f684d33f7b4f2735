"""Changes that were planted in drawn runs are found at their step, and none is found
where there is none. `benchmarks/trend.py` draws more of them.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.trend import DrawnRun, drawn_points, found_shares
from logdrift.core.trend.shift import (
    FEWEST,
    NoisyPoints,
    first_shift,
    long_run_ratio,
    rising,
    step_weights,
    without_spikes,
)

RUNS = 40
"""Of the 200 that the benchmark draws, of which 95% are to be found."""
FOUND = 35 / RUNS
"""Where 95% of all runs are found, fewer of 40 come about in 1 of 70 draws; the draws
are the same each time.
"""


@pytest.mark.parametrize("noise", ["normal", "heavy", "spikes"])
def test_a_jump_is_found_at_its_step(noise: str) -> None:
    shares = found_shares(DrawnRun(60, noise, "jump"), RUNS)
    assert shares.exact >= FOUND


@pytest.mark.parametrize("noise", ["normal", "heavy"])
def test_a_growth_is_found_where_it_begins(noise: str) -> None:
    shares = found_shares(DrawnRun(60, noise, "growth"), RUNS)
    assert shares.near >= FOUND, "within a step"


@pytest.mark.parametrize("noise", ["normal", "heavy", "spikes"])
def test_a_run_without_a_change_has_none(noise: str) -> None:
    shares = found_shares(DrawnRun(60, noise, "none"), RUNS)
    assert shares.alarms <= 1 / RUNS, "of 200 runs at most 4"


def test_one_series_has_one_answer() -> None:
    points = drawn_points(DrawnRun(60, "normal", "jump"), seed=3).points
    assert first_shift(points) == first_shift(points)


def test_the_first_of_two_changes_is_found() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, 90)
    values[30:] += 1
    values[60:] += 2
    shift = first_shift(points_of(values))
    assert shift is not None
    assert shift.start == 30


def test_a_level_that_is_left_again_has_an_end() -> None:
    values = np.random.default_rng(5).normal(0, 0.1, 60)
    values[20:29] += np.log(6)
    shift = first_shift(points_of(values))
    assert shift is not None
    assert (shift.start, shift.stop, shift.end) == (20, 20, 29)


def test_a_jump_ends_where_another_one_follows() -> None:
    values = np.random.default_rng(0).normal(0, 0.1, 90)
    values[30:] += 1
    values[60:] += 2
    shift = first_shift(points_of(values))
    assert shift is not None
    assert (shift.start, shift.end) == (30, 60)


@pytest.mark.parametrize("seed", range(6))
def test_a_growth_that_is_repaired_has_an_end(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0, 0.1, 60)
    steps = np.arange(20)
    values[20:40] += 0.15 * (1 + steps)
    shift = first_shift(points_of(values))
    assert shift is not None
    assert abs(shift.start - 20) <= 2
    assert shift.end == 40
    during = np.median(values[shift.settled])
    assert during > np.median(values[shift.before]) + 1


def test_a_jump_that_stays_has_no_end() -> None:
    values = np.random.default_rng(6).normal(0, 0.1, 60)
    values[20:] += 1
    shift = first_shift(points_of(values))
    assert shift is not None
    assert shift.end is None


@pytest.mark.parametrize("at", [0, 29, 59])
def test_a_single_wild_step_is_no_change(at: int) -> None:
    values = np.random.default_rng(1).normal(0, 0.1, 60)
    values[at] += 5
    assert first_shift(points_of(values)) is None


def test_equal_numbers_do_not_change() -> None:
    assert first_shift(points_of(np.zeros(40))) is None
    exact = np.full(40, -np.inf)
    assert first_shift(points_of(exact)) is None


def test_a_gap_after_exact_agreement_is_a_jump() -> None:
    values = np.full(40, -np.inf)
    values[25:] = np.random.default_rng(2).normal(-4, 0.1, 15)
    shift = first_shift(points_of(values))
    assert shift is not None
    assert shift.start == 25
    assert shift.is_jump


def test_a_growth_that_ends_says_where() -> None:
    values = np.random.default_rng(3).normal(0, 0.05, 80)
    values += 3 * rising(np.arange(80.0), 30, 45)
    shift = first_shift(points_of(values))
    assert shift is not None
    assert abs(shift.start - 30) <= 1
    assert shift.stop is not None
    assert abs(shift.stop - 45) <= 1
    assert not shift.is_jump


def test_neighbours_that_hang_together_are_no_change() -> None:
    """An autoregression of 0.5 wanders: 100 runs of it have two alarms at most."""
    alarms = 0
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        values = np.zeros(60)
        for at in range(1, 60):
            values[at] = 0.5 * values[at - 1] + rng.normal(0, 0.1)
        alarms += first_shift(points_of(values)) is not None
    assert alarms <= 2


def test_steps_that_are_known_better_weigh_more() -> None:
    errors = np.array([0.1, 0.1, 0.4, 0.1, np.nan, 0.1])
    weights = step_weights(NoisyPoints(np.zeros(6), errors, np.arange(6.0)))
    assert weights.mean() == pytest.approx(1)
    assert weights[2] == weights.min()
    assert weights[4] == weights[0], "an error that is not known is the usual one"


def test_a_spike_is_moved_and_a_jump_is_not() -> None:
    values = np.random.default_rng(4).normal(0, 0.1, 40)
    values[20:] += 1
    values[10] = 9
    moved = without_spikes(values)
    assert abs(moved[10]) < 1
    assert moved[20:].mean() == pytest.approx(values[20:].mean(), abs=0.05)


def test_white_noise_has_no_long_run() -> None:
    assert long_run_ratio(np.array([1.0, -1.0] * 20)) == 1
    assert long_run_ratio(np.repeat([1.0, -1.0], 20)) > 5


def test_too_few_points_have_no_change() -> None:
    assert first_shift(points_of(np.arange(2.0 * FEWEST - 1))) is None


def points_of(values: np.ndarray) -> NoisyPoints:
    """Numbers whose errors are not known."""
    count = len(values)
    return NoisyPoints(values, np.full(count, np.nan), np.arange(float(count)))
