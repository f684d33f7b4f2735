"""The end of a backend's log, as a screen shows it."""

from __future__ import annotations

import re

from logdrift.core.errors import LogdriftError
from logdrift.core.session.files import lies_within, read_tail
from logdrift.core.session.layout import LOGS
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible, visible_bytes

_LOG_BYTES = 256 * 1024
_COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


def log_lines(session: Session, backend: str, limit: int = 500) -> list[str]:
    """The last ``limit`` lines of a backend's log, made visible.

    Where the log cannot be read, one line says why. Reads a file: not for the event
    loop.
    """
    folder = session.folder / LOGS
    path = folder / f"{backend}.log"
    if "/" in backend or not lies_within(path, folder):
        name = visible(backend)
        return [f"the log of {name} would lie outside of the session folder: not read"]
    try:
        data = read_tail(path, _LOG_BYTES)
    except OSError as error:
        name = visible(str(path))
        return [f"{name}: {error.strerror}"]
    except LogdriftError as error:
        words = visible(str(error))
        return [words]
    text = _COLOURS.sub(b"", data)
    text = text.rstrip(b"\n")
    lines = text.split(b"\n")
    newest = lines[-limit:]
    states = map(_last_state, newest)
    return [visible_bytes(state) for state in states]


def has_logs(session: Session) -> bool:
    """Whether a session has the log of any backend: imported ones have none."""
    folder = session.folder / LOGS
    return any(folder.glob("*.log"))


def _last_state(line: bytes) -> bytes:
    """The end of a line that a progress bar has written again and again."""
    ended = line.rstrip(b"\r")
    _, _, state = ended.rpartition(b"\r")
    return state
