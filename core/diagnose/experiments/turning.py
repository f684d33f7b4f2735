"""Knobs turned on a side: what is turned together, and what cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.causes import Cause
from logdrift.core.diagnose.experiments.changes import merged
from logdrift.core.diagnose.experiments.experiment import ChangedSide
from logdrift.core.diagnose.knobs import SideState, impossible
from logdrift.core.engines import ENGINES
from logdrift.core.engines.knobs import Knob
from logdrift.core.facts import Batch
from logdrift.core.session.reader import Session


@dataclass(frozen=True, slots=True)
class Scene:
    """Where experiments are looked for: the pair with the states of its sides, and how
    many GPUs the machine has.
    """

    session: Session
    pair: Pair
    states: tuple[SideState, SideState]
    gpus: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One knob on one side."""

    state: SideState
    knob: Knob


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a backend cannot be captured with a knob turned."""

    reason: str


def turns_of(cause: Cause, states: Sequence[SideState]) -> Iterator[list[Turn]]:
    """What is turned together: the first knob for both sides of each engine at once,
    every other one by itself.
    """
    together: dict[str, list[Turn]] = {}
    for state in states:
        if state.is_fixed:
            continue
        for knob in cause.knobs.get(state.info.engine, ()):
            if not knob.run:
                continue
            turn = Turn(state, knob)
            if not knob.both:
                yield [turn]
                continue
            key = cause.code
            if key == "compute_dtype":
                key = knob.setting
            together.setdefault(key, []).append(turn)
    yield from together.values()


def turned(scene: Scene, turn: Turn) -> ChangedSide | Refusal:
    """The side with the knob turned, or why its backend cannot be captured so."""
    state = turn.state
    knob = turn.knob
    reason = impossible(state, knob, scene.gpus)
    if reason is not None:
        return Refusal(reason)
    engine = state.info.engine
    own_path = state.info.path
    wanted_path = knob.change.get("path", own_path)
    path = _path_again(wanted_path, engine)
    if path is None:
        return Refusal(f"{engine} cannot go the path {own_path} along given ids")
    side = _changed(scene.session, turn, path)
    if side.given is not None:
        return side
    _, options = merged(state.options, side.changes)
    refusal = ENGINES[engine].refusal(path, options)
    if refusal:
        return Refusal(refusal)
    return side


def _path_again(path: str, engine: str) -> str | None:
    """The path along which given ids can be scored again; None where that is prefill
    standing for decode steps.

    A prefill in place of decode would change two things at once wherever the path
    matters, so it is only taken where the path itself is the knob, or where an engine
    has no other way (said in the experiment's note).
    """
    paths = ENGINES[engine].paths
    if path == "decode":
        path = "forced_decode" if "forced_decode" in paths else "prefill"
    if path in paths:
        return path
    return None


def _changed(session: Session, turn: Turn, path: str) -> ChangedSide:
    """The side with its knob turned, along ``path``; a capture that the session has
    already is taken where the knob is the path or the batch alone.
    """
    info = turn.state.info
    changes = turn.knob.change
    batch: Batch = info.batch
    if "alone" in changes:
        batch = "alone" if changes["alone"] else "together"
    side = ChangedSide(
        which=turn.state.which,
        label=info.label,
        backend=info.backend,
        engine=info.engine,
        path=path,
        batch=batch,
        changes=changes,
        given=None,
    )
    if set(changes) <= {"path", "alone"}:
        return _with_capture(session, side)
    return side


def _with_capture(session: Session, side: ChangedSide) -> ChangedSide:
    """``side`` with the session's own capture of it, where there is a complete one."""
    key = (side.backend, side.path, side.batch, 1)
    for info in session.captures:
        if info.label == side.label or info.status != "complete":
            continue
        if (info.backend, info.path, info.batch, info.repeat) == key:
            return replace(side, given=info.label)
    return side
