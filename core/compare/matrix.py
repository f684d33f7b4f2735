"""Every capture against every capture by one number: only what that number needs is
computed.

A cell costs tens of milliseconds for a million tokens, more than a second where its
number is of the top-k lists: a screen asks for one at a time and can stop in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from logdrift.core.compare.coverage import coverage
from logdrift.core.compare.distribution import topk_stats
from logdrift.core.compare.errors import error_stats
from logdrift.core.compare.floor import noise_floor
from logdrift.core.compare.gate import Gate, Verdict, judge
from logdrift.core.compare.metrics import sampled_by
from logdrift.core.compare.mismatch import mismatch_stats
from logdrift.core.compare.names import NAMES, value_of
from logdrift.core.compare.pair import Pair, Scope, make_pair
from logdrift.core.compare.probability import probability_stats
from logdrift.core.compare.uncertainty import intervals
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.session.reader import Session

FLOORED = ("errors.mae", "errors.rmse")
"""Numbers that the noise floor has too."""


@dataclass(frozen=True, slots=True)
class Cell:
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
) -> Cell:
    """The number at ``path`` (of `logdrift.core.compare.names`) for A -> B over
    ``scope``.

    ``gate`` is the pair's, if it is known already. What cannot be read is a cell with a
    ``problem``. InputError for an unknown path or scope.
    """
    if path not in NAMES:
        raise InputError(f"metric {path!r} is unknown")
    try:
        pair = make_pair(session, a, b)
        gate = judge(session, pair) if gate is None else gate
        value = metric_value(pair, path, scope)
        floor = noise_floor(session, pair, scope) if path in FLOORED else None
    except LogdriftError as error:
        return Cell(a, b, problem=str(error))
    reason = gate.reasons[0].text if gate.reasons else ""
    of_it = None if floor is None else floor.mae if path == "errors.mae" else floor.rmse
    return Cell(a, b, value, gate.verdict, reason, of_it)


def metric_value(pair: Pair, path: str, scope: Scope) -> float | None:
    """One number of a pair as the report has it; None where it cannot be computed.
    InputError for an unknown scope.
    """
    mask = pair.scope_mask(scope)
    section = path.partition(".")[0]
    if section == "floor":
        floor = noise_floor(pair.session, pair, scope)
        return value_of({"floor": floor.to_json() if floor is not None else None}, path)
    if section == "topk":
        topk = topk_stats(pair.a, pair.b, pair.sequences.token_ids, mask)
        return value_of({"topk": topk.to_json() if topk is not None else None}, path)
    if section == "tokens":
        return float(mask.sum())
    if section == "sequences":
        return float(pair.count)
    if section == "coverage":
        return value_of({"coverage": coverage(pair, scope).to_json()}, path)
    delta = pair.delta[mask]
    if section == "ci95":
        return value_of(
            {"ci95": intervals(delta, pair.count_per_sequence(mask)).to_json()}, path
        )
    a, b = pair.logprob_a[mask], pair.logprob_b[mask]
    if section == "errors":
        return value_of({"errors": error_stats(delta, a, b).to_json()}, path)
    if section == "probability":
        return value_of({"probability": probability_stats(a, b).to_json()}, path)
    stats = mismatch_stats(
        delta, a, b, pair.count_per_sequence(mask), sampled_by(pair, scope)
    )
    return value_of({"mismatch": stats.to_json()}, path)
