"""Sessions with a plan, for which experiments are proposed, and what earlier
experiments left in them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.experiments import Experiment, propose
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.plan import BackendSpec, CapturePlan
from logdrift.core.session.experiments import FOLDER, RECORD
from logdrift.core.session.files import sealed
from logdrift.core.session.reader import Session
from tests.common import Fields
from tests.made_sessions import capture, captured_here, edit_manifest, write_session

PROMPTS = 24
LENGTH = 40


def rows(seed: int, spread: float, base: np.ndarray | None = None) -> list[np.ndarray]:
    """One row of log-probabilities for each sequence: ``base``, or some, with noise of
    ``spread`` nats on it.
    """
    random = np.random.default_rng(seed)
    values = (
        -np.abs(np.random.default_rng(0).normal(2.0, 1.0, (PROMPTS, LENGTH)))
        if base is None
        else base
    )
    out = values + random.normal(0.0, spread, (PROMPTS, LENGTH))
    out[:, 0] = np.nan
    return list(np.minimum(out, 0.0))


def session_of(
    folder: Path, captures: list[Any], options: dict[str, Fields] | None = None
) -> Session:
    """A session with a plan whose backends are those of the captures."""
    specs: dict[str, BackendSpec] = {}
    for info, _ in captures:
        paths = (
            (*specs[info.backend].paths, info.path)
            if info.backend in specs
            else (info.path,)
        )
        specs[info.backend] = BackendSpec(
            info.backend,
            info.engine,
            "bfloat16",
            paths=tuple(dict.fromkeys(paths)),
            options=(options or {}).get(info.backend, {}),
        )
    plan = {
        **CapturePlan("made", tuple(specs.values())).to_json(),
        "max_length": LENGTH,
    }
    return write_session(folder, [4] * PROMPTS, captures, plan=plan, per_part=8)


def simple(
    folder: Path, facts: Fields | None = None, path: str = "prefill"
) -> tuple[Session, Pair]:
    session = session_of(
        folder,
        [
            capture("trainer/prefill", rows(1, 0.03)),
            capture(f"vllm/{path}", rows(2, 0.03), facts=facts or {}),
        ],
    )
    return session, make_pair(session, "trainer/prefill", f"vllm/{path}")


def processed(folder: Path) -> tuple[Session, Pair]:
    """A trainer against vLLM's decode steps, whose log-probabilities are the sampler's:
    recorded so, and configured so.
    """
    told = {"decode_logprobs": "processed", "temperature": 0.6}
    base = np.array(rows(1, 0.0))
    sampled = rows(2, 0.3, base)
    session = session_of(
        folder,
        [
            capture("trainer/prefill", list(base)),
            capture("vllm/decode", sampled, facts=told),
        ],
        {"vllm": {"logprobs_mode": "processed_logprobs"}},
    )
    return session, make_pair(session, "trainer/prefill", "vllm/decode")


def named(session: Session, pair: Pair, **more: Any) -> dict[str, Experiment]:
    found = propose(session, pair, diagnose(session, pair), **more).experiments
    return {each.title: each for each in found}


def record_of(pair: Pair, outcome: Outcome) -> Fields:
    """``experiment.json`` of an experiment with its outcome."""
    labels = [pair.a.info.label, pair.b.info.label]
    return {
        "schema": 1,
        "pair": labels,
        "experiment": outcome.experiment.to_json(),
        "outcome": outcome.to_json(),
    }


def save_record(session: Session, name: str, record: Any) -> Path:
    """Write a record as the experiment ``name`` of a session, without a digest as older
    versions did where it is no object; the experiment's folder.
    """
    folder = session.folder / FOLDER / name
    folder.mkdir(parents=True)
    content = json.dumps(record).encode()
    if isinstance(record, dict):
        content = sealed(record)
    (folder / RECORD).write_bytes(content)
    return folder


def with_python(session: Session, python: str) -> Session:
    """The session with another interpreter for all its backends."""

    def change(data: Fields) -> None:
        for backend in data["plan"]["backends"]:
            backend["python"] = python

    changed = edit_manifest(session, change)
    captured_here(changed.folder)
    return changed


def waiting(folder: Path) -> str:
    """An interpreter in ``folder`` that waits for ever; ``workers`` beside it lists the
    processes.
    """
    waits = folder / "waits"
    waits.write_text(
        '#!/bin/sh\necho $$ >> "$(dirname "$0")/workers"\nexec sleep 600\n'
    )
    waits.chmod(0o755)
    return str(waits)
