"""Error statistics against their definitions written as plain loops, and in every
corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.compare.errors import ErrorStats, error_stats
from tests.common import INF, NAN

# Sums of n float64 in another order differ by up to n units in the last place; n is at
# most 200 here.
REL = 200 * 2**-52

logprobs = st.sampled_from([-INF, NAN]) | st.floats(-40, 0, width=32)
tables = st.lists(st.tuples(logprobs, logprobs), max_size=200)


def stats_of(a: Sequence[float], b: Sequence[float]) -> ErrorStats:
    x = np.asarray(a, np.float64)
    y = np.asarray(b, np.float64)
    with np.errstate(invalid="ignore"):
        delta = np.where((x == -INF) & (y == -INF), 0.0, x - y)
    return error_stats(delta, x, y)


def quantile(values: Sequence[float], q: float) -> float:
    """Linear between the two neighbours of rank q * (n - 1)."""
    ordered = sorted(values)
    at = q * (len(values) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def by_hand(a: Sequence[float], b: Sequence[float]) -> dict[str, float | int | None]:
    scored = [
        (x, y)
        for x, y in zip(a, b, strict=True)
        if not math.isnan(x) and not math.isnan(y)
    ]
    deltas = [0.0 if x == y else x - y for x, y in scored]
    finite = [d for d in deltas if math.isfinite(d)]
    out: dict[str, float | int | None] = dict.fromkeys(ErrorStats().to_json())
    if deltas:
        out["exact_fraction"] = sum(d == 0 for d in deltas) / len(deltas)
        out["infinite"] = len(deltas) - len(finite)
    if finite:
        n = len(finite)
        sizes = [abs(d) for d in finite]
        out["mean"] = math.fsum(finite) / n
        out["mae"] = math.fsum(sizes) / n
        out["rmse"] = math.sqrt(math.fsum(d * d for d in finite) / n)
        out["max_abs"], out["min_abs"] = max(sizes), min(sizes)
        if n > 1:
            out["std_abs"] = math.sqrt(
                math.fsum((s - out["mae"]) ** 2 for s in sizes) / (n - 1)
            )
        for key, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)):
            out[key] = quantile(sizes, q)
    points = [(x, y) for x, y in scored if math.isfinite(x) and math.isfinite(y)]
    xs = [p[0] for p in points]
    ys = [p[1] for p in points]
    if len(points) > 1 and len(set(xs)) > 1 and len(set(ys)) > 1:
        mx = math.fsum(xs) / len(xs)
        my = math.fsum(ys) / len(ys)
        top = math.fsum((x - mx) * (y - my) for x, y in points)
        out["pearson"] = top / math.sqrt(
            math.fsum((x - mx) ** 2 for x in xs) * math.fsum((y - my) ** 2 for y in ys)
        )
    return out


@given(tables)
def test_against_plain_loops(table: list[tuple[float, float]]) -> None:
    a = [x for x, _ in table]
    b = [y for _, y in table]
    got = stats_of(a, b).to_json()
    wanted = by_hand(a, b)
    assert got.keys() == wanted.keys()
    scale = max((abs(v) for v in a + b if math.isfinite(v)), default=0.0)
    for key, value in wanted.items():
        if value is None or got[key] is None:
            # Where the spread is below the rounding of the values, whether it is
            # nothing depends on the summation.
            assert got[key] is value or key == "pearson", key
        elif key == "pearson":
            spread = min(
                np.std([v for v in side if math.isfinite(v)]) for side in (a, b)
            )
            assert got[key] == pytest.approx(value, abs=1e-9) or spread < 1e-6 * scale
        else:
            # mean and the like cancel, so their error is relative to the largest value.
            assert got[key] == pytest.approx(value, rel=REL, abs=REL * scale), key


def test_known_numbers() -> None:
    stats = stats_of([-1.0, -2.0, -3.0, -4.0], [-1.0, -2.5, -2.0, -4.0])
    assert stats == ErrorStats(
        mean=-0.125,
        mae=0.375,
        rmse=math.sqrt(1.25 / 4),
        pearson=stats.pearson,
        max_abs=1.0,
        min_abs=0.0,
        std_abs=pytest.approx(math.sqrt(0.6875 / 3)),
        p50=0.25,
        p90=pytest.approx(0.85),
        p99=pytest.approx(0.985),
        p999=pytest.approx(0.9985),
        exact_fraction=0.5,
        infinite=0,
    )
    one = [-1, -2, -3, -4]
    other = [-1, -2.5, -2, -4]
    expected = np.corrcoef(one, other)[0, 1]
    assert stats.pearson == pytest.approx(expected, rel=1e-14)


def test_nothing_scored_gives_none_everywhere() -> None:
    assert set(stats_of([], []).to_json().values()) == {None}
    assert set(stats_of([NAN, -1.0], [-1.0, NAN]).to_json().values()) == {None}


def test_one_token_has_no_correlation() -> None:
    stats = stats_of([-1.0], [-1.5])
    assert stats.mae == 0.5
    assert stats.rmse == 0.5
    assert stats.p50 == 0.5
    assert stats.p999 == 0.5
    assert stats.pearson is None


def test_all_equal() -> None:
    stats = stats_of([-1.0, -2.0, -3.3], [-1.0, -2.0, -3.3])
    assert stats.mae == 0.0
    assert stats.max_abs == 0.0
    assert stats.exact_fraction == 1.0
    assert stats.pearson == pytest.approx(1.0, abs=2**-50)


@pytest.mark.parametrize("value", [0.0, -0.1, -1 / 3, -12.7])
def test_no_variance_is_no_correlation(value: float) -> None:
    assert stats_of([value] * 7, [-float(i) for i in range(7)]).pearson is None
    assert stats_of([-float(i) for i in range(7)], [value] * 7).pearson is None


def test_impossible_tokens_are_counted_and_leave_the_means_alone() -> None:
    clean = stats_of([-1.0, -2.0, -4.0], [-1.5, -2.0, -3.0])
    one = [-1.0, -2.0, -4.0, -INF, -1.0]
    other = [-1.5, -2.0, -3.0, -1.0, -INF]
    mixed = stats_of(one, other)
    assert mixed.infinite == 2
    assert mixed.mae == clean.mae
    assert mixed.max_abs == clean.max_abs
    assert mixed.p99 == clean.p99
    assert mixed.pearson == clean.pearson
    both = stats_of([-1.0, -INF], [-1.5, -INF])
    assert both.infinite == 0
    assert both.exact_fraction == 0.5
    assert both.mae == 0.25
    only = stats_of([-INF], [-1.0])
    assert only.infinite == 1
    assert only.mae is None
    assert only.max_abs is None
    assert only.exact_fraction == 0.0


@given(tables, st.randoms(use_true_random=False))
def test_order_of_tokens_changes_nothing(
    table: list[tuple[float, float]], random: object
) -> None:
    shuffled = list(table)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (
        stats_of([x for x, _ in t], [y for _, y in t]).to_json()
        for t in (table, shuffled)
    )
    for key in ("max_abs", "p50", "p90", "p99", "p999", "exact_fraction", "infinite"):
        assert one[key] == other[key]
    for key in ("mean", "mae", "rmse"):
        assert one[key] == (
            None
            if other[key] is None
            else pytest.approx(other[key], rel=REL, abs=40 * REL)
        )


@given(tables, st.integers(0, 200))
def test_two_halves_recombine(table: list[tuple[float, float]], cut: int) -> None:
    """Prompt and completion partition all: sums over them, weighted by their tokens,
    are those of all.
    """

    def sums(part: list[tuple[float, float]]) -> tuple[float, float, float, float]:
        stats = stats_of([x for x, _ in part], [y for _, y in part])
        scored = sum(not math.isnan(x) and not math.isnan(y) for x, y in part)
        finite = scored - (stats.infinite or 0)
        return (
            finite,
            (stats.mae or 0.0) * finite,
            (stats.rmse or 0.0) ** 2 * finite,
            (stats.exact_fraction or 0.0) * scored,
        )

    left = sums(table[:cut])
    right = sums(table[cut:])
    whole = sums(table)
    for a, b, total in zip(left, right, whole, strict=True):
        assert a + b == pytest.approx(total, rel=10 * REL, abs=1e-9)


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="3 deltas for 3 and 2"):
        error_stats(np.zeros(3), np.zeros(3), np.zeros(2))
