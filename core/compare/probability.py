"""How far two captures are apart in probability: p = exp(log p), where a gap at an
unlikely token weighs little.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.sums import BLOCK, exact_sum, finite_or_none

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
    if len(logprob_a) != len(logprob_b):
        raise ValueError(f"{len(logprob_a)} and {len(logprob_b)} log-probabilities")
    with np.errstate(invalid="ignore", over="ignore"):
        delta = logprob_a - logprob_b
        if not math.isfinite(float(delta.sum(dtype=np.float64))):
            known = ~(np.isnan(logprob_a) | np.isnan(logprob_b))
            logprob_a, logprob_b, delta = (
                logprob_a[known],
                logprob_b[known],
                delta[known],
            )
            delta[logprob_a == logprob_b] = 0.0  # both -inf
            delta = delta[np.isfinite(delta)]
        if len(logprob_a) == 0:
            return Probability()
        return _over_blocks(logprob_a, logprob_b, delta)


def _over_blocks(logprob_a: Array, logprob_b: Array, delta: Array) -> Probability:
    """Sums of blocks, pooled: squares are taken around each block's own mean, which
    loses no digits.
    """
    n = len(logprob_a)
    blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
    parts = np.array([_block(logprob_a[block], logprob_b[block]) for block in blocks])
    counts = np.minimum(n - np.arange(len(parts)) * BLOCK, BLOCK)
    means = parts[:, :4] / counts[:, None]  # p, q, p - q, |p - q|
    mean = np.array([exact_sum(column) / n for column in parts[:, :4].T])
    off = means - mean

    def pooled(column: int, x: int, y: int) -> float:
        return exact_sum(parts[:, column]) + exact_sum(counts * off[:, x] * off[:, y])

    pp, qq, pq, gap = pooled(4, 0, 0), pooled(5, 1, 1), pooled(6, 0, 1), pooled(7, 3, 3)
    low, high = parts[:, 8:11].min(axis=0), parts[:, 11:].max(axis=0)
    # A constant's squares are rounding, not variance: compare the values, not their
    # spread.
    varies = low < high
    spread = (
        math.sqrt(pp) * math.sqrt(qq)
        if varies[0] and varies[1] and math.isfinite(pp * qq)
        else 0.0
    )
    errors = [
        np.expm1(np.abs(delta[s : s + BLOCK]), dtype=np.float64).sum()
        for s in range(0, len(delta), BLOCK)
    ]
    return Probability(
        mean=finite_or_none(mean[2]),
        mae=finite_or_none(mean[3]),
        max=finite_or_none(high[2]),
        std=(
            None
            if n < 2
            else finite_or_none(math.sqrt(gap / (n - 1)) if varies[2] else 0.0)
        ),
        rmse=finite_or_none(math.sqrt(gap / n + mean[3] * mean[3])),
        pearson=min(1.0, max(-1.0, pq / spread)) if spread > 0 else None,
        mult_prob_error=(
            finite_or_none(1 + exact_sum(np.array(errors)) / len(delta))
            if len(delta)
            else None
        ),
    )


def _block(logprob_a: Array, logprob_b: Array) -> tuple[float, ...]:
    """Sums of p, q, p - q, |p - q|; squares around means of p, q, p * q and |p - q|;
    least and largest p, q, |p - q|.
    """
    p, q = np.exp(logprob_a, dtype=np.float64), np.exp(logprob_b, dtype=np.float64)
    signed = p - q
    gap = np.abs(signed)
    sums = p.sum(), q.sum(), signed.sum(), gap.sum()
    ends = p.min(), q.min(), gap.min(), p.max(), q.max(), gap.max()
    for values, total in ((p, sums[0]), (q, sums[1]), (gap, sums[3])):
        values -= total / len(values)
    squares = (p * p).sum(), (q * q).sum(), (p * q).sum(), (gap * gap).sum()
    return tuple(float(value) for value in (*sums, *squares, *ends))
