"""One worker process as the supervisor sees it: started, told its job, listened to, and ended with all it started."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.capture.processes import kill_group
from core.capture.protocol import Channel, WorkerJob
from core.errors import InputError
from core.session.visible import visible

# A path and no import: the worker's modules, and the engines behind them, stay out of the supervisor's process.
LAUNCHER = Path(__file__).with_name("launch.py")
_LOG_TAIL = 12


class WorkerProcess:
    """A worker in a process session of its own. stdout and stderr go to ``log``, stdin is empty.

    Raises InputError where the interpreter cannot be started.
    """

    def __init__(self, python: Path, environment: Mapping[str, str], log: Path, job: WorkerJob) -> None:
        self.job = job
        self.log = log
        ours, theirs = socket.socketpair()
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "ab") as output:
                self.log_start = output.tell()
                self._process = subprocess.Popen(
                    [str(python), str(LAUNCHER), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise InputError(f"{python}: cannot be started: {error.strerror}") from None
        finally:
            theirs.close()
        self.channel = Channel(ours)
        with contextlib.suppress(ConnectionError):  # it died at once: the end of file that `receive` reads says so
            self.channel.send(job.to_json())

    @property
    def pid(self) -> int:
        return self._process.pid

    def receive(self) -> list[dict[str, Any]] | None:
        """Messages that have arrived; None once the worker has closed its side."""
        return self.channel.receive()

    def end(self, grace: float = 3.0) -> int:
        """End the worker and everything it started, and return its exit code. Safe to call twice."""
        kill_group(self.pid, grace)
        code = self._process.wait()
        self.channel.close()
        return code

    def wait(self, timeout: float) -> bool:
        """Whether the worker exits by itself within ``timeout`` seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def log_tail(self) -> str:
        """The last lines that this worker printed, made visible."""
        try:
            with open(self.log, "rb") as file:
                file.seek(self.log_start)
                lines = deque(file, maxlen=_LOG_TAIL)
        except OSError:
            return ""
        return "\n".join(visible(line.decode("utf-8", "replace").rstrip())[:300] for line in lines)


def run_alone(python: Path, environment: Mapping[str, str], log: Path, job: WorkerJob) -> list[dict[str, Any]]:
    """Run a worker to its end and return its messages. Whatever happens, nothing of it is left running."""
    worker = WorkerProcess(python, environment, log, job)
    try:
        return list(worker.channel.messages())
    finally:
        worker.wait(5.0)
        worker.end(grace=0.5)
