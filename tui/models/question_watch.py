"""What asks the engines of a session in the background, in words: what it does now, or
how it ended. Not for the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logdrift.core.numbers import duration
from logdrift.core.session.events import began, events_of_last_run
from logdrift.core.session.layout import EVENTS
from logdrift.core.session.lock import LockHolder, read_lock
from logdrift.core.session.visible import visible

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class QuestionState:
    """What is known of the last time that engines were asked.

    Attributes:
        running: what is being done, in words; "" for nothing.
        ended: how it ended, if badly.
        began: when it began, in seconds since 1970; 0 where it never did.
        place: of the backend that is asked now, counted from 1; 0 before the first.
    """

    running: str = ""
    ended: str = ""
    began: float = 0.0
    place: int = 0

    def ended_since(self, before: QuestionState | None) -> bool:
        """Whether engines were asked at ``before``, or since, and no longer are."""
        if before is None or self.running:
            return False
        return bool(before.running) or before.began != self.began


def look_at_question(folder: Path) -> QuestionState:
    """What goes on in the ``folder`` of a question, ``why/identity`` or
    ``why/layers``.
    """
    events = events_of_last_run(folder / EVENTS)
    began_at = began(events)
    holder = read_lock(folder)
    if holder is None:
        return QuestionState(ended=_how_it_ended(events), began=began_at)
    return QuestionState(
        running=_running(events, holder), began=began_at, place=_place(events)
    )


def _place(events: Sequence[Event]) -> int:
    if not events:
        return 0
    place = events[-1].get("place")
    if isinstance(place, int):
        return place
    return 0


def _running(events: Sequence[Event], holder: LockHolder) -> str:
    words = ["the engines are being started"]
    if events:
        words = [_step(events[-1]) or words[0]]
    seconds = max(0.0, time.time() - holder.since)
    words.append(f"{duration(seconds)} so far")
    return visible(" · ".join(words))


def _step(event: Event) -> str:
    """``2 of 3, vllm: loading the model``; "" for an event that is no step."""
    if event.get("type") not in ("stage", "failed"):
        return ""
    place = event.get("place")
    if place is None:
        return ""
    doing = event.get("stage") or "could not be asked"
    return f"{place} of {event.get('of')}, {event.get('backend')}: {doing}"


def _how_it_ended(events: Sequence[Event]) -> str:
    """In words, if badly."""
    if not events:
        return ""
    last = events[-1]
    kind = last.get("type")
    if kind == "finished":
        return ""
    if kind == "cancelled":
        return "cancelled: what was answered stays"
    error = last.get("error")
    if kind == "failed" and last.get("place") is None:
        return visible(f"failed: {error}")
    step = _step(last) or "its start"
    return visible(f"ended in the middle of {step}")
