"""Sessions for the faults that real engines can be made to show
(`logdrift.core.engines.faults`), as ordinary captures.

One session for each engine, ``given-ENGINE``, holds the same ids scored by Transformers
(float32 and bfloat16) and by the engine as often as there are faults, each time started
with one thing changed. What only sampling shows (temperature, top-p, penalties in the
log-probabilities) has a session of its own, whose sequences the engine samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logdrift.core import engines as engine_table
from logdrift.core.engines import ENGINES
from logdrift.core.engines.faults import (
    REFERENCE,
    TRAINER,
    TRAINER32,
    EngineFault,
    EngineState,
)
from logdrift.core.plan import BackendSpec, CapturePlan, SamplingSpec

STATES: dict[str, Mapping[str, EngineState]] = {
    engine.name: engine.states for engine in ENGINES.values() if engine.states
}
FAULTS: tuple[EngineFault, ...] = tuple(
    fault for engine in ENGINES.values() for fault in engine.faults
)
SAMPLING: dict[str, SamplingSpec] = {
    "temperature": SamplingSpec(temperature=0.7, max_tokens=64, seed=7),
    "top-p": SamplingSpec(top_p=0.8, max_tokens=64, seed=7),
    "penalty": SamplingSpec(repetition_penalty=1.1, max_tokens=64, seed=7),
}
_BESIDE_SECONDS = 15.0
"""Seconds that a backend beside the engine takes, on two cores."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One session: ``name`` of its folder, its plan, and roughly how long it takes."""

    name: str
    plan: CapturePlan
    seconds: float


def edits(engines: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Folder name -> (fault, size) of the edited weights that the faults of ``engines``
    need.
    """
    return {
        name: state.weights
        for engine in engines
        for name, state in STATES[engine].items()
        if state.weights is not None
    }


def sessions(
    engines: Sequence[str],
    model: str,
    ids: Sequence[Sequence[int]],
    prompt: int,
    folder: Path,
) -> list[Planned]:
    """The sessions of all faults of ``engines`` on ``ids``, of which the first
    ``prompt`` are prompts. Prompt files and edited weights lie in ``folder``.
    """
    sequences = []
    prompts = []
    for row in ids:
        token_ids = [int(token) for token in row]
        sequences.append({"token_ids": token_ids, "prompt_length": prompt})
        prompts.append({"token_ids": token_ids[:prompt]})
    sequences_file = _write(folder / "given.jsonl", sequences)
    prompts_file = _write(folder / "prompts.jsonl", prompts)

    by_session: dict[str, list[EngineFault]] = {}
    for fault in FAULTS:
        if fault.engine in engines:
            by_session.setdefault(session_of(fault), []).append(fault)

    planned = []
    for name, faults in by_session.items():
        sampling = SAMPLING.get(faults[0].session)
        sampled = sampling is not None
        backends = (*_beside(faults), *_started(faults, sampled, folder))
        plan = CapturePlan(
            model,
            backends,
            prompts_file=str(prompts_file if sampled else sequences_file),
            sampling=sampling or SamplingSpec(),
            title=f"planted: {name}",
            part_sequences=16,
        )
        planned.append(Planned(name, plan, _seconds(faults)))
    return planned


def session_of(fault: EngineFault) -> str:
    """Folder name of the session that has the fault."""
    return f"{fault.session}-{fault.engine}"


def _beside(faults: Sequence[EngineFault]) -> list[BackendSpec]:
    """The backends that an engine's faults are compared with."""
    engine = engine_table.TRAINER
    paths = ("prefill",)
    specs = [
        BackendSpec(REFERENCE, engine, "float32", "reference", paths),
        BackendSpec(TRAINER, engine, "bfloat16", "trainer", paths),
    ]
    if any(fault.against == TRAINER32 for fault in faults):
        specs.append(BackendSpec(TRAINER32, engine, "float32", "trainer", paths))
    return specs


@dataclass(frozen=True, slots=True)
class _EngineStart:
    """An engine, and the name of the state that it is started in."""

    engine: str
    name: str

    @property
    def state(self) -> EngineState:
        return STATES[self.engine][self.name]


def _starts(faults: Sequence[EngineFault]) -> list[_EngineStart]:
    """Each start that these faults need, once."""
    starts = [_EngineStart(fault.engine, fault.state) for fault in faults]
    return list(dict.fromkeys(starts))


def _started(
    faults: Sequence[EngineFault], sampled: bool, folder: Path
) -> Iterator[BackendSpec]:
    """The engine once for each way in which these faults start it."""
    for start in _starts(faults):
        edited = None
        if start.state.weights is not None:
            edited = str(folder / "weights" / start.name)
        yield BackendSpec(
            name=f"{start.engine}-{start.name}",
            engine=start.engine,
            dtype=start.state.dtype,
            role="rollout",
            paths=("decode",) if sampled else ("prefill",),
            model=edited,
            options=start.state.options,
        )


def _seconds(faults: Sequence[EngineFault]) -> float:
    """About how long a session takes, on two cores."""
    seconds = sum(start.state.seconds for start in _starts(faults))
    return _BESIDE_SECONDS * len(_beside(faults)) + seconds


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(lines, encoding="utf-8")
    return path
