"""What can be killed: a command that makes something, and how it goes on afterwards.

Each is done once undisturbed. What is left of one that was killed is held against that.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from endurance.held import Digests, Lost, check_complete, check_opens, digests
from endurance.strikes import TOP, WORKER, count_lines
from endurance.surroundings import Surroundings
from logdrift.core.session.events import read_events
from logdrift.core.session.layout import EVENTS, MANIFEST

PATIENCE = 300.0
"""Seconds for what takes a few: longer is hanging."""
OUT = "out"


class World(Protocol):
    """What undertakings of one kind have in common: a logdrift with its engines."""

    surroundings: Surroundings

    def command(self, *arguments: object) -> list[str]:
        """What runs this logdrift."""
        ...

    def variables(self) -> dict[str, str]:
        """The environment that it runs with."""
        ...


class Undertaking:
    """Something that is done in a folder of its own, ``place``, and can be killed.

    ``targets`` are the processes that are hit. `prepare` is called once, before all
    else.
    """

    name: str
    targets: Sequence[str] = (TOP,)
    confirmation: Sequence[str] = ()
    """Flags that confirm a session which counts as a stranger's."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seconds = 0.0
        self.lines = 0

    def prepare(self, folder: Path) -> None:
        """Do it once undisturbed, in ``folder``, and keep what comes of it."""
        place = folder / self.name.replace(" ", "-")
        place.mkdir()
        self.lay_out(place)
        begun = time.monotonic()
        self.finish(place)
        self.seconds = time.monotonic() - begun
        self.lines = count_lines(self.events(place))
        self.keep(place)

    def lay_out(self, place: Path) -> None:
        """Put what is there before into ``place``."""

    def arguments(self, place: Path) -> Sequence[object]:
        """The command that does it, or goes on with what is there."""
        raise NotImplementedError

    def keep(self, place: Path) -> None:
        """Remember what came of it undisturbed."""

    def check(self, place: Path) -> None:
        """Raise `Lost` where it does not hold what a kill must leave."""

    def compare(self, place: Path) -> None:
        """Raise `Lost` where it is not what came of it undisturbed."""

    def events(self, place: Path) -> Path:
        """The file with its events, which need not be there."""
        return place / OUT / EVENTS

    def check_said(self, place: Path) -> None:
        """Raise `Lost` where it has said what nobody understands."""
        check_said(place)

    def phase(self, place: Path) -> str:
        """What was being done last."""
        return last_phase(self.events(place))

    def begin(self, place: Path) -> subprocess.Popen[bytes]:
        """Start it, or go on."""
        argv = self.world.command(*self.arguments(place))
        return started(argv, self.variables(place), place)

    def variables(self, place: Path) -> dict[str, str]:
        """The environment that it runs with."""
        return self.world.variables()

    def settle(self, place: Path) -> None:
        """Wait for what goes on by itself after a kill, on purpose."""

    def finish(self, place: Path) -> None:
        """Do it, or go on with it, to its end."""
        code = ended(self.begin(place), place)
        if code != 0:
            raise Lost(f"it ended with {code}: {said(place)}")


def started(
    argv: Sequence[str],
    variables: Mapping[str, str],
    place: Path,
    limit: Callable[[], None] = lambda: None,
) -> subprocess.Popen[bytes]:
    """A process that leads its own session and prints to a file beside ``place``, whose
    disk may be full. ``limit`` is called in it.
    """

    def before_it_begins() -> None:
        # A run in the background ignores Ctrl-C, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        limit()

    with open(file_of(place), "wb") as out:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(variables),
            cwd=place,
            start_new_session=True,
            preexec_fn=before_it_begins,
        )


def ended(process: subprocess.Popen[bytes], place: Path) -> int:
    """The exit code. Raises `Lost` where it hangs."""
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Lost(f"it hangs: {said(place)}") from None
    return code


def check_said(place: Path) -> None:
    """Raise `Lost` where a command has shown what only programmers understand."""
    told = said(place)
    if "unexpected " in told or ("Traceback" in told and not _is_of_python(told)):
        raise Lost(f"nobody understands {told}")


def _is_of_python(told: str) -> bool:
    """Whether Ctrl-C came where nobody can hear it: while Python still starts."""
    return told.rstrip().endswith("KeyboardInterrupt") and "in main\n" not in told


