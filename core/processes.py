"""Finding and ending the processes of an engine, which may have children and
grandchildren of their own.

A worker is the leader of its own session and process group, so a group kill reaches all
that it started, except processes that started a session of their own: those are found
by walking parents, for which the supervisor adopts orphans (a "subreaper") where the
system allows it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


@contextlib.contextmanager
def cancellable() -> Iterator[None]:
    """SIGTERM and SIGHUP as the KeyboardInterrupt that Ctrl-C raises, so that every way
    out is the same one.

    Only the main thread may set handlers: elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # What is ignored stays so: nohup means that the end of the terminal is not to end
    # this.
    heard = [
        n
        for n in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(n) is not signal.SIG_IGN
    ]
    old = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def ending(code: int) -> str:
    """How a process with this exit code of `subprocess` came to its end, in words."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def adopt_orphans() -> None:
    """Make orphaned descendants ours instead of init's, so that they can be found and
    ended.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _stat() -> dict[int, tuple[int, int, str]]:
    """pid -> (parent, session, state) of every process; empty where there is no
    /proc.
    """
    out = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            out[int(entry.parent.name)] = (int(fields[1]), int(fields[3]), fields[0])
    return out


def descendants(pid: int) -> set[int]:
    """All live processes below ``pid``, zombies left out."""
    table = _stat()
    children: dict[int, list[int]] = {}
    for child, (parent, _, _) in table.items():
        children.setdefault(parent, []).append(child)
    found: set[int] = set()
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return {p for p in found if table[p][2] not in "ZX"}


def failed_zombies(pid: int) -> set[int]:
    """Processes below ``pid`` that ended by a signal or with an error and that were not
    waited for yet.
    """
    failed = set()
    for child, (parent, _, state) in (table := _stat()).items():
        # A zombie has no children, so its line of parents is all that is needed to
        # place it.
        while state == "Z" and parent not in (0, pid):
            parent = table.get(parent, (0, 0, ""))[0]
        if state == "Z" and parent == pid and _exit_status(child):
            failed.add(child)
    return failed


def _exit_status(pid: int) -> int:
    """Wait status of a zombie; 0 where it cannot be seen."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(
            Path(f"/proc/{pid}/stat")
            .read_text(errors="replace")
            .rpartition(")")[2]
            .split()[49]
        )
    return 0


def members(session: int) -> set[int]:
    """All live processes of a process session."""
    return {
        pid
        for pid, (_, sid, state) in _stat().items()
        if sid == session and state not in "ZX"
    }


def name_of(pid: int) -> str:
    """Short name of a process, or its pid."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return str(pid)


def command_of(pid: int) -> str:
    """Command line of a process, its words apart by spaces; empty where there is none
    to see.
    """
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")
        )
    return ""


def carries(pid: int, variable: str, value: str) -> bool:
    """Whether a process was started with ``variable=value`` in its environment; False
    where that cannot be seen.

    An engine that overwrites the memory of its environment (setproctitle) is not seen
    to carry it any more.
    """
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{variable}={value}".encode() in variables


def kill_group(leader: int, grace: float = 3.0) -> None:
    """End a worker's whole process group and everything below it: SIGTERM, ``grace``
    seconds, then SIGKILL.

    ``leader`` must be a session leader that we started; its own descendants are ended
    also where they left the group.
    """
    strays = descendants(leader)
    _signal_all(leader, strays, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and (members(leader) | (strays & _alive(strays))):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(leader, os.WNOHANG)
        time.sleep(0.05)
    for _ in range(40):
        left = members(leader) | _alive(strays) | descendants(leader)
        if not left:
            return
        _signal_all(leader, left, signal.SIGKILL)
        time.sleep(0.05)


def _alive(pids: set[int]) -> set[int]:
    table = _stat()
    return {pid for pid in pids if pid in table and table[pid][2] not in "ZX"}


def _signal_all(leader: int, pids: set[int], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
