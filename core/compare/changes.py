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

from logdrift.core.compare.metric import METRICS as TABLE
from logdrift.core.compare.uncertainty import Method, paired_changes, unit_sums

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Verdict = Literal["better", "worse", "no_change"]

LEVEL = 0.95
CLIP = 0.2
_BLOCK_CELLS = 4_000_000
_QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class Side:
    """One session's n tokens: delta, logprob_a, logprob_b f32[n] in nats, none of them
    NaN.

    ``topk`` has a value f64[n] per token for metrics that are means of such (`TOPK`);
    NaN where it is not known.
    """

    delta: Array
    logprob_a: Array
    logprob_b: Array
    topk: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One metric before and after, in its own unit. None where it cannot be computed.

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
        """``no_change`` where the interval includes 0, the change is below ``floor`` or
        nothing moved at all; None without an interval.
        """
        if self.change == 0:
            return "no_change"
        if self.change is None or self.closer is None:
            return None
        low, high = self.closer
        if low <= 0 <= high or (floor is not None and abs(self.change) < floor):
            return "no_change"
        return "better" if high < 0 else "worse"


@dataclass(frozen=True, slots=True)
class Changes:
    """All metrics. ``method`` says what was drawn: ``sequences``, ``blocks`` of tokens,
    or None (too few of either).
    """

    rows: tuple[Change, ...]
    method: Method | None
    units: int
    resamples: int


def change_stats(
    old: Side, new: Side, lengths: Array, *, resamples: int = 2000, seed: int = 0
) -> Changes:
    """Metrics of two sides over the same n tokens, in sequence order; ``lengths``
    i64[S] (0 allowed) has the sum n.

    Units are those of `logdrift.core.compare.uncertainty`: sequences, or blocks of
    tokens where there are few. MAE, RMSE, mean and k3 have its bootstrap-t intervals,
    all others the percentiles of a bootstrap (Efron and Tibshirani 1993, 13.3) that
    draws the same units for both sides. Means are over tokens whose delta is finite (of
    `TOPK`: known) in both sessions, so that both are of the same tokens.
    """
    count = len(old.delta)
    if not len(new.delta) == count == int(np.sum(lengths)):
        raise ValueError(
            f"{count} and {len(new.delta)} deltas for {int(np.sum(lengths))} tokens"
        )
    cut = unit_sums(np.zeros(count, np.float32), np.asarray(lengths, np.int64))
    units, method = len(cut), cut.method
    unit = np.repeat(np.arange(units), cut.tokens.astype(np.int64))
    finite = np.isfinite(old.delta) & np.isfinite(new.delta)
    known = {
        m: np.isfinite(old.topk[m]) & np.isfinite(new.topk[m])
        for m in TOPK
        if m in old.topk and m in new.topk
    }
    sides = [_Sums(side, finite, known, unit, units) for side in (old, new)]
    points = [
        {**side.statistics(np.ones((1, units))), "errors.max_abs": side.largest}
        for side in sides
    ]
    drawn: list[dict[str, Floats]] = [{}, {}]
    if method is not None and resamples > 0:
        blocks = [
            [side.statistics(w) for side in sides]
            for w in _draws(units, sides[0].width, resamples, seed)
        ]
        drawn = [
            {m: np.concatenate([b[i][m] for b in blocks]) for m in blocks[0][i]}
            for i in (0, 1)
        ]
    studentised = (
        _studentised(old, new, finite, np.asarray(lengths, np.int64), resamples)
        if method is not None
        else {}
    )
    rows = [
        _change(
            m,
            points[0][m][0],
            points[1][m][0],
            drawn[0].get(m),
            drawn[1].get(m),
            studentised.get(m),
        )
        for m in METRICS
        if m in points[0] and m in points[1]
    ]
    return Changes(tuple(rows), method, units, resamples if method is not None else 0)


def _studentised(
    old: Side, new: Side, finite: Bools, lengths: npt.NDArray[np.int64], resamples: int
) -> dict[str, tuple[float, float] | None]:
    if resamples == 0:
        return {}
    kept = np.bincount(
        np.repeat(np.arange(len(lengths)), lengths)[finite], minlength=len(lengths)
    )
    sums = (unit_sums(side.delta[finite], kept) for side in (old, new))
    found = paired_changes(*sums, resamples=resamples)
    return {
        "errors.mae": found.mae,
        "errors.rmse": found.rmse,
        "errors.mean": found.mean,
        "mismatch.k3": found.k3,
    }


