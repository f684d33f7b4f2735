"""Captures by real engines that several files read, each made once in a run: an engine
takes longer to start than the tests take to read what it gave.

Whoever changes one copies it first (`copy_of`): other processes read it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.common import Run
from tests.made_sessions import captured_here

TEXTS = (
    "The capital of France is",
    "def quicksort(items):",
    "Once upon a time there was a",
    "1, 1, 2, 3, 5, 8,",
)
TOKENS = 16
_TEXTS = [word for text in TEXTS for word in ("--text", text)]
_PLAN = ["--model", "smollm2", *_TEXTS, "--max-tokens", str(TOKENS)]
_TEMPERED = ["--temperature", "0.7"]

PLANS: dict[str, list[str]] = {
    "transformers": [*_PLAN, "--part-sequences", "1"],
    "vllm": [*_PLAN, *_TEMPERED, "--top-p", "0.9", "--part-sequences", "4"],
    "sglang": [*_PLAN, *_TEMPERED, "--part-sequences", "2"],
}
"""What each engine samples: vLLM from the nucleus at T = 0.7, SGLang at T = 0.7. Small
parts let a capture be killed or moved between two of them.
"""
SPECS = {
    "transformers": "transformers:bfloat16,paths=decode+prefill@rollout",
    "vllm": "vllm:bfloat16,logprobs_mode=processed_logprobs,reproducible=true",
    "sglang": "sglang:bfloat16,alone=true,reproducible=true",
}
"""The backend that samples, which is the first of its session. Captured again it must
give the same numbers, bit for bit.
"""
SCORERS = {
    "transformers": ("transformers:float32@reference",),
    "vllm": ("transformers:bfloat16@trainer",),
    "sglang": (),
}
"""The backends that score what it sampled."""


def plan_of(engine: str, *, scored: bool = True) -> list[str]:
    """The arguments of a capture that gives the same numbers as the shared one, or as
    the backend that samples in it.
    """
    scorers = SCORERS[engine] if scored else ()
    specs = (SPECS[engine], *scorers)
    return [*PLANS[engine], *(word for spec in specs for word in ("--backend", spec))]


def copy_of(session: Path, folder: Path) -> Path:
    """A copy of a shared session that may be changed, as this user's own; ``folder``."""
    shutil.copytree(session, folder)
    return captured_here(folder)


class SharedCaptures:
    """The shared sessions of this run, by the engine that samples."""

    def __init__(self, folder: Path, run_logdrift: Run) -> None:
        self._folder = folder
        self._run_logdrift = run_logdrift

    def session(self, engine: str) -> Path:
        """The session; captured where no process of this run has done it yet."""
        return once(self._folder / engine, lambda out: self._capture(engine, out))

    def _capture(self, engine: str, out: Path) -> None:
        done = self._run_logdrift("capture", *plan_of(engine), "--out", out)
        assert done.returncode == 0, done.stderr


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """``folder``, which the first process that asks for it makes; the others wait. What
    was not made whole is made again.
    """
    lock = folder.with_name(f"{folder.name}.lock")
    made = folder.with_name(f"{folder.name}.made")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run have in common."""
    base = factory.getbasetemp()
    is_one_of_many = "PYTEST_XDIST_WORKER" in os.environ
    root = base.parent if is_one_of_many else base
    folder = root / "shared"
    folder.mkdir(exist_ok=True)
    return folder
