"""Programs that take a while: with a log, progress, a lock and a way to stop them.

Each runs in a process group of its own. Used to build engine environments and to
prepare models. Nothing started here outlives a cancelled job.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import gigabytes
from logdrift.core.processes import kill_group
from logdrift.core.session.below import replace_file
from logdrift.core.session.visible import visible

_POLL = 0.2
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Settings with which pip would install elsewhere, or Python would read other modules.
_UNWANTED = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "PIP_ROOT",
    "PIP_REQUIRE_VIRTUALENV",
)


@dataclass(frozen=True, slots=True)
class Step:
    """Progress of one piece of work.

    ``what`` is being made, ``doing`` is the current step, ``done`` of ``total`` pieces
    are finished (0: unknown).
    """

    what: str
    doing: str
    done: int = 0
    total: int = 0


Report = Callable[[Step], None]


class Cancelled(LogdriftError):
    """Interrupted by the user; the next run resumes here."""

    exit_code = 130


@contextlib.contextmanager
def locked(
    path: Path, report: Report, cancel: threading.Event, what: str
) -> Iterator[int]:
    """Hold the lock beside ``path``, once no other process holds it.

    Yields the lock's file descriptor. Children that inherit it keep the lock, so that
    what an ended logdrift left running is waited for too. Raises Cancelled.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f".{path.name}.lock")
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        waiting = False
        while not _take(lock):
            if not waiting:
                report(Step(what, _waiting_for(lock)))
            waiting = True
            if cancel.wait(_POLL):
                raise Cancelled(f"{what}: cancelled")
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # A file system without locks: work without one rather than not at all.
        return True
    return True


def _waiting_for(lock: int) -> str:
    holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
    return f"waiting for another logdrift (pid {holder or 'unknown'}) that is making it"


def run_logged(
    argv: Sequence[str],
    log: Path,
    cancel: threading.Event,
    tick: Callable[[], None] = lambda: None,
    *,
    keep_open: int | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a command in its own process group and return its exit status.

    Its output is appended to ``log``; ``tick`` is called while it runs. Raises
    Cancelled, after ending the whole group, when ``cancel`` is set.
    """
    with log.open("ab") as out:
        out.write(f"$ {' '.join(argv)}\n".encode())
        out.flush()
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=clean_environment() | dict(env or {}),
                pass_fds=() if keep_open is None else (keep_open,),
            )
        except OSError as error:
            raise LogdriftError(
                f"{argv[0]}: cannot be started: {error.strerror}"
            ) from None
    try:
        while process.poll() is None:
            if cancel.wait(_POLL):
                raise Cancelled("cancelled")
            tick()
        return process.returncode
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a process that leads its own group, and all that it started.

    Does nothing once the process has been waited for.
    """
    if process.returncode is None:
        kill_group(process.pid)
        process.wait()


def clean_environment() -> dict[str, str]:
    """Our environment variables without those that would misguide an interpreter."""
    variables = dict(os.environ)
    for name in _UNWANTED:
        variables.pop(name, None)
    variables["PYTHONNOUSERSITE"] = "1"
    return variables


_CAUSES = (
    (
        r"No space left on device|Errno 28",
        "the disk is full at {place} ({free} free): use --dir or LOGDRIFT_CACHE",
    ),
    (
        r"File too large|Errno 27|Disk quota exceeded|Errno 122",
        "a file size limit or quota stops it at {place}",
    ),
    (r"ensurepip is not available|No module named '?(venv|ensurepip|pip)", "{hint}"),
    (
        r"SSLError|CERTIFICATE_VERIFY_FAILED",
        "the package index's certificate is not trusted: set PIP_CERT",
    ),
    (
        r"NewConnectionError|Max retries exceeded|Temporary failure in name"
        r" resolution|Network is unreachable|ProxyError"
        r"|ReadTimeoutError|ConnectTimeoutError|ConnectionResetError|ConnectionRefusedError",
        "the package index cannot be reached: check network and proxy",
    ),
    (
        r"requirement (?P<name>\S+) \(from versions: none\)",
        (
            "the package index cannot be reached or has no {name} for this Python:"
            " check network, proxy and index"
        ),
    ),
    (
        r"No matching distribution found for (?P<name>\S+)",
        "the package index has no wheel of {name} for this Python and machine",
    ),
    (r"Permission denied|Errno 13", "no permission to write at {place}"),
)


def last_output(log: Path) -> str:
    """What the last command of a log has printed so far."""
    if log.is_file():
        text = log.read_text(errors="replace")
    else:
        text = ""
    return text[text.rfind("\n$ ") + 1 :]


def explain_failure(log: Path, folder: Path, hint: str = "") -> str:
    """One line about what went wrong in the last command of ``log``, and the log."""
    text = last_output(log)
    for pattern, line in _CAUSES:
        match = re.search(pattern, text)
        if match:
            name = match.groupdict().get("name")
            cause = line.format(
                free=_free(folder),
                place=folder.parent,
                hint=hint or "see the log",
                name=name,
            )
            return f"{cause} (log: {log})"
    output = text.splitlines()[1:]  # behind the command itself
    lines = [line for line in output if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    reason = hint or "no output"
    if lines:
        reason = printable_line((errors or lines)[-1])
    return f"failed: {reason} (log: {log})"


def printable_line(text: str, limit: int = 240) -> str:
    """Text of another program made safe for a terminal: one line without controls."""
    plain = _COLOURS.sub("", text)
    line = visible(" ".join(plain.split()))
    if len(line) <= limit:
        return line
    return f"{line[: limit - 1]}…"


def _free(folder: Path) -> str:
    place = folder if folder.exists() else folder.parent
    with contextlib.suppress(OSError):
        return gigabytes(shutil.disk_usage(place).free)
    return "unknown"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a small JSON file at once: readers see the old one or the new one."""
    text = json.dumps(data, indent=1)
    replace_file(path.parent, path.name, text.encode())
