"""Kill -9 a part of a running capture at a chosen moment, and hold what is left against
an undisturbed run. `python -m endurance kills-transformers` and `kills-engines` do it at
a hundred moments, by the same means.

The numbers of a resumed session must equal those of the undisturbed one bit for bit,
every part listed at the moment of the kill must be intact, and nothing may be left
running. This process adopts orphans, so whatever outlives a killed supervisor or worker
becomes its child and is seen.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from endurance.held import digests
from endurance.strikes import Strike, strike
from endurance.surroundings import reap
from logdrift.core.processes import (
    adopt_orphans,
    command_of,
    descendants,
    kill_group,
)
from logdrift.core.session.layout import EVENTS, MANIFEST
from logdrift.core.session.reader import Session, open_session

LOGDRIFT = Path(sys.executable).parent / "logdrift"
_SETTLE = 10.0
_PATIENCE = 300.0
"""Seconds a capture of a few seconds has to end, killed or not: longer is hanging."""
_LOOK = 0.01
_NUMBERS = ("logprob", "rank", "top_ids", "top_logprobs")


@dataclass(frozen=True)
class Trial:
    """What became of one kill. ``listed`` parts were in the manifest when it struck."""

    struck: bool
    listed: int


class Killer:
    """Captures in ``folder`` with the arguments of ``plan``, as ``baseline`` was
    captured with them undisturbed.
    """

    def __init__(self, folder: Path, plan: list[str], baseline: Path) -> None:
        adopt_orphans()
        self.before = descendants(os.getpid())
        """What other tests of this process have not reaped yet."""
        self.folder = folder
        self.plan = plan
        self.baseline = baseline
        self.duration = seconds_of(baseline)

    def begin(self, out: Path) -> subprocess.Popen[bytes]:
        """Start the capture, or go on with it."""
        arguments = ["--resume"] if (out / MANIFEST).exists() else self.plan
        with open(self.folder / "said.txt", "wb") as said:
            return subprocess.Popen(
                [LOGDRIFT, "capture", "--out", out, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """Its exit code."""
        try:
            return process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            kill_group(process.pid)
            raise AssertionError(f"a capture hangs: {self.said()}") from None

    def said(self) -> str:
        """What the last capture has printed."""
        return (self.folder / "said.txt").read_text(errors="replace")

    def trial(self, target: str, moment: float) -> Trial:
        """Kill ``target`` ``moment`` seconds after the first worker began to capture,
        resume, compare.
        """
        name = target.replace(" ", "-")
        out = self.folder / f"killed-{name}-{random.randrange(10**9)}"
        process = self.begin(out)
        while not (out / EVENTS).exists() and process.poll() is None:
            time.sleep(_LOOK)
        plan = Strike(target, signal.SIGKILL, moment)
        struck = strike(plan, process, out / EVENTS)
        code = self.end(process)
        if struck and code == 0:
            # Right only where all had been captured: a worker may die while it closes.
            assert open_session(out).state == "complete", self.said()
        self.check_nothing_runs()
        listed = self.check_listed(out)
        if struck:
            code = self.end(self.begin(out))
            assert code == 0, f"resuming ended with {code}: {self.said()}"
            self.check_nothing_runs()
        self.check_numbers(open_session(out))
        return Trial(struck, listed)

    def check_listed(self, out: Path) -> int:
        """How many parts the manifest lists, each of them intact."""
        if not (out / MANIFEST).exists():
            return 0
        assert open_session(out).state != "running"
        return len(digests(out))

    def check_nothing_runs(self) -> None:
        """Nothing that a capture has started outlives it."""
        deadline = time.monotonic() + _SETTLE
        while left := descendants(os.getpid()) - self.before:
            reap()
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK)
        reap()
        running = [command_of(pid) for pid in left]
        assert not left, f"still running {_SETTLE} s after the end: {running}"

    def check_numbers(self, session: Session) -> None:
        """The session is complete and has those of the undisturbed one."""
        expected = open_session(self.baseline)
        assert session.state == "complete"
        np.testing.assert_array_equal(
            session.sequences.token_ids, expected.sequences.token_ids
        )
        labels = [info.label for info in expected.captures]
        assert [info.label for info in session.captures] == labels
        for label in labels:
            a = session.capture(label)
            b = expected.capture(label)
            for name in _NUMBERS:
                np.testing.assert_array_equal(
                    getattr(a, name).whole(),
                    getattr(b, name).whole(),
                    f"{label} {name}",
                )


def seconds_of(session: Path) -> float:
    """How long a session was captured, from its first event to its last."""
    lines = (session / EVENTS).read_text().splitlines()
    times = [float(json.loads(line)["t"]) for line in lines]
    return times[-1] - times[0]