def _draws(units: int, width: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each unit was drawn, f64[r, units], in blocks of r resamples."""
    random = np.random.default_rng(seed)
    rows = max(1, min(resamples, _BLOCK_CELLS // max(units, width)))
    for start in range(0, resamples, rows):
        number = min(rows, resamples - start)
        drawn = random.integers(0, units, (number, units))
        drawn += np.arange(number)[:, None] * units
        yield (
            np.bincount(drawn.ravel(), minlength=number * units)
            .reshape(number, units)
            .astype(np.float64)
        )


def _change(
    metric: str,
    old: Any,
    new: Any,
    old_drawn: Floats | None,
    new_drawn: Floats | None,
    studentised: tuple[float, float] | None,
) -> Change:
    old, new = (float(v) if np.isfinite(v) else None for v in (old, new))
    if old is None or new is None:
        return Change(metric, old, new, None, None, None)
    ci95 = closer = None
    if old_drawn is not None and new_drawn is not None:
        perfect = TABLE[metric].perfect or 0.0
        ci95 = _interval(new_drawn - old_drawn)
        closer = _interval(np.abs(new_drawn - perfect) - np.abs(old_drawn - perfect))
    if metric in STUDENTISED:
        # Those that cannot be negative are as far from 0 as they are large; the signed
        # mean is not.
        ci95, closer = studentised, closer if metric == "errors.mean" else studentised
    return Change(metric, old, new, new - old, ci95, closer)


def _interval(values: Floats) -> tuple[float, float] | None:
    # A draw in which the statistic is undefined (no spread, nothing known) says that
    # the data is too thin for one.
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


class _Sums:
    """Sums over the tokens of each unit, from which every statistic of a draw follows
    without going back to tokens.
    """

    def __init__(
        self,
        side: Side,
        finite: Bools,
        known: Mapping[str, Bools],
        unit: Array,
        units: int,
    ) -> None:
        self.names: list[str] = []
        sums: list[Floats] = []

        def add(name: str, where: Array | None, values: Array | None) -> None:
            at = unit if where is None else unit[where]
            self.names.append(name)
            sums.append(np.bincount(at, values, units).astype(np.float64))

        delta = side.delta[finite].astype(np.float64)
        for name, values in _columns(delta):
            add(name, finite, values)
        possible = finite & np.isfinite(side.logprob_a)
        for name, values in _moments(
            side.logprob_a[possible], side.logprob_b[possible]
        ):
            add(name, possible, values)
        add("all", None, None)
        add("exact", None, side.delta == 0)
        add("infinite", None, np.isinf(side.delta))
        p, q = (np.exp(x.astype(np.float64)) for x in (side.logprob_a, side.logprob_b))
        add("probability", None, np.abs(p - q))
        for metric, where in known.items():
            add(f"{metric} known", where, None)
            add(metric, where, side.topk[metric][where])
        self.sums = np.stack(sums, axis=1)
        self.tail = _Tail(np.abs(side.delta[finite]), unit[finite], units)

    @property
    def width(self) -> int:
        """Cells that one draw needs."""
        return len(self.tail.sizes)

    @property
    def largest(self) -> Floats:
        """errors.max_abs, f64[1]. It has no interval: a draw can only repeat the
        largest or miss it.
        """
        return self.tail.sizes[:1] if len(self.tail.sizes) else np.full(1, np.nan)

    def statistics(self, weights: Floats) -> dict[str, Floats]:
        """Every metric for each row of ``weights`` f64[r, units] (how often a unit
        counts), f64[r].
        """
        with np.errstate(all="ignore"):
            total = dict(zip(self.names, (weights @ self.sums).T, strict=True))
            found = {metric: formula(total) for metric, formula in _FORMULAS.items()}
            found |= {
                metric: total[metric] / total[f"{metric} known"]
                for metric in TOPK
                if metric in total
            }
            found["errors.p99"] = self.tail.quantile(weights, _QUANTILE)
        return found


def _columns(delta: Floats) -> Iterator[tuple[str, Array | None]]:
    """Per-token terms f64[n] of the sums, one at a time."""
    with np.errstate(over="ignore"):
        # r - 1 and not r: of a delta of 1e-8 exp(delta) - 1 would keep no digit.
        size, above = np.abs(delta), np.expm1(delta)
        yield "n", None
        yield "delta", delta
        yield "size", size
        yield "square", size * size
        yield "k3", above - delta
        yield "above", above
        yield "chi2", np.expm1(2 * delta)
        yield "clipped", (above < -CLIP) | (above > CLIP)
        yield "mult", np.expm1(size)


def _moments(logprob_a: Array, logprob_b: Array) -> Iterator[tuple[str, Array | None]]:
    """Terms of the correlation, about the middle of the data: about 0 the variance
    would be a difference of large sums.

    A constant array gives exact zeros, so that its rounding is not taken for variance.
    """
    a, b = (x.astype(np.float64) for x in (logprob_a, logprob_b))
    a, b = (
        x - (x[0] if x.min() == x.max() else x.mean()) if len(x) else x for x in (a, b)
    )
    yield "possible", None
    yield from (("a", a), ("b", b), ("aa", a * a), ("bb", b * b), ("ab", a * b))


def _pearson(s: Mapping[str, Floats]) -> Floats:
    n = s["possible"]
    a, b = s["a"] / n, s["b"] / n
    spread = (s["aa"] / n - a * a) * (s["bb"] / n - b * b)
    return np.clip((s["ab"] / n - a * b) / np.sqrt(spread), -1, 1)


_FORMULAS: Mapping[str, Callable[[Mapping[str, Floats]], Floats]] = {
    "errors.mean": lambda s: s["delta"] / s["n"],
    "errors.mae": lambda s: s["size"] / s["n"],
    "errors.rmse": lambda s: np.sqrt(s["square"] / s["n"]),
    "errors.pearson": _pearson,
    "errors.exact_fraction": lambda s: s["exact"] / s["all"],
    "errors.infinite": lambda s: s["infinite"],
    "mismatch.k3": lambda s: s["k3"] / s["n"],
    "mismatch.chi2_token": lambda s: s["chi2"] / s["n"],
    "mismatch.ess_token": lambda s: (
        (1 + s["above"] / s["n"]) ** 2 / (1 + s["chi2"] / s["n"])
    ),
    f"mismatch.clip_fraction.{CLIP}": lambda s: s["clipped"] / s["n"],
    "probability.mae": lambda s: s["probability"] / s["all"],
    "probability.mult_prob_error": lambda s: 1 + s["mult"] / s["n"],
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


class _Tail:
    """The largest |delta| with their units: enough for an upper quantile of any
    draw.
    """

    def __init__(self, sizes: Array, unit: Array, units: int) -> None:
        # 2.5 times what the quantile needs: a draw would have to hold 2.5 times the
        # large deltas of the data.
        keep = min(len(sizes), max(20_000, int(2.5 * (1 - _QUANTILE) * len(sizes))))
        chosen = (
            np.argpartition(sizes, len(sizes) - keep)[len(sizes) - keep :]
            if keep < len(sizes)
            else slice(None)
        )
        kept = sizes[chosen]
        order = np.argsort(-kept, kind="stable")
        self.sizes: Floats = kept[order].astype(np.float64)
        self.unit = unit[chosen][order]
        self.counts = np.bincount(unit, minlength=units).astype(np.float64)

    def quantile(self, weights: Floats, at: float) -> Floats:
        """The quantile ``at`` (linear between neighbours, as `numpy.quantile`) of each
        draw; NaN where out of reach.
        """
        out = np.full(len(weights), np.nan)
        if not len(self.sizes):
            return out
        total = weights @ self.counts
        below = (total - 1) * (1 - at)
        covered = np.cumsum(weights[:, self.unit], axis=1)
        reach = (total > 0) & (covered[:, -1] > np.ceil(below))
        rows = np.flatnonzero(reach)
        first = (covered[rows] <= np.floor(below[rows])[:, None]).sum(axis=1)
        second = (covered[rows] <= np.ceil(below[rows])[:, None]).sum(axis=1)
        share = below[rows] - np.floor(below[rows])
        out[rows] = self.sizes[first] * (1 - share) + self.sizes[second] * share
        return out
