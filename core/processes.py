"""Finding and ending the processes of an engine, its descendants included.

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
import time
from pathlib import Path
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_KILLS = 40
"""How often a group is killed again, for what its members forked meanwhile."""
_KILL_SECONDS = 0.05
"""Between two looks whether a group has ended."""
_STATUS_FIELD = 49
"""Of ``/proc/PID/stat`` behind the name: the wait status of a zombie."""


class _Process(NamedTuple):
    """One line of the process table."""

    parent: int
    session: int
    state: str
    """A letter as in `proc(5)`: Z for a zombie, X for a dead process."""

    @property
    def alive(self) -> bool:
        return self.state not in "ZX"


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def ending(code: int) -> str:
    """How a process ended, in words, from its exit code as `subprocess` gives it."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def adopt_orphans() -> None:
    """Make orphaned descendants children of this process, so that they can be ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _process_table() -> dict[int, _Process]:
    """Every process by its pid; empty where there is no /proc."""
    table = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent, _, session, *_ = _stat_fields(entry)
            pid = int(entry.parent.name)
            table[pid] = _Process(int(parent), int(session), state)
    return table


def _stat_fields(stat: Path) -> list[str]:
    """The fields of ``/proc/PID/stat`` behind the name, which may hold anything."""
    return stat.read_text(errors="replace").rpartition(")")[2].split()


def descendants(pid: int) -> set[int]:
    """The pids of all live processes below ``pid``, zombies left out."""
    table = _process_table()
    children: dict[int, list[int]] = {}
    for child, process in table.items():
        children.setdefault(process.parent, []).append(child)
    below: set[int] = set()
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in below:
                below.add(child)
                todo.append(child)
    return {child for child in below if table[child].alive}


def failed_zombies(pid: int) -> set[int]:
    """Pids of processes below ``pid`` that failed and were not waited for yet.

    Failed means: ended by a signal or with an exit code other than 0.
    """
    table = _process_table()
    zombies = [child for child, process in table.items() if process.state == "Z"]
    return {
        zombie
        for zombie in zombies
        if _is_below(zombie, pid, table) and _exit_status(zombie)
    }


def _is_below(child: int, ancestor: int, table: dict[int, _Process]) -> bool:
    parent = table[child].parent
    while parent not in (0, ancestor):
        if parent not in table:
            return False
        parent = table[parent].parent
    return parent == ancestor


def _exit_status(pid: int) -> int:
    """Wait status of a zombie; 0 where it cannot be read."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(_stat_fields(Path(f"/proc/{pid}/stat"))[_STATUS_FIELD])
    return 0


def members(session: int) -> set[int]:
    """The pids of all live processes of a process session."""
    return {
        pid
        for pid, process in _process_table().items()
        if process.session == session and process.alive
    }


def name_of(pid: int) -> str:
    """Short name of a process, or its pid."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return str(pid)


def command_of(pid: int) -> str:
    """Command line of a process, words separated by spaces; empty if not readable."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode(errors="replace")
    return ""


def carries(pid: int, variable: str, value: str) -> bool:
    """Whether a process was started with ``variable=value`` in its environment.

    False where the environment cannot be read, or where an engine has overwritten its
    memory (setproctitle).
    """
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{variable}={value}".encode() in variables


def kill_group(leader: int, grace: float = 3.0) -> None:
    """End a worker's process group and everything below it.

    Sends SIGTERM, waits up to ``grace`` seconds, then sends SIGKILL. ``leader`` must
    be a session leader that we started; its descendants are ended even where they have
    left the group.
    """
    below = descendants(leader)
    _signal_all(leader, below, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline:
        if not members(leader) and not _alive(below):
            break
        with contextlib.suppress(ChildProcessError):
            os.waitpid(leader, os.WNOHANG)
        time.sleep(_KILL_SECONDS)
    for _ in range(_KILLS):
        left = members(leader) | _alive(below) | descendants(leader)
        if not left:
            return
        _signal_all(leader, left, signal.SIGKILL)
        time.sleep(_KILL_SECONDS)


def _alive(pids: set[int]) -> set[int]:
    table = _process_table()
    return {pid for pid in pids & table.keys() if table[pid].alive}


def _signal_all(leader: int, pids: set[int], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
