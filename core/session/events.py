"""Events: the log of a capture or of a run of experiments, one JSON object a line.

They are narration: a line that is damaged, or still being written, is left out and is
no error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.session.files import (
    EVENTS_BYTES,
    JsonObject,
    parse_json,
    read_file,
    read_tail,
)
from logdrift.core.session.schema import (
    Unfit,
    anything,
    fields,
    maybe,
    number,
    table,
    text,
    whole,
)

_count = whole(0)
_event = fields(
    {
        "t": number,
        "type": text,
        "backend": text,
        "backends": anything,
        "label": text,
        "engine": maybe(text),
        "python": text,
        "version": maybe(text),
        "device": maybe(text),
        "stage": text,
        "sequences": _count,
        "planned": _count,
        "tokens": _count,
        "rate": maybe(number),
        "left": maybe(number),
        "complete": maybe(anything),
        "error": text,
        "state": text,
        "id": text,
        "title": text,
        "place": _count,
        "of": _count,
        "outcome": maybe(table(anything)),
        "experiments": anything,
    }
)
"""The keys that any reader uses."""


def read_events(path: Path) -> list[dict[str, Any]]:
    """All events of a file, oldest first; none where it cannot be read."""
    with contextlib.suppress(OSError, InputError):
        data = read_file(path, EVENTS_BYTES)
        lines = data.split(b"\n")
        return list(_events(lines))
    return []


def events_of_last_run(path: Path) -> list[JsonObject]:
    """The events of the last of several runs that one file tells of, oldest first: a
    run begins with its plan.
    """
    events: list[JsonObject] = []
    for event in read_events(path):
        if event.get("type") == "plan":
            events = []
        events.append(event)
    return events


def began(events: Sequence[JsonObject]) -> float:
    """When the first of ``events`` was, in seconds since 1970; 0 without any."""
    if not events:
        return 0.0
    seconds = events[0].get("t")
    if isinstance(seconds, int | float):
        return float(seconds)
    return 0.0


def last_event(path: Path, most: int) -> JsonObject:
    """The last event in the last ``most`` bytes of a file; empty where there is
    none.
    """
    with contextlib.suppress(OSError, InputError):
        tail = read_tail(path, most)
        lines = tail.split(b"\n")
        newest_first = _events(reversed(lines))
        return next(newest_first, {})
    return {}


def _events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with contextlib.suppress(ValueError, Unfit):
            event = parse_json(line)
            _event(event)
            yield event
