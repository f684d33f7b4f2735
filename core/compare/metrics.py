"""All numbers of a pair over one scope, as records: what the report prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.compare.buckets import Buckets
    from logdrift.core.compare.corrections import WhatIf
    from logdrift.core.compare.coverage import Coverage
    from logdrift.core.compare.decomposition import Decomposition
    from logdrift.core.compare.distribution import TopK
    from logdrift.core.compare.errors import ErrorStats
    from logdrift.core.compare.floor import Floor
    from logdrift.core.compare.mismatch import Mismatch
    from logdrift.core.compare.probability import Probability
    from logdrift.core.compare.scopes import Scope
    from logdrift.core.compare.uncertainty import Intervals

    Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class ScopeTokens:
    """The n tokens of a scope that both sides scored, in the order of their sequences.

    ``delta``, ``logprob_a`` and ``logprob_b`` are f32[n] in nats; a delta is infinite
    where one side alone calls the token impossible. ``lengths`` int64[S] says how many
    of the tokens each sequence has.
    """

    delta: Array
    logprob_a: Array
    logprob_b: Array
    lengths: Array


@dataclass(frozen=True, slots=True)
class ScopeErrors:
    """The errors of one scope, and k3 in nats.

    A table of prompt, completion and all shows them.
    """

    scope: Scope
    tokens: int
    errors: ErrorStats
    k3: float | None

    def to_json(self) -> dict[str, Any]:
        """As an entry of ``scopes`` in the JSON schema."""
        return {
            "scope": self.scope,
            "tokens": self.tokens,
            **self.errors.to_json(),
            "k3": self.k3,
        }


@dataclass(frozen=True, slots=True)
class SequenceErrors:
    """One sequence: its tokens of the scope and their finite deltas in nats.

    ``log_ratio`` is the sum of delta.
    """

    sequence: int
    tokens: int
    mean: float
    mae: float
    max_abs: float
    log_ratio: float

    def to_json(self) -> dict[str, Any]:
        """As an entry of ``worst_sequences`` in the JSON schema."""
        return asdict(self)


class Numbers(Protocol):
    """What a row of the table of metrics reads: `Metrics`, or a `Measurement` that
    computes a number when it is first asked for.
    """

    @property
    def tokens(self) -> int: ...
    @property
    def finished(self) -> int: ...
    @property
    def errors(self) -> ErrorStats: ...
    @property
    def ci95(self) -> Intervals: ...
    @property
    def floor(self) -> Floor | None: ...
    @property
    def probability(self) -> Probability: ...
    @property
    def mismatch(self) -> Mismatch: ...
    @property
    def what_if(self) -> tuple[WhatIf, ...]: ...
    @property
    def topk(self) -> TopK | None: ...
    @property
    def buckets(self) -> Buckets: ...
    @property
    def scopes(self) -> tuple[ScopeErrors, ...]: ...
    @property
    def coverage(self) -> Coverage: ...
    @property
    def computed(self) -> Mapping[str, float | None]: ...
    @property
    def decomposition(self) -> Decomposition | None: ...


@dataclass(frozen=True, slots=True)
class Metrics:
    """Every number of a pair over ``scope``.

    ``sequences`` counts those with a token in the scope, ``finished`` those that both
    captures have finished. ``computed`` has the metrics that are functions of the
    tokens (`Metric.of_tokens`) by path. ``decomposition`` is that of the pair where it
    was asked for.
    """

    scope: Scope
    tokens: int
    sequences: int
    finished: int
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
    computed: Mapping[str, float | None] = field(default_factory=dict)
    decomposition: Decomposition | None = None

    def to_json(self) -> dict[str, Any]:
        """As in the report's JSON (docs/report.md); floats may be non-finite."""
        json: dict[str, Any] = {
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
        for path, value in self.computed.items():
            section, _, key = path.partition(".")
            json.setdefault(section, {})[key] = value
        return json