def said(place: Path) -> str:
    """The end of what a process has printed."""
    return file_of(place).read_text(errors="replace")[-2000:]


def file_of(place: Path) -> Path:
    """What a process that works in ``place`` prints to."""
    return place.with_name(f"{place.name}-said.txt")


def last_phase(events: Path) -> str:
    """The last event of a session, in a word or two."""
    told = read_events(events)
    if not told:
        return "before the first event"
    last = told[-1]
    stage = str(last.get("stage", "")).partition(" ")[0]
    return f"after {stage or last['type']}"


class Capture(Undertaking):
    """A new session: ``given`` are the arguments behind ``capture --out OUT``."""

    name = "capture"
    targets: Sequence[str] = (TOP, WORKER)
    undisturbed: Digests

    def __init__(self, world: World, given: Sequence[object]) -> None:
        super().__init__(world)
        self.given = given

    def arguments(self, place: Path) -> Sequence[object]:
        out = place / OUT
        if (out / MANIFEST).exists():
            return ("capture", "--out", out, "--resume", *self.confirmation)
        return ("capture", "--out", out, *self.given)

    def keep(self, place: Path) -> None:
        self.undisturbed = digests(place / OUT)

    def check(self, place: Path) -> None:
        check_opens(place / OUT, self.undisturbed)

    def compare(self, place: Path) -> None:
        check_complete(place / OUT, self.undisturbed)


class Resume(Capture):
    """A session of which one worker was killed goes on. ``half`` is that session."""

    name = "resume"

    def __init__(self, world: World, half: Path) -> None:
        super().__init__(world, ())
        self.half = half

    def lay_out(self, place: Path) -> None:
        shutil.copytree(self.half, place / OUT)


class Into(Capture):
    """A backend is added to the session ``whole``."""

    name = "into"

    def __init__(self, world: World, whole: Path, spec: str) -> None:
        super().__init__(world, ())
        self.whole = whole
        self.spec = spec

    def lay_out(self, place: Path) -> None:
        shutil.copytree(self.whole, place / OUT)

    def arguments(self, place: Path) -> Sequence[object]:
        into = ("capture", "--into", place / OUT, *self.confirmation)
        return (*into, "--backend", self.spec)

    def finish(self, place: Path) -> None:
        """A backend that is complete already is refused: nothing is left to do."""
        code = ended(self.begin(place), place)
        is_there = "the session has this backend already" in said(place)
        if code != 0 and not is_there:
            raise Lost(f"it ended with {code}: {said(place)}")


class Import(Capture):
    """A session is made of ``files``: all at once, or not at all."""

    targets = (TOP,)

    def __init__(self, world: World, form: str, file: Path) -> None:
        super().__init__(world, ())
        self.name = f"import {form}"
        self.form = form
        self.file = file

    def arguments(self, place: Path) -> Sequence[object]:
        return ("import", self.form, self.file, "--out", place / OUT)

    def check(self, place: Path) -> None:
        if (place / OUT).exists():
            check_complete(place / OUT, self.undisturbed)

    def finish(self, place: Path) -> None:
        if not (place / OUT).exists():
            super().finish(place)


class Export(Undertaking):
    """A session is written as a file, in place of an older one."""

    _OLD = b"what was there before"
    new: bytes

    def __init__(self, world: World, form: str, session: Path) -> None:
        super().__init__(world)
        self.name = f"export {form}"
        self.form = form
        self.session = session

    def file(self, place: Path) -> Path:
        return place / OUT / f"tokens.{self.form}"

    def lay_out(self, place: Path) -> None:
        (place / OUT).mkdir()
        self.file(place).write_bytes(self._OLD)

    def arguments(self, place: Path) -> Sequence[object]:
        return ("export", self.session, "-o", self.file(place))

    def keep(self, place: Path) -> None:
        self.new = self.file(place).read_bytes()

    def check(self, place: Path) -> None:
        if self.file(place).read_bytes() not in (self._OLD, self.new):
            raise Lost("the file is neither the old one nor the new one")

    def compare(self, place: Path) -> None:
        if self.file(place).read_bytes() != self.new:
            raise Lost("the file is not the new one")
        left = [path.name for path in (place / OUT).iterdir()]
        if left != [self.file(place).name]:
            raise Lost(f"left behind: {left}")

    def phase(self, place: Path) -> str:
        return f"exporting {self.form}"
