"""Folders with odd names, and two commands that want the same folder at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from endurance.held import FAULTS, Lost
from endurance.resources import only_commands
from endurance.runs import Kind, Order, Tally
from endurance.toy_world import ToyWorld
from endurance.undertakings import (
    Export,
    Undertaking,
    ended,
    file_of,
    said,
)
from logdrift.core.processes import kill_group

NAMES = (
    "two words",
    " blanks around ",
    "new\nline",
    "tab\tand\rreturn",
    "-x",
    "--resume",
    "~",
    "$HOME",
    "a;b|c&d>e",
    "'single' \"double\"",
    "[a-z]*?",
    "{braces}",
    "%41%00",
    "back\\slash",
    "ümläut",
    "从前有",
    "مرحبا",
    "👩‍👩‍👧 family",
    "e\u0301 combining",
    "zero\u200bwidth\u202eturned",
    "escape\x1b[31mred",
    os.fsdecode(b"\xff\xfe no UTF-8"),
    os.fsdecode(b"half \xc3"),
    "=A1",
    "NAME=FILE",
    "[red]markup[bold]",
    "session.json",
    ".hidden",
    "n" * 240,
)
_REFUSED = (0, 1, 2)
_BUSY = ("is being written by", "was just taken by", "writes this session")
_DONE = ("the session has this backend already", "exists already")


def run_names(order: Order, tally: Tally) -> None:
    """Everything in a folder of each name: it works."""
    world = ToyWorld(order.folder / "toy")
    undertakings = _prepared(world, order.folder)
    for number in order.numbers:
        name = NAMES[number % len(NAMES)]
        undertaking = order.chance(number).choice(undertakings)
        place = order.folder / name
        place.mkdir()
        row = ascii(name)[:40]
        try:
            undertaking.lay_out(place)
            undertaking.finish(place)
            undertaking.check_said(place)
            undertaking.compare(place)
            tally.count(row, "worked")
        except FAULTS as error:
            what = f"{type(error).__name__}: {error}"
            tally.lose(number, f"{row}: {undertaking.name}", what[:2000])
        shutil.rmtree(place)


def run_together(order: Order, tally: Tally) -> None:
    """The same command twice at once: one of them does it, the other says why not."""
    world = ToyWorld(order.folder / "toy")
    undertakings = [
        one for one in _prepared(world, order.folder) if not isinstance(one, Export)
    ]
    for number in order.numbers:
        chance = order.chance(number)
        undertaking = chance.choice(undertakings)
        place = order.folder / f"run-{number}"
        place.mkdir()
        try:
            undertaking.lay_out(place)
            seconds = chance.uniform(0, undertaking.seconds)
            codes = _twice(undertaking, place, seconds)
            undertaking.finish(place)
            undertaking.compare(place)
            left = world.surroundings.left()
            if left:
                raise Lost(f"left behind: {left}")
            tally.count(undertaking.name, f"{codes[0]} and {codes[1]}")
        except FAULTS as error:
            what = f"{type(error).__name__}: {error}"
            tally.lose(number, undertaking.name, what[:2000])
        shutil.rmtree(place)


def _twice(undertaking: Undertaking, place: Path, seconds: float) -> Sequence[int]:
    """The exit codes of both, the second begun so many ``seconds`` later. Raises `Lost`
    where neither has done it.
    """
    with _begun(undertaking, place) as first:
        said_first = file_of(place).with_name("first-said.txt")
        file_of(place).rename(said_first)
        time.sleep(seconds)
        with _begun(undertaking, place) as second:
            codes = [_ended(undertaking, second, place)]
            said_second = said(place)
            said_first.replace(file_of(place))
            codes.append(_ended(undertaking, first, place))
    if 0 not in codes:
        raise Lost(f"neither has done it: {said(place)}, {said_second}")
    return sorted(codes)


@contextlib.contextmanager
def _begun(undertaking: Undertaking, place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Begin it, and leave nothing of it running."""
    process = undertaking.begin(place)
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_group(process.pid)
            process.wait()


def _ended(
    undertaking: Undertaking, process: subprocess.Popen[bytes], place: Path
) -> int:
    """The exit code. Raises `Lost` where it does not say why it has not done it."""
    code = ended(process, place)
    undertaking.check_said(place)
    told = said(place)
    gives_a_reason = any(words in told for words in (*_BUSY, *_DONE))
    if code not in _REFUSED or (code and not gives_a_reason):
        raise Lost(f"one ended with {code}: {told}")
    return code


def _prepared(world: ToyWorld, folder: Path) -> list[Undertaking]:
    undertakings = only_commands(world.undertakings())
    for undertaking in undertakings:
        undertaking.prepare(folder)
    return undertakings


KINDS = (
    Kind("names", "everything in folders with odd names", 120, run_names),
    Kind("together", "one command twice at once", 60, run_together),
)
