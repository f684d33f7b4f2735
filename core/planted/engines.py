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
from logdrift.core.plan.backend import Role

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
WeightEdit = tuple[str, float]
"""A fault of the weights, and its size."""
_BESIDE_SECONDS = 15.0
"""Seconds that a backend beside the engine takes, on two cores."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One session: ``name`` of its folder, its plan, and roughly how long it takes."""

    name: str
    plan: CapturePlan
    seconds: float


def edits(engines: Sequence[str]) -> dict[str, WeightEdit]:
    """The edited weights that the faults of ``engines`` need, by the name of their
    folder.
    """
    needed = {}
    for engine in engines:
        for name, state in STATES[engine].items():
            if state.weights is not None:
                needed[name] = state.weights
    return needed


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
        prompt_ids = token_ids[:prompt]
        sequences.append({"token_ids": token_ids, "prompt_length": prompt})
        prompts.append({"token_ids": prompt_ids})
    sequences_file = _write(folder / "given.jsonl", sequences)
    prompts_file = _write(folder / "prompts.jsonl", prompts)

    planned = []
    for name, faults in _by_session(engines).items():
        sampling = SAMPLING.get(faults[0].session)
        is_sampled = sampling is not None
        started = _started(faults, is_sampled, folder)
        plan = CapturePlan(
            model,
            (*_beside(faults), *started),
            prompts_file=str(prompts_file if is_sampled else sequences_file),
            sampling=sampling or SamplingSpec(),
            title=f"planted: {name}",
            part_sequences=16,
        )
        planned.append(Planned(name, plan, _seconds(faults)))
    return planned


def _by_session(engines: Sequence[str]) -> dict[str, list[EngineFault]]:
    """The faults of ``engines`` by the name of the session that has them."""
    by_session: dict[str, list[EngineFault]] = {}
    for fault in FAULTS:
        if fault.engine in engines:
            of_session = by_session.setdefault(session_of(fault), [])
            of_session.append(fault)
    return by_session


def session_of(fault: EngineFault) -> str:
    """Folder name of the session that has the fault."""
    return f"{fault.session}-{fault.engine}"


def _beside(faults: Sequence[EngineFault]) -> list[BackendSpec]:
    """The backends that an engine's faults are compared with."""
    specs = [
        _beside_engine(REFERENCE, "float32", "reference"),
        _beside_engine(TRAINER, "bfloat16", "trainer"),
    ]
    compared_with = {fault.against for fault in faults}
    if TRAINER32 in compared_with:
        specs.append(_beside_engine(TRAINER32, "float32", "trainer"))
    return specs


def _beside_engine(name: str, dtype: str, role: Role) -> BackendSpec:
    return BackendSpec(
        name=name,
        engine=engine_table.TRAINER,
        dtype=dtype,
        role=role,
        paths=("prefill",),
    )


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
    beside = _BESIDE_SECONDS * len(_beside(faults))
    started = sum(start.state.seconds for start in _starts(faults))
    return beside + started


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path
