"""Work on a session that goes on in a process of its own: who does it, how it is ended,
and what it says.

Its folder in the session is all that ties it to whoever looks: the lock says who works
there, ``events.jsonl`` what is being done and how it ended.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from logdrift.core.capture.background import ask_to_end, ends_within
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.interrupts import cancellable
from logdrift.core.session.lock import read_lock
from logdrift.core.session.writer import append_event

_GRACE = 20.0
"""Seconds for a process to end its engines."""


def cancel_work(session_folder: Path, below: str, name: str) -> None:
    """End the process that works in the folder ``below`` a session, with its engines.

    ``name`` says what it does: ``experiments``. Raises InputError where nothing runs
    here, LogdriftError where it does not end.
    """
    folder = session_folder / below
    holder = read_lock(folder)
    if holder is None:
        raise InputError(f"session {session_folder}: no {name} running")
    if not holder.here:
        reason = f"the {name} of {session_folder} run on {holder.host}"
        raise InputError(reason, remedy=f"end process {holder.pid} there")
    ask_to_end(holder, folder)
    if not ends_within(holder, _GRACE):
        reason = f"process {holder.pid} does not end"
        raise LogdriftError(reason, remedy="end it by hand")


def work_noted(folder: Path, work: Callable[[], None]) -> int:
    """Do ``work`` in this process and note in ``folder`` how it ended: the exit code.

    SIGTERM ends it as Ctrl-C does.
    """
    try:
        with cancellable():
            work()
    except LogdriftError as error:
        print(error, file=sys.stderr, flush=True)
        note(folder, {"type": "failed", "error": str(error)})
        return error.exit_code
    except KeyboardInterrupt:
        note(folder, {"type": "cancelled"})
        return 130
    note(folder, {"type": "finished"})
    return 0


def note(folder: Path, event: Mapping[str, Any]) -> None:
    """Add an event, with the time."""
    now = round(time.time(), 3)
    append_event(folder, {"t": now, **event})
