"""Estimates of the divergence of two distributions from the tokens that one sampled.

delta = log p_A - log p_B is in nats, f64[n]; r = exp(delta) is the importance ratio of
A over B. All but k1 are computed from r - 1 (`excess`): exp(delta) - delta - 1 of a
delta of 1e-6 would lose 4 digits, and all of them of 1e-8.

Source of k1, k2 and k3: J. Schulman, "Approximating KL Divergence" (2020). Each is an
estimate of KL(B || A) in nats where B sampled the tokens. k1 is unbiased with a large
variance, k2 biased with a small one, k3 unbiased with a small one and never negative.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LOG_MAX = math.log(np.finfo(np.float64).max)
"""The largest delta, in nats, whose ratio is still a float64."""

_HUGE = 1e17
"""exp|delta| from which log cosh(delta / 2) is |delta| / 2 - log 2 to the last
digit.
"""

_NEAR = 0.5
"""A ratio less 1 up to which log1p of it keeps more digits than log of the ratio."""


def excess(delta: Array) -> Array:
    """r - 1 of each token, f64[n]; infinity where the ratio overflows."""
    ratio: Array = np.expm1(delta)
    return ratio


def k3(delta: Array, excess_of: Array | None = None) -> Array:
    """r - 1 - delta of each token, f64[n] in nats; ``excess_of`` is r - 1 if known."""
    if excess_of is None:
        excess_of = excess(delta)
    estimate: Array = excess_of - delta
    return estimate


def k3_reverse(delta: Array, excess_of_reverse: Array) -> Array:
    """k3 with A and B exchanged, f64[n] in nats, from 1/r - 1."""
    estimate: Array = excess_of_reverse + delta
    return estimate


def k3_of_token(delta: float) -> float:
    """k3 of one token in nats, at least 0; infinity where the ratio overflows."""
    if delta >= LOG_MAX:
        return math.inf
    return max(0.0, math.expm1(delta) - delta)


def chi2(excess_of: Array) -> Array:
    """r^2 - 1 of each token, f64[n] without unit, from r - 1."""
    square: Array = excess_of * (excess_of + 2)
    return square


def jensen_shannon(delta: Array, above: Array, below: Array) -> Array:
    """log cosh(delta / 2) of each token, f64[n] in nats, from r - 1 and 1/r - 1.

    Both KL terms of the divergence are k3 estimates against the mixture (p + q) / 2 on
    the chosen token, and their mean is log((p + q) / (2 sqrt(p q))): NeMo-RL's
    ``js_divergence_error``. It is log(1 + sinh(delta / 2)^2) / 2 as well, which loses
    no digits near 0.
    """
    estimate: Array = 0.5 * np.log1p(-0.25 * above * below)
    huge = np.maximum(above, below) > _HUGE
    if huge.any():
        size = np.abs(delta[huge])
        estimate[huge] = 0.5 * size - math.log(2)
    return estimate


def binary_kl(logprob_a: Array, logprob_b: Array) -> Array:
    """KL(B || A) of the two outcomes "this token" and "another one", f64[n] in nats.

    q log(q/p) + (1 - q) log((1 - q)/(1 - p)), p and q the probabilities under A and B
    (arXiv 2602.04879, equation 14). Log-probabilities are f64[n] in nats, at most 0. An
    outcome that B never has adds 0; one that A alone calls impossible adds infinity.
    Neither 1 - p nor p - q is computed from p: the first loses its digits near 1, the
    second where both sides are near each other.
    """
    q = np.exp(logprob_b)
    # A log-probability that rounding lifted above 0 leaves nothing for another token.
    rest_a = np.maximum(-np.expm1(logprob_a), 0.0)
    rest_b = np.maximum(-np.expm1(logprob_b), 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        this = np.where(q > 0, q * (logprob_b - logprob_a), 0.0)
        excess_of_rest = q * np.expm1(logprob_a - logprob_b) / rest_a
        is_near = np.abs(excess_of_rest) < _NEAR
        log_far = np.log(rest_b / rest_a)
        log_rest = np.where(is_near, np.log1p(excess_of_rest), log_far)
        other = np.where(rest_b > 0, rest_b * log_rest, 0.0)
    total: Array = this + other
    return total
