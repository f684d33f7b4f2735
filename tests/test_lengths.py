"""Sequences that end at the model's last position, in every engine: scored, sampled up
to it, and the same numbers.

The model has learned positions, so one position too many would be an index out of
bounds and not just another number.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from logdrift.core.session.reader import Session, open_session
from tests.common import REPOSITORY, Run

pytestmark = pytest.mark.engine
Write = Callable[..., Path]

POSITIONS = 64
VOCABULARY = 1031
FLOAT32_MAE = 2e-5  # two float32 engines on one model (docs/report.md)


@pytest.fixture(scope="module")
def short_model(
    transformers_python: Path,
    small_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A tiny GPT-2 of 64 positions."""
    folder = tmp_path_factory.mktemp("models") / "gpt2-short"
    script = REPOSITORY / "tests" / "engine_scripts" / "short_model.py"
    done = subprocess.run(
        [transformers_python, script, "gpt2-short", small_model, folder],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def _capture(
    run_logdrift: Run, model: Path, out: Path, prompts: Path, *backends: str
) -> Session:
    flags = [part for backend in backends for part in ("--backend", backend)]
    done = run_logdrift(
        "capture",
        "--model",
        model,
        "--prompts",
        prompts,
        "--max-tokens",
        8,
        "--out",
        out,
        *flags,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return open_session(out)


def _rows(*lengths: int) -> list[list[int]]:
    drawn = np.random.default_rng(7)
    return [drawn.integers(3, VOCABULARY, length).tolist() for length in lengths]


def test_given_sequences_of_every_position_are_scored(
    run_logdrift: Run, short_model: Path, tmp_path: Path, prompts_file: Write
) -> None:
    prompts = prompts_file(
        *({"token_ids": ids, "prompt_length": 10} for ids in _rows(64, 63, 30))
    )
    session = _capture(
        run_logdrift,
        short_model,
        tmp_path / "out",
        prompts,
        "transformers:float32@reference",
        "vllm:float32,paths=prefill+forced_decode",
        "sglang:float32",
    )
    reference = session.capture("reference/prefill").logprob.whole()
    expected = [0, 64, 127]
    assert np.flatnonzero(np.isnan(reference)).tolist() == expected
    for label in ("vllm/prefill", "vllm/forced_decode", "sglang/prefill"):
        found = session.capture(label).logprob.whole()
        scored = ~np.isnan(found)
        assert scored[[63, 126, 156]].all()
        assert np.abs(found[scored] - reference[scored]).mean() < FLOAT32_MAE


@pytest.mark.parametrize("engine", ["transformers", "vllm", "sglang"])
def test_completions_are_sampled_up_to_the_last_position(
    run_logdrift: Run,
    short_model: Path,
    tmp_path: Path,
    prompts_file: Write,
    engine: str,
) -> None:
    """The longest prompt leaves one position; what was sampled there is scored by the
    same engine.
    """
    prompts = prompts_file(*({"token_ids": ids} for ids in _rows(63, 60, 30)))
    session = _capture(
        run_logdrift,
        short_model,
        tmp_path / "out",
        prompts,
        f"{engine}:float32,paths=decode+prefill",
    )
    lengths = np.diff(session.sequences.offsets).tolist()
    assert lengths[0] == POSITIONS
    assert 60 < lengths[1] <= POSITIONS
    assert 30 < lengths[2] <= 38
    decode = session.capture(f"{engine}/decode").logprob.whole()
    prefill = session.capture(f"{engine}/prefill").logprob.whole()
    assert np.abs(decode[63] - prefill[63]) < 1e-3
