"""How a worker ends when it must: with everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal

from logdrift.core.processes import descendants


def end_everything() -> None:
    """Kill every process below this one, its process group, and itself."""
    for pid in descendants(os.getpid()):
        _kill(pid)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
