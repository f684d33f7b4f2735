"""Faults planted in models held out: tiny ones of two other families than thresholds
come from (Qwen 3 and Gemma shapes, trained for half a minute), and other sizes of every
fault.

Thresholds come from arguments or from tiny Llama and Qwen 2 models. The tiny models are
trained on 400,000 tokens each: with 300,000 more faults were called by a wrong name
(docs/why.md).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from logdrift.core.planted.judge import judge_folder
from tests.planted.checks import check_forms, check_named

PLANTED = Path(__file__).resolve().parent.parent / "core" / "planted"
pytestmark = pytest.mark.engine
HELD_OUT = ("qwen3", "gemma")


def run_worker(python: Path, *arguments: object) -> None:
    done = subprocess.run(
        [str(python), str(PLANTED / "inside" / "worker.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=850,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def both_held_out(
    tmp_path_factory: pytest.TempPathFactory, transformers_python: Path
) -> Path:
    """Tiny models of other families with other sizes of the faults: 20 sequences of 60
    tokens, and four of 180.
    """
    work = tmp_path_factory.mktemp("held-out")
    run_worker(
        transformers_python,
        work / "models",
        work,
        "--little",
        ",".join(HELD_OUT),
        "--held-out",
        "--lengths",
        "60x20",
        "--long",
        "180x4",
    )
    return work


@pytest.mark.parametrize("family", HELD_OUT)
def test_a_model_held_out_as_users_hold_it(
    both_held_out: Path, tmp_path: Path, family: str
) -> None:
    check_forms(both_held_out / family, tmp_path / "dumps")


@pytest.mark.parametrize("family", HELD_OUT)
def test_a_model_held_out(both_held_out: Path, family: str) -> None:
    check_named(judge_folder(both_held_out / family, blind=True))
    check_named(judge_folder(both_held_out / family, blind=False))
