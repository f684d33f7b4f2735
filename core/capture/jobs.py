"""Jobs that take a while: programs run in a process group of their own, with a log,
progress, a lock and a way to stop.

Used to build engine environments and to prepare models. Nothing started here outlives a
cancelled job.
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
from logdrift.core.session.visible import visible

_POLL = 0.2
# Settings that would send pip's files elsewhere than into the environment, or read
# another Python's modules.
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
    """Progress of one piece of work: ``what`` is being made, ``doing`` what now,
    ``done`` of ``total`` (0: unknown).
    """

    what: str
    doing: str
    done: int = 0
    total: int = 0


Report = Callable[[Step], None]


class Cancelled(LogdriftError):
    """Interrupted by the user; the next run goes on from here."""

    exit_code = 130


@contextlib.contextmanager
def locked(
    path: Path, report: Report, cancel: threading.Event, what: str
) -> Iterator[int]:
    """Hold the lock beside ``path``; a second process waits here and says so. Yields
    the lock's file descriptor.

    Children that inherit the descriptor keep the lock, so what an ended logdrift left
    running is waited for too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        waiting = False
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
                    report(
                        Step(
                            what,
                            f"waiting for another logdrift (pid {holder or 'unknown'})"
                            " that is making it",
                        )
                    )
                waiting = True
            except OSError:
                # a file system without locks: go on rather than refuse to work on it
                break
            if cancel.wait(_POLL):
                raise Cancelled(f"{what}: cancelled")
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield fd
    finally:
        os.close(fd)


def run_logged(
    argv: Sequence[str],
    log: Path,
    cancel: threading.Event,
    tick: Callable[[], None] = lambda: None,
    *,
    keep_open: int | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a command in its own process group, output appended to ``log``; ``tick`` is
    called as it runs.

    Returns its exit status. Raises Cancelled, after ending the whole group, when
    ``cancel`` is set.
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
    """End a process that leads its own group, and all that it started; nothing to do
    once it has been waited for.
    """
    if process.returncode is None:
        kill_group(process.pid)
        process.wait()


def clean_environment() -> dict[str, str]:
    """Our environment without what would lead another interpreter astray."""
    return {k: v for k, v in os.environ.items() if k not in _UNWANTED} | {
        "PYTHONNOUSERSITE": "1"
    }


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
    """One line for what went wrong in the last command of ``log``, and where to read
    more.
    """
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
    lines = [line for line in text.splitlines()[1:] if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return (
        f"failed: {one_line(errors[-1]) if errors else hint or 'no output'} (log:"
        f" {log})"
    )


def one_line(text: str, limit: int = 240) -> str:
    """Text of another program made safe for a terminal: one line, no colours, nothing
    that controls.
    """
    flat = visible(" ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).split()))
    if len(flat) <= limit:
        return flat
    return f"{flat[: limit - 1]}…"


def _free(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return gigabytes(
            shutil.disk_usage(folder if folder.exists() else folder.parent).free
        )
    return "unknown"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a small JSON file at once: readers see the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
