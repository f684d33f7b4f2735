"""Whole sessions, to be damaged."""

from __future__ import annotations

import json
import shutil
import socket
from dataclasses import asdict
from pathlib import Path

import numpy as np

import logdrift
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.session.identity import LoadedTensor, LoadedWeights, write_identity
from logdrift.core.session.layers import save_layers
from logdrift.core.session.writer import append_event
from tests.common import REPOSITORY, SAMPLE
from tests.made_answers import a_result
from tests.made_experiments import named, record_of, save_record, simple


def whole_sessions(folder: Path) -> dict[str, Path]:
    """A made one with all that is found out later, one that a trainer recorded, and
    the shipped samples.
    """
    return {
        "made": made_session(folder / "made"),
        "recorded": _recorded(folder / "recorded"),
        "sample": Path(shutil.copytree(SAMPLE, folder / "sample")),
        "facts": Path(
            shutil.copytree(
                REPOSITORY / "sessions" / "sample-temperature", folder / "facts"
            )
        ),
    }


def _recorded(folder: Path) -> Path:
    """Recorded by two processes of a trainer, joined when it is opened."""
    for process in range(2):
        random = np.random.default_rng(process)
        scores = random.normal(-2, 0.3, (4, 5)).astype(np.float32)
        with logdrift.record(folder, model="tiny") as recorder:
            recorder.add(
                random.integers(0, 100, (4, 3)),
                random.integers(0, 100, (4, 5)),
                {"trainer": scores, "rollout": scores - np.float32(0.01)},
            )
    return folder


def made_session(folder: Path) -> Path:
    """A small session with all that is found out later: an experiment, an identity
    check, layers, events, a log.
    """
    session, pair = simple(folder)
    experiment = next(iter(named(session, pair).values()))
    record = record_of(
        pair,
        Outcome(
            experiment,
            "explains",
            0.04,
            0.01,
            0.75,
            0.6,
            0.8,
            0.001,
            tokens=900,
            repeats=1,
        ),
    )
    own = save_record(
        session, experiment.id, {**record, "repeats": 1, "began": 1.0, "ended": 2.0}
    )
    simple(own / "x")
    for entry in (own / "x").iterdir():
        entry.rename(own / entry.name)
    tensors = (
        LoadedTensor("a", True, "digest", dtype="bfloat16", shape=(2, 3)),
        LoadedTensor("b", reason="packed"),
    )
    weights = LoadedWeights(
        "vllm",
        "vllm",
        tensors,
        config_differs=(("rope_theta", 1.0, 2.0),),
        extra=("c",),
    )
    write_identity(folder, asdict(weights))
    layers = a_result()
    save_layers(
        folder,
        layers.name,
        layers.to_json(),
        {"errors/vllm": np.ones((2, 3), np.float32)},
    )
    for event in (
        {
            "t": 1.0,
            "type": "backend",
            "backend": "vllm",
            "engine": "vllm",
            "python": "python",
        },
        {"t": 2.0, "type": "facts", "backend": "vllm", "version": "1", "device": "cpu"},
        {
            "t": 3.0,
            "type": "captured",
            "label": "vllm/prefill",
            "sequences": 24,
            "tokens": 960,
        },
    ):
        append_event(folder, event)
    append_event(
        own.parent, {"t": 1.0, "type": "plan", "pair": ["a", "b"], "budget": 1.0}
    )
    (folder / "logs").mkdir()
    (folder / "logs" / "vllm.log").write_text("started\n")
    holder = {
        "host": socket.gethostname(),
        "pid": 1 << 30,
        "started": 1,
        "token": "x",
        "since": 1.0,
    }
    (folder / "lock").write_text(json.dumps(holder))
    return folder
