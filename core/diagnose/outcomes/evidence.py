"""What experiments say of causes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from logdrift.core.diagnose.causes import BY_CODE
from logdrift.core.diagnose.evidence import LIKELY, Evidence, Shown
from logdrift.core.diagnose.outcomes.outcome import Outcome

LEAVES = {
    "explains": 1.0,
    "no effect": 0.3,
    "below the floor": 0.5,
    "unclear": 1.0,
    "worse": 0.3,
}
"""What is left of a cause's other evidence when its knob was turned: a change that
removes nothing speaks against it. Too few tokens for an interval speak neither way. By
judgement.
"""
_REFUTED = ("no effect", "worse")
_COMBINED = 0.6
"""What a share counts that a change of more than one thing explains. By judgement."""
_MOST = 0.97
"""The largest score of an experiment. By judgement."""
_FINDING = 0.8
"""Score of numbers that moved though none may. By judgement."""


def experiment_evidence(outcomes: Iterable[Outcome]) -> list[Evidence]:
    """What experiments say of causes. Where a knob explains a share, its cause has that
    as score (a combined knob less of it); where it explains nothing,
    ``numbers["leaves"]`` takes away from the cause's other evidence
    (`logdrift.core.diagnose.discount`).

    float32 on both sides that had one 16-bit dtype shows no other precision of one side
    but rounding: that is evidence for noise (`Experiment.proves`).
    """
    judged = (
        outcome
        for outcome in outcomes
        if outcome.judged and outcome.experiment.cause in BY_CODE
    )
    pieces = (
        _of_still(outcome) if outcome.experiment.still else _of_change(outcome)
        for outcome in judged
    )
    return [piece for piece in pieces if piece is not None]


def _of_still(outcome: Outcome) -> Evidence | None:
    """A change that may move no number says something only where one moved."""
    if not outcome.finding:
        return None
    return _evidence(outcome, outcome.experiment.cause, _FINDING, leaves=1.0)


def _of_change(outcome: Outcome) -> Evidence:
    experiment = outcome.experiment
    cause = experiment.proves or experiment.cause
    explains = outcome.status == "explains" and outcome.low is not None
    if explains:
        share = min(_MOST, max(0.0, outcome.low or 0.0))
    else:
        share = 0.0
    if experiment.combined:
        # A change of more than one thing neither proves a cause nor refutes it; one
        # that removes nothing may hide one change behind another.
        return _evidence(outcome, cause, share * _COMBINED, leaves=1.0)
    return _evidence(
        outcome, cause, share, leaves=LEAVES[outcome.status], shows=_shows(outcome)
    )


def _shows(outcome: Outcome) -> Shown | None:
    """Proven: most of the gap is gone, and its interval says so. Refuted: nothing of it
    is.
    """
    if outcome.status == "explains":
        if outcome.low is not None and outcome.low >= LIKELY:
            return "proven"
        return None
    if outcome.status in _REFUTED:
        return "refuted"
    return None


def _evidence(
    outcome: Outcome,
    cause: str,
    score: float,
    *,
    leaves: float,
    shows: Shown | None = None,
) -> Evidence:
    experiment = outcome.experiment
    numbers: dict[str, Any] = {
        "experiment": experiment.id,
        "mae_before": outcome.mae_before,
        "mae_after": outcome.mae_after,
        "explained": outcome.explained,
        "low": outcome.low,
        "high": outcome.high,
        "floor": outcome.floor,
        "moved": outcome.moved,
        "leaves": leaves,
    }
    if experiment.combined:
        more = " (more than one change)"
    else:
        more = ""
    return Evidence(
        cause=cause,
        score=score,
        signature="experiment",
        sentence=f"{experiment.title}{more}: {outcome.sentence}.",
        numbers=numbers,
        shows=shows,
        proof=f"{experiment.title} {outcome.clause}" if shows else "",
    )
