"""The numbers of a pair that are worked out behind the first screen: for the header,
and the floors of the inspector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logdrift.core.compare.floor import noise_floor
from logdrift.core.compare.measure import sampled_by
from logdrift.core.compare.mismatch import mismatch_stats
from logdrift.core.compare.pair import Pair, default_scope, make_pair
from logdrift.core.errors import LogdriftError
from logdrift.core.session.reader import Session


@dataclass(frozen=True)
class PairNumbers:
    """``k3`` in nats and ``ess`` (0 to 1, of single tokens), None where they overflow
    or there is nothing; ``floor`` is the mean |delta| of repeats in nats, ``floors``
    the same for the pair of A and every other capture by label; None and left out where
    nothing was repeated.
    """

    k3: float | None
    ess: float | None
    floor: float | None
    floors: Mapping[str, float]


def pair_numbers(session: Session, pair: Pair) -> PairNumbers:
    """Walks all tokens of the report's scope: not for the event loop."""
    scope = default_scope(pair.sequences)
    mask = pair.scope_mask(scope)
    found = mismatch_stats(
        pair.delta[mask],
        pair.logprob_a[mask],
        pair.logprob_b[mask],
        pair.count_per_sequence(mask),
        sampled_by(pair, scope),
    )
    floors: dict[str, float] = {}
    for info in session.captures:
        if info.label == pair.a.info.label:
            continue
        try:
            other = (
                pair
                if info.label == pair.b.info.label
                else make_pair(session, pair.a.info.label, info.label)
            )
            floor = noise_floor(session, other, scope)
        except LogdriftError:
            continue  # damaged: the inspector says so in its row
        if floor is not None and floor.mae is not None:
            floors[info.label] = floor.mae
    return PairNumbers(found.k3, found.ess_token, floors.get(pair.b.info.label), floors)
