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
    all_tokens = int(lengths.sum())
    no_deltas = np.zeros(all_tokens, np.float32)
    cut = unit_sums(no_deltas, lengths)
    count = len(cut)
    tokens = cut.tokens.astype(np.int64)
    units = np.arange(count)
    of_token = np.repeat(units, tokens)
    return TokenUnits(
        of_token=of_token,
        count=count,
        method=cut.method,
    )


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
        old_values = old.topk.get(path)
        new_values = new.topk.get(path)
        if old_values is None or new_values is None:
            continue
        known[path] = _finite_in_both(old_values, new_values)
    finite = _finite_in_both(old.delta, new.delta)
    return SharedTokens(finite=finite, known=known)


def _finite_in_both(old: Array, new: Array) -> Bools:
    finite_old = np.isfinite(old)
    finite_new = np.isfinite(new)
    finite: Bools = finite_old & finite_new
    return finite


class UnitTotals:
    """Sums over the tokens of each unit, by name.

    Every metric of a draw follows from them without going back to the tokens.
    """

    def __init__(
        self, tokens: PairTokens, shared: SharedTokens, units: TokenUnits
    ) -> None:
        finite = shared.finite
        self.units = units.count
        self._unit_of_token = units.of_token
        self._names: list[str] = []
        self._columns: list[Floats] = []
        self._add_deltas(tokens, finite)
        self._add_moments(tokens, finite)
        self._add_all_tokens(tokens)
        self._add_topk(tokens, shared.known)
        self._sums = np.stack(self._columns, axis=1)
        finite_delta = tokens.delta[finite]
        sizes = np.abs(finite_delta)
        unit_of_size = units.of_token[finite]
        self._tail = Tail(sizes, unit_of_size, units.count, _QUANTILE)

    def _add(self, name: str, where: Array | None, values: Array | None = None) -> None:
        """The sum of ``values`` (None: 1) over the tokens of each unit in ``where``."""
        unit = self._unit_of_token
        if where is not None:
            unit = unit[where]
        sums = np.bincount(unit, values, self.units)
        column = sums.astype(np.float64)
        self._names.append(name)
        self._columns.append(column)

    def _add_deltas(self, tokens: PairTokens, finite: Bools) -> None:
        finite_delta = tokens.delta[finite]
        delta = finite_delta.astype(np.float64)
        for name, values in _delta_terms(delta):
            self._add(name, finite, values)

    def _add_moments(self, tokens: PairTokens, finite: Bools) -> None:
        is_possible_to_a = np.isfinite(tokens.logprob_a)
        possible = finite & is_possible_to_a
        a = tokens.logprob_a[possible]
        b = tokens.logprob_b[possible]
        for name, values in _moments(a, b):
            self._add(name, possible, values)

    def _add_all_tokens(self, tokens: PairTokens) -> None:
        delta = tokens.delta
        is_exact = delta == 0
        is_infinite = np.isinf(delta)
        self._add("all", None)
        self._add("exact", None, is_exact)
        self._add("infinite", None, is_infinite)
        probability_a = _probability(tokens.logprob_a)
        probability_b = _probability(tokens.logprob_b)
        gap = np.abs(probability_a - probability_b)
        self._add("probability", None, gap)

    def _add_topk(self, tokens: PairTokens, known: Mapping[str, Bools]) -> None:
        for path, where in known.items():
            of_all_tokens = tokens.topk[path]
            known_values = of_all_tokens[where]
            known_tokens = _known_tokens_of(path)
            self._add(known_tokens, where)
            self._add(path, where, known_values)

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
        one_draw = (1, self.units)
        each_unit_once = np.ones(one_draw)
        values = self.metrics(each_unit_once)
        values["errors.max_abs"] = largest
        return values

    def metrics(self, counts: Floats) -> dict[str, Floats]:
        """Every metric of each draw, f64[r], from how often each unit counts.

        ``counts`` is f64[r, units].
        """
        with np.errstate(all="ignore"):
            sums_of_draws = counts @ self._sums
            columns = sums_of_draws.T
            named = zip(self._names, columns, strict=True)
            total = dict(named)
            values = {}
            for path, formula in _FORMULAS.items():
                values[path] = formula(total)
            for path in TOPK:
                if path in total:
                    mean_of_known = _mean(path, _known_tokens_of(path))
                    values[path] = mean_of_known(total)
            p99 = self._tail.quantile(counts)
            values["errors.p99"] = p99
        return values


def _probability(logprob: Array) -> Floats:
    """exp of log-probabilities, computed in float64."""
    exact: Floats = logprob.astype(np.float64)
    return np.exp(exact)


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
        log_square = 2 * delta
        yield "chi2", np.expm1(log_square)
        is_below = above < -CLIP
        is_above = above > CLIP
        yield "clipped", is_below | is_above
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
    lowest = values.min()
    highest = values.max()
    if lowest == highest:
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
    mean_aa = total["aa"] / n
    mean_bb = total["bb"] / n
    mean_ab = total["ab"] / n
    variance_a = mean_aa - mean_a * mean_a
    variance_b = mean_bb - mean_b * mean_b
    covariance = mean_ab - mean_a * mean_b
    product = variance_a * variance_b
    correlation = covariance / np.sqrt(product)
    return np.clip(correlation, -1, 1)


def _infinite(total: Totals) -> Floats:
    return total["infinite"]


def _ess_token(total: Totals) -> Floats:
    n = total["n"]
    excess = total["excess"] / n
    chi2 = total["chi2"] / n
    mean_ratio = 1 + excess
    mean_square = 1 + chi2
    return mean_ratio**2 / mean_square


def _mult_prob_error(total: Totals) -> Floats:
    excess = total["mult"] / total["n"]
    return 1 + excess


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
