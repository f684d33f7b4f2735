"""What a correction of the importance ratio would cut or mask of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.rules import RULES, Divergence, RatioLevel, Rule
from logdrift.core.compare.segments import count_kept, filled_segments
from logdrift.core.compare.sums import check_lengths, log_or_minus_infinity

Array = npt.NDArray[Any]
Measure = Literal["ratio"] | Divergence


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What one `Rule` would do: ``tokens`` and ``sequences`` are the shares, 0 to 1,
    cut or masked; None if there are none.

    At token level ``sequences`` is the share with at least one such token; at the
    others, and for a veto, ``tokens`` is the share of tokens that lie in such
    sequences. ``measure`` is what ``low`` and ``high`` bound: the ratio, or a
    divergence (`logdrift.core.compare.divergence_masks`). ``at_most``: the rule looks
    at advantages as well, so that it may mask fewer.
    """

    rule: str
    name: str
    low: float | None
    high: float | None
    level: RatioLevel
    tokens: float | None
    sequences: float | None
    measure: Measure = "ratio"
    at_most: bool = False

    @property
    def bounded(self) -> RatioLevel | Divergence:
        """What the bounds are of, as metric names say it."""
        if self.measure == "ratio":
            return self.level
        return self.measure

    def to_json(self) -> dict[str, Any]:
        """As in ``what_if`` of the JSON schema."""
        return asdict(self)


def what_if(
    delta: Array, lengths: Array, rules: Sequence[Rule] = RULES
) -> tuple[WhatIf, ...]:
    """The shares that each rule would cut or mask.

    ``delta`` is float[n] in nats, ``lengths`` int[S] the number of tokens of each
    sequence. Unlike in `mismatch_stats`, infinite deltas count: r is infinity or 0, and
    lies outside of any bound on that side. A sequence with both has no ratio, and
    counts as outside. NaN deltas and sequences without tokens count nowhere. ValueError
    if lengths do not add up.
    """
    check_lengths(delta, lengths)
    if len(delta) and np.isnan(delta.min()):
        known = ~np.isnan(delta)
        lengths = count_kept(known, lengths)
        delta = delta[known]
    if len(delta) == 0:
        return tuple(_share(rule, None, None) for rule in rules)
    sequences = _Ratios(delta.astype(np.float64), lengths)
    return tuple(sequences.share(rule) for rule in rules)


def _share(rule: Rule, tokens: float | None, sequences: float | None) -> WhatIf:
    return WhatIf(
        rule=rule.rule,
        name=rule.name,
        low=rule.low,
        high=rule.high,
        level=rule.level,
        tokens=tokens,
        sequences=sequences,
    )


class _Ratios:
    """Log ratios of n tokens f64[n] and of their sequences, in nats."""

    def __init__(self, delta: Array, lengths: Array) -> None:
        self.delta = delta
        self.counts, starts = filled_segments(lengths)
        self.lowest = np.minimum.reduceat(delta, starts)
        self.highest = np.maximum.reduceat(delta, starts)
        with np.errstate(invalid="ignore"):
            self.total = np.add.reduceat(delta, starts)

    def share(self, rule: Rule) -> WhatIf:
        """The shares of tokens and sequences that the rule acts on."""
        low, high = map(log_or_minus_infinity, rule.bounds)
        outside = self._sequences_outside(rule.level, low, high)
        if rule.level == "token" and rule.rule != "veto":
            tokens = self._tokens_outside(low, high)
        else:
            tokens = int(self.counts[outside].sum())
        sequences = int(np.count_nonzero(outside))
        share_of_tokens = tokens / len(self.delta)
        share_of_sequences = sequences / len(self.counts)
        return _share(rule, share_of_tokens, share_of_sequences)

    def _sequences_outside(self, level: RatioLevel, low: float, high: float) -> Array:
        """bool[S]: the sequence, or at token level one of its tokens, is outside."""
        if level == "token":
            outside: Array = (self.lowest < low) | (self.highest > high)
            return outside
        if level == "sequence":
            log_ratio = self.total
        else:
            log_ratio = self.total / self.counts
        # A NaN, which the sum of both infinities is, is outside as well.
        inside = (log_ratio >= low) & (log_ratio <= high)
        return ~inside

    def _tokens_outside(self, low: float, high: float) -> int:
        below = np.count_nonzero(self.delta < low)
        above = np.count_nonzero(self.delta > high)
        return int(below + above)
