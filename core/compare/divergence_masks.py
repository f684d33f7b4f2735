"""What the masks by divergence would drop of a pair: DPPO (arXiv 2602.04879, equations
12 to 14) and its kin.

Each token is taken as a coin: it falls on this token, or on another one. Rollouts keep
no more than the probability of the token that they chose, and so these masks need no
more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.corrections import WhatIf
from logdrift.core.compare.estimators import binary_kl
from logdrift.core.compare.rules import DIVERGENCE_RULES, Divergence, DivergenceRule
from logdrift.core.compare.segments import count_kept, filled_segments

Array = npt.NDArray[Any]


def divergence_masks(
    logprob_a: Array,
    logprob_b: Array,
    lengths: Array,
    rules: Sequence[DivergenceRule] = DIVERGENCE_RULES,
) -> tuple[WhatIf, ...]:
    """The shares that each rule would mask, at most where it looks at advantages.

    ``logprob_a`` (trainer) and ``logprob_b`` (rollout) are float[n] in nats,
    ``lengths`` int[S] the tokens of each sequence. Tokens with a NaN on a side count
    nowhere.
    """
    known = ~(np.isnan(logprob_a) | np.isnan(logprob_b))
    lengths = count_kept(known, lengths)
    tokens = _Divergences(logprob_a[known], logprob_b[known], lengths)
    return tuple(tokens.share(rule) for rule in rules)


class _Divergences:
    """The divergences of n tokens f64[n], each computed when it is first asked for."""

    def __init__(self, logprob_a: Array, logprob_b: Array, lengths: Array) -> None:
        self.logprob_a = logprob_a.astype(np.float64)
        self.logprob_b = logprob_b.astype(np.float64)
        self.lengths = lengths
        self._computed: dict[Divergence, Array] = {}

    def share(self, rule: DivergenceRule) -> WhatIf:
        """The shares of tokens, and of sequences with such a token, that lie
        outside.
        """
        tokens: float | None = None
        sequences: float | None = None
        if len(self.logprob_a):
            outside = self._outside(rule)
            _, starts = filled_segments(self.lengths)
            tokens = float(outside.mean())
            sequences = float(np.logical_or.reduceat(outside, starts).mean())
        return WhatIf(
            rule=rule.rule,
            name=rule.name,
            low=rule.low,
            high=rule.high,
            level="token",
            tokens=tokens,
            sequences=sequences,
            measure=rule.divergence,
            at_most=rule.by_advantage,
        )

    def _outside(self, rule: DivergenceRule) -> Array:
        """bool[n]; the bounds themselves are inside."""
        divergence = self._of_kind(rule.divergence)
        outside: Array = divergence > rule.high
        if rule.low is not None:
            outside = outside | (divergence < rule.low)
        return outside

    def _of_kind(self, kind: Divergence) -> Array:
        if kind not in self._computed:
            self._computed[kind] = _OF_TOKENS[kind](self.logprob_a, self.logprob_b)
        return self._computed[kind]


def _probability_gap(logprob_a: Array, logprob_b: Array) -> Array:
    """p_A - p_B of each token, f64[n]."""
    gap: Array = np.exp(logprob_a) - np.exp(logprob_b)
    return gap


_OF_TOKENS = {"tv": _probability_gap, "kl": binary_kl}
