"""How far two captures are apart in probability: p = exp(log p), where a gap at an
unlikely token weighs little.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.sums import (
    block_lengths,
    blocks_of,
    exact_sum,
    finite_or_none,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Probability:
    """`probability` of the JSON schema, of p = exp(log p_A) and q = exp(log p_B) per
    token; probabilities, 0 to 1.

    ``mean`` is of p - q, signed; ``mae``, ``max`` and ``std`` (n - 1) are of \\|p -
    q\\|: verl ``rollout_probs_diff_mean``, ``_max``, ``_std``; ``rmse`` is sqrt(E[(p -
    q)^2]): llama.cpp ``RMS Δp`` / 100; ``pearson`` is the correlation of p and q: verl
    ``rollout_actor_probs_pearson_corr``. A token with log p = -inf has p = 0 and
    counts. ``mult_prob_error`` is the mean of exp \\|log p_A - log p_B\\|, at least 1,
    without the tokens that one side alone calls impossible: NeMo-RL
    ``token_mult_prob_error``. None where there is nothing to compute from, or where
    float64 has no number for it.
    """

    mean: float | None = None
    mae: float | None = None
    max: float | None = None
    std: float | None = None
    rmse: float | None = None
    pearson: float | None = None
    mult_prob_error: float | None = None

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


def probability_stats(logprob_a: Array, logprob_b: Array) -> Probability:
    """The numbers of `Probability` for float[n] log-probabilities in nats; tokens with
    NaN on a side are left out.

    ValueError for arrays of different length.
    """
    count_a = len(logprob_a)
    count_b = len(logprob_b)
    if count_a != count_b:
        raise ValueError(f"{count_a} and {count_b} log-probabilities")
    with np.errstate(invalid="ignore", over="ignore"):
        delta = logprob_a - logprob_b
        total = float(delta.sum(dtype=np.float64))
        if not math.isfinite(total):
            unknown = np.isnan(logprob_a) | np.isnan(logprob_b)
            known = ~unknown
            logprob_a = logprob_a[known]
            logprob_b = logprob_b[known]
            delta = delta[known]
            is_equal = logprob_a == logprob_b
            delta[is_equal] = 0.0  # both -inf
            is_finite = np.isfinite(delta)
            delta = delta[is_finite]
        if len(logprob_a) == 0:
            return Probability()
        return _over_blocks(logprob_a, logprob_b, delta)


_SUMS = (
    "p",
    "q",
    "signed",
    "gap",
    "p_squares",
    "q_squares",
    "products",
    "gap_squares",
    "p_least",
    "q_least",
    "gap_least",
    "p_largest",
    "q_largest",
    "gap_largest",
)
_BLOCK_SUMS = np.dtype([(name, np.float64) for name in _SUMS])
"""p, q, p - q and |p - q|: the sums over a block, the sums of squares (of p q:
products) around the block's own means, and the ends.
"""


class _ProbabilitySums:
    """Sums over n tokens, made of sums over blocks.

    Squares are taken around each block's own mean, which loses no digits.
    """

    def __init__(self, logprob_a: Array, logprob_b: Array) -> None:
        self.count = len(logprob_a)
        sums = []
        for block in blocks_of(self.count):
            in_a = logprob_a[block]
            in_b = logprob_b[block]
            sums.append(_block(in_a, in_b))
        self._blocks = np.array(sums, _BLOCK_SUMS)
        self._lengths = block_lengths(self.count)

    def mean(self, name: str) -> float:
        """The mean over tokens of p, q, signed or gap."""
        total = exact_sum(self._blocks[name])
        return total / self.count

    def squares(self, name: str, x: str, y: str) -> float:
        """The sum of ``name`` around the means of all tokens of ``x`` and ``y``."""
        within = exact_sum(self._blocks[name])
        off_x = self._off(x)
        off_y = self._off(y)
        between = self._lengths * off_x * off_y
        return within + exact_sum(between)

    def _off(self, name: str) -> Array:
        """By how much the mean of each block is off that of all tokens."""
        means = self._blocks[name] / self._lengths
        off: Array = means - self.mean(name)
        return off

    def largest(self, name: str) -> float:
        """The largest of p, q or gap."""
        largest = self._blocks[f"{name}_largest"]
        return float(largest.max())

    def varies(self, name: str) -> bool:
        """Whether not all of p, q or gap are equal.

        A constant's squares are rounding, not variance: values are compared, not their
        spread.
        """
        least = self._blocks[f"{name}_least"]
        smallest = least.min()
        return bool(smallest < self.largest(name))


def _over_blocks(logprob_a: Array, logprob_b: Array, delta: Array) -> Probability:
    sums = _ProbabilitySums(logprob_a, logprob_b)
    squares = sums.squares("gap_squares", "gap", "gap")
    mae = sums.mean("gap")
    variance = squares / sums.count
    mean_square = variance + mae * mae
    rmse = math.sqrt(mean_square)
    return Probability(
        mean=finite_or_none(sums.mean("signed")),
        mae=finite_or_none(mae),
        max=finite_or_none(sums.largest("gap")),
        std=_std(sums, squares),
        rmse=finite_or_none(rmse),
        pearson=_pearson(sums),
        mult_prob_error=_mult_prob_error(delta),
    )


def _std(sums: _ProbabilitySums, squares: float) -> float | None:
    """Standard deviation (n - 1) of |p - q|; None for fewer than two tokens."""
    if sums.count < 2:
        return None
    if not sums.varies("gap"):
        return 0.0
    variance = squares / (sums.count - 1)
    return finite_or_none(math.sqrt(variance))


def _pearson(sums: _ProbabilitySums) -> float | None:
    """The correlation of p and q; None where one is constant."""
    p_varies = sums.varies("p")
    if not p_varies or not sums.varies("q"):
        return None
    pp = sums.squares("p_squares", "p", "p")
    qq = sums.squares("q_squares", "q", "q")
    if not math.isfinite(pp * qq):
        return None
    spread = math.sqrt(pp) * math.sqrt(qq)
    if not spread > 0:
        return None
    products = sums.squares("products", "p", "q")
    correlation = products / spread
    at_least = max(-1.0, correlation)
    return min(1.0, at_least)


def _mult_prob_error(delta: Array) -> float | None:
    """The mean of exp |delta|; None without a finite delta."""
    count = len(delta)
    if not count:
        return None
    sums = []
    for block in blocks_of(count):
        size = np.abs(delta[block])
        errors = np.expm1(size, dtype=np.float64)
        sums.append(errors.sum())
    total = exact_sum(np.array(sums))
    mean = total / count
    return finite_or_none(1 + mean)


def _block(logprob_a: Array, logprob_b: Array) -> tuple[float, ...]:
    """The sums of `_BLOCK_SUMS` over one block."""
    p = np.exp(logprob_a, dtype=np.float64)
    q = np.exp(logprob_b, dtype=np.float64)
    signed = p - q
    gap = np.abs(signed)
    numbers = [p.sum(), q.sum(), signed.sum(), gap.sum()]
    least = [p.min(), q.min(), gap.min()]
    largest = [p.max(), q.max(), gap.max()]
    for values in (p, q, gap):
        mean = values.sum() / len(values)
        values -= mean
    numbers += [(p * p).sum(), (q * q).sum()]
    numbers += [(p * q).sum(), (gap * gap).sum()]
    numbers += least
    numbers += largest
    return tuple(map(float, numbers))
