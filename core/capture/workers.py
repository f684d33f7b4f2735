"""One worker process as the supervisor sees it, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import subprocess
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from logdrift.core.credentials import credentials_in, secret_values
from logdrift.core.errors import InputError
from logdrift.core.processes import carries, kill_group, members
from logdrift.core.protocol import Channel, Job, job_message
from logdrift.core.session import below
from logdrift.core.session.layout import LOGS
from logdrift.core.session.lock import check_held, process_start
from logdrift.core.session.visible import visible

# A path, not an import: the supervisor's process must not import engines.
WORKER_SCRIPT = Path(__file__).parents[1] / "worker" / "launch.py"
_LOG_TAIL = 12
"""Lines of a log that a failure quotes."""
_LONGEST_LINE = 300
_MARK = "LOGDRIFT_WORKER"
"""Variable with a random number that a worker and all that it starts inherit.

It proves that a process is the one of a pid file, whatever else that file says.
"""
_LONGEST_NOTE = 100
_FIRST_LINES = 1 << 20
"""Bytes of a log in which credentials of unknown value are looked for."""
_PID_FILE = re.compile(r"(\d{1,10}) (\d{1,20}) ([0-9a-f]{32})")


class WorkerProcess:
    """A worker in a process session of its own.

    stdout and stderr go to the file ``log`` below ``folder``, stdin is empty. Raises
    InputError where the interpreter cannot be started, or the log is a link.
    """

    def __init__(
        self,
        python: Path,
        environment: Mapping[str, str],
        folder: Path,
        log: str,
        job: Job,
    ) -> None:
        self.job = job
        self.log = folder / log
        self._where = folder, log
        random_bytes = os.urandom(16)
        self.mark = random_bytes.hex()
        variables = dict(os.environ)
        variables["PYTHONUNBUFFERED"] = "1"
        variables.update(environment)
        self._secrets = secret_values(variables)
        variables[_MARK] = self.mark
        ours, theirs = socket.socketpair()
        try:
            with open(below.append(folder, log), "ab") as output:
                self.log_start = output.tell()
                self._process = _launch(python, variables, theirs, output)
        except OSError as error:
            ours.close()
            raise InputError(f"{python}: cannot be started: {error.strerror}") from None
        finally:
            theirs.close()
        self.channel = Channel(ours)
        # Where the worker died at once, `receive` reads the end of file.
        with contextlib.suppress(ConnectionError):
            self.channel.send(job_message(job))

    @property
    def pid(self) -> int:
        return self._process.pid

    def receive(self) -> list[dict[str, Any]] | None:
        """Messages that have arrived; None once the worker has closed its side."""
        return self.channel.receive()

    def end(self, grace: float = 3.0) -> int:
        """End the worker and everything it started, and return its exit code.

        May be called twice.
        """
        kill_group(self.pid, grace)
        code = self._process.wait()
        self.channel.close()
        self._hide_credentials()
        return code

    def _hide_credentials(self) -> None:
        """Overwrite credentials in the worker's log with stars, once it has ended.

        Those are values of the environment anywhere, and URLs with passwords and the
        like in the first lines, where engines print their arguments.
        """
        with contextlib.suppress(OSError, InputError):
            log = below.open_below(*self._where, os.O_RDWR)
            with open(log, "r+b") as file:
                file.seek(self.log_start)
                printed = file.read()
                spans = credentials_in(printed, self._secrets, _FIRST_LINES)
                for start, length in spans:
                    stars = b"*" * length
                    place = self.log_start + start
                    os.pwrite(log, stars, place)

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
            log = below.open_below(*self._where, os.O_RDONLY)
            with open(log, "rb") as file:
                file.seek(self.log_start)
                lines = deque(file, maxlen=_LOG_TAIL)
        except (OSError, InputError):
            return ""
        tail = []
        for line in lines:
            text = line.decode("utf-8", "replace")
            printable = visible(text.rstrip())
            tail.append(printable[:_LONGEST_LINE])
        return "\n".join(tail)


def _launch(
    python: Path,
    variables: Mapping[str, str],
    channel: socket.socket,
    output: BinaryIO,
) -> subprocess.Popen[bytes]:
    """Start the launcher with its side of the channel, printing to ``output``."""
    channel_number = channel.fileno()
    return subprocess.Popen(
        [str(python), str(WORKER_SCRIPT), str(channel_number)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=variables,
        pass_fds=(channel_number,),
        start_new_session=True,
    )


def run_alone(
    python: Path, environment: Mapping[str, str], log: Path, job: Job
) -> list[dict[str, Any]]:
    """Run a worker to its end and return its messages; nothing is left running."""
    worker = WorkerProcess(python, environment, log.parent, log.name, job)
    try:
        return list(worker.channel.messages())
    finally:
        worker.wait(5.0)
        worker.end(grace=0.5)


def remember_worker(folder: Path, name: str, worker: WorkerProcess, token: str) -> None:
    """Write down which process captures for a backend.

    With this pid file, a worker that a killed supervisor leaves can be found and ended.
    ``token`` is that of the session's lock; `Gone` where the folder does not hold it
    any more.
    """
    started = process_start(worker.pid)
    note = f"{worker.pid} {started} {worker.mark}"
    with contextlib.suppress(OSError), below.folder_at(folder) as at:
        check_held(at, folder, token)
        below.replace_file(at, _pid_file(name), note.encode())


def forget_worker(folder: Path, name: str, token: str) -> None:
    """Remove the pid file. `Gone` where the folder does not hold the lock any more."""
    with contextlib.suppress(OSError), below.folder_at(folder) as at:
        check_held(at, folder, token)
        _unlink(at, _pid_file(name))


def end_leftovers(folder: Path) -> None:
    """End workers of a supervisor that was killed.

    They end by themselves once it is gone, but this does not rely on it. Only processes
    with the number that we started them with are ended: a pid file may come from
    elsewhere, or be stale.
    """
    with contextlib.suppress(OSError), below.folder_at(folder, LOGS) as logs:
        for name in os.listdir(logs):
            if name.endswith(".pid"):
                _end_leftover(logs, name)
                _unlink(logs, name)


def _end_leftover(logs: int, name: str) -> None:
    text = _small_text(logs, name)
    match = _PID_FILE.fullmatch(text.strip())
    if match is None:
        return
    pid = int(match[1])
    started = int(match[2])
    mark = match[3]
    for suspect in _suspects(pid, started):
        if carries(suspect, _MARK, mark):
            kill_group(pid, grace=0.0)
            return


def _suspects(pid: int, started: int) -> set[int]:
    """The pid of the worker, or those of its process session once it is gone."""
    now = process_start(pid)
    if now is None:
        return members(pid)
    if now != started:
        return set()  # another process has its pid now
    return {pid}


def _small_text(folder: int, name: str) -> str:
    """A short text in an open folder; empty where the name is a link, a pipe or a
    device.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK  # a pipe must not make us wait
    try:
        number = below.open_below(folder, name, flags)
    except (OSError, InputError):
        return ""
    with open(number, "rb") as file:
        mode = os.fstat(number).st_mode
        if not stat.S_ISREG(mode):
            return ""
        note = file.read(_LONGEST_NOTE)
    return note.decode("ascii", "replace")


def _unlink(at: int, file: str) -> None:
    path = Path(file)
    parent = str(path.parent)
    with contextlib.suppress(OSError, InputError), below.folder_at(at, parent) as where:
        os.unlink(path.name, dir_fd=where)


def _pid_file(name: str) -> str:
    return f"{LOGS}/{name}.pid"
