"""By how much the numbers of a pair changed between two sessions, and whether that is
more than noise.

Both sessions score the same tokens, so the difference is taken within each draw of a
paired bootstrap: what makes some sequences harder than others cancels, and the interval
is that of the change, not of two separate numbers.
"""

from __future__ import annotations

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
Verdict = Literal["better", "worse", "no_change"]

LEVEL = 0.95
CLIP = 0.2
_BLOCK_CELLS = 4_000_000
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
    count = len(old.delta)
    if not len(new.delta) == count == int(np.sum(lengths)):
        raise ValueError(
            f"{count} and {len(new.delta)} deltas for {int(np.sum(lengths))} tokens"
        )
    lengths = np.asarray(lengths, np.int64)
    units = _units_of(lengths)
    if units.method is None:
        resamples = 0
    shared = _shared_tokens(old, new)
    totals = [_UnitTotals(side, shared, units) for side in (old, new)]
    values = [side.metrics_of_data() for side in totals]
    drawn = _metrics_of_draws(totals, units, resamples, seed)
    studentised = _studentised(old, new, shared.finite, lengths, resamples)
    rows = [
        _change(
            path,
            old=values[0][path][0],
            new=values[1][path][0],
            drawn=(drawn[0].get(path), drawn[1].get(path)),
            studentised=studentised.get(path),
        )
        for path in METRICS
        if path in values[0] and path in values[1]
    ]
    return Changes(tuple(rows), units.method, units.count, resamples)


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """The unit of each token, int64[n], and how many there are."""

    of_token: Array
    count: int
    method: Method | None


def _units_of(lengths: Array) -> _Units:
    cut = unit_sums(np.zeros(int(lengths.sum()), np.float32), lengths)
    of_token = np.repeat(np.arange(len(cut)), cut.tokens.astype(np.int64))
    return _Units(of_token=of_token, count=len(cut), method=cut.method)


@dataclass(frozen=True, slots=True, eq=False)
class _SharedTokens:
    """The tokens that count, bool[n]: finite deltas in both sessions, and of each of
    `TOPK` the known ones.
    """

    finite: Bools
    known: Mapping[str, Bools]


def _shared_tokens(old: PairTokens, new: PairTokens) -> _SharedTokens:
    both = [path for path in TOPK if path in old.topk and path in new.topk]
    return _SharedTokens(
        finite=np.isfinite(old.delta) & np.isfinite(new.delta),
        known={
            path: np.isfinite(old.topk[path]) & np.isfinite(new.topk[path])
            for path in both
        },
    )


def _studentised(
    old: PairTokens, new: PairTokens, finite: Bools, lengths: Array, resamples: int
) -> dict[str, Interval | None]:
    """The bootstrap-t intervals of `STUDENTISED`; {} without a draw."""
    if resamples == 0:
        return {}
    kept = count_kept(finite, lengths)
    found = paired_changes(
        unit_sums(old.delta[finite], kept),
        unit_sums(new.delta[finite], kept),
        resamples=resamples,
    )
    return {
        "errors.mae": found.mae,
        "errors.rmse": found.rmse,
        "errors.mean": found.mean,
        "mismatch.k3": found.k3,
    }


