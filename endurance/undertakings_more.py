"""More of what can be killed: a recorder, experiments, an environment in the making,
and a screen.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from endurance.held import (
    Digests,
    Lost,
    check_complete,
    check_opens,
    digests,
    left_beside,
)
from endurance.strikes import BACKGROUND, TOP, WORKER
from endurance.undertakings import (
    OUT,
    PATIENCE,
    Resume,
    Undertaking,
    World,
    ended,
    file_of,
    said,
    started,
)
from logdrift.core.session.layout import MANIFEST
from logdrift.core.session.lock import read_lock
from logdrift.core.session.reader import open_session

_SHOWN = b"goes on with"
"""What is drawn once the list shows its session."""
_STEPS = 30
_ROWS = 4
_PROGRAM = f"""
import sys
import logdrift
from endurance.undertakings_more import recorded_step

with logdrift.record(sys.argv[1], part_tokens=80) as recorder:
    for step in range({_STEPS}):
        recorder.add(**recorded_step(step), step=step)
"""


def recorded_step(step: int) -> dict[str, Any]:
    """What a training saw in a step: rows that tell their step by their first id."""
    chance = np.random.default_rng(step)
    trainer = chance.normal(-2, 0.3, (_ROWS, 8)).astype(np.float32)
    ids = chance.integers(0, 100, (_ROWS, 8))
    prompts = [[step, row] for row in range(_ROWS)]
    sides = {"trainer": trainer, "rollout": trainer - np.float32(0.25)}
    return {"prompt_ids": prompts, "completion_ids": ids, "logprobs": sides}


class Recording(Undertaking):
    """A training records each of its steps. One that was killed is begun anew, and its
    session then has what both have written.
    """

    name = "record"

    def begin(self, place: Path) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", _PROGRAM, str(place / OUT)]
        return started(argv, self.world.variables(), place)

    def finish(self, place: Path) -> None:
        """The next day: what lies there half written is nobody's any more."""
        for path in place.rglob(".*.tmp"):
            os.utime(path, (0, 0))
        super().finish(place)

    def check_said(self, place: Path) -> None:
        """The training is somebody's own program: Python tells how it was ended."""

    def check(self, place: Path) -> None:
        if not (place / OUT / MANIFEST).exists():
            return
        digests(place / OUT)
        _recorded_rows(place / OUT)

    def compare(self, place: Path) -> None:
        digests(place / OUT)
        rows = _recorded_rows(place / OUT)
        wanted = {(step, row) for step in range(_STEPS) for row in range(_ROWS)}
        if rows != wanted:
            raise Lost(f"rows are missing: {sorted(wanted - rows)}")
        left = left_beside(place / OUT)
        if left:
            raise Lost(f"left behind: {left}")

    def phase(self, place: Path) -> str:
        if not (place / OUT / MANIFEST).exists():
            return "before the first event"
        return "recording"


def _recorded_rows(folder: Path) -> set[tuple[int, int]]:
    """Step and row of each recorded sequence. Raises `Lost` where its numbers are not
    those that were recorded.
    """
    session = open_session(folder)
    if not session.captures:
        return set()
    trainer = session.capture("trainer/recorded")
    rows = set()
    for index in range(len(session.sequences)):
        ids = session.sequences.ids(index)
        step, row = int(ids[0]), int(ids[1])
        start, stop = session.sequences.bounds(index)
        kept = trainer.logprob.rows(start, stop)[2:]
        given = recorded_step(step)["logprobs"]["trainer"][row]
        if not np.array_equal(kept, given):
            raise Lost(f"step {step}, row {row} has other numbers")
        rows.add((step, row))
    return rows


class Experiment(Undertaking):
    """An experiment is run in the finished session ``whole``."""

    name = "why --run"
    targets = (TOP, WORKER)
    before: Digests
    found: dict[str, Digests]

    def __init__(self, world: World, whole: Path) -> None:
        super().__init__(world)
        self.whole = whole

    def lay_out(self, place: Path) -> None:
        shutil.copytree(self.whole, place / OUT)
        self.before = digests(place / OUT)

    def arguments(self, place: Path) -> Sequence[object]:
        which = ("--only", "batch", "--budget", "1h", *self.confirmation)
        return ("why", place / OUT, "--run", *which)

    def events(self, place: Path) -> Path:
        return place / OUT / "why" / "experiments" / "events.jsonl"

    def keep(self, place: Path) -> None:
        self.found = {
            folder.name: digests(folder) for folder in self._experiments(place)
        }

    def check(self, place: Path) -> None:
        check_opens(place / OUT, self.before)
        for folder in self._experiments(place):
            if (folder / MANIFEST).exists():
                check_opens(folder, self.found[folder.name])

    def compare(self, place: Path) -> None:
        check_complete(place / OUT, self.before)
        names = {folder.name for folder in self._experiments(place)}
        if names != set(self.found):
            raise Lost(f"experiments are {names}, not {set(self.found)}")
        for folder in self._experiments(place):
            check_complete(folder, self.found[folder.name])

    def _experiments(self, place: Path) -> list[Path]:
        folder = place / OUT / "why" / "experiments"
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if path.is_dir())


