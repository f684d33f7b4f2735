"""Which experiments mean something for a pair, most telling first for their cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.causes import CAUSES, NOISE, Cause
from logdrift.core.diagnose.diagnosis import Diagnosis
from logdrift.core.diagnose.experiments.choose import deciding
from logdrift.core.diagnose.experiments.experiment import (
    EVERY_OPTION,
    ChangedSide,
    Experiment,
    LeftOut,
    Proposal,
)
from logdrift.core.diagnose.experiments.turning import (
    Refusal,
    Scene,
    Turn,
    turned,
    turns_of,
)
from logdrift.core.diagnose.knobs import SideState, needless, pointless, state_of
from logdrift.core.engines.knobs import Knob
from logdrift.core.session.reader import Session

_OF_NOISE = {
    "compute_dtype": 0.95,
    "head_dtype": 0.5,
    "norm_rope": 0.35,
    "compile": 0.3,
    "attention": 0.3,
    "decode_path": 0.2,
    "batch": 0.15,
    "graphs": 0.1,
    "chunked_prefill": 0.05,
    "prefix_cache": 0.05,
}
"""What share of ordinary rounding noise a knob may remove: an order for asking, not a
measurement.
"""
_LEAST = 0.02
"""How telling a change is for a cause that nothing speaks for. By judgement."""
_STILL = 0.1
"""What is left for a change that may move no number. By judgement."""
_MINUTE = 60.0
"""Seconds that halve what a change is worth; one of unknown cost counts as two of
them. By judgement.
"""
_NO_GAP = (
    "no token has a finite score on both sides, so there is no gap that a change could"
    " remove"
)
_REPEATED = "both are one capture, repeated, so no option is between them"
_IMPORTED = (
    "it was imported and cannot be captured again: let an engine score its token ids"
    " (logdrift capture --into SESSION), and ask of that one"
)
_SERVED = (
    "it is a running server, which is never changed: start it with another option"
    " yourself and capture again"
)


def propose(
    session: Session,
    pair: Pair,
    diagnosis: Diagnosis,
    times: Mapping[str, tuple[float, float]] | None = None,
    *,
    gpus: int = 0,
    repeats: int = 2,
) -> Proposal:
    """What is worth changing to explain this pair, most telling first for its cost.

    ``times`` are (seconds to start, to capture) by label, as
    `logdrift.core.session.experiments.timings` finds them, ``gpus`` how many the
    machine has, ``repeats`` how often each changed capture is made. Nothing is proposed
    for imported captures, whose engine cannot be started again, nor where there is no
    gap that a change could remove.
    """
    state_a = state_of(session, "a", pair.a.info)
    state_b = state_of(session, "b", pair.b.info)
    states = (state_a, state_b)
    reason = _nothing_to_turn(pair, states, diagnosis)
    if reason:
        left_out = [_cannot_change(state, reason) for state in states]
        return Proposal((), _once(left_out))
    scene = Scene(session=session, pair=pair, states=states, gpus=gpus)
    fixed = [state for state in states if state.is_fixed]
    left_out = [_cannot_change(state, _why_fixed(state)) for state in fixed]
    best: dict[str, Experiment] = {}
    for experiment in _experiments(scene, left_out):
        telling = _telling(experiment, diagnosis)
        so_far = best.get(experiment.id)
        if so_far is None or telling > so_far.telling:
            seconds = _seconds(experiment, times or {}, repeats)
            best[experiment.id] = replace(experiment, telling=telling, seconds=seconds)
    experiments = tuple(sorted(best.values(), key=_order))
    chosen = deciding(experiments, diagnosis.causes)
    chosen_ids = [experiment.id for experiment in chosen]
    return Proposal(
        experiments=experiments,
        left_out=_once(left_out),
        deciding=frozenset(chosen_ids),
    )


def _once(left_out: Sequence[LeftOut]) -> tuple[LeftOut, ...]:
    return tuple(dict.fromkeys(left_out))


def _experiments(scene: Scene, left_out: list[LeftOut]) -> Iterator[Experiment]:
    """The experiments of all causes; what is left out is added to ``left_out``."""
    for cause in CAUSES:
        for turns in turns_of(cause, scene.states):
            experiment = _experiment(scene, cause, turns, left_out)
            if experiment is not None:
                yield experiment


def _nothing_to_turn(
    pair: Pair, states: Sequence[SideState], diagnosis: Diagnosis
) -> str:
    """Why no option of either backend can tell anything; empty where one may."""
    a = pair.a.info
    b = pair.b.info
    if not diagnosis.tokens:
        return _NO_GAP
    if all(state.is_fixed for state in states):
        return _why_fixed(states[-1])
    if (a.backend, a.path) == (b.backend, b.path):
        return _REPEATED
    return ""


def _why_fixed(state: SideState) -> str:
    if state.imported:
        return _IMPORTED
    return _SERVED


def _cannot_change(state: SideState, reason: str) -> LeftOut:
    backend = state.info.backend
    return LeftOut(cause="", backend=backend, setting=EVERY_OPTION, reason=reason)


def _order(experiment: Experiment) -> tuple[float, str]:
    """Most telling first for the time it takes."""
    seconds = experiment.seconds
    if seconds is None:
        seconds = 2 * _MINUTE
    per_time = experiment.telling * _MINUTE / (_MINUTE + seconds)
    return -per_time, experiment.id


def _telling(experiment: Experiment, diagnosis: Diagnosis) -> float:
    """The score of the cause, or what the knob may remove of noise, 0 to 1."""
    cause = experiment.cause
    scores = {ranked.cause: ranked.score for ranked in diagnosis.causes}
    of_cause = scores.get(cause, 0.0)
    noise = scores.get(NOISE, 0.0)
    of_noise = noise * _OF_NOISE.get(cause, 0.0)
    telling = max(of_cause, of_noise, _LEAST)
    if experiment.still:
        return telling * _STILL
    return telling


def _seconds(
    experiment: Experiment, times: Mapping[str, tuple[float, float]], repeats: int
) -> float | None:
    """One start and ``repeats`` captures for each side that runs, each as long as the
    unchanged one took.
    """
    total = 0.0
    for side in experiment.sides:
        if side.given is not None:
            continue
        time = times.get(side.label)
        compiles = "compile" in (experiment.cause, *side.changes)
        if time is None or compiles:
            return None
        start, capture = time
        total += start + repeats * capture
    return total


def _experiment(
    scene: Scene, cause: Cause, turns: Sequence[Turn], left_out: list[LeftOut]
) -> Experiment | None:
    """The experiment of knobs that are turned together; None where it would tell
    nothing. What is left out, and why, is added to ``left_out``.
    """
    sides: list[ChangedSide] = []
    refusals: list[LeftOut] = []
    for turn in turns:
        if needless(turn.state, turn.knob) is not None:
            reason = pointless(turn.state, turn.knob, scene.gpus) or ""
            left_out.append(_left_out(cause, turn, reason))
            continue
        side = turned(scene, turn)
        if isinstance(side, Refusal):
            refusal = _left_out(cause, turn, side.reason)
            refusals.append(refusal)
        else:
            sides.append(side)
    left_out += refusals
    reason = _one_side_alone(turns, scene.states, refusals)
    if reason:
        setting = turns[0].knob.setting
        for side in sides:
            one_side = LeftOut(
                cause=cause.code,
                backend=side.backend,
                setting=setting,
                reason=reason,
            )
            left_out.append(one_side)
        return None
    if not sides or _shares_capture(sides):
        return None
    return _of_sides(scene, cause, turns, sides)


def _left_out(cause: Cause, turn: Turn, reason: str) -> LeftOut:
    return LeftOut(
        cause=cause.code,
        backend=turn.state.info.backend,
        setting=turn.knob.setting,
        reason=reason,
    )


def _of_sides(
    scene: Scene, cause: Cause, turns: Sequence[Turn], sides: Sequence[ChangedSide]
) -> Experiment:
    knobs = [turn.knob for turn in turns]
    by_path = any("path" in side.changes for side in sides)
    rescored = cause.group == "semantics" or by_path
    any_combined = any(knob.combined for knob in knobs)
    titles = [side.text for side in sides]
    note = ""
    if not rescored:
        note = _note(scene, sides)
    return Experiment(
        id=_identifier(scene.pair, cause.code, sides),
        cause=cause.code,
        title=" and ".join(titles),
        sides=tuple(sides),
        combined=any_combined or len(sides[0].changes) > 1,
        still=all(knob.still for knob in knobs),
        rescored=rescored,
        note=note,
        proves=_proves(cause, turns, sides),
    )


def _note(scene: Scene, sides: Sequence[ChangedSide]) -> str:
    """The paths that stand for another one."""
    manifest = scene.session.manifest
    notes = []
    for side in sides:
        info = manifest.capture(side.label)
        if side.path != info.path:
            notes.append(
                f"{side.path} stands for {side.label}, which cannot be repeated on the"
                " same tokens"
            )
    return "; ".join(notes)


def _one_side_alone(
    turns: Sequence[Turn], states: Sequence[SideState], refusals: Sequence[LeftOut]
) -> str:
    """Why a knob for both sides must not be turned on one alone: the other side does
    not have it and cannot get it. Empty otherwise.
    """
    knob = turns[0].knob
    if not knob.both:
        return ""
    cannot_change = [left.backend for left in refusals]
    turning = {turn.state.which for turn in turns}
    for other in states:
        is_fixed = other.is_fixed and other.which not in turning
        if is_fixed and not _has_set(other, knob):
            cannot_change.append(other.info.backend)
    if not cannot_change:
        return ""
    names = " and ".join(cannot_change)
    return f"it is for both sides at once, and {names} cannot change"


def _has_set(state: SideState, knob: Knob) -> bool:
    """Whether a side has already what the knob would set."""
    values = state.values
    return any(values.get(name) == value for name, value in knob.unless.items())


def _proves(cause: Cause, turns: Sequence[Turn], sides: Sequence[ChangedSide]) -> str:
    """The cause that success is evidence for: noise where both sides had one dtype and
    get another one.
    """
    before = {str(turn.state.values.get("dtype")) for turn in turns}
    both_from_one = len(sides) == 2 and len(before) == 1
    if cause.code == "compute_dtype" and both_from_one:
        return NOISE
    return cause.code


def _shares_capture(sides: Sequence[ChangedSide]) -> bool:
    """Both sides would become one and the same capture, which says nothing."""
    captures = {(side.backend, side.path, side.batch) for side in sides}
    return len(captures) < len(sides)


def _identifier(pair: Pair, code: str, sides: Sequence[ChangedSide]) -> str:
    """Cause, changed backends and what is set, and a digest of all that: a folder name,
    the same whenever it is made.
    """
    hashed: list[Any] = [pair.a.info.label, pair.b.info.label]
    for side in sides:
        hashed.append({**side.to_json(), "given": None})
    text = json.dumps(hashed, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if len(sides) > 1:
        what = code
    else:
        what = next(iter(sides[0].changes))
    backends = [side.backend for side in sides]
    words = "-".join([what, *backends])
    name = "".join(map(_safe_in_a_name, words))
    return f"{name[:60]}-{digest[:6]}"


def _safe_in_a_name(character: str) -> str:
    if character.isalnum() or character in "_-":
        return character
    return "-"
