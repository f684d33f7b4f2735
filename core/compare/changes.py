"""By how much the numbers of a pair changed between two sessions, and whether that is
more than noise.

Both sessions score the same tokens, so the difference is taken within each draw of a
paired bootstrap: what makes some sequences harder than others cancels, and the interval
is that of the change, not of two separate numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.bootstrap import draw_counts
from logdrift.core.compare.metric import metric
from logdrift.core.compare.segments import count_kept
from logdrift.core.compare.uncertainty import Interval, paired_changes
from logdrift.core.compare.unit_totals import (
    CLIP,
    TOPK,
    PairTokens,
    UnitTotals,
    shared_tokens,
    units_of,
)
from logdrift.core.compare.units import Method, unit_sums

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
ChangeVerdict = Literal["better", "worse", "no_change"]

LEVEL = 0.95
_BLOCK_CELLS = 4_000_000
"""Numbers in one work array of the draws."""


@dataclass(frozen=True, slots=True)
class Change:
    """One metric of the earlier and the later session, in its own unit.

    None where it cannot be computed.

    ``change`` is new - old and ``ci95`` its interval. ``closer`` is the interval of the
    change of the distance from the metric's value at perfect agreement (0 for errors, 1
    for shares and correlations): below 0 is better.
    """

    metric: str
    old: float | None
    new: float | None
    change: float | None
    ci95: tuple[float, float] | None
    closer: tuple[float, float] | None

    def verdict(self, floor: float | None = None) -> ChangeVerdict | None:
        """Whether the later number is better or worse, or no different.

        It is no different where the interval includes 0, the change is below ``floor``
        or nothing moved at all; None without an interval.
        """
        if self.change == 0:
            return "no_change"
        if self.change is None or self.closer is None:
            return None
        low, high = self.closer
        if low <= 0 <= high:
            return "no_change"
        if floor is not None and abs(self.change) < floor:
            return "no_change"
        if high < 0:
            return "better"
        return "worse"


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of all metrics.

    ``method`` says what was drawn: ``sequences``, ``blocks`` of tokens, or None (too
    few of either).
    """

    rows: tuple[Change, ...]
    method: Method | None
    units: int
    resamples: int


