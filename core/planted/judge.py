"""Planted sessions through the diagnosis: what was named first, second, missed, or
named where nothing was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import Diagnosis, diagnose
from logdrift.core.planted.faults import BY_NAME, CLEAN, Fault
from logdrift.core.session.reader import Session, open_session

Outcome = Literal[
    "first", "second", "missed", "clean", "false alarm", "not detectable", "guessed"
]
NOISE = "noise"
_CLAIMED = 0.5
_ABOVE = 1.5
"""A fault must move more than this many times what two correct runs differ by to be
asked for: it then makes its side 1.6 times as far from the reference as the other
(`logdrift.core.diagnose.noise`).
"""


@dataclass(frozen=True)
class JudgedSession:
    """One planted session. ``blind``: the facts that would give the fault away were
    taken out first. ``asked``: the fault moves enough to be asked for, whatever was
    named; only such faults are counted.
    """

    fault: str
    background: str
    blind: bool
    outcome: Outcome
    named: tuple[tuple[str, float], ...]
    mae: float
    separable: bool
    asked: bool


def blinded(session: Session, fault: Fault, reference: bool = True) -> Session:
    """The session without the facts that tell this fault, unknown on both sides;
    without the reference where asked.
    """
    names = {name for name in fault.facts if name != "ids_digest"}
    captures = []
    for info in session.captures:
        if info.role == "reference":
            if reference:
                captures.append(info)
            continue
        assert info.facts is not None
        unknown: dict[str, Any] = dict.fromkeys(names)
        facts = replace(info.facts, **unknown)
        parts = tuple(replace(part, ids_digest=None) for part in info.parts)
        captures.append(replace(info, facts=facts, parts=parts))
    return Session(session.folder, replace(session.manifest, captures=tuple(captures)))


def diagnosis_of(session: Session, *, swapped: bool = False) -> Diagnosis:
    """Trainer -> rollout, or the other way round."""
    labels = (
        ("rollout/prefill", "trainer/prefill")
        if swapped
        else ("trainer/prefill", "rollout/prefill")
    )
    return diagnose(session, make_pair(session, *labels))


def named_in(found: Diagnosis) -> tuple[tuple[str, float], ...]:
    """The first three causes with their scores."""
    return tuple((each.cause, round(each.score, 3)) for each in found.causes[:3])


def outcome(
    causes: tuple[str, ...],
    named: tuple[tuple[str, float], ...],
    *,
    clean: bool,
    asked: bool,
) -> Outcome:
    """Where the right cause stands. Of a fault that cannot be seen, a wrong cause is a
    guess where it is called likely.
    """
    codes = [code for code, _ in named]
    if clean or not asked:
        quiet = not codes or codes[0] == NOISE
        if clean:
            return "clean" if quiet else "false alarm"
        if codes and codes[0] in causes:
            return "first"
        return "not detectable" if quiet or named[0][1] < _CLAIMED else "guessed"
    if codes and codes[0] == causes[0]:
        return "first"
    return (
        "second"
        if causes[0] in codes[:2] or (codes and codes[0] in causes)
        else "missed"
    )


def judge_folder(
    folder: Path, *, blind: bool, reference: bool = True, swapped: bool = False
) -> list[JudgedSession]:
    """Every planted session of one model. A fault that moves less than clean noise does
    counts as not detectable.
    """
    out = []
    effects = {
        p.name.partition("-")[2]: _mae(p) for p in sorted(folder.glob("float32-*"))
    }
    for path in sorted(folder.glob("*-*")):
        background, _, name = path.name.partition("-")
        if name not in BY_NAME or not (path / "session.json").exists():
            continue
        fault = BY_NAME[name]
        session = open_session(path)
        clean = folder / f"{background}-clean"
        noise = _mae(clean) if clean.exists() else 0.0
        session = blinded(session, fault, reference) if blind else session
        found = diagnosis_of(session, swapped=swapped)
        named = named_in(found)
        detectable = fault.telling != "none" and effects.get(name, 1.0) > _ABOVE * noise
        told = outcome(fault.causes, named, clean=name in CLEAN, asked=detectable)
        out.append(
            JudgedSession(
                name,
                background,
                blind,
                told,
                named,
                float(found.size["mae"] or 0.0),
                fault.telling == "data",
                detectable,
            )
        )
    return out


def _mae(path: Path) -> float:
    import numpy as np

    session = open_session(path)
    pair = make_pair(session, "trainer/prefill", "rollout/prefill")
    delta = pair.delta[pair.scored]
    delta = delta[np.isfinite(delta)]
    return float(np.abs(delta).mean(dtype=np.float64)) if len(delta) else 0.0


def totals(judged: Iterable[JudgedSession]) -> dict[str, Any]:
    """Counts over separable faults that can be seen, and over controls."""
    rows = list(judged)
    controls = [r for r in rows if r.outcome in ("clean", "false alarm")]
    seen = [
        r
        for r in rows
        if r not in controls and r.asked and (r.separable or not r.blind)
    ]
    count = {
        name: sum(r.outcome == name for r in seen)
        for name in ("first", "second", "missed")
    }
    return {
        "faults": len(seen),
        **count,
        "controls": len(controls),
        "false alarms": sum(r.outcome == "false alarm" for r in controls),
        "guessed": sum(r.outcome == "guessed" for r in rows),
    }
