"""Kill -9 a part of a running capture at a random moment, and hold what is left against
an undisturbed run.

    python tests/killing.py --trials 10            all three targets, a table of every
    trial

The numbers of a resumed session must equal those of the undisturbed one bit for bit,
every part listed at the moment of the kill must be intact, and nothing may be left
running. This process adopts orphans, so whatever outlives a killed supervisor or worker
becomes its child and is seen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from logdrift.core.processes import adopt_orphans, descendants, kill_group
from logdrift.core.session.layout import MANIFEST
from logdrift.core.session.reader import Session, open_session

LOGDRIFT = Path(sys.executable).parent / "logdrift"
PROMPTS = [
    "The capital of France is",
    "def add(a, b):",
    "1 2 3 4",
    "Once upon a time",
    "To be or",
    "从前有",
]
TARGETS = ("worker", "supervisor", "engine child")
_SETTLE = 10.0
_PATIENCE = 300.0
"""Seconds a capture of a few seconds has to end, killed or not: longer is hanging."""


@dataclass(frozen=True)
class Trial:
    """What became of one kill. ``listed`` parts were in the manifest when it struck."""

    target: str
    moment: float
    struck: bool
    listed: int
    seconds: float


class Killer:
    """Captures in ``folder`` with the arguments of ``plan``.

    ``baseline`` is a session that was captured with them undisturbed; without it, one
    is.
    """

    def __init__(
        self, folder: Path, plan: list[str], baseline: Path | None = None
    ) -> None:
        adopt_orphans()
        self.before = descendants(os.getpid())
        """What other tests of this process have not reaped yet."""
        self.folder = folder
        self.plan = plan
        self.baseline = baseline or self._undisturbed()
        self.duration = seconds_of(self.baseline)

    def _undisturbed(self) -> Path:
        out = self.folder / "undisturbed"
        code = self._wait(self._capture(out))
        assert code == 0, f"the undisturbed capture ended with {code}: {self._said()}"
        return out

    def _capture(self, out: Path) -> subprocess.Popen[bytes]:
        arguments = ["--resume"] if (out / MANIFEST).exists() else self.plan
        with open(self.folder / "said.txt", "wb") as said:
            return subprocess.Popen(
                [LOGDRIFT, "capture", "--out", out, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            kill_group(process.pid)
            raise AssertionError(f"a capture hangs: {self._said()}") from None

    def _said(self) -> str:
        return (self.folder / "said.txt").read_text(errors="replace")

    def trial(self, target: str, moment: float) -> Trial:
        """Kill ``target`` ``moment`` seconds after the first worker began to capture,
        resume, compare.
        """
        out = (
            self.folder / f"killed-{target.replace(' ', '-')}-{random.randrange(10**9)}"
        )
        begun = time.monotonic()
        process = self._capture(out)
        struck = self._strike(process, out, target, moment)
        code = self._wait(process)
        if (
            struck and code == 0
        ):  # right only where it had all been captured: a worker may die while it closes
            assert open_session(out).state == "complete", (
                f"{target} was killed, logdrift ended with 0: {self._said()}"
            )
        self._nothing_left()
        listed = self._check_listed(out)
        code = self._wait(self._capture(out)) if struck else 0
        assert code == 0, f"resuming ended with {code}: {self._said()}"
        self._nothing_left()
        self._same_numbers(open_session(out))
        return Trial(target, moment, struck, listed, time.monotonic() - begun)

    def _strike(
        self, process: subprocess.Popen[bytes], out: Path, target: str, moment: float
    ) -> bool:
        """Whether there was something to kill before the capture ended."""
        while not (out / "events.jsonl").exists():
            if process.poll() is not None:
                return False
            time.sleep(0.01)
        deadline = time.monotonic() + moment
        while time.monotonic() < deadline:
            time.sleep(0.01)
        while process.poll() is None:
            victim = next(self._victims(process.pid, target), None)
            if victim is not None:
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                return True
            time.sleep(0.02)
        return False

    def _victims(self, supervisor: int, target: str) -> Iterator[int]:
        if target == "supervisor":
            yield supervisor
            return
        for pid in descendants(supervisor):
            leader = _session(pid) == pid
            if (target == "worker") == leader and (leader or _is_engine(pid)):
                yield pid

    def _nothing_left(self) -> None:
        deadline = time.monotonic() + _SETTLE
        while (
            left := descendants(os.getpid()) - self.before
        ) and time.monotonic() < deadline:
            _reap()
            time.sleep(0.05)
        _reap()
        assert not left, (
            f"still running {_SETTLE} s after the end: {[_command(pid) for pid in left]}"
        )

    def _check_listed(self, out: Path) -> int:
        if not (out / MANIFEST).exists():
            return 0
        session = open_session(out)
        assert session.state != "running"
        parts = [
            *session.manifest.sequences.parts,
            *(p for c in session.captures for p in c.parts),
        ]
        for part in parts:
            digest = hashlib.sha256((out / part.file).read_bytes()).hexdigest()
            assert part.digest == f"sha256:{digest}", (
                f"{part.file} is listed but damaged"
            )
        return len(parts)

    def _same_numbers(self, session: Session) -> None:
        expected = open_session(self.baseline)
        assert session.state == "complete"
        np.testing.assert_array_equal(
            session.sequences.token_ids, expected.sequences.token_ids
        )
        assert [c.label for c in session.captures] == [
            c.label for c in expected.captures
        ]
        for info in expected.captures:
            a = session.capture(info.label)
            b = expected.capture(info.label)
            for name in ("logprob", "rank", "top_ids", "top_logprobs"):
                np.testing.assert_array_equal(
                    getattr(a, name).whole(),
                    getattr(b, name).whole(),
                    f"{info.label} {name}",
                )


def seconds_of(session: Path) -> float:
    """How long a session was captured, from its first event to its last."""
    lines = (session / "events.jsonl").read_text().splitlines()
    times = [float(json.loads(line)["t"]) for line in lines]
    return times[-1] - times[0]


def plan_with(prompts: Path, model: str, backends: list[str]) -> list[str]:
    """Arguments of a capture of `PROMPTS`, in parts of one sequence; ``prompts`` is the
    file that they are written to. The first of the backends generates.
    """
    lines = [json.dumps({"prompt": text}) + "\n" for text in PROMPTS]
    prompts.write_text("".join(lines))
    return [
        *("--model", model, "--prompts", str(prompts), "--max-tokens", "16"),
        *("--part-sequences", "1"),
        *(word for spec in backends for word in ("--backend", spec)),
    ]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def _command(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")
            .strip()
        )
    except OSError:
        return ""


def _is_engine(pid: int) -> bool:
    """A process that an engine computes in, as opposed to helpers such as
    multiprocessing's resource tracker.
    """
    command = _command(pid)
    return any(
        name in command for name in ("VLLM::", "EngineCore", "sglang::", "spawn_main")
    )


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main() -> int:
    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # the kills may come while something else computes
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=10, help="kills of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--target",
        choices=TARGETS,
        action="append",
        help="only this target (repeatable)",
    )
    parser.add_argument("--model", default="smollm2")
    args = parser.parse_args()
    chance = random.Random(args.seed)
    for target in args.target or TARGETS:
        with tempfile.TemporaryDirectory(prefix="logdrift-kill-") as folder:
            generating = (
                "sglang:bfloat16,reproducible=true"
                if target == "engine child"
                else "transformers:bfloat16,paths=decode+prefill"
            )
            scoring = "transformers:float32@reference"
            backends = [f"{generating}@rollout", scoring]
            prompts = Path(folder) / "prompts.jsonl"
            killer = Killer(Path(folder), plan_with(prompts, args.model, backends))
            print(
                f"{target}: undisturbed capture took {killer.duration:.0f} s",
                flush=True,
            )
            left = args.trials
            while left:
                done = killer.trial(target, chance.uniform(0, killer.duration))
                left -= done.struck
                # it takes less time than it did, or its end is no longer there to be
                # killed
                if not done.struck:
                    killer.duration = min(killer.duration, done.moment)
                struck = (
                    f"struck with {done.listed:2d} parts listed"
                    if done.struck
                    else "ended before the kill"
                )
                print(
                    f"  {target} at {done.moment:5.1f} s: {struck}; resumed, same"
                    f" numbers, nothing left ({done.seconds:.0f} s)",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
