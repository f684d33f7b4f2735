"""Limits in words: the mark of each, what to make of it, is the pair normal?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from logdrift.core.compare.limits import JudgedLimit
from logdrift.core.compare.usual import UsualRange
from logdrift.core.numbers import counted
from logdrift.core.report.document import Tone

LIMIT_MARKS = {True: "✓", False: "✗", None: "?"}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Whether the numbers of a pair are normal, in one sentence."""

    text: str
    tone: Tone


def limit_tone(judged: JudgedLimit) -> Tone:
    """How a judged limit stands out."""
    if judged.ok is None:
        return "dim"
    if judged.ok:
        return "good"
    tones: dict[str, Tone] = {"normal": "warn", "exact": "dim"}
    level = judged.limit.level
    return tones.get(level, "bad")


def advice(judged: JudgedLimit) -> str:
    """What to make of one limit, in one line."""
    limit = judged.limit
    whose = limit.framework
    if judged.ok is None:
        return judged.note or "not judged"
    if judged.ok:
        if limit.level == "exact":
            return "bitwise equal in this number"
        return "nothing to do"
    outside = _side(judged)
    words = {
        "own": f"{outside} your own limit: see why",
        "normal": f"{outside} {whose}'s normal, no fault",
        "fault": f"a fault to {whose}: see why",
        "exact": "expected: not bitwise equal",
    }
    return words[limit.level]


def _side(judged: JudgedLimit) -> str:
    """``above`` or ``below`` the limit."""
    high = judged.limit.high
    value = judged.value
    if value is not None and high is not None and value > high:
        return "above"
    return "below"


def is_usual(mae: float | None, usual: UsualRange | None) -> bool:
    """Whether an MAE is not above the usual range of its dtype."""
    if mae is None or usual is None:
        return False
    return usual.standing(mae) in ("below", "usual")


def conclusion(
    limits: Sequence[JudgedLimit],
    mae: float | None,
    usual: UsualRange | None,
    *,
    void: bool,
) -> Conclusion:
    """What all limits together say of a pair with this MAE (nats); ``void``: its gate
    says not comparable. Limits for bitwise equal runs say nothing here.
    """
    if void:
        return Conclusion(
            "Nothing can be judged: the pair is not comparable, so its numbers mean"
            " nothing.",
            "bad",
        )
    known = [judged for judged in limits if judged.limit.level != "exact"]
    judged_ones = [judged for judged in known if judged.ok is not None]
    exceeded = [judged for judged in judged_ones if not judged.ok]
    if not judged_ones:
        return Conclusion("No limit could be judged.", "warn")
    if not exceeded:
        held = counted(len(judged_ones), "limit")
        return Conclusion(f"Normal: of {held} none is exceeded.", "good")
    grave = [judged for judged in exceeded if judged.limit.level != "normal"]
    if grave:
        return _with_faults(grave, mae, usual)
    return _narrow_ones(exceeded, mae, usual)


def _narrow_ones(
    exceeded: Sequence[JudgedLimit], mae: float | None, usual: UsualRange | None
) -> Conclusion:
    """Only limits of what frameworks call normal are exceeded."""
    those = f"{_counted(exceeded)} of what frameworks call normal"
    if usual is not None and is_usual(mae, usual):
        return Conclusion(
            f"Normal for {usual.dtype}: no limit for a fault is exceeded, only"
            f" {those}.",
            "good",
        )
    return Conclusion(
        f"On the high side: no limit for a fault is exceeded, but {those}.", "warn"
    )


def _with_faults(
    grave: Sequence[JudgedLimit], mae: float | None, usual: UsualRange | None
) -> Conclusion:
    those = f"{_counted(grave)} of yours or for a fault"
    if not any(judged.limit.level == "own" for judged in grave):
        those = _counted(grave, "fault limit")
    verb = "are" if len(grave) > 1 else "is"
    if usual is not None and is_usual(mae, usual):
        return Conclusion(
            f"The MAE is usual for {usual.dtype}, yet {those} {verb} exceeded.", "warn"
        )
    return Conclusion(f"Not normal: {those} {verb} exceeded.", "bad")


def _counted(limits: Sequence[JudgedLimit], noun: str = "limit") -> str:
    """``3 limits (verl, NeMo-RL)``."""
    names = dict.fromkeys(judged.limit.framework for judged in limits)
    return f"{counted(len(limits), noun)} ({', '.join(names)})"
