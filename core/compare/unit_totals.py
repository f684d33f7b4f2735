"""The sums of a pair's tokens by unit, and every metric of any draw of the units.

A metric of a draw follows from the sums of its units alone, without going back to the
tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare import estimators
from logdrift.core.compare.tail import Tail
from logdrift.core.compare.units import Method, unit_sums

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Totals = Mapping[str, Floats]
Formula = Callable[[Totals], Floats]

CLIP = 0.2
TOPK = ("topk.same_top1", "topk.overlap", "topk.kl_lower_bound_mean")
"""Metrics that are means of a value f64[n] per token, NaN where it is not known."""

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


@dataclass(frozen=True, slots=True, eq=False)
class TokenUnits:
    """The unit of each token, int64[n], and how many there are."""

    of_token: Array
    count: int
    method: Method | None


def units_of(lengths: Array) -> TokenUnits:
    no_deltas = np.zeros(int(lengths.sum()), np.float32)
    cut = unit_sums(no_deltas, lengths)
    count = len(cut)
    tokens = cut.tokens.astype(np.int64)
    of_token = np.repeat(np.arange(count), tokens)
    return TokenUnits(of_token=of_token, count=count, method=cut.method)


@dataclass(frozen=True, slots=True, eq=False)
class SharedTokens:
    """The tokens that count, bool[n]: finite deltas in both sessions, and of each of
    `TOPK` the known ones.
    """

    finite: Bools
    known: Mapping[str, Bools]


def shared_tokens(old: PairTokens, new: PairTokens) -> SharedTokens:
    known = {}
    for path in TOPK:
        if path in old.topk and path in new.topk:
            known[path] = _finite_in_both(old.topk[path], new.topk[path])
    return SharedTokens(finite=_finite_in_both(old.delta, new.delta), known=known)


def _finite_in_both(old: Array, new: Array) -> Bools:
    finite: Bools = np.isfinite(old) & np.isfinite(new)
    return finite


class UnitTotals:
    """Sums over the tokens of each unit, by name.

    Every metric of a draw follows from them without going back to the tokens.
    """

    def __init__(
        self, tokens: PairTokens, shared: SharedTokens, units: TokenUnits
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
