"""What the monkey is let loose on, and what it has found there."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.make_session import make_session
from logdrift.core.errors import InputError
from tests.common import REPOSITORY
from tests.made_sessions import capture, write_session

SAMPLE = "sample"
"""The session that every world has, and the same again."""
TYPED = (
    "~a",
    "~nosuch/x",
    "x" * 256,
    "y" * 5000,
    "a/" * 3000,
    "\udcff\udc80",
    "nul\0byte",
    "\x1b[31m",
    "é" * 200,
    "../..",
    "",
    "3:1",
    "#30010",
    "#99999999999999999999",
    ">",
    "*",
    "9" * 40,
    "out.csv",
    "out.txt",
    "/proc/self/mem",
    "1e30",
    "-1",
    "nan",
)
"""What is typed or pasted into lines: names, places and numbers, sound and unsound."""


@dataclass
class Found:
    """What a run found: how many bursts it did, and the faults, each with what led to
    it.
    """

    bursts: int = 0
    starts: int = 0
    quits: int = 0
    last: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    chosen: Counter[str] = field(default_factory=Counter)
    """Commands that were chosen, by their ids and how they were pressed."""
    done: Counter[str] = field(default_factory=Counter)
    scopes: Counter[str] = field(default_factory=Counter)
    """Actions that were run, and scopes whose keys were heard."""

    def add(self, fault: str, error: BaseException | None = None) -> None:
        """A fault, once of its kind: the exception and the line that raised it."""
        place = (
            traceback.extract_tb(error.__traceback__)[-1]
            if error is not None and error.__traceback__
            else None
        )
        kind = (
            f"{fault} ({Path(place.filename).name}:{place.lineno})" if place else fault
        )
        trace = "".join(traceback.format_exception(error)) if error is not None else ""
        self.faults.setdefault(kind, f"{trace}after: {' '.join(self.last)}")


def make_twins(folder: Path) -> Path:
    """The sample and the same again: neighbours in the list that can be compared."""
    sessions = folder / "sessions"
    for name in (SAMPLE, f"{SAMPLE}-again"):
        shutil.copytree(REPOSITORY / "sessions" / "sample-smollm2", sessions / name)
    (folder / "home").mkdir()
    return sessions


def make_world(folder: Path) -> Path:
    """Sessions of several kinds in ``folder``: whole ones, extreme numbers, empty and
    damaged ones.
    """
    sessions = folder / "sessions"
    sessions.mkdir(parents=True)
    shutil.copytree(REPOSITORY / "sessions" / "sample-smollm2", sessions / SAMPLE)
    make_session(sessions / "made", 900, 6, 5, captures=4)
    rows = [[np.nan, -1.0, -2.0], [np.nan, -0.5, -3.0]]
    huge = [[np.nan, -1e30, 1e30], [np.nan, -3e38, 0.0]]
    nothing = [[np.nan, -np.inf, -np.inf], [np.nan, -np.inf, -np.inf]]
    for name, values in (
        ("huge", huge),
        ("infinite", nothing),
        ("missing", [[np.nan] * 3] * 2),
    ):
        write_session(
            sessions / name,
            [1, 1],
            [capture("trainer/prefill", rows), capture("vllm/decode", values)],
        )
    write_session(sessions / "empty", [], [])
    failed = capture("vllm/decode", rows, status="failed", failure="  \n ")
    write_session(
        sessions / "failed", [1, 1], [capture("trainer/prefill", rows), failed]
    )
    write_session(sessions / "alone", [1, 1], [capture("trainer/prefill", rows)])
    # The same sequences twice: neighbours in the list that can be compared.
    for path in sorted(sessions.iterdir()):
        shutil.copytree(path, sessions / f"{path.name}-again")
    (sessions / "damaged").mkdir()
    (sessions / "damaged" / "session.json").write_text("[" * 100_000)
    (folder / "home").mkdir()
    return sessions


@contextmanager
def no_engines() -> Iterator[None]:
    """Nothing that the monkey presses starts or ends a process."""
    with (
        patch("logdrift.core.capture.background.start_background"),
        patch("logdrift.core.capture.background.cancel_capture"),
        patch("logdrift.core.investigate.experiment_jobs.start_experiments"),
        patch("logdrift.core.investigate.experiment_jobs.cancel_experiments"),
        patch("logdrift.core.investigate.question_jobs.start_identity"),
        patch("logdrift.core.investigate.question_jobs.start_layers"),
        patch("logdrift.core.investigate.question_jobs.cancel_question"),
        patch("logdrift.core.capture.create.create_session"),
        patch(
            "logdrift.core.capture.environments.available",
            return_value={"vllm": InputError("no environment")},
        ),
    ):
        yield


@contextmanager
def own_world(make: Callable[[Path], Path]) -> Iterator[Path]:
    """A folder with sessions, a home and a place to write files to, taken away
    afterwards.
    """
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="logdrift-monkey-") as name:
        folder = Path(name)
        sessions = make(folder)
        home = {
            variable: str(folder / "home")
            for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
        }
        with patch.dict(os.environ, home):
            os.chdir(folder / "home")
            try:
                yield sessions
            finally:
                os.chdir(before)
