"""Faults planted in real engines through the diagnosis, with the facts that the engines
show and without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.engines.faults import TRAINER, TRAINER32, EngineFault
from logdrift.core.errors import LogdriftError
from logdrift.core.planted.engines import FAULTS, STATES, session_of
from logdrift.core.planted.judge import JudgedSession, named_in, outcome
from logdrift.core.session.layout import MANIFEST
from logdrift.core.session.reader import Session, open_session

_VISIBLE = 1.8
"""A fault is asked for, blind, where the pair differs by this many times what the clean
pair of that precision does: effect and noise are independent, and sqrt(1.5**2 + 1) is
1.8 (`logdrift.core.planted.judge`).
"""
_PRECISION = ("compute_dtype", "head_dtype")
"""Causes that show in the values themselves, however little they move."""


def judge_engines(
    folder: Path, engines: Sequence[str], *, blind: bool
) -> list[JudgedSession]:
    """Every fault of ``engines`` whose captures are complete, in the order of `FAULTS`;
    ``blind``: without the facts that give it away.
    """
    judged = []
    opened: dict[str, Session] = {}
    for fault in FAULTS:
        if fault.engine not in engines:
            continue
        name = session_of(fault)
        if name not in opened and (folder / name / MANIFEST).exists():
            opened[name] = open_session(folder / name)
        if name in opened and _complete(opened[name], fault):
            judged.append(_judged(opened[name], fault, blind))
    return judged


def unfinished(folder: Path, engines: Sequence[str]) -> list[tuple[EngineFault, str]]:
    """Faults without complete captures, and why."""
    lacking = []
    for fault in FAULTS:
        if fault.engine in engines:
            why = _lacking(folder / session_of(fault), fault)
            if why is not None:
                lacking.append((fault, why))
    return lacking


def _labels(fault: EngineFault) -> tuple[str, str]:
    return f"{fault.against}/prefill", fault.label


def _complete(session: Session, fault: EngineFault) -> bool:
    states = {info.label: info.status for info in session.captures}
    return all(states.get(label) == "complete" for label in _labels(fault))


def _lacking(folder: Path, fault: EngineFault) -> str | None:
    if not (folder / MANIFEST).exists():
        return "not captured"
    try:
        session = open_session(folder)
    except LogdriftError as error:
        return str(error)
    for info in session.captures:
        if info.label in _labels(fault) and info.status != "complete":
            return (info.failure_lines or ["not captured"])[0]
    return None


def _judged(session: Session, fault: EngineFault, blind: bool) -> JudgedSession:
    seen = _without(session, fault) if blind else session
    diagnosis = diagnose(seen, make_pair(seen, *_labels(fault)))
    mae = float(diagnosis.size["mae"] or 0.0)
    asked = fault.telling == "data" or (fault.telling == "facts" and not blind)
    if blind and asked and fault.causes[0] not in _PRECISION:
        asked = mae > _VISIBLE * _clean(session, fault)
    named = named_in(diagnosis)
    stands = outcome(fault.causes, named, clean=fault.clean, asked=asked)
    background = STATES[fault.engine][fault.state].dtype
    return JudgedSession(
        fault=f"{fault.engine}: {fault.name}",
        background=background,
        blind=blind,
        outcome=stands,
        named=named,
        mae=mae,
        separable=fault.telling == "data",
        asked=asked,
    )


def _clean(session: Session, fault: EngineFault) -> float:
    """MAE of the engine without a fault in that precision; 0 where the session has
    none.
    """
    state = "clean"
    trainer = TRAINER
    if STATES[fault.engine][fault.state].dtype == "float32":
        state = "float32"
        trainer = TRAINER32
    clean_trainer = f"{trainer}/prefill"
    clean_engine = f"{fault.engine}-{state}/prefill"
    captured = {info.label for info in session.captures}
    if clean_trainer not in captured or clean_engine not in captured:
        return 0.0
    pair = make_pair(session, clean_trainer, clean_engine)
    delta = pair.delta[pair.scored]
    sizes = np.abs(delta[np.isfinite(delta)])
    if len(sizes):
        return float(sizes.mean(dtype=np.float64))
    return 0.0


def _without(session: Session, fault: EngineFault) -> Session:
    """The session without the facts that tell the fault, unknown on both sides of the
    pair, and without its plan, which names every option and every folder of edited
    weights.
    """
    unknown: dict[str, Any] = dict.fromkeys(fault.facts)
    captures = []
    for info in session.captures:
        if info.label in _labels(fault) and info.facts is not None:
            info = replace(info, facts=replace(info.facts, **unknown))
        captures.append(info)
    manifest = replace(session.manifest, captures=tuple(captures), plan={})
    return Session(session.folder, manifest)
