"""All numbers of a pair over one scope, measured together: what the report prints and
`Pair.metrics` returns.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.buckets import Buckets, make_buckets
from logdrift.core.compare.coverage import Coverage, coverage
from logdrift.core.compare.distribution import TopK, topk_stats
from logdrift.core.compare.errors import ErrorStats, error_stats
from logdrift.core.compare.floor import Floor, noise_floor
from logdrift.core.compare.mismatch import (
    RULES,
    Mismatch,
    Rule,
    WhatIf,
    mismatch_stats,
    what_if,
)
from logdrift.core.compare.pair import SCOPES, Pair, Scope
from logdrift.core.compare.probability import Probability, probability_stats
from logdrift.core.compare.uncertainty import Intervals, intervals

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ScopeErrors:
    """The errors of one scope, and k3 in nats: what a table of prompt, completion and
    all shows.
    """

    scope: Scope
    tokens: int
    errors: ErrorStats
    k3: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "tokens": self.tokens,
            **self.errors.to_json(),
            "k3": self.k3,
        }


@dataclass(frozen=True, slots=True)
class SequenceErrors:
    """One sequence: its tokens of the scope and their finite deltas in nats;
    ``log_ratio`` is the sum of delta.
    """

    sequence: int
    tokens: int
    mean: float
    mae: float
    max_abs: float
    log_ratio: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Every number of a pair over ``scope``; ``sequences`` counts those with a token in
    it.
    """

    scope: Scope
    tokens: int
    sequences: int
    errors: ErrorStats
    ci95: Intervals
    floor: Floor | None
    probability: Probability
    mismatch: Mismatch
    what_if: tuple[WhatIf, ...]
    topk: TopK | None
    buckets: Buckets
    scopes: tuple[ScopeErrors, ...]
    worst_sequences: tuple[SequenceErrors, ...]
    coverage: Coverage

    def to_json(self) -> dict[str, Any]:
        """As in the report's JSON (docs/report.md); floats may be non-finite."""
        return {
            "errors": self.errors.to_json(),
            "ci95": self.ci95.to_json(),
            "floor": self.floor.to_json() if self.floor is not None else None,
            "probability": self.probability.to_json(),
            "mismatch": self.mismatch.to_json(),
            "what_if": [share.to_json() for share in self.what_if],
            "topk": self.topk.to_json() if self.topk is not None else None,
            "buckets": self.buckets.to_json(),
            "scopes": [scope.to_json() for scope in self.scopes],
            "worst_sequences": [
                sequence.to_json() for sequence in self.worst_sequences
            ],
            "coverage": self.coverage.to_json(),
        }


def measure(
    pair: Pair, scope: Scope, *, rules: tuple[Rule, ...] = RULES, worst: int = 20
) -> Metrics:
    """Measure a pair over ``scope``. InputError for an unknown scope.

    ``rules`` are the corrections whose effect is worked out; ``worst`` the number of
    sequences that are listed.
    """
    mask = pair.scope_mask(scope)
    lengths = pair.count_per_sequence(mask)
    delta, a, b = pair.delta[mask], pair.logprob_a[mask], pair.logprob_b[mask]
    errors = error_stats(delta, a, b)
    mismatch = mismatch_stats(delta, a, b, lengths, sampled_by(pair, scope))
    return Metrics(
        scope=scope,
        tokens=len(delta),
        sequences=int(np.count_nonzero(lengths)),
        errors=errors,
        ci95=intervals(delta, lengths),
        floor=noise_floor(pair.session, pair, scope),
        probability=probability_stats(a, b),
        mismatch=mismatch,
        what_if=what_if(delta, lengths, rules),
        topk=topk_stats(pair.a, pair.b, pair.sequences.token_ids, mask),
        buckets=make_buckets(
            delta, b, _positions(pair, scope)[mask], _entropy(pair, mask)
        ),
        scopes=tuple(
            _scope_errors(pair, s, scope, errors, mismatch.k3) for s in SCOPES
        ),
        worst_sequences=_worst_sequences(delta, lengths, worst),
        coverage=coverage(pair, scope),
    )


def sampled_by(pair: Pair, scope: Scope = "completion") -> bool | None:
    """Whether B sampled the tokens of the scope, which makes k1 and k3 estimates of
    KL(B || A).

    True only for the very capture that recorded the sampling: a prefill of the same
    engine is another distribution, and nobody samples a prompt. A path that samples did
    so by definition, unless the session names another backend; for the others None
    where it names none.
    """
    generator = pair.session.manifest.sequences.generated_by
    info = pair.b.info
    if info.path in ("decode", "recorded"):
        of_prompts = scope != "completion" and bool(pair.scope_mask("prompt").any())
        return generator in (None, info.backend) and not of_prompts
    return None if generator is None else False


def _positions(pair: Pair, scope: Scope) -> Array:
    """Position of each token, int64[N], from 0 at the start of its completion, or of
    its sequence for another scope.
    """
    offsets = pair.sequences.offsets[: pair.count + 1]
    starts = offsets[:-1]
    if scope == "completion":
        starts = starts + pair.sequences.prompt_lengths[: pair.count]
    positions: Array = np.arange(pair.tokens, dtype=np.int64) - np.repeat(
        starts, np.diff(offsets)
    )
    return positions


def _entropy(pair: Pair, mask: Array) -> Array | None:
    """The entropy of A where it has one, else of B: engines rarely give it, the trainer
    and the reference do.
    """
    column = next((c.entropy for c in (pair.a, pair.b) if c.entropy is not None), None)
    return None if column is None else column.whole()[: pair.tokens][mask]


def _scope_errors(
    pair: Pair, scope: Scope, known: Scope, errors: ErrorStats, k3: float | None
) -> ScopeErrors:
    mask = pair.scope_mask(scope)
    tokens = int(np.count_nonzero(mask))
    if scope == known:
        return ScopeErrors(scope, tokens, errors, k3)
    if tokens == 0:
        return ScopeErrors(scope, 0, ErrorStats(), None)
    delta, a, b = pair.delta[mask], pair.logprob_a[mask], pair.logprob_b[mask]
    mean = mismatch_stats(delta, a, b, pair.count_per_sequence(mask), None).k3
    return ScopeErrors(scope, tokens, error_stats(delta, a, b), mean)


def _worst_sequences(
    delta: Array, lengths: Array, count: int
) -> tuple[SequenceErrors, ...]:
    """The sequences with the largest mean |delta| over finite deltas, ties by number;
    none without a difference.
    """
    finite = np.isfinite(delta)
    if not finite.all():
        before = np.concatenate([[0], np.cumsum(finite)])
        ends = np.cumsum(lengths)
        lengths = before[ends] - before[ends - lengths]
        delta = delta[finite]
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return ()
    counts = lengths[filled]
    starts = np.cumsum(counts) - counts
    size = np.abs(delta)
    total = np.add.reduceat(delta, starts, dtype=np.float64)
    mae = np.add.reduceat(size, starts, dtype=np.float64) / counts
    largest = np.maximum.reduceat(size, starts)
    order = np.lexsort((filled, -mae))[:count]
    return tuple(
        SequenceErrors(
            int(filled[i]),
            int(counts[i]),
            float(total[i] / counts[i]),
            float(mae[i]),
            float(largest[i]),
            float(total[i]),
        )
        for i in order
        if mae[i] > 0
    )
