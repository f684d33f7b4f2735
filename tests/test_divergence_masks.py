"""Masks by divergence: against the definition in exact arithmetic, and at the ends of the
range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext

import numpy as np
import pytest

from logdrift.core.compare.corrections import WhatIf
from logdrift.core.compare.divergence_masks import divergence_masks
from logdrift.core.compare.estimators import binary_kl
from logdrift.core.compare.rules import DIVERGENCE_RULES, DivergenceRule
from logdrift.core.report.pair_numbers import kept_text, most_text

INF = math.inf


def kl_by_hand(a: float, b: float) -> float:
    """The definition with 60 digits; ``a`` and ``b`` are log-probabilities below 0."""
    with localcontext() as context:
        context.prec = 60
        p, q = Decimal(a).exp(), Decimal(b).exp()
        this = q * (q / p).ln()
        other = (1 - q) * ((1 - q) / (1 - p)).ln()
        return float(this + other)


def drawn(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities from 1e-12 below 0 to -30, both sides near and far apart."""
    rng = np.random.default_rng(4)
    b = -np.exp(rng.uniform(math.log(1e-12), math.log(30), count))
    a = b * np.exp(rng.normal(0, rng.choice([1e-6, 0.1, 1.0], count)))
    return a, b


def test_binary_kl_is_its_definition() -> None:
    a, b = drawn()
    got = binary_kl(a, b)
    wanted = np.array([kl_by_hand(x, y) for x, y in zip(a, b, strict=True)])
    # The two terms cancel: what is left is as exact as they are, a few roundings of
    # the larger one, which is the first term or else the sum itself.
    larger = np.maximum(np.exp(b) * np.abs(b - a), wanted)
    assert np.all(np.abs(got - wanted) <= 16 * 2**-52 * larger)


def test_binary_kl_at_the_ends() -> None:
    a = np.array([0.0, -1.0, -INF, -INF, -1.0, 1e-7, 0.0])
    b = np.array([0.0, 0.0, -INF, -1.0, -INF, 1e-7, -1.0])
    got = binary_kl(a, b)
    certain = -math.log1p(-math.exp(-1.0))
    assert got == pytest.approx([0, 1.0, 0, INF, certain, 0, INF])


def by_hand(
    rows: Sequence[Sequence[tuple[float, float]]], rule: DivergenceRule
) -> tuple[float, float]:
    def outside(a: float, b: float) -> bool:
        if rule.divergence == "tv":
            divergence = math.exp(a) - math.exp(b)
        else:
            divergence = kl_by_hand(a, b)
        low = -INF if rule.low is None else rule.low
        return not low <= divergence <= rule.high

    hits = [[outside(a, b) for a, b in row] for row in rows]
    tokens = sum(map(sum, hits)) / sum(map(len, hits))
    return tokens, sum(map(any, hits)) / len(hits)


@pytest.mark.parametrize("rule", DIVERGENCE_RULES, ids=lambda rule: rule.name)
def test_shares_against_loops(rule: DivergenceRule) -> None:
    a, b = drawn()
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    lengths = [100, 1, 0, 149, 50]
    ends = np.cumsum(lengths)
    rows = [pairs[end - n : end] for n, end in zip(lengths, ends, strict=True) if n]
    (share,) = divergence_masks(a, b, np.array(lengths, np.int64), (rule,))
    assert (share.tokens, share.sequences) == by_hand(rows, rule)
    assert share.tokens, "nothing is masked: the test shows nothing"
    assert share.at_most is rule.by_advantage
    assert share.measure == rule.divergence


def test_unknown_tokens_count_nowhere_and_none_is_unknown() -> None:
    a = np.array([-1.0, np.nan, -0.1, -3.0], np.float32)
    b = np.array([-1.0, -0.1, np.nan, -0.5], np.float32)
    lengths = np.array([2, 2], np.int64)
    dppo, *_ = divergence_masks(a, b, lengths)
    assert (dppo.tokens, dppo.sequences) == (0.5, 0.5)
    for share in divergence_masks(a[1:3], b[1:3], np.array([1, 1], np.int64)):
        assert share.tokens is share.sequences is None


def test_the_bounds_themselves_are_kept() -> None:
    rule = DivergenceRule("ipo", "", "tv", -0.25, 0.25, by_advantage=False)
    a = np.log([0.75, 0.25, 0.5])
    b = np.log([0.5, 0.5, 0.5])
    (share,) = divergence_masks(a, b, np.array([3], np.int64), (rule,))
    assert share.tokens == 0.0


def test_what_can_be_fewer_is_said_so() -> None:
    dppo = WhatIf("dppo", "", -0.2, 0.2, "token", 0.5, 1.0, "tv", at_most=True)
    assert kept_text(dppo) == "p_A-p_B -0.2 to 0.2"
    assert most_text("50.0%", dppo) == "≤50.0%"
    nothing = WhatIf("dppo", "", None, 0.05, "token", 0.0, 0.0, "kl", at_most=True)
    assert kept_text(nothing) == "KL <= 0.05"
    assert most_text("0", nothing) == "0"
