"""By how much the numbers of a pair changed between two sessions, and whether that is
more than noise.

Both sessions score the same tokens, so the difference is taken within each draw of a
paired bootstrap: what makes some sequences harder than others cancels, and the interval
is that of the change, not of two separate numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logdrift.core.compare import estimators
from logdrift.core.compare.bootstrap import draw_counts
from logdrift.core.compare.metric import metric
from logdrift.core.compare.segments import count_kept
from logdrift.core.compare.tail import Tail
from logdrift.core.compare.uncertainty import Interval, paired_changes
from logdrift.core.compare.units import Method, unit_sums

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Totals = Mapping[str, Floats]
Formula = Callable[[Totals], Floats]
Verdict = Literal["better", "worse", "no_change"]

LEVEL = 0.95
CLIP = 0.2
_BLOCK_CELLS = 4_000_000
"""Numbers in one work array of the draws."""
_QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class PairTokens:
    """The n tokens of a pair in one session: delta, logprob_a, logprob_b f32[n] in
    nats, none of them NaN.

    ``topk`` has a value f64[n] per token for metrics that are means of such (`TOPK`);
    NaN where it is not known.
    """

    delta: Array
    logprob_a: Array
    logprob_b: Array
    topk: Mapping[str, Floats] = field(default_factory=dict)


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

    def verdict(self, floor: float | None = None) -> Verdict | None:
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
    units = _units_of(lengths)
    if units.method is None:
        resamples = 0
    shared = _shared_tokens(old, new)
    earlier = _UnitTotals(old, shared, units)
    later = _UnitTotals(new, shared, units)
    values_old = earlier.metrics_of_data()
    values_new = later.metrics_of_data()
    drawn_old, drawn_new = _metrics_of_draws(earlier, later, resamples, seed)
    studentised = _studentised(old, new, shared.finite, lengths, resamples)
    rows = []
    for path in METRICS:
        if path in values_old and path in values_new:
            change = _change(
                path,
                old=values_old[path].item(),
                new=values_new[path].item(),
                drawn_old=drawn_old.get(path),
                drawn_new=drawn_new.get(path),
                studentised=studentised.get(path),
            )
            rows.append(change)
    return Changes(tuple(rows), units.method, units.count, resamples)


def _check_counts(old: PairTokens, new: PairTokens, tokens: int) -> None:
    count_old = len(old.delta)
    count_new = len(new.delta)
    if not count_old == count_new == tokens:
        raise ValueError(f"{count_old} and {count_new} deltas for {tokens} tokens")


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """The unit of each token, int64[n], and how many there are."""

    of_token: Array
    count: int
    method: Method | None


def _units_of(lengths: Array) -> _Units:
    no_deltas = np.zeros(int(lengths.sum()), np.float32)
    cut = unit_sums(no_deltas, lengths)
    count = len(cut)
    tokens = cut.tokens.astype(np.int64)
    of_token = np.repeat(np.arange(count), tokens)
    return _Units(of_token=of_token, count=count, method=cut.method)


@dataclass(frozen=True, slots=True, eq=False)
class _SharedTokens:
    """The tokens that count, bool[n]: finite deltas in both sessions, and of each of
    `TOPK` the known ones.
    """

    finite: Bools
    known: Mapping[str, Bools]


def _shared_tokens(old: PairTokens, new: PairTokens) -> _SharedTokens:
    known = {}
    for path in TOPK:
        if path in old.topk and path in new.topk:
            known[path] = _finite_in_both(old.topk[path], new.topk[path])
    return _SharedTokens(finite=_finite_in_both(old.delta, new.delta), known=known)


def _finite_in_both(old: Array, new: Array) -> Bools:
    finite: Bools = np.isfinite(old) & np.isfinite(new)
    return finite


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
    old: _UnitTotals, new: _UnitTotals, resamples: int, seed: int
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


class _UnitTotals:
    """Sums over the tokens of each unit, by name.

    Every metric of a draw follows from them without going back to the tokens.
    """

    def __init__(
        self, tokens: PairTokens, shared: _SharedTokens, units: _Units
    ) -> None:
        self.units = units.count
        self._unit_of_token = units.of_token
        self._names: list[str] = []
        self._columns: list[Floats] = []
        self._add_deltas(tokens, shared.finite)
        self._add_moments(tokens, shared.finite)
        self._add_all_tokens(tokens)
        self._add_topk(tokens, shared.known)
        self._sums = np.stack(self._columns, axis=1)
        sizes = np.abs(tokens.delta[shared.finite])
        unit_of_size = units.of_token[shared.finite]
        self._tail = Tail(sizes, unit_of_size, units.count, _QUANTILE)

    def _add(self, name: str, where: Array | None, values: Array | None = None) -> None:
        """The sum of ``values`` (None: 1) over the tokens of each unit in ``where``."""
        unit = self._unit_of_token
        if where is not None:
            unit = unit[where]
        column = np.bincount(unit, values, self.units)
        self._names.append(name)
        self._columns.append(column.astype(np.float64))

    def _add_deltas(self, tokens: PairTokens, finite: Bools) -> None:
        delta = tokens.delta[finite].astype(np.float64)
        for name, values in _delta_terms(delta):
            self._add(name, finite, values)

    def _add_moments(self, tokens: PairTokens, finite: Bools) -> None:
        possible = finite & np.isfinite(tokens.logprob_a)
        a = tokens.logprob_a[possible]
        b = tokens.logprob_b[possible]
        for name, values in _moments(a, b):
            self._add(name, possible, values)

    def _add_all_tokens(self, tokens: PairTokens) -> None:
        self._add("all", None)
        self._add("exact", None, tokens.delta == 0)
        self._add("infinite", None, np.isinf(tokens.delta))
        logprob_a = tokens.logprob_a.astype(np.float64)
        logprob_b = tokens.logprob_b.astype(np.float64)
        gap = np.exp(logprob_a) - np.exp(logprob_b)
        self._add("probability", None, np.abs(gap))

    def _add_topk(self, tokens: PairTokens, known: Mapping[str, Bools]) -> None:
        for path, where in known.items():
            self._add(_known_tokens_of(path), where)
            self._add(path, where, tokens.topk[path][where])

    @property
    def tail_tokens(self) -> int:
        """Tokens of the tail: a draw counts each of them."""
        return len(self._tail.sizes)

    def metrics_of_data(self) -> dict[str, Floats]:
        """Every metric of the data, f64[1] each.

        Only here is errors.max_abs: a draw can repeat the largest or miss it, so it has
        no interval.
        """
        sizes = self._tail.sizes
        if len(sizes):
            largest = sizes[:1]
        else:
            largest = np.full(1, np.nan)
        each_unit_once = np.ones((1, self.units))
        values = self.metrics(each_unit_once)
        values["errors.max_abs"] = largest
        return values

    def metrics(self, counts: Floats) -> dict[str, Floats]:
        """Every metric of each draw, f64[r], from how often each unit counts.

        ``counts`` is f64[r, units].
        """
        with np.errstate(all="ignore"):
            columns = (counts @ self._sums).T
            total = dict(zip(self._names, columns, strict=True))
            values = {}
            for path, formula in _FORMULAS.items():
                values[path] = formula(total)
            for path in TOPK:
                if path in total:
                    values[path] = total[path] / total[_known_tokens_of(path)]
            values["errors.p99"] = self._tail.quantile(counts)
        return values


def _known_tokens_of(path: str) -> str:
    """The name of the sum that counts the known tokens of a metric of `TOPK`."""
    return f"{path} known"


def _delta_terms(delta: Floats) -> Iterator[tuple[str, Array | None]]:
    """Terms f64[n] of the sums over finite deltas, one at a time."""
    with np.errstate(over="ignore"):
        size = np.abs(delta)
        above = estimators.excess(delta)
        yield "n", None
        yield "delta", delta
        yield "size", size
        yield "square", size * size
        yield "k3", estimators.k3(delta, above)
        yield "excess", above
        yield "chi2", np.expm1(2 * delta)
        yield "clipped", (above < -CLIP) | (above > CLIP)
        yield "mult", np.expm1(size)


def _moments(logprob_a: Array, logprob_b: Array) -> Iterator[tuple[str, Array | None]]:
    """Terms of the correlation, about the middle of the data.

    About 0 the variance would be a difference of large sums.
    """
    a = _centred(logprob_a)
    b = _centred(logprob_b)
    yield "possible", None
    yield "a", a
    yield "b", b
    yield "aa", a * a
    yield "bb", b * b
    yield "ab", a * b


def _centred(logprob: Array) -> Floats:
    """f64[n] less its mean.

    A constant array gives exact zeros, so that its rounding is not taken for variance.
    """
    values: Floats = logprob.astype(np.float64)
    if not len(values):
        return values
    if values.min() == values.max():
        middle = values[0]
    else:
        middle = values.mean()
    centred: Floats = values - middle
    return centred


def _mean(name: str, count: str = "n") -> Formula:
    """A sum over the number of its tokens, which is a sum too."""
    return lambda total: total[name] / total[count]


def _rmse(total: Totals) -> Floats:
    mean_square = total["square"] / total["n"]
    root: Floats = np.sqrt(mean_square)
    return root


def _pearson(total: Totals) -> Floats:
    n = total["possible"]
    mean_a = total["a"] / n
    mean_b = total["b"] / n
    variance_a = total["aa"] / n - mean_a * mean_a
    variance_b = total["bb"] / n - mean_b * mean_b
    covariance = total["ab"] / n - mean_a * mean_b
    spread = np.sqrt(variance_a * variance_b)
    return np.clip(covariance / spread, -1, 1)


def _infinite(total: Totals) -> Floats:
    return total["infinite"]


def _ess_token(total: Totals) -> Floats:
    mean_ratio = 1 + total["excess"] / total["n"]
    mean_square = 1 + total["chi2"] / total["n"]
    return mean_ratio**2 / mean_square


def _mult_prob_error(total: Totals) -> Floats:
    return 1 + total["mult"] / total["n"]


_FORMULAS: Mapping[str, Formula] = {
    "errors.mean": _mean("delta"),
    "errors.mae": _mean("size"),
    "errors.rmse": _rmse,
    "errors.pearson": _pearson,
    "errors.exact_fraction": _mean("exact", "all"),
    "errors.infinite": _infinite,
    "mismatch.k3": _mean("k3"),
    "mismatch.chi2_token": _mean("chi2"),
    "mismatch.ess_token": _ess_token,
    f"mismatch.clip_fraction.{CLIP}": _mean("clipped"),
    "probability.mae": _mean("probability", "all"),
    "probability.mult_prob_error": _mult_prob_error,
}

STUDENTISED = ("errors.mae", "errors.rmse", "errors.mean", "mismatch.k3")
TOPK = ("topk.same_top1", "topk.overlap", "topk.kl_lower_bound_mean")
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
