"""Planted sessions through the diagnosis: what was named first, second, missed, or
named where nothing was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.diagnose import Diagnosis, diagnose
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import LIKELY
from logdrift.core.planted.faults import BY_NAME, CLEAN, Fault
from logdrift.core.session.layout import MANIFEST, CaptureInfo
from logdrift.core.session.reader import Session, open_session

PlantedOutcome = Literal[
    "first", "second", "missed", "clean", "false alarm", "not detectable", "guessed"
]
TRAINER = "trainer/prefill"
ROLLOUT = "rollout/prefill"
_ABOVE = 1.5
"""A fault must move more than this many times what two correct runs differ by to be
asked for: it then makes its side 1.6 times as far from the reference as the other
(`logdrift.core.diagnose.noise`).
"""


class NamedCause(NamedTuple):
    """A cause that the diagnosis lists, with its score to three decimals."""

    cause: str
    score: float


@dataclass(frozen=True)
class JudgedSession:
    """One planted session. ``blind``: the facts that would give the fault away were
    taken out first. ``asked``: the fault moves enough to be asked for, whatever was
    named; only such faults are counted.
    """

    fault: str
    background: str
    blind: bool
    outcome: PlantedOutcome
    named: tuple[NamedCause, ...]
    mae: float
    separable: bool
    asked: bool


def blinded(session: Session, fault: Fault, reference: bool = True) -> Session:
    """The session without the facts that show this fault, unknown on both sides;
    without the reference where asked.
    """
    hidden = [name for name in fault.facts if name != "ids_digest"]
    unknown: dict[str, Any] = dict.fromkeys(hidden)
    captures = []
    for info in session.captures:
        if info.role != "reference":
            captures.append(_without_facts(info, unknown))
        elif reference:
            captures.append(info)
    manifest = session.manifest._replace(captures=tuple(captures))
    return Session(session.folder, manifest)


def _without_facts(info: CaptureInfo, unknown: Mapping[str, Any]) -> CaptureInfo:
    """A capture with these facts, and with no digest of the ids that were sent."""
    assert info.facts is not None
    facts = info.facts._replace(**unknown)
    parts = [part._replace(ids_digest=None) for part in info.parts]
    return info._replace(facts=facts, parts=tuple(parts))


def diagnosis_of(session: Session, *, swapped: bool = False) -> Diagnosis:
    """Trainer -> rollout, or the other way round."""
    first = TRAINER
    second = ROLLOUT
    if swapped:
        first = ROLLOUT
        second = TRAINER
    pair = make_pair(session, first, second)
    return diagnose(session, pair)


def named_in(diagnosis: Diagnosis) -> tuple[NamedCause, ...]:
    """The first three causes with their scores."""
    named = []
    for ranked in diagnosis.causes[:3]:
        score = round(ranked.score, 3)
        named.append(NamedCause(cause=ranked.cause, score=score))
    return tuple(named)


def named_json(named: Iterable[NamedCause]) -> list[dict[str, Any]]:
    """JSON-ready: ``[{"cause": ..., "score": ...}]``."""
    return [ranked._asdict() for ranked in named]


def outcome(
    causes: tuple[str, ...],
    named: tuple[NamedCause, ...],
    *,
    clean: bool,
    asked: bool,
) -> PlantedOutcome:
    """Where the right cause stands. Of a fault that cannot be seen, a wrong cause is a
    guess where it is called likely.
    """
    codes = [ranked.cause for ranked in named]
    first = codes[0] if codes else ""
    if clean:
        if first in ("", NOISE):
            return "clean"
        return "false alarm"
    if not asked:
        return _of_unseen(causes, named, first)
    right = causes[0]
    if first == right:
        return "first"
    if right in codes[:2] or first in causes:
        return "second"
    return "missed"


def _of_unseen(
    causes: tuple[str, ...], named: tuple[NamedCause, ...], first: str
) -> PlantedOutcome:
    """Where the right cause of a fault that moves too little to be asked for stands."""
    if first in causes:
        return "first"
    if first in ("", NOISE) or named[0].score < LIKELY:
        return "not detectable"
    return "guessed"


class PlantedSession(NamedTuple):
    """A session in which a fault was planted, on a clean ``background``."""

    path: Path
    background: str
    fault: Fault


def planted_sessions(folder: Path) -> Iterator[PlantedSession]:
    """The sessions of a folder with a planted fault, by name."""
    for path in sorted(folder.glob("*-*")):
        background, _, name = path.name.partition("-")
        fault = BY_NAME.get(name)
        manifest = path / MANIFEST
        if fault is not None and manifest.exists():
            yield PlantedSession(path, background, fault)


def judge_folder(
    folder: Path, *, blind: bool, reference: bool = True, swapped: bool = False
) -> list[JudgedSession]:
    """Every planted session of one model. A fault that moves less than clean noise does
    counts as not detectable.
    """
    effects = _effects(folder)
    judged = []
    for path, background, fault in planted_sessions(folder):
        noise = _clean_mae(folder, background)
        moves_enough = effects.get(fault.name, 1.0) > _ABOVE * noise
        asked = fault.telling != "none" and moves_enough
        session = open_session(path)
        if blind:
            session = blinded(session, fault, reference)
        diagnosis = diagnosis_of(session, swapped=swapped)
        row = _judged(fault, background, diagnosis, blind=blind, asked=asked)
        judged.append(row)
    return judged


def _effects(folder: Path) -> dict[str, float]:
    """Fault -> the MAE that it makes in float32, in nats."""
    background = "float32-"
    effects = {}
    for path in sorted(folder.glob(f"{background}*")):
        fault = path.name.removeprefix(background)
        effects[fault] = _mae(path)
    return effects


def _judged(
    fault: Fault, background: str, diagnosis: Diagnosis, *, blind: bool, asked: bool
) -> JudgedSession:
    named = named_in(diagnosis)
    is_clean = fault.name in CLEAN
    return JudgedSession(
        fault=fault.name,
        background=background,
        blind=blind,
        outcome=outcome(fault.causes, named, clean=is_clean, asked=asked),
        named=named,
        mae=float(diagnosis.size["mae"] or 0.0),
        separable=fault.telling == "data",
        asked=asked,
    )


def _clean_mae(folder: Path, background: str) -> float:
    """The MAE of the clean pair of a background in nats; 0 where there is none."""
    clean = folder / f"{background}-clean"
    if not clean.exists():
        return 0.0
    return _mae(clean)


def _mae(path: Path) -> float:
    """The MAE of trainer against rollout in nats; 0 without a scored token."""
    session = open_session(path)
    pair = make_pair(session, TRAINER, ROLLOUT)
    return finite_mae(pair)


def finite_mae(pair: Pair) -> float:
    """The MAE of a pair over the tokens of finite delta, in nats; 0 without one."""
    delta = pair.delta[pair.scored]
    finite = delta[np.isfinite(delta)]
    if not len(finite):
        return 0.0
    sizes = np.abs(finite)
    return float(sizes.mean(dtype=np.float64))


def totals(judged: Iterable[JudgedSession]) -> dict[str, Any]:
    """Counts over separable faults that can be seen, and over controls."""
    rows = list(judged)
    by_outcome = Counter(row.outcome for row in rows)
    seen = [row for row in rows if _counts(row)]
    of_seen = Counter(row.outcome for row in seen)
    clean = by_outcome["clean"]
    false_alarms = by_outcome["false alarm"]
    return {
        "faults": len(seen),
        "first": of_seen["first"],
        "second": of_seen["second"],
        "missed": of_seen["missed"],
        "controls": clean + false_alarms,
        "false alarms": false_alarms,
        "guessed": by_outcome["guessed"],
    }


def _counts(row: JudgedSession) -> bool:
    """A fault that must be named: it moves enough, and what is asked can show it."""
    is_control = row.outcome in ("clean", "false alarm")
    can_be_named = row.separable or not row.blind
    return row.asked and can_be_named and not is_control
