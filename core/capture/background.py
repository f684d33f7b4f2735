"""Captures in the background: started so that they outlive the terminal, and cancelled.

Any process can cancel one: the lock in the session folder says who writes it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from logdrift.core.capture import trust
from logdrift.core.capture.workers import end_leftovers
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.processes import kill_group
from logdrift.core.session.below import append
from logdrift.core.session.layout import LOCK, LOGS, read_manifest
from logdrift.core.session.lock import LockHolder, process_start, proved, read_lock

_POLL = 0.05
_GRACE = 15.0
"""Seconds for a supervisor to end its workers (3 s each) and to save their progress."""


def start_background(folder: Path, *, parallel: bool = False) -> int:
    """Capture what a session lacks in a background process, and return its pid.

    Returns once the process holds the session's lock. It has a process session of its
    own, so that neither a closed terminal nor Ctrl-C reaches it, and prints to
    ``logs/supervisor.log``. Raises InputError where the folder is not a session or not
    this user's own, LogdriftError with its last line of output where it ends at once.
    """
    # Read here too: a session that was deleted meanwhile must not come back as a folder
    # of logs.
    manifest = read_manifest(folder)
    if not manifest.plan:
        raise InputError(
            f"session {folder} was not made by a capture: it has no plan to go on by",
            remedy="score its ids with logdrift capture --into SESSION",
        )
    trust.require(folder, manifest)
    module = "logdrift.core.capture.supervisor"
    options = ["--parallel"] if parallel else []
    return start_detached(
        [module, str(folder), *options], folder, f"{LOGS}/supervisor.log"
    )


def start_detached(words: Sequence[str], folder: Path, log: str) -> int:
    """``python -m WORDS`` in a process session of its own, printing to ``log`` below
    ``folder``; its pid once it holds the folder.

    Raises LogdriftError where it cannot be started, or with its last words where it
    ends at once, InputError where the log is a link.
    """
    try:
        with open(append(folder, log), "ab") as output:
            start_of_log = output.tell()
            # -P: a folder called core where the user stands must not be imported in
            # place of ours.
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise LogdriftError(
            f"{folder}: cannot be worked on in the background: {error.strerror}"
        ) from None
    while process.poll() is None and not _holds(process.pid, folder):
        time.sleep(_POLL)
    if process.poll() not in (None, 0):
        printed = (folder / log).read_bytes()[start_of_log:]
        lines = printed.decode("utf-8", "replace").strip().splitlines()
        code = process.returncode
        lines = lines or [f"the background process ended with exit code {code}"]
        raise LogdriftError(lines[-1])
    # Wait for its end, however long this process (a screen) runs: otherwise it would
    # stay a zombie.
    threading.Thread(target=process.wait, daemon=True).start()
    return process.pid


def _holds(pid: int, folder: Path) -> bool:
    holder = read_lock(folder)
    return holder is not None and holder.pid == pid


def ask_to_end(holder: LockHolder, folder: Path) -> None:
    """Send SIGTERM, which a background process treats as Ctrl-C.

    Does nothing where the process has ended. ``folder`` is the one that it holds.
    InputError where that is not proved: a lock may come from elsewhere and name any
    process.
    """
    if holder.alive and not proved(holder, folder):
        raise InputError(
            f"process {holder.pid} is not seen to write {folder}, though its lock says"
            f" so, and is left alone: where nothing writes it, delete {folder / LOCK}"
        )
    try:
        os.kill(holder.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise InputError(
            f"process {holder.pid} writes {folder} and belongs to another user"
        ) from None


def ends_within(holder: LockHolder, seconds: float) -> bool:
    """Whether the process that holds a folder ends within so many seconds."""
    deadline = time.monotonic() + seconds
    while holder.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def cancel_capture(folder: Path, *, grace: float = _GRACE) -> None:
    """End the capture that writes a session, with all its workers.

    What is finished stays. Returns when all processes have ended. The supervisor is
    asked first (SIGTERM, which it treats as Ctrl-C); after ``grace`` seconds it and all
    below it are killed. Raises InputError where nothing runs, or it runs on another
    machine.
    """
    holder = read_lock(folder)
    if holder is None:
        raise InputError(f"session {folder}: no capture is running")
    if not holder.here:
        raise InputError(
            f"session {folder} is being written by process {holder.pid} on"
            f" {holder.host}: end it there"
        )
    ask_to_end(holder, folder)
    if not ends_within(holder, grace):
        _kill(holder)
    # Workers end with their supervisor, which also takes their pid files away: what is
    # left has a name there.
    end_leftovers(folder)
    if not ends_within(holder, 5.0):
        raise LogdriftError(f"process {holder.pid} does not end: end it by hand")


def _kill(holder: LockHolder) -> None:
    """Kill the supervisor, with its group where it leads one."""
    if process_start(holder.pid) != holder.started:
        return  # another process has its pid now
    if os.getsid(holder.pid) == holder.pid:
        kill_group(holder.pid, grace=0.0)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGKILL)
