"""kill -9 in mid-capture. One random moment of each target here; `python tests/killing.py` makes ten of each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.killing import Killer

pytestmark = pytest.mark.engine


def _trials(killer: Killer, target: str, count: int) -> None:
    chance = random.Random(7)
    struck = 0
    while struck < count:
        struck += killer.trial(target, chance.uniform(0, killer.duration * 0.9)).struck


def test_worker_and_supervisor(tmp_path: Path, transformers_python: Path, small_model: Path) -> None:
    backends = ["transformers:bfloat16,paths=decode+prefill@rollout", "transformers:float32@reference"]
    killer = Killer(tmp_path, backends)
    _trials(killer, "worker", 1)
    _trials(killer, "supervisor", 1)


def test_engine_child(tmp_path: Path, vllm_python: Path, small_model: Path) -> None:
    """vLLM's, which starts in half the time of SGLang; the death of SGLang's scheduler is in test_sglang_backend.py."""
    _trials(Killer(tmp_path, ["vllm:bfloat16@rollout"]), "engine child", 1)
