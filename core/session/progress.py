"""How far a capture is, read from its session folder alone."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import counted, is_number
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
    moves = event.get("type") == "progress"
    if moves and share is not None and share < 1:
        # A capture that is one part saves nothing for minutes: only its events move.
        in_flight = _in_flight(session, event)
        share += in_flight / _planned(session)
        share = min(1.0, share)
    return Live(
        share=share,
        left=_seconds_left(session, holder, in_flight),
        doing=_event_words(event),
    )


def _planned(session: Session) -> int:
    """Sequences of all captures together."""
    sequences = session.manifest.sequences.planned
    return sequences * len(session.captures)


def _finished(session: Session) -> int:
    return sum(info.finished_sequences for info in session.captures)


def _in_flight(session: Session, event: JsonObject) -> float:
    """Sequences that are scored but in no part yet."""
    with contextlib.suppress(KeyError, LogdriftError):
        info = session.manifest.capture(event["label"])
        scored = float(event["sequences"])
        return max(0.0, scored - info.finished_sequences)
    return 0.0


def _seconds_left(
    session: Session, holder: LockHolder, in_flight: float
) -> float | None:
    """By the pace since this run began, starts of engines included."""
    finished = _finished(session) + in_flight
    left = _planned(session) - finished
    done_now = in_flight + _finished_since(session, holder.since)
    elapsed = time.time() - holder.since
    if min(left, done_now, elapsed) <= 0:
        return None
    return left * elapsed / done_now


def _finished_since(session: Session, since: float) -> int:
    """Sequences in parts that were written after ``since``, seconds since 1970."""
    sequences = 0
    for info in session.captures:
        for part in info.finished:
            path = session.folder / part.file
            if _modified(path) >= since:
                sequences += part.sequences
    return sequences


def _modified(path: Path) -> float:
    with contextlib.suppress(OSError):
        return os.stat(path).st_mtime
    return 0.0


def _event_words(event: JsonObject) -> str:
    kind = event.get("type")
    backend = event.get("backend")
    words = ""
    if kind == "stage":
        stage = event.get("stage")
        words = f"{backend}: {stage}"
    elif kind == "progress":
        words = _progress_words(event)
    elif kind in ("part", "captured"):
        label = event.get("label")
        sequences = _counted(event.get("sequences"))
        words = f"{label} {sequences}"
    elif kind in ("backend", "facts"):
        words = f"{backend}: starting"
    return visible(words)


def _progress_words(event: JsonObject) -> str:
    label = event.get("label")
    done = event.get("sequences")
    planned = _counted(event.get("planned"))
    words = f"{label} {done}/{planned}"
    rate = event.get("rate")
    if isinstance(rate, int | float):
        return f"{words}, {rate:,.0f} tok/s"
    return words


def _counted(sequences: object) -> str:
    """Events come from files: what is no number stays what it is."""
    if is_number(sequences):
        return counted(sequences, "sequence")
    return f"{sequences} sequences"
