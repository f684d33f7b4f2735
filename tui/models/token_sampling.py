"""How a token was sampled: with which weights, and what its turn is like."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from logdrift.core.compare import estimators
from logdrift.core.compare.pair import Pair
from logdrift.core.session.layout import CaptureInfo

Array = npt.NDArray[Any]
Weights = tuple[tuple[str, str], ...]
"""A and B with the version of their weights, where it is known."""


class TurnNumbers(NamedTuple):
    """One turn of a sequence: its tokens that both sides scored, and their finite
    deltas in nats; ``beyond`` of them are beyond the threshold.
    """

    number: int
    tokens: int
    mae: float | None
    k3: float | None
    beyond: int


def turn_numbers(
    pair: Pair | None, position: int, threshold: float
) -> TurnNumbers | None:
    """The turn that holds a flat position; None where a sequence has one turn alone,
    and for a token of no turn.
    """
    if pair is None or position >= pair.tokens:
        return None
    messages = pair.messages
    message = messages.at(position)
    number = int(messages.turns[message])
    sequence = pair.sequence_of(position)
    turns = messages.turns_of_sequence[sequence]
    if not number or turns < 2:
        return None
    start, stop = messages.starts[message : message + 2]
    scored = pair.scored[start:stop]
    delta = pair.delta[start:stop][scored]
    return _numbers_of(number, delta, threshold)


def _numbers_of(number: int, delta: Array, threshold: float) -> TurnNumbers:
    """The numbers of a turn with these deltas, f32[n] in nats."""
    is_beyond = np.abs(delta) > threshold
    beyond = np.count_nonzero(is_beyond)
    numbers = TurnNumbers(
        number=number,
        tokens=len(delta),
        mae=None,
        k3=None,
        beyond=int(beyond),
    )
    is_finite = np.isfinite(delta)
    if not is_finite.any():
        return numbers
    finite = delta[is_finite].astype(np.float64)
    mae = np.abs(finite).mean()
    k3 = estimators.k3(finite).mean()
    return numbers._replace(mae=float(mae), k3=float(k3))


def weights_of(pair: Pair | None, position: int) -> Weights:
    """With which weights each side computed the token's score."""
    if pair is None:
        return ()
    known: dict[str, str] = {}
    for side, info in (("A", pair.a.info), ("B", pair.b.info)):
        version = _stated(info)
        if version is not None:
            known[side] = version
    versions = pair.versions
    if versions is not None and position < pair.tokens:
        known[versions.side] = versions.in_words(position)
    return tuple(sorted(known.items()))


def _stated(info: CaptureInfo) -> str | None:
    if info.facts is None:
        return None
    return info.facts.weight_version