class Environment(Undertaking):
    """The environment of the toy engine is made: a venv, pip, a wheel, a probe."""

    name = "env create"
    targets = (TOP, WORKER)

    def arguments(self, place: Path) -> Sequence[object]:
        return ("env", "create", "toy", "--dir", place / OUT)

    def variables(self, place: Path) -> dict[str, str]:
        """With a cache of its own: other undertakings keep their interpreter."""
        return {**super().variables(place), "LOGDRIFT_CACHE": str(place / "cache")}

    def compare(self, place: Path) -> None:
        code = ended(self.begin(place), place)
        if code != 0 or "making" in said(place):
            raise Lost(f"the environment is not finished: {said(place)}")
        python = place / OUT / "toy" / "bin" / "python"
        probe = [str(python), "-c", "import toy_library, toy_more.part_299"]
        if subprocess.run(probe, check=False).returncode != 0:
            raise Lost("a package is not whole")
        left = [path.name for path in (place / OUT).iterdir()]
        left += [path.name for path in (place / OUT / "toy").glob(".*")]
        if set(left) != {"toy", "toy.log", ".toy.lock"}:
            raise Lost(f"left behind: {left}")

    def phase(self, place: Path) -> str:
        log = place / OUT / "toy.log"
        if not log.exists():
            return "before the first event"
        lines = log.read_text("utf-8", "replace").splitlines()
        begun = [line for line in lines if line.startswith("$ ")]
        for words in ("pip install", "ensurepip", "venv"):
            if begun and words in begun[-1]:
                return f"in {words}"
        return "before the first event"


class Screen(Resume):
    """The list of sessions, on a terminal, has a session go on in the background. What
    was started so goes on when the screen is gone.
    """

    name = "screen"
    targets = (TOP, BACKGROUND, WORKER)
    _RESUME = b"\x1b[15~"

    def begin(self, place: Path) -> subprocess.Popen[bytes]:
        argv = self.world.command("--sessions", place)

        def is_busy() -> bool:
            return read_lock(place / OUT) is not None

        return OnTerminal(argv, self.variables(place), place, self._RESUME, is_busy)

    def finish(self, place: Path) -> None:
        """Without a screen: it was there to be killed."""
        self.settle(place)
        argv = self.world.command(*self.arguments(place))
        code = ended(started(argv, self.world.variables(), place), place)
        if code != 0:
            raise Lost(f"it ended with {code}: {said(place)}")

    def settle(self, place: Path) -> None:
        deadline = time.monotonic() + PATIENCE
        while read_lock(place / OUT) is not None:
            if time.monotonic() > deadline:
                raise Lost("the capture in the background does not end")
            time.sleep(0.05)


class OnTerminal(subprocess.Popen[bytes]):
    """A program on a terminal of its own. What it draws is read away. Once it shows a
    session, ``keys`` are typed; when nothing ``is_busy`` for a while, it is asked to
    quit.
    """

    _QUIT = b"\x11"
    _WHILE = 5.0
    """Seconds. What was started may take as long before it is seen to be busy."""
    _LOOK = 0.1

    def __init__(
        self,
        argv: Sequence[str],
        variables: dict[str, str],
        place: Path,
        keys: bytes,
        is_busy: Callable[[], bool],
    ) -> None:
        self._keys = keys
        self._is_busy = is_busy
        self._ours, theirs = os.openpty()
        file_of(place).write_bytes(b"")
        super().__init__(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**variables, "TERM": "xterm-256color"},
            cwd=place,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        self._thread = threading.Thread(target=self._use, daemon=True)
        self._thread.start()

    def _use(self) -> None:
        drawn = b""
        last_busy = time.monotonic()
        while (data := self._read()) is not None:
            drawn += data
            if self._is_busy():
                last_busy = time.monotonic()
            if self._keys and _SHOWN in drawn:
                self._type(self._keys)
                self._keys = b""
                last_busy = time.monotonic()
            elif not self._keys and time.monotonic() - last_busy > self._WHILE:
                self._type(self._QUIT)
        os.close(self._ours)

    def _type(self, keys: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._ours, keys)

    def _read(self) -> bytes | None:
        """What is drawn within a moment; None once the program has gone."""
        ready, _, _ = select.select([self._ours], [], [], self._LOOK)
        if not ready:
            return b""
        with contextlib.suppress(OSError):
            return os.read(self._ours, 1 << 16) or None
        return None


def _take_terminal() -> None:
    import fcntl
    import signal
    import struct
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
    signal.signal(signal.SIGINT, signal.default_int_handler)