def _metrics_of_draws(
    totals: list[_UnitTotals], units: _Units, resamples: int, seed: int
) -> list[dict[str, Floats]]:
    """Every metric of each draw, f64[resamples], of both sessions; {} without a
    draw.
    """
    if resamples == 0:
        return [{}, {}]
    width = max(units.count, totals[0].width)
    rows = max(1, min(resamples, _BLOCK_CELLS // width))
    blocks = [
        [side.metrics(counts) for side in totals]
        for counts in draw_counts(units.count, rows, resamples, seed)
    ]
    return [_joined([block[side] for block in blocks]) for side in (0, 1)]


def _joined(blocks: list[dict[str, Floats]]) -> dict[str, Floats]:
    return {
        path: np.concatenate([block[path] for block in blocks]) for path in blocks[0]
    }


def _change(
    path: str,
    *,
    old: Any,
    new: Any,
    drawn: tuple[Floats | None, Floats | None],
    studentised: Interval | None,
) -> Change:
    earlier = _known(old)
    later = _known(new)
    if earlier is None or later is None:
        return Change(path, earlier, later, None, None, None)
    ci95, closer = _intervals(path, *drawn)
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


def _known(value: Any) -> float | None:
    if np.isfinite(value):
        return float(value)
    return None


def _intervals(
    path: str, old: Floats | None, new: Floats | None
) -> tuple[Interval | None, Interval | None]:
    """Of the change, and of the change of the distance from perfect agreement."""
    if old is None or new is None:
        return None, None
    perfect = metric(path).perfect or 0.0
    nearer = np.abs(new - perfect) - np.abs(old - perfect)
    return _percentiles(new - old), _percentiles(nearer)


def _percentiles(values: Floats) -> Interval | None:
    # A draw in which the metric is undefined (no spread, nothing known) says that the
    # data is too thin for an interval.
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


class _UnitTotals:
    """Sums over the tokens of each unit, by name.

    Every metric of a draw follows from them without going back to the tokens.
    """

    def __init__(
        self, tokens: PairTokens, shared: _SharedTokens, units: _Units
    ) -> None:
        self._units = units
        self._names: list[str] = []
        self._columns: list[Floats] = []
        self._add_deltas(tokens, shared.finite)
        self._add_moments(tokens, shared.finite)
        self._add_all_tokens(tokens)
        self._add_topk(tokens, shared.known)
        self._sums = np.stack(self._columns, axis=1)
        sizes = np.abs(tokens.delta[shared.finite])
        unit = units.of_token[shared.finite]
        self._tail = Tail(sizes, unit, units.count, _QUANTILE)

    def _add(self, name: str, where: Array | None, values: Array | None = None) -> None:
        """The sum of ``values`` (None: 1) over the tokens of each unit in ``where``."""
        unit = self._units.of_token
        if where is not None:
            unit = unit[where]
        column = np.bincount(unit, values, self._units.count)
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
        p = np.exp(tokens.logprob_a.astype(np.float64))
        q = np.exp(tokens.logprob_b.astype(np.float64))
        self._add("probability", None, np.abs(p - q))

    def _add_topk(self, tokens: PairTokens, known: Mapping[str, Bools]) -> None:
        for path, where in known.items():
            self._add(f"{path} known", where)
            self._add(path, where, tokens.topk[path][where])

    @property
    def width(self) -> int:
        """Cells that one draw needs."""
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
        values = self.metrics(np.ones((1, self._units.count)))
        return {**values, "errors.max_abs": largest}

    def metrics(self, counts: Floats) -> dict[str, Floats]:
        """Every metric of each draw, f64[r], from how often each unit counts.

        ``counts`` is f64[r, units].
        """
        with np.errstate(all="ignore"):
            columns = (counts @ self._sums).T
            total = dict(zip(self._names, columns, strict=True))
            values = {path: formula(total) for path, formula in _FORMULAS.items()}
            for path in TOPK:
                if path in total:
                    values[path] = total[path] / total[f"{path} known"]
            values["errors.p99"] = self._tail.quantile(counts)
        return values


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
    yield from (("a", a), ("b", b), ("aa", a * a), ("bb", b * b), ("ab", a * b))


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


def _pearson(total: Totals) -> Floats:
    n = total["possible"]
    a = total["a"] / n
    b = total["b"] / n
    spread = (total["aa"] / n - a * a) * (total["bb"] / n - b * b)
    return np.clip((total["ab"] / n - a * b) / np.sqrt(spread), -1, 1)


_FORMULAS: Mapping[str, Callable[[Totals], Floats]] = {
    "errors.mean": lambda total: total["delta"] / total["n"],
    "errors.mae": lambda total: total["size"] / total["n"],
    "errors.rmse": lambda total: np.sqrt(total["square"] / total["n"]),
    "errors.pearson": _pearson,
    "errors.exact_fraction": lambda total: total["exact"] / total["all"],
    "errors.infinite": lambda total: total["infinite"],
    "mismatch.k3": lambda total: total["k3"] / total["n"],
    "mismatch.chi2_token": lambda total: total["chi2"] / total["n"],
    "mismatch.ess_token": lambda total: (
        (1 + total["excess"] / total["n"]) ** 2 / (1 + total["chi2"] / total["n"])
    ),
    f"mismatch.clip_fraction.{CLIP}": lambda total: total["clipped"] / total["n"],
    "probability.mae": lambda total: total["probability"] / total["all"],
    "probability.mult_prob_error": lambda total: 1 + total["mult"] / total["n"],
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
