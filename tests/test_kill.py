"""kill -9 in mid-capture. One random moment of each target here; `python
tests/killing.py` makes ten of each.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.killing import Killer

pytestmark = pytest.mark.engine
_MISSES = 4
"""Moments that may lie behind the end of a capture that took less time than the
undisturbed one.
"""


def _trials(killer: Killer, target: str, count: int) -> None:
    chance = random.Random(7)
    struck = 0
    for _ in range(count + _MISSES):
        struck += killer.trial(target, chance.uniform(0, killer.duration * 0.9)).struck
        if struck == count:
            return
    raise AssertionError(f"{_MISSES} moments too many found no {target} to kill")


def test_worker_and_supervisor(
    tmp_path: Path, transformers_python: Path, small_model: Path
) -> None:
    backends = [
        "transformers:bfloat16,paths=decode+prefill@rollout",
        "transformers:float32@reference",
    ]
    killer = Killer(tmp_path, backends)
    _trials(killer, "worker", 1)
    _trials(killer, "supervisor", 1)


def test_engine_child(tmp_path: Path, sglang_python: Path, small_model: Path) -> None:
    """SGLang's: vLLM computes in the worker itself, unless it is told otherwise."""
    _trials(Killer(tmp_path, ["sglang:bfloat16@rollout"]), "engine child", 1)
