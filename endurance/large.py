"""Sessions of sizes that nobody tries by hand: time and memory are told, and nothing
fails.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.screen import Terminal
from endurance.engine_world import LOGDRIFT
from endurance.held import FAULTS, Lost
from endurance.runs import Kind, Order, Tally
from endurance.undertakings import ended, said, started
from tests.made_sessions import capture, write_session

_MOST_MB = 4096
_SESSIONS = 500
_SEQUENCES = 50_000
_SHORT = 6
_TOKENS = 500_000
_SHOWN = 120.0
"""Seconds until a screen shows what is asked for, however busy the machine is."""
_COMMANDS = {
    "report": ("report", "SESSION"),
    "html": ("report", "SESSION", "--html", "-o", "SESSION.html"),
    "why": ("why", "SESSION"),
    "diff": ("diff", "SESSION", "SESSION", "--new-pair", "trainer:vllm/prefill"),
    "export": ("export", "SESSION", "-o", "SESSION.jsonl"),
    "import": ("import", "jsonl", "SESSION.jsonl", "--out", "SESSION-again"),
    "import session": ("import", "session", "SESSION", "--out", "SESSION-copy"),
}


def run(order: Order, tally: Tally) -> None:
    """Each size once a run."""
    os.environ["XDG_STATE_HOME"] = str(order.folder / "state")
    for number in order.numbers:
        for name, make in _SIZES.items():
            folder = order.folder / name.replace(" ", "-")
            session = folder / "session"
            folder.mkdir()
            make(session)
            for command, words in _COMMANDS.items():
                argv = [word.replace("SESSION", str(session)) for word in words]
                row = f"{name}: {command}"
                _timed(row, number, tally, _Command(argv, folder))
            _timed(f"{name}: open", number, tally, _Screen(session, b"vllm"))
            shutil.rmtree(folder)
        many = order.folder / "many"
        _many_sessions(many)
        found = f"{_SESSIONS} sessions".encode()
        _timed("list of sessions", number, tally, _Screen(many, found))
        shutil.rmtree(many)


def _timed(row: str, number: int, tally: Tally, do: Callable[[], None]) -> None:
    begun = time.monotonic()
    try:
        do()
    except FAULTS as error:
        tally.lose(number, row, str(error)[:2000])
    tally.count(row, "seconds", round(time.monotonic() - begun))


class _Command:
    """A command that must work within a limit of memory."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        self.argv = [str(LOGDRIFT), *words]
        self.folder = folder

    def __call__(self) -> None:
        process = started(self.argv, os.environ, self.folder, _limit)
        code = ended(process, self.folder)
        if code != 0:
            raise Lost(f"it ended with {code}: {said(self.folder)}")


def _limit() -> None:
    most = _MOST_MB << 20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


class _Screen:
    """A screen that must show something of what it was opened with."""

    def __init__(self, path: Path, shown: bytes) -> None:
        self.path = path
        self.shown = shown

    def __call__(self) -> None:
        terminal = Terminal([str(LOGDRIFT), str(self.path)], 120, 36)
        try:
            terminal.wait_for(self.shown, _SHOWN)
        except SystemExit as error:
            raise Lost(str(error)) from None
        finally:
            terminal.close()


def _many_sequences(folder: Path) -> None:
    _write(folder, [_SHORT] * _SEQUENCES, per_part=500)


def _one_long_sequence(folder: Path) -> None:
    _write(folder, [_TOKENS], per_part=1)


def _write(folder: Path, lengths: Sequence[int], per_part: int) -> None:
    chance = np.random.default_rng(0)
    trainer = [-np.abs(chance.normal(1, 1, length)) for length in lengths]
    rollout = [row + chance.normal(0, 0.02, len(row)) for row in trainer]
    captures = [
        capture("trainer/prefill", trainer),
        capture("vllm/prefill", [np.minimum(row, 0.0) for row in rollout]),
    ]
    write_session(folder, [2] * len(lengths), captures, per_part=per_part)


def _many_sessions(folder: Path) -> None:
    one = [[-1.0, -1.0, -2.0]] * 2
    write_session(folder / "session-0", [1, 1], [capture("trainer/prefill", one)])
    for number in range(1, _SESSIONS):
        shutil.copytree(folder / "session-0", folder / f"session-{number}")


_SIZES = {
    f"{_SEQUENCES:,} sequences": _many_sequences,
    f"a sequence of {_TOKENS:,} tokens": _one_long_sequence,
}

KIND = Kind("large", "500 sessions, 50,000 sequences, 500,000 tokens", 1, run)
