"""One writer at a time: a lock file that says who holds it, and how a stale one is recognised.

No lock server and no flock, so that it works on NFS: the file is created exclusively and names host, pid and
the start time of that process (a pid alone is reused). A holder on another host cannot be checked and counts as alive.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import NamedTuple

from core.errors import InputError, LogdriftError
from core.session.files import SMALL_BYTES, read_json
from core.session.layout import LOCK
from core.session.schema import Unfit, fields, number, text, whole


class LockHolder(NamedTuple):
    """The process that writes a session. ``token`` is its own, so that two holders with one pid are not one."""

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
        """Whether the holder still runs. Only known for this host; elsewhere it is taken to run."""
        return not self.here or process_start(self.pid) == self.started


_holder = fields(
    {"host": text, "pid": whole(), "started": whole(), "token": text, "since": number}, frozenset(LockHolder._fields)
)


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, None if there is none (a zombie counts as none)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _probe(pid)
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


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
        return LockHolder(**_holder(read_json(file, SMALL_BYTES)))
    except FileNotFoundError:
        return None
    except (OSError, InputError, Unfit):
        # Damaged: it names nobody, so nobody holds it.
        return LockHolder(socket.gethostname(), -1, -1, "", 0.0)


def read_lock(folder: Path) -> LockHolder | None:
    """The live holder of a session, None if nobody writes it."""
    holder = _read(folder / LOCK)
    return holder if holder is not None and holder.alive else None


def acquire(folder: Path, token: str) -> LockHolder | None:
    """Take the lock, replacing a stale one, whose holder is returned so that its leftovers can be ended.

    Raises InputError naming the live holder.
    """
    stale = _read(folder / LOCK)
    if stale is not None:
        if stale.alive:
            where = f"process {stale.pid}" + ("" if stale.here else f" on {stale.host}")
            raise InputError(
                f"session {folder} is being written by {where}: wait for it or end it"
                + ("" if stale.here else f"; if it is gone, delete {folder / LOCK}")
            )
        _bury(folder, stale)
    mine = LockHolder(socket.gethostname(), os.getpid(), process_start(os.getpid()) or 0, token, time.time())
    temporary = folder / f".{LOCK}.{os.getpid()}.tmp"
    try:
        # Filled before it appears under its name, and link() refuses an existing one: nobody sees half a lock.
        temporary.write_text(json.dumps(mine._asdict()))
        os.link(temporary, folder / LOCK)
    except FileExistsError:
        raise InputError(f"session {folder} was just taken by another process: wait for it") from None
    except OSError as error:
        raise LogdriftError(f"cannot write in {folder}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return stale


def _bury(folder: Path, stale: LockHolder) -> None:
    """Take a stale lock away. Of two that found it only one gets it: the other may hold the first one's new lock in its
    hands, and puts it back. Raises InputError for that one."""
    grave = folder / f".{LOCK}.{os.getpid()}.stale"
    try:
        (folder / LOCK).rename(grave)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LogdriftError(f"cannot write in {folder}: {error.strerror}") from None
    found = _read(grave)
    taken = found != stale and found is not None and found.alive
    if taken:
        with contextlib.suppress(OSError):
            os.link(grave, folder / LOCK)
    with contextlib.suppress(OSError):
        grave.unlink(missing_ok=True)
    if taken:
        raise InputError(f"session {folder} was just taken by another process: wait for it")


def release(folder: Path) -> None:
    """Give the lock back, if it is ours."""
    holder = _read(folder / LOCK)
    if holder is not None and holder.here and holder.pid == os.getpid():
        (folder / LOCK).unlink(missing_ok=True)