def change_stats(
    old: PairTokens,
    new: PairTokens,
    lengths: Array,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Changes:
    """Metrics of two sessions over the same n tokens, in sequence order.

    ``lengths`` int64[S] (0 allowed) has the sum n; ValueError if not. Units are those
    of `logdrift.core.compare.units`: sequences, or blocks of tokens where there are
    few. MAE, RMSE, mean and k3 have its bootstrap-t intervals, all others the
    percentiles of a bootstrap (Efron and Tibshirani 1993, 13.3) that draws the same
    units for both sessions. Means are over tokens whose delta is finite (of `TOPK`:
    known) in both, so that both are of the same tokens.
    """
    lengths = np.asarray(lengths, np.int64)
    _check_counts(old, new, int(lengths.sum()))
    units = units_of(lengths)
    if units.method is None:
        resamples = 0
    shared = shared_tokens(old, new)
    earlier = UnitTotals(old, shared, units)
    later = UnitTotals(new, shared, units)
    rows = _rows(
        earlier,
        later,
        drawn=_metrics_of_draws(earlier, later, resamples, seed),
        studentised=_studentised(old, new, shared.finite, lengths, resamples),
    )
    return Changes(tuple(rows), units.method, units.count, resamples)


def _rows(
    old: UnitTotals,
    new: UnitTotals,
    *,
    drawn: tuple[dict[str, Floats], dict[str, Floats]],
    studentised: Mapping[str, Interval | None],
) -> Iterator[Change]:
    """The metrics that both sessions have, in the order of the table."""
    values_old = old.metrics_of_data()
    values_new = new.metrics_of_data()
    drawn_old, drawn_new = drawn
    for path in METRICS:
        if path in values_old and path in values_new:
            yield _change(
                path,
                old=values_old[path].item(),
                new=values_new[path].item(),
                drawn_old=drawn_old.get(path),
                drawn_new=drawn_new.get(path),
                studentised=studentised.get(path),
            )


def _check_counts(old: PairTokens, new: PairTokens, tokens: int) -> None:
    count_old = len(old.delta)
    count_new = len(new.delta)
    if not count_old == count_new == tokens:
        raise ValueError(f"{count_old} and {count_new} deltas for {tokens} tokens")


def _studentised(
    old: PairTokens, new: PairTokens, finite: Bools, lengths: Array, resamples: int
) -> dict[str, Interval | None]:
    """The bootstrap-t intervals of `STUDENTISED`; {} without a draw."""
    if resamples == 0:
        return {}
    kept = count_kept(finite, lengths)
    sums_old = unit_sums(old.delta[finite], kept)
    sums_new = unit_sums(new.delta[finite], kept)
    intervals = paired_changes(sums_old, sums_new, resamples=resamples)
    return {
        "errors.mae": intervals.mae,
        "errors.rmse": intervals.rmse,
        "errors.mean": intervals.mean,
        "mismatch.k3": intervals.k3,
    }


def _metrics_of_draws(
    old: UnitTotals, new: UnitTotals, resamples: int, seed: int
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Every metric of each draw, f64[resamples], of both sessions; {} without a
    draw.
    """
    if resamples == 0:
        return {}, {}
    widest = max(old.units, old.tail_tokens)
    draws_at_a_time = max(1, min(resamples, _BLOCK_CELLS // widest))
    blocks_old = []
    blocks_new = []
    for counts in draw_counts(old.units, draws_at_a_time, resamples, seed):
        blocks_old.append(old.metrics(counts))
        blocks_new.append(new.metrics(counts))
    return _joined(blocks_old), _joined(blocks_new)


def _joined(blocks: list[dict[str, Floats]]) -> dict[str, Floats]:
    joined = {}
    for path in blocks[0]:
        parts = [block[path] for block in blocks]
        joined[path] = np.concatenate(parts)
    return joined


def _change(
    path: str,
    *,
    old: float,
    new: float,
    drawn_old: Floats | None,
    drawn_new: Floats | None,
    studentised: Interval | None,
) -> Change:
    earlier = _known(old)
    later = _known(new)
    if earlier is None or later is None:
        return Change(path, earlier, later, None, None, None)
    ci95, closer = _intervals(path, drawn_old, drawn_new)
    if path in STUDENTISED:
        ci95 = studentised
        # Those that cannot be negative are as far from 0 as they are large; the signed
        # mean is not.
        if path != "errors.mean":
            closer = studentised
    return Change(
        metric=path,
        old=earlier,
        new=later,
        change=later - earlier,
        ci95=ci95,
        closer=closer,
    )


def _known(value: float) -> float | None:
    if math.isfinite(value):
        return value
    return None


def _intervals(
    path: str, old: Floats | None, new: Floats | None
) -> tuple[Interval | None, Interval | None]:
    """Of the change, and of the change of the distance from perfect agreement."""
    if old is None or new is None:
        return None, None
    perfect = metric(path).perfect or 0.0
    distance_old = np.abs(old - perfect)
    distance_new = np.abs(new - perfect)
    return _percentiles(new - old), _percentiles(distance_new - distance_old)


def _percentiles(values: Floats) -> Interval | None:
    # A draw in which the metric is undefined (no spread, nothing known) says that the
    # data is too thin for an interval.
    if not np.isfinite(values).all():
        return None
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.quantile(values, ends)
    return float(low), float(high)


STUDENTISED = ("errors.mae", "errors.rmse", "errors.mean", "mismatch.k3")
METRICS: tuple[str, ...] = (
    "errors.mae",
    "errors.rmse",
    "errors.mean",
    "errors.p99",
    "errors.max_abs",
    "errors.pearson",
    "errors.exact_fraction",
    "errors.infinite",
    "mismatch.k3",
    "mismatch.chi2_token",
    "mismatch.ess_token",
    f"mismatch.clip_fraction.{CLIP}",
    "probability.mae",
    "probability.mult_prob_error",
    *TOPK,
)
"""In the order of the table."""
