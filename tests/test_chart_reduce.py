"""What charts are drawn from, against the same thing worked out one token at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logdrift.core.charts import reduce as cd

RNG = np.random.default_rng(7)


def drawn(count: int, *, holes: bool = True) -> np.ndarray:
    values = RNG.normal(0, 0.1, count).astype(np.float32)
    if holes and count > 10:
        values[RNG.integers(0, count, count // 10)] = np.nan
        values[RNG.integers(0, count, 2)] = np.inf
    return values


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.integers(1, 200), st.integers(0, 2**31))
def test_an_envelope_has_two_points_a_column_and_every_peak(
    count: int, columns: int, seed: int
) -> None:
    values = np.random.default_rng(seed).normal(0, 1, count).astype(np.float32)
    values[::7] = np.nan
    at, kept = cd.envelope(values, columns)
    assert len(at) <= 2 * columns
    assert (np.diff(at) > 0).all()
    assert (values[at] == kept).all()
    if np.isfinite(values).any():
        assert kept.max() == np.nanmax(values)
        assert kept.min() == np.nanmin(values)


def test_a_band_has_mean_and_the_middle_of_each_stretch() -> None:
    position = RNG.integers(0, 50, 20_000)
    values = drawn(20_000, holes=False)
    band = cd.make_band(values, position, 50, 10)
    for i in range(10):
        part = values[(position >= 5 * i) & (position < 5 * i + 5)]
        assert band.count[i] == len(part)
        assert band.at[i] == 5 * i + 2.5
        assert band.mean[i] == pytest.approx(part.mean(dtype=np.float64))
        expected = np.quantile(part, 0.1)
        assert band.low[i] == pytest.approx(expected, abs=1e-3)
        assert band.high[i] == pytest.approx(np.quantile(part, 0.9), abs=1e-3)


def test_a_band_of_more_bins_than_positions_and_an_empty_bin() -> None:
    numbers = np.array([1, 3], np.float32)
    places = np.array([0, 2])
    band = cd.make_band(numbers, places, 3, 100)
    expected = [1, 0, 1]
    assert band.count.tolist() == expected
    assert band.mean[0] == 1
    assert np.isnan(band.mean[1])
    assert band.low[2] == band.high[2] == 3


def test_running_sums_start_anew_with_each_sequence_and_leave_out_what_does_not_count() -> (
    None
):
    delta = np.array([np.nan, 1, 2, 5, np.inf, -1, 4], np.float32)
    counted = np.array([0, 1, 1, 0, 1, 1, 1], bool)
    sums = cd.running_sums(delta, counted, np.array([0, 3, 3, 7]))
    expected = [0, 1, 3, 0, 0, -1, 3]
    assert sums.tolist() == expected
    assert (
        len(cd.running_sums(np.empty(0, np.float32), np.empty(0, bool), np.array([0])))
        == 0
    )


def test_running_sums_of_a_million_small_deltas_do_not_drift() -> None:
    delta = np.full(1_000_000, 1e-3, np.float32)
    sums = cd.running_sums(
        delta, np.ones(len(delta), bool), np.array([0, 500_000, 1_000_000])
    )
    assert sums[-1] == pytest.approx(500, rel=1e-6)


def test_log_bins_put_every_size_between_its_edges() -> None:
    size = np.abs(drawn(5000))
    size[:3] = [0, 1e-12, 1e-8]
    edges = cd.log_edges(size, 40, (0.021,))
    assert edges[0] < 0.021 < edges[-1]
    assert edges[-1] > size[np.isfinite(size)].max()
    bins = cd.log_bins(size, edges)
    assert (bins[np.isnan(size) | np.isinf(size) | (size == 0)] == -1).all()
    for value, found in zip(size[3:].tolist(), bins[3:].tolist(), strict=True):
        if found > 0 and found < 39:
            assert edges[found] * (1 - 1e-5) <= value <= edges[found + 1] * (1 + 1e-5)
    assert bins[1] == 0, "what is below the lowest edge is in the first bin"


def test_log_edges_of_nothing_are_still_a_range() -> None:
    edges = cd.log_edges(np.zeros(3, np.float32), 5)
    assert (np.diff(edges) > 0).all()
    assert edges[0] > 0


def test_linear_bins_and_cells() -> None:
    values = np.array([-4, -3.99, -0.01, 0, 0.5, np.nan, -np.inf], np.float32)
    assert cd.linear_bins(values, -4, 0, 4).tolist() == [0, 0, 3, 3, -1, -1, -1]
    rows = np.array([0, 1, -1, 1], np.int32)
    columns = np.array([2, 0, 1, -1], np.int32)
    assert cd.join_bins(rows, columns, 3).tolist() == [2, 3, -1, -1]
    expected = [1, 0, 2, 0]
    assert cd.count_bins(np.array([2, 2, -1, 0], np.int32), 4).tolist() == expected


def test_bins_have_the_mean_and_the_place_of_the_largest() -> None:
    bins = RNG.integers(-1, 6, 4000).astype(np.int32)
    values = np.abs(drawn(4000))
    mean = cd.mean_bins(bins, values, 8)
    largest = cd.largest_bins(bins, values, 8)
    for i in range(8):
        inside = np.flatnonzero(bins == i)
        part = values[inside]
        if not len(inside):
            assert np.isnan(mean[i])
            assert largest[i] == -1
            continue
        expected = part[np.isfinite(part)].mean(dtype=np.float64)
        assert mean[i] == pytest.approx(expected)
        assert largest[i] == inside[np.argmax(np.where(np.isnan(part), -1, part))]


@pytest.mark.parametrize("start", [-7, 0, 5])
@pytest.mark.parametrize(("size", "bins"), [(40, 4), (40, 40), (7, 3), (1, 1)])
def test_whole_numbers_fall_into_equal_stretches(
    start: int, size: int, bins: int
) -> None:
    values = np.arange(start - 5, start + size + 5)
    found = cd.stretch_bins(values, start, start + size, bins)
    wanted = [
        (value - start) * bins // size if start <= value < start + size else -1
        for value in values.tolist()
    ]
    assert found.tolist() == wanted


def test_shades_are_at_most_doublings_and_end_near_the_largest() -> None:
    wide = cd.shade_steps(np.array([1e-5, 0.001, 0.02, 0.03, 0.04, np.nan]))
    expected = [0.0048, 0.0095, 0.019, 0.038]
    assert wide.tolist() == pytest.approx(expected, rel=0.06)
    even = cd.shade_steps(RNG.uniform(0.06, 0.08, 5000))
    assert 0.06 < even[0] < even[-1] < 0.08, (
        "values close together are still told apart"
    )
    levels = cd.shade_levels(np.array([np.nan, 0, wide[0], wide[1] * 1.1, 1e9]), wide)
    assert levels.tolist() == [0, 0, 1, 2, cd.SHADES]
    nothing = cd.shade_steps(np.full(3, np.nan))
    assert (nothing > 0).all()
    assert (np.diff(nothing) > 0).all()


def test_steps_of_counts_begin_with_one_token() -> None:
    steps = cd.count_steps(np.array([0, 1, 10_000]))
    assert steps[0] == 1
    assert (np.diff(steps) > 0).all()
    assert steps[-1] < 10_000
    assert cd.shade_levels(np.array([0.0, 1.0, 10_000.0]), steps).tolist() == [
        0,
        1,
        cd.SHADES,
    ]


def test_rank_change_is_up_where_a_is_nearer_to_the_top() -> None:
    before = np.array([1, 10, 3, 0, 5])
    after = np.array([10, 1, 3, 5, 0])
    change = cd.rank_change(before, after)
    expected = [1, -1, 0]
    assert change[:3].tolist() == expected
    assert np.isnan(change[3:]).all()


def test_shares_of_stretches() -> None:
    counted = np.array([1, 0, 1, 1], bool)
    places = np.array([0, 0, 1, 3])
    found, count = cd.shares(counted, places, 4, 4)
    assert count.tolist() == [2, 1, 0, 1]
    expected = [0.5, 1, 1]
    assert found[[0, 1, 3]].tolist() == expected
    assert np.isnan(found[2])
