"""kill -9 in mid-capture. One random moment of each target here; `python -m endurance
kills-engines` has more of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from endurance.strikes import ENGINE_CHILD, TOP, WORKER
from tests.killing import Killer
from tests.shared_captures import SharedCaptures, plan_of

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
    tmp_path: Path, shared_captures: SharedCaptures, transformers_python: Path
) -> None:
    baseline = shared_captures.session("transformers")
    killer = Killer(tmp_path, plan_of("transformers"), baseline)
    _trials(killer, WORKER, 1)
    _trials(killer, TOP, 1)


def test_engine_child(
    tmp_path: Path, shared_captures: SharedCaptures, sglang_python: Path
) -> None:
    """SGLang's: vLLM computes in the worker itself, unless it is told otherwise."""
    baseline = shared_captures.session("sglang")
    killer = Killer(tmp_path, plan_of("sglang"), baseline)
    _trials(killer, ENGINE_CHILD, 1)
