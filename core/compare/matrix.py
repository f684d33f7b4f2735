"""Every capture against every capture by one number: only what that number needs is
computed.

A cell costs tens of milliseconds for a million tokens, more than a second where its
number is of the top-k lists: a screen asks for one at a time and can stop in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from logdrift.core.compare.floor import noise_floor
from logdrift.core.compare.gate import Gate, Verdict, judge
from logdrift.core.compare.measure import Measurement
from logdrift.core.compare.metric import METRICS
from logdrift.core.compare.pair import Pair, Scope, make_pair
from logdrift.core.errors import InputError, LogdriftError
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
    if path not in METRICS:
        raise InputError(f"metric {path!r} is unknown")
    try:
        pair = make_pair(session, a, b)
        if gate is None:
            gate = judge(session, pair)
        texts = [reason.text for reason in gate.reasons]
        return MatrixCell(
            a=a,
            b=b,
            value=metric_value(pair, path, scope),
            verdict=gate.verdict,
            reason=next(iter(texts), ""),
            floor=_floor_of(pair, path, scope),
        )
    except LogdriftError as error:
        return MatrixCell(a, b, problem=str(error))


def metric_value(pair: Pair, path: str, scope: Scope) -> float | None:
    """One number of a pair as the report has it; None where it cannot be computed.

    InputError for an unknown scope.
    """
    return METRICS[path].read(Measurement(pair, scope))


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
