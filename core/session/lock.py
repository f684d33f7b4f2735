"""One writer at a time: the lock file of a session, and how a stale one is recognised.

No lock server and no flock, so that it works on NFS: the file is created exclusively
and names host, pid and the start time of that process (a pid alone is reused). A holder
on another host cannot be checked and counts as alive.

Whoever holds a lock keeps its file open. That is what proves to others that a process
is the holder: what the file says may have come from elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import NamedTuple

from logdrift.core.errors import CannotWrite, InputError, LogdriftError
from logdrift.core.session.below import (
    folder_at,
    give_name,
    temporary_name,
    write_new,
)
from logdrift.core.session.files import SMALL_BYTES, read_json
from logdrift.core.session.layout import LOCK
from logdrift.core.session.schema import Unfit, fields, number, text, whole

_LONGEST = 4096
"""Bytes of a lock file."""
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LOCK_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_START_TIME = 18
"""Place of a process's start time among the numbers behind its state, in
``/proc/PID/stat``.
"""
_kept_open: dict[str, int] = {}
"""Token of each lock that this process holds -> descriptor of its file."""


class Gone(LogdriftError):
    """The folder is no longer the one that was locked: it was renamed, replaced or
    deleted meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"session {folder} was renamed, replaced or deleted while it was being"
            " written: nothing more is written there; where it was renamed, go on with"
            " logdrift capture --resume --out and its new name"
        )


class BeingWritten(InputError):
    """Another process writes the session."""


class LockHolder(NamedTuple):
    """The process that writes a session. ``token`` is its own, so that two holders with
    one pid are not one.
    """

    host: str
    pid: int
    started: int
    token: str
    since: float

    @property
    def here(self) -> bool:
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether the holder still runs. Only known for this host; elsewhere it is
        taken to run.
        """
        if not self.here:
            return True
        return process_start(self.pid) == self.started


_holder = fields(
    {"host": text, "pid": whole(), "started": whole(), "token": text, "since": number},
    required=frozenset(LockHolder._fields),
)


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, None if there is none (a
    zombie counts as none).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _probe(pid)
    # A program's name may hold blanks and brackets: its closing one is the last.
    _, _, behind_name = text.rpartition(")")
    state, *numbers = behind_name.split()
    if state in "ZX":
        return None
    return int(numbers[_START_TIME])


def _probe(pid: int) -> int | None:
    # Systems without /proc: the pid alone must do.
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0


def _read(file: Path) -> LockHolder | None:
    try:
        data = read_json(file, SMALL_BYTES)
        return LockHolder(**_holder(data))
    except FileNotFoundError:
        return None
    except (OSError, InputError, Unfit):
        # Damaged: it names no process, so no process holds it.
        return LockHolder(
            host=socket.gethostname(), pid=-1, started=-1, token="", since=0.0
        )


def read_lock(folder: Path) -> LockHolder | None:
    """The live holder of a session; None where no process writes it."""
    holder = _read(folder / LOCK)
    if holder is not None and holder.alive:
        return holder
    return None


def acquire(folder: Path, token: str) -> LockHolder | None:
    """Take the lock, replacing a stale one, whose holder is returned so that its
    leftovers can be ended.

    Raises `BeingWritten` naming the live holder.
    """
    stale = _read(folder / LOCK)
    if stale is not None:
        if stale.alive:
            raise _being_written(folder, stale)
        _bury(folder, stale)
    mine = _this_process(token)
    data = json.dumps(mine._asdict())
    try:
        with folder_at(folder) as at:
            descriptor = _put(at, data.encode())
            _kept_open[token] = descriptor
    except FileExistsError:
        reason = f"session {folder} was just taken by another process"
        raise BeingWritten(reason, remedy="wait for it") from None
    except OSError as error:
        raise CannotWrite(f"cannot write in {folder}: {error.strerror}") from None
    return stale


def _this_process(token: str) -> LockHolder:
    pid = os.getpid()
    return LockHolder(
        host=socket.gethostname(),
        pid=pid,
        started=process_start(pid) or 0,
        token=token,
        since=time.time(),
    )


def refuse_written(folder: Path) -> None:
    """Raise BeingWritten where a live process writes the folder now."""
    holder = read_lock(folder)
    if holder is not None:
        raise _being_written(folder, holder)


def _being_written(folder: Path, holder: LockHolder) -> BeingWritten:
    process = f"process {holder.pid}"
    remedy = "wait for it or end it"
    if not holder.here:
        process += f" on {holder.host}"
        remedy += f"; if it is gone, delete {folder / LOCK}"
    reason = f"session {folder} is being written by {process}"
    return BeingWritten(reason, remedy=remedy)


def _put(at: int, data: bytes) -> int:
    """Make the lock file in a folder, whole from the first moment; its descriptor.
    Raises FileExistsError.
    """
    temporary = temporary_name(LOCK)
    try:
        # Filled before it appears under its name, which an existing one refuses: no
        # process ever sees half a lock.
        write_new(at, temporary, data)
        descriptor = os.open(temporary, _LOCK_FLAGS, dir_fd=at)
        try:
            give_name(at, temporary, LOCK)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=at)


def _bury(folder: Path, stale: LockHolder) -> None:
    """Remove a stale lock. Raises InputError where another process was faster.

    Of two processes that found the stale lock, the slower one may have moved away the
    new lock of the faster one: it puts that lock back.
    """
    grave = folder / temporary_name(LOCK)
    try:
        (folder / LOCK).rename(grave)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotWrite(f"cannot write in {folder}: {error.strerror}") from None
    buried = _read(grave)
    taken = False
    if buried is not None and buried != stale:
        taken = buried.alive
    if taken:
        with contextlib.suppress(OSError, InputError), folder_at(folder) as at:
            give_name(at, grave.name, LOCK)
    with contextlib.suppress(OSError):
        grave.unlink(missing_ok=True)
    if taken:
        raise InputError(
            f"session {folder} was just taken by another process: wait for it"
        )


def check_held(at: int, folder: Path, token: str) -> None:
    """Raise `Gone` where the folder with the descriptor ``at`` does not hold the lock
    with this token.

    What is written to ``at`` afterwards reaches this folder, even if it was renamed.
    """
    try:
        file = os.open(LOCK, _READ_FLAGS, dir_fd=at)
    except OSError:
        raise Gone(folder) from None
    with open(file, "rb") as lock:
        data = lock.read(_LONGEST)
    try:
        holder = json.loads(data)["token"]
    except (ValueError, KeyError, TypeError, RecursionError):
        holder = None
    if holder != token:
        raise Gone(folder)


def check_folder_held(folder: Path, token: str) -> None:
    """`check_held` of the folder that has this name now."""
    try:
        with folder_at(folder) as at:
            check_held(at, folder, token)
    except OSError:
        raise Gone(folder) from None


def proved(holder: LockHolder, folder: Path) -> bool:
    """Whether the process that a lock names is its holder: it has this very file open.
    False where the system cannot tell.
    """
    try:
        path = folder / LOCK
        lock = path.lstat()
        descriptors = os.listdir(f"/proc/{holder.pid}/fd")
    except OSError:
        return False
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            file = os.stat(f"/proc/{holder.pid}/fd/{descriptor}")
            if os.path.samestat(file, lock):
                return process_start(holder.pid) == holder.started
    return False


def release(folder: Path) -> None:
    """Give the lock back, if it is ours."""
    holder = _read(folder / LOCK)
    if holder is not None and holder.token in _kept_open:
        path = folder / LOCK
        path.unlink(missing_ok=True)
        descriptor = _kept_open.pop(holder.token)
        os.close(descriptor)
