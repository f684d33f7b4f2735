"""A process that writes a session, as the supervisor does: it holds the lock and has a
worker of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_HOLDER = """
import signal, subprocess, sys, time
from pathlib import Path
from logdrift.core.session import lock
folder = Path(sys.argv[1])
stubborn = sys.argv[2] == "stubborn"
signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda number, frame: sys.exit(130))
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
lock.acquire(folder, "token")
try:
    print(worker.pid, flush=True)
    while True:
        time.sleep(600)
finally:
    worker.kill()
    worker.wait()
    lock.release(folder)
"""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process and the pid of its worker."""

    process: subprocess.Popen[bytes]
    worker: int


@contextmanager
def held(folder: Path, *, stubborn: bool = False) -> Iterator[Holder]:
    """Hold a session in another process; ``stubborn``: one that does not listen to
    SIGTERM.
    """
    argv = [
        sys.executable,
        "-c",
        _HOLDER,
        str(folder),
        "stubborn" if stubborn else "polite",
    ]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    try:
        yield Holder(process, worker)
    finally:
        from logdrift.core.processes import kill_group

        if process.poll() is None:
            kill_group(process.pid, grace=0.0)
        process.wait()
        process.stdout.close()
        _end(worker)


def _end(worker: int) -> None:
    """End the worker where whoever ended the holder has left it; this process may have
    inherited it.
    """
    with contextlib.suppress(OSError):
        if b"time.sleep(600)" not in Path(f"/proc/{worker}/cmdline").read_bytes():
            return
        os.kill(worker, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(worker, 0)
