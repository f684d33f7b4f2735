"""A training in tiny sessions, one a step, made in milliseconds each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import logdrift
from logdrift.core.session.layout import ModelInfo
from logdrift.core.session.reader import Session
from tests.made_sessions import capture, write_session

SEQUENCES = 12
TOKENS = 24
PROMPT = 4


def step_session(
    folder: Path,
    step: int,
    size: float,
    *,
    name: str | None = None,
    facts: dict[str, Any] | None = None,
    model: str = "made",
    created: str | None = None,
) -> Session:
    """A session of one step whose |delta| is ``size`` nats on average; ``facts`` are
    those of the rollout.
    """
    rng = np.random.default_rng(step)
    trainer = []
    rows = []
    for _ in range(SEQUENCES):
        level = np.exp(rng.normal(0, 0.1))
        scores = -rng.gamma(2.0, 0.6, TOKENS)
        off = rng.laplace(0, size * level, TOKENS)
        trainer.append(scores)
        rows.append(np.minimum(scores + off, -1e-3))
    captures = [
        capture("trainer/prefill", trainer),
        capture("vllm/decode", rows, facts=facts or {}),
    ]
    minutes, seconds = divmod(step, 60)
    hours, minutes = divmod(minutes, 60)
    return write_session(
        folder / (name or f"step_{step}"),
        [PROMPT] * SEQUENCES,
        captures,
        per_part=SEQUENCES,
        id=f"made-{step}",
        model=ModelInfo(model, vocab_size=100),
        created=created or f"2026-01-01T{hours:02d}:{minutes:02d}:{seconds:02d}Z",
    )


def training(folder: Path, sizes: Sequence[float], **changes: Any) -> Path:
    """The sessions of the steps 0, 1, ... with these sizes."""
    for step, size in enumerate(sizes):
        step_session(folder, step, size, **changes)
    return folder


def recorded_steps(folder: Path, steps: int, first: int = 0, **limits: Any) -> Path:
    """A recording of the steps ``first``, ... before ``steps``, with a larger gap at
    each; of a folder that is there, more sequences of them. ``limits`` are those of
    `logdrift.record`.
    """
    rng = np.random.default_rng(first)
    with logdrift.record(folder, model="tiny", **limits) as recorder:
        for step in range(first, steps):
            prompts = rng.integers(0, 100, (4, 3))
            completions = rng.integers(0, 100, (4, 8 + step))
            trainer = -rng.gamma(2.0, 0.6, completions.shape).astype(np.float32)
            noise = rng.laplace(0, 0.02 * (1 + step), completions.shape)
            sides = {"trainer": trainer, "rollout": trainer - noise}
            recorder.add(
                prompts, completions, sides, step=step, versions=max(0, step - 1)
            )
    return folder


def few_steps(folder: Path) -> Path:
    """Three steps of a healthy training: too few to look for a change."""
    for step in range(3):
        step_session(folder, step, 0.02)
    return folder
