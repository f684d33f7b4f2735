"""Measures of |delta| along the sequences that the signatures of place share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import Case

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

SIDE = 8
"""Tokens before and behind a place whose mean log |delta| is compared (`jumps`)."""
LARGE_JUMP = 2.5
"""A jump (`jumps`) that noise does not make. log |delta| of normal noise has a standard
deviation of 1.1, a difference of two means of eight 0.55, and the largest of 100,000
drawn ones was 2.4.
"""
SENT_ALIKE = 0.5
"""What is left of the evidence for other ids where both engines are known to have been
given the same ones: an engine may still add or cut ids by itself, and a tensor that
matters most to the first tokens looks like that too. By judgement.
"""
_BINS = 12
"""Classes of surprise (`usual_size`)."""
_NEVER_ZERO = 0.02
"""Added to |delta| in usual units before its logarithm, so that a token that agrees
exactly does not count as a jump.
"""


def sums(case: Case, values: Array) -> Array:
    """Sum of ``values`` f64[n] over the case's tokens of each sequence, f64[S]."""
    return np.bincount(case.view.sequence, values, case.pair.count)


def scored_tokens(case: Case) -> Array:
    """The case's tokens in each sequence, i64[S]."""
    return np.bincount(case.view.sequence, minlength=case.pair.count)


def order(case: Case) -> tuple[Array, Array]:
    """Each token's number among the case's tokens of its sequence, from 0, and how many
    that sequence has; i64[n] each.
    """
    sequence = case.view.sequence
    counts = scored_tokens(case)
    starts = np.cumsum(counts) - counts
    number = np.arange(len(sequence)) - starts[sequence]
    return number, counts[sequence]


def usual_size(case: Case, among: Bools) -> Array:
    """For each token the mean |delta| in nats of those of ``among`` (bool[n]) that are
    about as surprising to both sides, f64[n].
    """
    view = case.view
    surprise = -np.minimum(view.a, view.b)
    shares = np.linspace(0, 1, _BINS + 1)
    edges = np.quantile(surprise[among], shares[1:-1])
    bins = np.searchsorted(edges, surprise)
    bins_among = bins[among]
    number = np.bincount(bins_among, minlength=_BINS)
    total = np.bincount(bins_among, view.size[among], _BINS)
    mean = total / np.maximum(number, 1)
    usual: Array = mean[bins]
    return usual


def jumps(case: Case) -> Array:
    """Mean log |delta| of the `SIDE` tokens from each one on minus that of the `SIDE`
    before it, f64[n]; -inf near a sequence's ends.

    |delta| is taken in units of what equally surprising tokens have, or every certain
    word would look quiet.
    """
    view = case.view
    tokens = len(view.at)
    all_tokens = np.ones(tokens, bool)
    usual = usual_size(case, all_tokens)
    in_usual = view.size / np.maximum(usual, 1e-7)
    level = np.log(in_usual + _NEVER_ZERO)
    total = np.concatenate([[0.0], np.cumsum(level)])
    number, count = order(case)
    token = np.arange(tokens)
    end = np.minimum(token + SIDE, tokens)
    begin = np.maximum(token - SIDE, 0)
    after = total[end] - total[token]
    before = total[token] - total[begin]
    inside = (number >= SIDE) & (number <= count - SIDE)
    change = (after - before) / SIDE
    jump: Array = np.where(inside, change, -np.inf)
    return jump


def ratio(larger: float, smaller: float) -> float:
    """``larger`` over ``smaller``, both in nats; 1 where both are 0."""
    return (larger + 1e-9) / (smaller + 1e-9)


def median(values: Array) -> float:
    """The median of ``values`` f64[n]; 0 without any."""
    if len(values):
        return float(np.median(values))
    return 0.0
