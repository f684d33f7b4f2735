"""A pair with its verdict and its numbers: what limits and reports are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from logdrift.core.compare.decomposition import Decomposition, decompositions
from logdrift.core.compare.gate import Gate, judge
from logdrift.core.compare.limits import Limit
from logdrift.core.compare.measure import measure
from logdrift.core.compare.metrics import Metrics
from logdrift.core.compare.pair import Pair, Scope
from logdrift.core.session.reader import Session


@dataclass(frozen=True, slots=True)
class MeasuredPair:
    """Two labels, the gate's verdict over them and all numbers of one scope."""

    a: str
    b: str
    gate: Gate
    metrics: Metrics

    @property
    def name(self) -> str:
        """``A:B``, as the command line takes it."""
        return f"{self.a}:{self.b}"


def measure_pair(
    pair: Pair, scope: Scope, splits: Sequence[Decomposition] = ()
) -> MeasuredPair:
    """Measure a pair over ``scope``. InputError for an unknown scope.

    ``splits`` are the decompositions of the session; that of this pair becomes part of
    its numbers.
    """
    a = pair.a.info.label
    b = pair.b.info.label
    split = split_of(a, b, splits)
    metrics = replace(measure(pair, scope), decomposition=split)
    gate = judge(pair.session, pair, scope)
    return MeasuredPair(a=a, b=b, gate=gate, metrics=metrics)


def splits_for(
    session: Session, scope: Scope, limits: Iterable[Limit]
) -> Sequence[Decomposition]:
    """The decompositions of a session where one of the limits asks for them."""
    for limit in limits:
        if limit.metric.startswith("decomposition."):
            return decompositions(session, scope)
    return ()


def split_of(a: str, b: str, splits: Sequence[Decomposition]) -> Decomposition | None:
    """The decomposition of the pair a -> b: trainer -> rollout, in this direction."""
    for split in splits:
        if (split.trainer, split.rollout) == (a, b):
            return split
    return None
