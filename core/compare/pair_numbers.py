"""The few numbers of a pair that stand in the explorer's header, and the floors of its
inspector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logdrift.core.compare.floor import noise_floor
from logdrift.core.compare.measure import sampled_by
from logdrift.core.compare.mismatch import mismatch_stats
from logdrift.core.compare.pair import Pair, Scope, default_scope, make_pair
from logdrift.core.errors import LogdriftError
from logdrift.core.session.reader import Session


@dataclass(frozen=True)
class PairNumbers:
    """``k3`` in nats and ``ess`` (0 to 1, of single tokens) are None where they
    overflow or no token is scored.

    ``floor`` is the mean |delta| between repeats in nats; ``floors`` the same for the
    pair of A and every other capture, by label. None, or left out, where nothing was
    repeated.
    """

    k3: float | None
    ess: float | None
    floor: float | None
    floors: Mapping[str, float]


def pair_numbers(session: Session, pair: Pair) -> PairNumbers:
    """The numbers over the report's scope. Walks all tokens: not for an event loop."""
    scope = default_scope(pair.sequences)
    mask = pair.scope_mask(scope)
    mismatch = mismatch_stats(
        pair.delta[mask],
        pair.logprob_a[mask],
        pair.logprob_b[mask],
        pair.count_per_sequence(mask),
        sampled_by(pair, scope),
    )
    floors = _floors(session, pair, scope)
    return PairNumbers(
        k3=mismatch.k3,
        ess=mismatch.ess_token,
        floor=floors.get(pair.b.info.label),
        floors=floors,
    )


def _floors(session: Session, pair: Pair, scope: Scope) -> dict[str, float]:
    """Mean |delta| between repeats, nats, of the pair of A and each other capture."""
    floors: dict[str, float] = {}
    for info in session.captures:
        if info.label == pair.a.info.label:
            continue
        try:
            other = _pair_with(session, pair, info.label)
            floor = noise_floor(session, other, scope)
        except LogdriftError:
            continue  # damaged: the inspector says so in its row
        if floor is not None and floor.mae is not None:
            floors[info.label] = floor.mae
    return floors


def _pair_with(session: Session, pair: Pair, label: str) -> Pair:
    if label == pair.b.info.label:
        return pair
    return make_pair(session, pair.a.info.label, label)
