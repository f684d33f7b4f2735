"""Faults planted in real engines through the diagnosis, with the facts that the engines
show and without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.engines.faults import TRAINER, TRAINER32, EngineFault
from logdrift.core.errors import LogdriftError
from logdrift.core.planted.engines import FAULTS, STATES, session_of
from logdrift.core.planted.judge import JudgedSession, finite_mae, named_in, outcome
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
    for fault in _faults_of(engines):
        name = session_of(fault)
        session = opened.get(name)
        if session is None:
            if not _exists(folder / name):
                continue
            session = open_session(folder / name)
            opened[name] = session
        if _complete(session, fault):
            judged.append(_judged(session, fault, blind))
    return judged


def unfinished(folder: Path, engines: Sequence[str]) -> list[tuple[EngineFault, str]]:
    """Faults without complete captures, and why."""
    lacking = []
    for fault in _faults_of(engines):
        session_folder = folder / session_of(fault)
        why = _lacking(session_folder, fault)
        if why is not None:
            lacking.append((fault, why))
    return lacking


def _faults_of(engines: Sequence[str]) -> list[EngineFault]:
    return [fault for fault in FAULTS if fault.engine in engines]


def _exists(session_folder: Path) -> bool:
    manifest = session_folder / MANIFEST
    return manifest.exists()


def _labels(fault: EngineFault) -> tuple[str, str]:
    return f"{fault.against}/prefill", fault.label


def _complete(session: Session, fault: EngineFault) -> bool:
    status = {info.label: info.status for info in session.captures}
    trainer, engine = _labels(fault)
    both = (status.get(trainer), status.get(engine))
    return both == ("complete", "complete")


def _lacking(folder: Path, fault: EngineFault) -> str | None:
    not_captured = "not captured"
    if not _exists(folder):
        return not_captured
    try:
        session = open_session(folder)
    except LogdriftError as error:
        return str(error)
    labels = _labels(fault)
    for info in session.captures:
        if info.label not in labels or info.status == "complete":
            continue
        lines = info.failure_lines or [not_captured]
        return lines[0]
    return None


def _judged(session: Session, fault: EngineFault, blind: bool) -> JudgedSession:
    seen = session
    if blind:
        seen = _without(session, fault)
    pair = make_pair(seen, *_labels(fault))
    diagnosis = diagnose(seen, pair)
    mae = float(diagnosis.size["mae"] or 0.0)
    asked = _is_asked(session, fault, mae, blind=blind)
    named = named_in(diagnosis)
    stands = outcome(fault.causes, named, clean=fault.clean, asked=asked)
    return JudgedSession(
        fault=f"{fault.engine}: {fault.name}",
        background=_dtype(fault),
        blind=blind,
        outcome=stands,
        named=named,
        mae=mae,
        separable=fault.telling == "data",
        asked=asked,
    )


def _dtype(fault: EngineFault) -> str:
    """What the engine computes in when it has the fault."""
    states = STATES[fault.engine]
    return states[fault.state].dtype


def _is_asked(session: Session, fault: EngineFault, mae: float, *, blind: bool) -> bool:
    """Whether the diagnosis has to name the fault: what it is asked can show it."""
    if not blind:
        return fault.telling in ("data", "facts")
    if fault.telling != "data":
        return False
    first_cause = fault.causes[0]
    if first_cause in _PRECISION:
        return True
    return mae > _VISIBLE * _clean_mae(session, fault)


def _clean_mae(session: Session, fault: EngineFault) -> float:
    """MAE of the engine without a fault in that precision; 0 where the session has
    none.
    """
    state = "clean"
    trainer = TRAINER
    if _dtype(fault) == "float32":
        state = "float32"
        trainer = TRAINER32
    clean_trainer = f"{trainer}/prefill"
    clean_engine = f"{fault.engine}-{state}/prefill"
    captured = {info.label for info in session.captures}
    if clean_trainer not in captured or clean_engine not in captured:
        return 0.0
    pair = make_pair(session, clean_trainer, clean_engine)
    return finite_mae(pair)


def _without(session: Session, fault: EngineFault) -> Session:
    """The session without the facts that show the fault, unknown on both sides of the
    pair, and without its plan, which names every option and every folder of edited
    weights.
    """
    unknown: dict[str, Any] = dict.fromkeys(fault.facts)
    labels = _labels(fault)
    captures = []
    for info in session.captures:
        if info.label in labels and info.facts is not None:
            facts = info.facts._replace(**unknown)
            info = info._replace(facts=facts)
        captures.append(info)
    manifest = session.manifest._replace(captures=tuple(captures), plan={})
    return Session(session.folder, manifest)
