"""Every capture against every capture by one number: only what that number needs is
computed.

A cell costs tens of milliseconds for a million tokens, more than a second where its
number is of the top-k lists: a screen asks for one at a time and can stop in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from logdrift.core.compare.floor import noise_floor
from logdrift.core.compare.gate import Gate, Verdict, judge
from logdrift.core.compare.measure import Measurement
from logdrift.core.compare.metric import METRICS, metric
from logdrift.core.compare.pair import Pair, Scope, make_pair
from logdrift.core.compare.turns import messages_of, roles_of_tokens
from logdrift.core.errors import LogdriftError
from logdrift.core.session.message_roles import role_name
from logdrift.core.session.reader import Session

FLOORED = ("errors.mae", "errors.rmse")
"""Numbers that the noise floor has too."""


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """One number of one pair. ``value`` and ``floor`` are None where they are not
    known, ``problem`` says why a pair cannot be read; ``reason`` is the first one of
    the gate, "" where it has none.
    """

    a: str
    b: str
    value: float | None = None
    verdict: Verdict | None = None
    reason: str = ""
    floor: float | None = None
    problem: str | None = None

    @property
    def comparable(self) -> bool:
        return self.problem is None and self.verdict != "not_comparable"


def matrix_labels(session: Session) -> tuple[str, ...]:
    """The captures with at least one finished sequence, in the order of the session."""
    return tuple(info.label for info in session.captures if info.sequences > 0)


def matrix_cell(
    session: Session, a: str, b: str, path: str, scope: Scope, gate: Gate | None = None
) -> MatrixCell:
    """The metric at ``path`` for A -> B over ``scope``.

    ``gate`` is the pair's, if it is known already. What cannot be read is a cell with a
    ``problem``. InputError for an unknown path or scope.
    """
    read = metric(path).read
    try:
        pair = make_pair(session, a, b)
        if gate is None:
            gate = judge(session, pair)
        texts = [reason.text for reason in gate.reasons]
        return MatrixCell(
            a=a,
            b=b,
            value=read(Measurement(pair, scope)),
            verdict=gate.verdict,
            reason=next(iter(texts), ""),
            floor=_floor_of(pair, path, scope),
        )
    except LogdriftError as error:
        return MatrixCell(a, b, problem=str(error))


_SHOWN_GROUPS = 12
"""Turns, and steps of age, that have rows of their own."""


def matrix_metrics(session: Session) -> tuple[str, ...]:
    """The paths of what a matrix can show of a session: the table of metrics, and the
    MAE by turn, role and age of the weights where the session knows these.
    """
    groups = [f"by_turn.{turn}" for turn in _turns(session)]
    groups += [f"by_role.{role}" for role in _roles(session)]
    groups += [f"by_lag.{lag}" for lag in _lags(session)]
    paths = [f"buckets.{group}.mae" for group in groups]
    return (*METRICS, *paths)


def _turns(session: Session) -> range:
    messages = messages_of(session.sequences)
    if not messages.has_turns:
        return range(0)
    turns = int(messages.turns.max())
    return range(1, min(turns, _SHOWN_GROUPS) + 1)


def _roles(session: Session) -> list[str]:
    sequences = session.sequences
    if sequences.roles is None:
        return []
    roles = roles_of_tokens(sequences, len(sequences))
    return [role_name(code) for code in np.unique(roles).tolist()]


def _lags(session: Session) -> range:
    """As many steps of age as there are versions."""
    versions: set[str] = set()
    for info in session.captures:
        for part in info.parts:
            versions.update(part.versions)
    if len(versions) < 2:
        return range(0)
    return range(min(len(versions), _SHOWN_GROUPS))


def metric_value(pair: Pair, path: str, scope: Scope) -> float | None:
    """One number of a pair as the report has it; None where it cannot be computed.

    InputError for an unknown scope.
    """
    return metric(path).read(Measurement(pair, scope))


def _floor_of(pair: Pair, path: str, scope: Scope) -> float | None:
    """The noise floor of the metric at ``path``, in nats."""
    if path not in FLOORED:
        return None
    floor = noise_floor(pair.session, pair, scope)
    if floor is None:
        return None
    if path == "errors.mae":
        return floor.mae
    return floor.rmse
