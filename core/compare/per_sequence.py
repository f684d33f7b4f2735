"""One number for each sequence of a pair: what a list of sequences is sorted by.

Every function takes the pair and the threshold in nats and gives f64[S], NaN for a
sequence of which it says nothing. All scored tokens count, those of the prompt too;
sums and means leave out infinite deltas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from logdrift.core.compare import estimators
from logdrift.core.compare.pair import Pair
from logdrift.core.compare.segments import reduce_segments

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def number(pair: Pair, threshold: float) -> Array:
    """The number of the sequence."""
    return np.arange(pair.count, dtype=np.float64)


def worst(pair: Pair, threshold: float) -> Array:
    """The largest |delta|, nats."""
    return pair.worst.astype(np.float64)


def mean_size(pair: Pair, threshold: float) -> Array:
    """The mean |delta|, nats."""
    return pair.mean_abs.astype(np.float64)


def signed_mean(pair: Pair, threshold: float) -> Array:
    """The mean delta, nats: which side gives more."""
    return _mean(pair, lambda delta: delta)


def log_ratio(pair: Pair, threshold: float) -> Array:
    """The sum of delta, nats: the logarithm of the sequence's importance ratio."""
    is_finite = _finite(pair)
    finite_delta = np.where(is_finite, pair.delta, 0.0)
    total = _sum(pair, finite_delta)
    counts = _sum(pair, is_finite)
    return np.where(counts > 0, total, np.nan)


def k3(pair: Pair, threshold: float) -> Array:
    """The mean of k3, nats: an estimate of KL(B || A) where B sampled the tokens."""
    return _mean(pair, estimators.k3)


def share_beyond(pair: Pair, threshold: float) -> Array:
    """The share of scored tokens with |delta| beyond the threshold."""
    is_beyond = np.zeros(pair.tokens)
    is_beyond[pair.divergences(threshold)] = 1.0
    beyond = _sum(pair, is_beyond)
    counts = _sum(pair, pair.scored)
    return _shares(beyond, counts)


def infinite(pair: Pair, threshold: float) -> Array:
    """How many tokens one side alone calls impossible."""
    return _sum(pair, pair.scored & np.isinf(pair.delta))


def length(pair: Pair, threshold: float) -> Array:
    """Tokens of the sequence, prompt included."""
    lengths = np.diff(pair.offsets)
    return lengths.astype(np.float64)


class Reduction(NamedTuple):
    """``title`` heads a column, ``words`` say what it is; ``signed`` values are sorted
    by their size.
    """

    name: str
    title: str
    words: str
    values: Callable[[Pair, float], Array]
    signed: bool = False


REDUCTIONS: tuple[Reduction, ...] = (
    Reduction("number", "#", "number of the sequence", number),
    Reduction("worst", "worst", "largest |Δ|, nats", worst),
    Reduction("mean", "mean", "mean |Δ|, nats", mean_size),
    Reduction(
        "bias",
        "bias",
        "mean Δ with its sign, nats: which side gives more",
        signed_mean,
        signed=True,
    ),
    Reduction(
        "sum",
        "sum",
        "sum of Δ, nats: logarithm of the sequence's ratio",
        log_ratio,
        signed=True,
    ),
    Reduction("k3", "k3", "mean of exp(Δ) − 1 − Δ, nats", k3),
    Reduction(
        "beyond",
        "beyond",
        "share of tokens with |Δ| beyond the threshold",
        share_beyond,
    ),
    Reduction(
        "infinite", "inf", "tokens that one side alone calls impossible", infinite
    ),
    Reduction("length", "tokens", "tokens of the sequence", length),
)


def reduction(name: str) -> Reduction:
    """The entry of that name. KeyError for an unknown one."""
    return _BY_NAME[name]


_BY_NAME = {entry.name: entry for entry in REDUCTIONS}


def order(values: Array, count: int, signed: bool) -> Array:
    """The ``count`` sequences with the largest value (``signed``: by size) first,
    int64; unknown ones last, by number.
    """
    if signed:
        values = np.abs(values)
    keys = np.full(count, -np.inf)
    is_unknown = np.isnan(values)
    keys[: len(values)] = np.where(is_unknown, -np.inf, values)
    return np.argsort(-keys, kind="stable")


def _finite(pair: Pair) -> Array:
    return pair.scored & np.isfinite(pair.delta)


def _sum(pair: Pair, values: Array) -> Array:
    wide = values.astype(np.float64)
    return reduce_segments(np.add, wide, pair.offsets)


def _shares(sums: Array, counts: Array) -> Array:
    """The sum of each sequence over its count, NaN where that is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = sums / counts
    return np.where(counts > 0, shares, np.nan)


def _mean(pair: Pair, of_delta: Callable[[Array], Array]) -> Array:
    """The mean over finite deltas of a function of them."""
    is_finite = _finite(pair)
    delta = np.where(is_finite, pair.delta, 0.0).astype(np.float64)
    with np.errstate(over="ignore"):
        values = np.where(is_finite, of_delta(delta), 0.0)
        total = _sum(pair, values)
    counts = _sum(pair, is_finite)
    return _shares(total, counts)
