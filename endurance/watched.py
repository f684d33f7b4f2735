"""Asking logdrift something in a process of its own, forked from one that has all
modules imported, and seeing all that must not be: a traceback, a wait, memory, a file
outside, a program that is started.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError, unforeseen

SECONDS = 2.0
"""Of a core: what takes more hangs; what is whole and of this size takes a fraction."""
WAIT = 60.0
"""Seconds on the clock: what waits that long without working waits for ever, on however
busy a machine.
"""
_SLACK = 96 << 20
"""Bytes that a command takes for itself, beside what it reads."""
_SHOWN = 400
"""Characters of what was wrong."""

Question = Callable[[], int]
"""Does something, and returns an exit code or raises InputError."""
Data = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What came of a question; ``wrong`` is None where it answered as it must."""

    code: int | None
    out: str
    err: str
    wrong: str | None

    @property
    def refused(self) -> bool:
        return self.code == 2


@dataclass(frozen=True)
class Place:
    """Where a question may write: in ``writable`` alone. Nothing may be read in
    ``secret``, a folder outside. ``variables`` are set for the questions.
    """

    writable: tuple[Path, ...]
    secret: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    """Of a core, for each question, where `SECONDS` is too little."""


def answers(
    questions: Mapping[str, Question], place: Place, largest: int
) -> dict[str, Answer]:
    """Ask all in one new process. ``largest`` is the size of the largest file that they
    read. What is wrong with all of them stands under ``all``.
    """

    def ask_all() -> dict[str, Data]:
        watch = _watch(place)
        before = _memory()
        asked = {
            name: vars(_asked(ask, watch, place)) for name, ask in questions.items()
        }
        grown = _memory() - before
        if grown > 2 * largest + _SLACK:
            said = f"{grown >> 20} MiB for a file of {largest >> 20}"
            asked["all"] = vars(Answer(None, "", "", said))
        return asked

    data, status = _in_child(ask_all)
    if data is None:
        return {"all": Answer(None, "", "", f"ended by {status}")}
    return {name: Answer(**answer) for name, answer in data.items()}


def import_what_is_used(questions: Mapping[str, Question], place: Place) -> None:
    """Import here what the questions import late, so that each new process has it."""

    def modules() -> Data:
        os.environ.update(place.variables)
        for ask in questions.values():
            _asked(ask, [], place)
        return {"modules": sorted(sys.modules)}

    data, _ = _in_child(modules)
    assert data is not None
    for name in data["modules"]:
        if name not in sys.modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    # What is here by now stays: new processes need no copy of it to look for garbage.
    gc.collect()
    gc.freeze()


def answer_of_process(arguments: Sequence[str]) -> Answer:
    """Ask by a command line in a new process, as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "logdrift.cli.main", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WAIT,
        check=False,
    )
    out = done.stdout.decode(errors="replace")
    err = done.stderr.decode(errors="replace")
    return Answer(done.returncode, out, err, _badly_said(done.returncode, err))


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _in_child(work: Callable[[], Data]) -> tuple[Data | None, int]:
    """What ``work`` returns in a forked process, None where that ended before, and how
    it ended.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(work, writing)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    if status or not said:
        return None, status
    return json.loads(said), status


def _work(work: Callable[[], Data], writing: int) -> None:
    """Never returns: what follows belongs to the parent."""
    code = 1
    try:
        signal.signal(signal.SIGALRM, _ring)
        signal.signal(signal.SIGPROF, _ring)
        data = work()
        with open(writing, "wb") as file:
            file.write(json.dumps(data).encode())
        code = 0
    finally:
        os._exit(code)


class _Slow(BaseException):
    """Time is up. Not an Exception, which a command might take for its own."""


def _ring(number: int, frame: Any) -> None:
    raise _Slow


def _asked(question: Question, watch: list[str], place: Place) -> Answer:
    out = io.StringIO()
    err = io.StringIO()
    code: int | None = None
    wrong: str | None = None
    unforeseen.clear()
    watch.clear()
    with _limited(out, err, place.seconds or SECONDS) as warned:
        try:
            code = question()
        except InputError as error:
            code = 2
            err.write(f"logdrift: {error}\n")
        except _Slow:
            wrong = "hangs"
        except BaseException:
            wrong = traceback.format_exc(limit=-2)
    said = err.getvalue()
    problems = [wrong, *watch, *map(repr, unforeseen), *warned, _badly_said(code, said)]
    found = [problem for problem in problems if problem]
    first = found[0][-_SHOWN:] if found else None
    return Answer(code, out.getvalue(), said, first)


@contextlib.contextmanager
def _limited(out: io.StringIO, err: io.StringIO, seconds: float) -> Iterator[list[str]]:
    """Take what is printed, and ring when the time is up. Gives the warnings, once the
    block has ended.
    """
    said: list[str] = []
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("always")
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, WAIT)
        try:
            yield said
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
    for one in warned:
        if one.category is not ResourceWarning:
            said.append(f"Warning: {one.filename}:{one.lineno}: {one.message}")


def _badly_said(code: int | None, said: str) -> str | None:
    """What is wrong with the exit code, or with what was printed on stderr."""
    if "unexpected" in said or "Traceback" in said or "Warning" in said:
        return said.strip()
    if code in (None, 0, 1):
        return None
    lines = [line for line in said.splitlines() if line.startswith("logdrift: ")]
    is_last = said.rstrip("\n").splitlines()[-1:] == lines
    if code == 2 and len(lines) == 1 and is_last:
        return None
    return f"exit code {code}: {said!r}"


# ---- what Python itself is told of

_STARTS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
    "socket.connect",
    "socket.getaddrinfo",
    "pickle.find_class",
)
"""Audit events of what a file from elsewhere must never cause."""
_CHANGES = {
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.link": (1,),
    "os.chmod": (0,),
    "os.truncate": (0,),
    "os.utime": (0,),
}
"""Audit events, and which of their arguments is changed."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DEVICES = ("/dev/null", "/dev/tty")


def _watch(place: Place) -> list[str]:
    """A list that from now on receives whatever this process does outside of
    ``place``.
    """
    os.environ.update(place.variables)
    seen: list[str] = []
    writable = [os.path.realpath(folder) for folder in place.writable]
    secret = os.path.realpath(place.secret)

    def is_outside(path: str) -> bool:
        return path not in _DEVICES and not _below(path, writable)

    def hear(event: str, arguments: Sequence[Any]) -> None:
        if event in _STARTS:
            seen.append(f"{event} {arguments!r}")
        elif event == "open":
            path = _path(arguments[0])
            if path and _below(path, [secret]):
                seen.append(f"reads {path}")
            if path and arguments[2] & _WRITES and is_outside(path):
                seen.append(f"writes {path}")
        elif event in _CHANGES:
            for changed in _CHANGES[event]:
                path = _path(arguments[changed])
                if path and is_outside(path):
                    seen.append(f"{event} {path}")

    sys.addaudithook(hear)
    return seen


def _path(value: Any) -> str | None:
    """An absolute path, with the links of its folder followed; None for a descriptor,
    and for a name below one, which `logdrift.core.session.below` guards.
    """
    if not isinstance(value, str | bytes | os.PathLike):
        return None
    path = os.fsdecode(value)
    if not os.path.isabs(path):
        return None
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in folders)
