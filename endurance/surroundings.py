"""Where something is killed: its own temporary folder and a mark in its environment, so
that all that it leaves behind is seen.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
import uuid
from pathlib import Path

from logdrift.core.processes import (
    adopt_orphans,
    carries,
    command_of,
    descendants,
)

_MARK = "LOGDRIFT_ENDURANCE"
_SETTLE = 15.0
"""Seconds that processes have to end. Workers end with their supervisor; an engine with
its tensors takes some seconds to be taken down.
"""
_LOOK = 0.02
_SHARED = Path("/dev/shm")
_CLONE_NEWNS = 0x20000


class Surroundings:
    """``folder`` becomes the temporary folder of all that is started with `variables`.

    Orphans become children of this process, so that whatever outlives those who started
    it is seen, also where it has overwritten its environment.
    """

    def __init__(self, folder: Path) -> None:
        adopt_orphans()
        # What is started a thousand times is compiled once.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self.has_own_memory = _own_shared_memory()
        folder.mkdir()
        self.temporary = folder
        self._mark = uuid.uuid4().hex
        self._others = descendants(os.getpid())
        self._shared = _shared_names()

    @property
    def variables(self) -> dict[str, str]:
        return {"TMPDIR": str(self.temporary), _MARK: self._mark}

    def left(self) -> list[str]:
        """What is left behind, a line each, once there was time to end."""
        return [*self._processes(), *self._files(), *self._memory()]

    def running(self) -> list[str]:
        """The processes alone: what a killed process leaves on the disk goes later."""
        return self._processes()

    def _processes(self) -> list[str]:
        deadline = time.monotonic() + _SETTLE
        while left := self._alive():
            reap()
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK)
        reap()
        return [f"process {command_of(pid)}" for pid in left]

    def _alive(self) -> set[int]:
        below = descendants(os.getpid()) - self._others
        return below | self._marked()

    def _marked(self) -> set[int]:
        """Processes with our mark, whoever is their parent."""
        pids = {int(path.name) for path in Path("/proc").glob("[0-9]*")}
        pids.discard(os.getpid())
        return {pid for pid in pids if carries(pid, _MARK, self._mark)}

    def _files(self) -> list[str]:
        places = sorted(self.temporary.rglob("*"))
        names = [place.relative_to(self.temporary) for place in places]
        return [f"temporary file {name}" for name in names]

    def _memory(self) -> list[str]:
        if not self.has_own_memory:
            return []
        new = _shared_names() - self._shared
        return [f"shared memory {name}" for name in sorted(new)]


def _shared_names() -> set[str]:
    with contextlib.suppress(OSError):
        return set(os.listdir(_SHARED))
    return set()


def _own_shared_memory() -> bool:
    """Give this process and its children a /dev/shm of their own, where the system
    allows it (to root): what other programs make in that of all would look as if it was
    left behind.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        return False
    private = ["mount", "--make-rprivate", "/"]
    memory = ["mount", "-t", "tmpfs", "none", str(_SHARED)]
    results = [subprocess.run(argv, check=False) for argv in (private, memory)]
    return not any(result.returncode for result in results)


def reap() -> None:
    """Wait for adopted processes that have ended. Call it where no process of
    `subprocess` is waited for.
    """
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
