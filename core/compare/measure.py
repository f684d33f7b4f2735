"""Measuring a pair: all its numbers at once, or each one when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.aligned import AlignedPair
from logdrift.core.compare.buckets import Buckets, make_buckets
from logdrift.core.compare.corrections import WhatIf, what_if
from logdrift.core.compare.coverage import Coverage, coverage
from logdrift.core.compare.decomposition import Decomposition
from logdrift.core.compare.distribution import TopK, topk_stats
from logdrift.core.compare.divergence_masks import divergence_masks
from logdrift.core.compare.errors import ErrorStats, error_stats
from logdrift.core.compare.floor import Floor, noise_floor
from logdrift.core.compare.groups import grouped_tokens
from logdrift.core.compare.metric import METRICS
from logdrift.core.compare.metrics import (
    Metrics,
    ScopeErrors,
    ScopeTokens,
    SequenceErrors,
)
from logdrift.core.compare.mismatch import Mismatch, mismatch_stats
from logdrift.core.compare.probability import Probability, probability_stats
from logdrift.core.compare.rules import RULES, Rule
from logdrift.core.compare.scopes import SCOPES, Scope
from logdrift.core.compare.segments import count_kept, filled_segments
from logdrift.core.compare.uncertainty import Intervals, intervals
from logdrift.core.session.layout import SAMPLED_PATHS

Array = npt.NDArray[Any]


def measure(
    pair: AlignedPair, scope: Scope, *, rules: tuple[Rule, ...] = RULES, worst: int = 20
) -> Metrics:
    """Measure a pair over ``scope``. InputError for an unknown scope.

    ``rules`` are the corrections whose effect is worked out; ``worst`` the number of
    sequences that are listed.
    """
    numbers = Measurement(pair, scope, rules)
    return Metrics(
        scope=scope,
        tokens=numbers.tokens,
        sequences=int(np.count_nonzero(numbers.scored.lengths)),
        finished=numbers.finished,
        errors=numbers.errors,
        ci95=numbers.ci95,
        floor=numbers.floor,
        probability=numbers.probability,
        mismatch=numbers.mismatch,
        what_if=numbers.what_if,
        topk=numbers.topk,
        buckets=numbers.buckets,
        scopes=numbers.scopes,
        worst_sequences=_worst_sequences(numbers.scored, worst),
        coverage=numbers.coverage,
        computed=numbers.computed,
    )


class Measurement:
    """A pair over one scope whose numbers are computed when they are first read.

    It has the attributes of `Metrics`, so a metric of the table reads either.
    InputError for an unknown scope.
    """

    decomposition: Decomposition | None = None

    def __init__(
        self, pair: AlignedPair, scope: Scope, rules: tuple[Rule, ...] = RULES
    ) -> None:
        self.pair = pair
        self.scope = scope
        self.rules = rules
        self._mask = pair.scope_mask(scope)

    @cached_property
    def tokens(self) -> int:
        """How many tokens of the scope both sides scored."""
        return int(np.count_nonzero(self._mask))

    @property
    def finished(self) -> int:
        """How many sequences both captures have finished."""
        return self.pair.count

    @cached_property
    def scored(self) -> ScopeTokens:
        """The tokens of the scope."""
        return _tokens_of(self.pair, self._mask)

    @cached_property
    def errors(self) -> ErrorStats:
        """`error_stats` of the tokens."""
        tokens = self.scored
        return error_stats(tokens.delta, tokens.logprob_a, tokens.logprob_b)

    @cached_property
    def ci95(self) -> Intervals:
        """`intervals` of the tokens."""
        return intervals(self.scored.delta, self.scored.lengths)

    @cached_property
    def floor(self) -> Floor | None:
        """`noise_floor` of the pair."""
        return noise_floor(self.pair.session, self.pair, self.scope)

    @cached_property
    def probability(self) -> Probability:
        """`probability_stats` of the tokens."""
        return probability_stats(self.scored.logprob_a, self.scored.logprob_b)

    @cached_property
    def mismatch(self) -> Mismatch:
        """`mismatch_stats` of the tokens."""
        return _mismatch(self.scored, sampled_by(self.pair, self.scope))

    @cached_property
    def what_if(self) -> tuple[WhatIf, ...]:
        """What each of the rules would do, and each mask by divergence."""
        tokens = self.scored
        by_ratio = what_if(tokens.delta, tokens.lengths, self.rules)
        by_divergence = divergence_masks(
            tokens.logprob_a, tokens.logprob_b, tokens.lengths
        )
        return by_ratio + by_divergence

    @cached_property
    def topk(self) -> TopK | None:
        """`topk_stats` of the tokens."""
        pair = self.pair
        token_ids = pair.sequences.token_ids
        return topk_stats(pair.a, pair.b, token_ids, self._mask)

    @cached_property
    def buckets(self) -> Buckets:
        """The tokens by probability under B, by position and by entropy."""
        positions = self.pair.positions(self.scope)
        buckets = make_buckets(
            self.scored.delta,
            self.scored.logprob_b,
            positions[self._mask],
            _entropy(self.pair, self._mask),
        )
        groups = grouped_tokens(self.pair, self._mask)
        return replace(
            buckets,
            by_turn=groups.by_turn,
            by_role=groups.by_role,
            by_version=groups.by_version,
            by_lag=groups.by_lag,
        )

    @cached_property
    def scopes(self) -> tuple[ScopeErrors, ...]:
        """The errors of every scope."""
        scopes = []
        for scope in SCOPES:
            if scope == self.scope:
                k3 = self.mismatch.k3
                scopes.append(ScopeErrors(scope, self.tokens, self.errors, k3))
            else:
                scopes.append(_scope_errors(self.pair, scope))
        return tuple(scopes)

    @cached_property
    def coverage(self) -> Coverage:
        """The tokens without a number."""
        return coverage(self.pair, self.scope)

    @cached_property
    def computed(self) -> Mapping[str, float | None]:
        """The metrics that are functions of the tokens, by path."""
        computed = {}
        for path, metric in METRICS.items():
            if metric.of_tokens is not None:
                computed[path] = metric.of_tokens(self.scored)
        return computed


def _tokens_of(pair: AlignedPair, mask: Array) -> ScopeTokens:
    return ScopeTokens(
        delta=pair.delta[mask],
        logprob_a=pair.logprob_a[mask],
        logprob_b=pair.logprob_b[mask],
        lengths=pair.count_per_sequence(mask),
    )


def _mismatch(tokens: ScopeTokens, sampled_by_b: bool | None) -> Mismatch:
    return mismatch_stats(
        tokens.delta,
        tokens.logprob_a,
        tokens.logprob_b,
        tokens.lengths,
        sampled_by_b,
    )


def sampled_by(pair: AlignedPair, scope: Scope = "completion") -> bool | None:
    """Whether B sampled the tokens of the scope, which makes k1 and k3 estimates of
    KL(B || A).

    True only for the very capture that recorded the sampling: a prefill of the same
    engine is another distribution, and a prompt is not sampled. A path that samples did
    so by definition, unless the session names another backend; for the others None
    where it names none.
    """
    generator = pair.session.manifest.sequences.generated_by
    info = pair.b.info
    if info.path in SAMPLED_PATHS:
        if generator not in (None, info.backend):
            return False
        has_prompts = scope != "completion" and pair.scope_mask("prompt").any()
        return not has_prompts
    if generator is None:
        return None
    return False


def _entropy(pair: AlignedPair, mask: Array) -> Array | None:
    """The entropy of A where it has one, else of B: engines rarely give it, the trainer
    and the reference do.
    """
    for capture in (pair.a, pair.b):
        if capture.entropy is not None:
            entropies = capture.entropy.whole()[: pair.tokens]
            return entropies[mask]
    return None


def _scope_errors(pair: AlignedPair, scope: Scope) -> ScopeErrors:
    tokens = _tokens_of(pair, pair.scope_mask(scope))
    count = len(tokens.delta)
    if count == 0:
        return ScopeErrors(scope, 0, ErrorStats(), None)
    errors = error_stats(tokens.delta, tokens.logprob_a, tokens.logprob_b)
    k3 = _mismatch(tokens, None).k3
    return ScopeErrors(scope, count, errors, k3)


def _worst_sequences(tokens: ScopeTokens, count: int) -> tuple[SequenceErrors, ...]:
    """The sequences with the largest mean |delta| over finite deltas, ties by number.

    A sequence without a difference is not among them.
    """
    delta = tokens.delta
    lengths = tokens.lengths
    finite = np.isfinite(delta)
    if not finite.all():
        lengths = count_kept(finite, lengths)
        delta = delta[finite]
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return ()
    counts, starts = filled_segments(lengths)
    size = np.abs(delta)
    total = np.add.reduceat(delta, starts, dtype=np.float64)
    mean = total / counts
    mae = np.add.reduceat(size, starts, dtype=np.float64) / counts
    largest = np.maximum.reduceat(size, starts)
    worst_first = np.lexsort((filled, -mae))
    worst = []
    for index in worst_first[:count]:
        if mae[index] == 0:
            break
        errors = SequenceErrors(
            sequence=int(filled[index]),
            tokens=int(counts[index]),
            mean=float(mean[index]),
            mae=float(mae[index]),
            max_abs=float(largest[index]),
            log_ratio=float(total[index]),
        )
        worst.append(errors)
    return tuple(worst)
