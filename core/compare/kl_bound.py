"""A lower bound of KL(B || A) at a token, from the top-k lists of both sides.

Direction B || A, because k1 and k3 of tokens sampled by B estimate that one.

**Theorem.** Both distributions are seen through the same cells: each id whose
log-probability is known on both sides (it is in both lists, or it is the target), and
one cell for all other ids. Merging outcomes never raises a KL divergence
(data-processing inequality), so the divergence of the cells is at most that of the
whole vocabulary, whatever the other ids look like.

**Rounding.** The mass of the last cell, the *rest*, is 1 - the sum of the others.
Rounding leaves it anywhere within +-noise, and dividing two such masses would turn the
noise into a divergence. So the pair of rests with the least divergence is taken, each
within its noise: rest_a + noise_a, and for rest_b the value nearest to
(rest_a + noise_a) / e, where x log(x / r) is smallest. The noise is 2^-20 for the sum
of a float32 softmax, plus u * sum p |log p| over the cells of a list whose values are
all bfloat16 (u = 2^-8) or float16 (2^-11) numbers. For float64 lists it is 2^-46. The
log-probabilities of the other cells are taken as they are: their rounding enters as in
every other number. A sum below 0, which only rounding can give, is 0.
"""

from __future__ import annotations

import numpy as np

from logdrift.core.compare.topk_lists import Array, Bools, Floats, ListMatch, TopKBlock

_NO_TARGET = -2
"""An id that no token has: the target where a side has no log-probability of it."""
_SUM_NOISE = 2.0**-20
"""How far a float32 log-softmax leaves the sum of all probabilities from 1: nine times
the most seen (1.1e-7).
"""
_SUM_NOISE_FLOAT64 = 2.0**-46
_ROUNDING_BFLOAT16 = 2.0**-8
_ROUNDING_FLOAT16 = 2.0**-11
_BITS_BELOW_BFLOAT16 = 0xFFFF
_BITS_BELOW_FLOAT16 = 0x1FFF
"""Bits of a float32 that are 0 in every number of the narrower type."""


def kl_lower_bounds(
    a: TopKBlock, b: TopKBlock, target_ids: Array, match: ListMatch
) -> Floats:
    """Lower bounds of KL(B || A) of M tokens, f64[M] in nats: >= 0, maybe +inf."""
    unknown = np.isnan(a.target) | np.isnan(b.target)
    known = ~unknown
    # The target is a cell of its own: both sides always know its log-probability.
    target_id = np.where(known, target_ids, _NO_TARGET)
    cells_of_a = match.in_b & (a.ids != target_id)
    cells_of_b = (match.slot > 0) & (b.ids != target_id)
    target_a = _target_logprob(a, known)
    target_b = _target_logprob(b, known)

    total = _divergence_of_entries(b, match.value_a, cells_of_b)
    total += _divergence_of_target(target_a, target_b)
    rest_a, noise_a = _rest(a, cells_of_a, target_a)
    rest_b, noise_b = _rest(b, cells_of_b, target_b)
    most_a = np.maximum(rest_a, 0.0) + noise_a
    least_b = np.maximum(rest_b - noise_b, 0.0)
    most_b = np.maximum(rest_b, 0.0) + noise_b
    nearest_b = np.clip(most_a / np.e, least_b, most_b)
    log_ratio = np.log(nearest_b / most_a)
    total += nearest_b * log_ratio
    bounds: Floats = np.maximum(total, 0.0)
    return bounds


def _target_logprob(side: TopKBlock, known: Bools) -> Floats:
    return np.where(known, side.target, -np.inf).astype(np.float64)


def _divergence_of_entries(b: TopKBlock, value_a: Array, cells: Bools) -> Floats:
    """The sum of p_b (log p_b - log p_a) over the entries that are cells, f64[M]."""
    terms = np.subtract(b.values, value_a, dtype=np.float64)
    # 0 log 0 = 0, and an entry that is no cell adds nothing.
    adds_nothing = ~cells | (b.p == 0)
    np.copyto(terms, 0.0, where=adds_nothing)
    terms *= b.p
    total: Floats = terms.sum(axis=0)
    return total


def _divergence_of_target(target_a: Floats, target_b: Floats) -> Floats:
    p_b = np.exp(target_b)
    divergence = p_b * (target_b - target_a)
    return np.where(p_b > 0, divergence, 0.0)


def _rest(
    side: TopKBlock, cells: Bools, target: Floats
) -> tuple[Floats, float | Floats]:
    """The mass outside of the cells, f64[M], and how far rounding may leave it off."""
    p = side.p * cells
    p_target = np.exp(target)
    in_cells = p.sum(axis=0) + p_target
    noise = _noise(side.values, p, target, p_target)
    return 1.0 - in_cells, noise


def _noise(
    values: Array, p: Floats, target: Floats, p_target: Floats
) -> float | Floats:
    """How far rounding leaves the sum of the cells p [K, M] and p_target [M] from the
    truth, float or f64[M].
    """
    if values.dtype == np.float64:
        return _SUM_NOISE_FLOAT64
    rounding = _rounding_of(values)
    if not rounding.any():
        return _SUM_NOISE
    with_log = _times_log(p, values).sum(axis=0)
    with_log += _times_log(p_target, target)
    noise: Floats = _SUM_NOISE + rounding * with_log
    return noise


def _times_log(p: Floats, logprob: Array) -> Floats:
    """p |log p|, 0 where p is 0."""
    product = p * np.abs(logprob)
    return np.where(p > 0, product, 0.0)


def _rounding_of(values: Array) -> Floats:
    """The relative rounding of each column of f32[K, M] whose values are all bfloat16
    or float16 numbers, f64[M]; 0 for the other columns.
    """
    bits = np.bitwise_or.reduce(values.view(np.uint32), axis=0)
    is_bfloat16 = bits & _BITS_BELOW_BFLOAT16 == 0
    is_float16 = bits & _BITS_BELOW_FLOAT16 == 0
    rounding = np.where(is_float16, _ROUNDING_FLOAT16, 0.0)
    return np.where(is_bfloat16, _ROUNDING_BFLOAT16, rounding)
