"""How far a capture is, read from its session folder alone."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from logdrift.core.errors import LogdriftError
from logdrift.core.session.events import last_event
from logdrift.core.session.files import JsonObject
from logdrift.core.session.layout import EVENTS
from logdrift.core.session.lock import LockHolder
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible

_TAIL_BYTES = 16 * 1024
"""Of the events: enough for the last one."""


@dataclass(frozen=True)
class Live:
    """A running capture.

    ``share``: how much is done, 0 to 1, with what is in flight. ``left``: seconds until
    it is complete, None where they cannot be estimated yet. ``doing``: its last event
    in words.
    """

    share: float | None = None
    left: float | None = None
    doing: str = ""


def progress(session: Session) -> float | None:
    """Share of the planned sequences of all captures that is finished, 0 to 1; None
    where nothing is planned.
    """
    planned = _planned(session)
    if planned:
        return min(1.0, _finished(session) / planned)
    return None


def live(session: Session, holder: LockHolder) -> Live:
    """How far the capture that ``holder`` runs is. Reads the end of the events:
    fast.
    """
    share = progress(session)
    event = last_event(session.folder / EVENTS, _TAIL_BYTES)
    in_flight = 0.0
    if event.get("type") == "progress" and share is not None and share < 1:
        # With one part a capture, nothing else moves for minutes.
        in_flight = _in_flight(session, event)
        share = min(1.0, share + in_flight / _planned(session))
    return Live(
        share=share,
        left=_seconds_left(session, holder, in_flight),
        doing=_event_words(event),
    )


def _planned(session: Session) -> int:
    """Sequences of all captures together."""
    return session.manifest.sequences.planned * len(session.captures)


def _finished(session: Session) -> int:
    return sum(info.sequences for info in session.captures)


def _in_flight(session: Session, event: JsonObject) -> float:
    """Sequences that are scored but in no part yet."""
    with contextlib.suppress(KeyError, LogdriftError):
        finished = session.manifest.capture(event["label"]).sequences
        return max(0.0, float(event["sequences"]) - finished)
    return 0.0


def _seconds_left(
    session: Session, holder: LockHolder, in_flight: float
) -> float | None:
    """By the pace since this run began, starts of engines included."""
    left = _planned(session) - _finished(session) - in_flight
    done_now = in_flight + _finished_since(session, holder.since)
    elapsed = time.time() - holder.since
    if left <= 0 or done_now <= 0 or elapsed <= 0:
        return None
    return left * elapsed / done_now


def _finished_since(session: Session, since: float) -> int:
    """Sequences in parts that were written after ``since``, seconds since 1970."""
    return sum(
        part.sequences
        for info in session.captures
        for part in info.parts
        if _modified(session.folder / part.file) >= since
    )


def _modified(path: Path) -> float:
    with contextlib.suppress(OSError):
        return os.stat(path).st_mtime
    return 0.0


def _event_words(event: JsonObject) -> str:
    kind = event.get("type")
    if kind == "stage":
        return visible(f"{event.get('backend')}: {event.get('stage')}")
    if kind == "progress":
        return visible(_progress_words(event))
    if kind in ("part", "captured"):
        return visible(f"{event.get('label')} {event.get('sequences')} sequences")
    if kind in ("backend", "facts"):
        return visible(f"{event.get('backend')}: starting")
    return ""


def _progress_words(event: JsonObject) -> str:
    done = event.get("sequences")
    planned = event.get("planned")
    words = f"{event.get('label')} {done}/{planned} sequences"
    rate = event.get("rate")
    if isinstance(rate, int | float):
        return f"{words}, {rate:,.0f} tok/s"
    return words
