"""Whether captures are equal to the last bit, token by token.

Frameworks that promise a bitwise equal trainer and engine check three numbers of each
token: what the engine recorded when it sampled, what it computes when it is given the
ids, and what the trainer computes. Equal means the same float32: a tolerance, however
small, would let a fault through that grows with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.compare.floor import STAND_IN
from logdrift.core.compare.pair import Pair, Scope, make_pair
from logdrift.core.session.layout import CaptureInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class UnequalToken:
    """A token with its log-probabilities in nats, in the order of the captures; NaN
    where one has no score.
    """

    sequence: int
    position: int
    token_id: int
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ExactCertificate:
    """``equal`` of ``tokens`` have the same bits in all captures called ``labels``;
    ``first`` is the first that has not.
    """

    labels: tuple[str, ...]
    tokens: int
    equal: int
    first: UnequalToken | None

    @property
    def holds(self) -> bool:
        """All tokens are equal, and there is one."""
        return 0 < self.tokens == self.equal


def certify(pairs: Sequence[Pair], scope: Scope) -> ExactCertificate:
    """The certificate of pairs with one capture A in common, over the tokens of
    ``scope`` that count and that all of them have finished.

    A token that one side should have scored and has not, and one that is NaN, is not
    equal.
    """
    tokens = min(pair.tokens for pair in pairs)
    asked = np.zeros(tokens, np.bool_)
    equal = np.ones(tokens, np.bool_)
    for pair in pairs:
        asked_of_pair = _asked(pair, scope)
        equal_in_pair = _equal(pair)
        asked |= asked_of_pair[:tokens]
        equal &= equal_in_pair[:tokens]
    is_unequal = asked & ~equal
    unequal = np.flatnonzero(is_unequal)
    first = None
    if len(unequal):
        place = int(unequal[0])
        first = _token(pairs, place)
    labels = [pairs[0].a.info.label]
    labels += [pair.b.info.label for pair in pairs]
    count = int(asked.sum())
    return ExactCertificate(
        labels=tuple(labels),
        tokens=count,
        equal=count - len(unequal),
        first=first,
    )


def three_way(pair: Pair) -> Pair | None:
    """``pair.a`` against a third capture of the same tokens: what the engine B computes
    where it is given the ids, else another trainer; None where there is none.
    """
    label = pair.a.info.label
    taken = (label, pair.b.info.label)
    others = []
    for info in pair.session.captures:
        if info.sequences and info.label not in taken:
            others.append(info)
    third = _third(pair, others)
    if third is None:
        return None
    return make_pair(pair.session, label, third.label)


def _third(pair: Pair, others: Sequence[CaptureInfo]) -> CaptureInfo | None:
    rollout = pair.b.info.backend
    for path in STAND_IN:
        for info in others:
            if info.backend == rollout and info.path == path:
                return info
    for info in others:
        if info.role == "trainer":
            return info
    return None


def _asked(pair: Pair, scope: Scope) -> Bools:
    """Tokens of the scope that a side scored or should have scored."""
    known = pair.scored | pair.broken
    missing = pair.missing_a | pair.missing_b
    asked = known | missing
    if scope == "all":
        return asked
    in_completion = pair.in_completion
    if scope == "completion":
        return asked & in_completion
    return asked & ~in_completion


def _equal(pair: Pair) -> Bools:
    """The two float32 have the same bits; NaN is not equal to itself."""
    a = pair.logprob_a
    is_number = ~np.isnan(a)
    bits_a = _bits(a)
    bits_b = _bits(pair.logprob_b)
    same: Bools = bits_a == bits_b
    return same & is_number


def _bits(values: Floats) -> npt.NDArray[np.uint32]:
    whole = np.ascontiguousarray(values, np.float32)
    return whole.view(np.uint32)


def _token(pairs: Sequence[Pair], place: int) -> UnequalToken:
    pair = pairs[0]
    sequence = pair.sequence_of(place)
    start, _ = pair.sequences.bounds(sequence)
    token_id = pair.sequences.token_ids[place]
    logprobs = [pair.logprob_a[place]]
    logprobs += [other.logprob_b[place] for other in pairs]
    return UnequalToken(
        sequence=sequence,
        position=place - start,
        token_id=int(token_id),
        logprobs=tuple(float(logprob) for logprob in logprobs),
    )
