"""One-knob experiments: which change to which engine would tell, most telling first.
Pure: nothing is run here.

The knobs themselves stand in each engine's folder (`logdrift.core.engines.knobs`), by
each engine's own option; this module decides from the facts of both sides which of them
mean something here, and orders them. `logdrift.core.investigate.experiments` runs them,
`logdrift.core.diagnose.outcomes` judges what came of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.causes import CAUSES, NOISE, Cause
from logdrift.core.diagnose.diagnosis import Diagnosis
from logdrift.core.diagnose.evidence import LIKELY, Ranked
from logdrift.core.diagnose.knobs import (
    SideState,
    Which,
    impossible,
    needless,
    pointless,
    state_of,
)
from logdrift.core.engines import ENGINES
from logdrift.core.engines.knobs import Knob
from logdrift.core.errors import InputError
from logdrift.core.facts import Batch
from logdrift.core.session.reader import Session
from logdrift.core.session.schema import Unfit, items, one_of, record, shown, text

_SPEC_KEYS = ("dtype", "model", "revision", "gpus")
"""Changes that are fields of a `BackendSpec`; ``path`` and ``alone`` are of the
capture; all others are options.
"""

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
_STILL = 0.1
_ON_TOP = 3
"""Causes whose experiments are chosen where none is likely."""
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class ChangedSide:
    """One capture that an experiment makes again: ``label`` of the session, with
    ``changes`` to its backend.

    ``path`` and ``batch`` are those of the new capture. ``given`` is a capture that the
    session has already and that is the changed one; nothing needs to run then.
    """

    which: Which
    label: str
    backend: str
    engine: str
    path: str
    batch: Batch
    changes: Mapping[str, Any]
    given: str | None = None

    @property
    def text(self) -> str:
        """``vllm: dtype=float32``."""
        return f"{self.backend}: " + ", ".join(
            _setting(name, value) for name, value in self.changes.items()
        )

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {
            "changes": dict(self.changes)
        }


@dataclass(frozen=True, slots=True)
class Experiment:
    """One knob changed on one side, or on both at once, everything else equal.

    ``seconds`` is an estimate from how long the unchanged captures took, None where
    nobody knows. ``telling`` (0 to 1) is the score of the cause times what the change
    would explain. ``still``: no number may move. ``rescored``: what is compared with
    the changed capture is the pair's own capture, even where that went another path.
    ``proves`` is the cause that success is evidence for: `NOISE` for one more precise
    format on both sides that had the same one.
    """

    id: str
    cause: str
    title: str
    sides: tuple[ChangedSide, ...]
    combined: bool = False
    seconds: float | None = None
    telling: float = 0.0
    still: bool = False
    rescored: bool = False
    note: str = ""
    proves: str = ""

    @property
    def backend(self) -> str:
        """The changed backend, or both, joined by ``+``."""
        return "+".join(dict.fromkeys(side.backend for side in self.sides))

    @property
    def path(self) -> str:
        return "+".join(dict.fromkeys(side.path for side in self.sides))

    @property
    def changes(self) -> Mapping[str, Any]:
        """Fields of a `BackendSpec`, or options, by exact name; by backend where two
        backends take other ones.
        """
        first = self.sides[0].changes
        same = all(dict(side.changes) == dict(first) for side in self.sides)
        return (
            dict(first)
            if same
            else {side.backend: dict(side.changes) for side in self.sides}
        )

    @property
    def runs(self) -> bool:
        """Some engine has to be started."""
        return any(side.given is None for side in self.sides)

    def to_json(self) -> dict[str, Any]:
        out = {name: getattr(self, name) for name in self.__slots__}
        return {
            **out,
            "sides": [side.to_json() for side in self.sides],
            "backend": self.backend,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Experiment:
        """Inverse of `to_json`; unknown keys are left out. Raises
        `logdrift.core.session.schema.Unfit` for what is none.
        """
        return cls(**_experiment_kind(data))


def _folder_name(value: Any) -> str:
    """What `_identifier` gives."""
    if re.fullmatch(r"[\w-]{1,200}", text(value)):
        return str(value)
    raise Unfit(f"is {shown(value)}: letters, digits, '_' and '-' are expected")


def _sides(value: Any) -> tuple[ChangedSide, ...]:
    if found := items(_side_kind)(value):
        return tuple(ChangedSide(**each) for each in found)
    raise Unfit("has no sides")


_side_kind = record(ChangedSide, which=one_of("a", "b"), batch=one_of(*get_args(Batch)))
_CODES = (*(cause.code for cause in CAUSES), NOISE)
_experiment_kind = record(
    Experiment,
    id=_folder_name,
    sides=_sides,
    cause=one_of(*_CODES),
    proves=one_of(*_CODES, ""),
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A knob that means nothing here, and why."""

    cause: str
    backend: str
    setting: str
    reason: str

    def to_json(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}


_NO_GAP = (
    "no token has a finite score on both sides, so there is no gap that a change could"
    " remove"
)
_REPEATED = "both are one capture, repeated, so no option is between them"
_IMPORTED = (
    "it was imported and cannot be captured again: score its token ids with logdrift"
    " capture instead"
)
EVERY_OPTION = "(every option)"
"""Of a `LeftOut` for a backend that cannot be changed at all."""
ALL = "all"
"""Names all experiments that are proposed, for `chosen`."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """``experiments`` most telling first, and the knobs that were left out.
    ``deciding`` are the ids of those that can prove or refute what is likely
    (`deciding`).
    """

    experiments: tuple[Experiment, ...]
    left_out: tuple[LeftOut, ...]
    deciding: frozenset[str] = frozenset()

    @property
    def why_none(self) -> str:
        """Why nothing is proposed, in one line; empty where something is."""
        if self.experiments:
            return ""
        whole = [left.reason for left in self.left_out if left.setting == EVERY_OPTION]
        return (
            whole[0]
            if whole
            else "no cause has an option that means something on either engine"
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
    for imported captures, whose engine nobody can start again, nor where there is no
    gap that a change could remove.
    """
    states = state_of(session, "a", pair.a.info), state_of(session, "b", pair.b.info)
    nothing = _nothing_to_turn(pair, states, diagnosis)
    if nothing:
        return Proposal((), nothing)
    found: dict[str, Experiment] = {}
    left = [_cannot_change(state, _IMPORTED) for state in states if state.imported]
    for cause in CAUSES:
        for group in _groups(cause, states):
            made = _experiment(session, pair, cause, group, states, left, gpus)
            if made is None:
                continue
            made = replace(
                made,
                telling=_telling(made, diagnosis),
                seconds=_seconds(made, times or {}, repeats),
            )
            known = found.get(made.id)
            if known is None or made.telling > known.telling:
                found[made.id] = made
    experiments = tuple(sorted(found.values(), key=_order))
    choice = frozenset(each.id for each in deciding(experiments, diagnosis.causes))
    return Proposal(experiments, tuple(dict.fromkeys(left)), choice)


def _nothing_to_turn(
    pair: Pair, states: Sequence[SideState], diagnosis: Diagnosis
) -> tuple[LeftOut, ...]:
    """Both backends with the reason why no option of either can tell anything; empty
    where one may.
    """
    reason = ""
    if not diagnosis.tokens:
        reason = _NO_GAP
    elif all(state.imported for state in states):
        reason = _IMPORTED
    elif (pair.a.info.backend, pair.a.info.path) == (
        pair.b.info.backend,
        pair.b.info.path,
    ):
        reason = _REPEATED
    left = [_cannot_change(state, reason) for state in states] if reason else []
    return tuple(dict.fromkeys(left))


def _cannot_change(state: SideState, reason: str) -> LeftOut:
    return LeftOut(
        cause="", backend=state.info.backend, setting=EVERY_OPTION, reason=reason
    )


def chosen(experiments: Sequence[Experiment], only: Sequence[str]) -> list[Experiment]:
    """Those that ``only`` names by cause, by id or by the beginning of an id, in their
    own order; all without any name, and for `ALL`. InputError for a name that fits
    none.
    """
    for name in only:
        if name != ALL and not any(_is_called(each, name) for each in experiments):
            known = (
                ", ".join(dict.fromkeys(each.cause for each in experiments)) or "none"
            )
            raise InputError(
                f"no experiment {name!r} fits this pair: there are {known}"
            )
    if not only or ALL in only:
        return list(experiments)
    return [
        each for each in experiments if any(_is_called(each, name) for name in only)
    ]


def _is_called(experiment: Experiment, name: str) -> bool:
    return name == experiment.cause or experiment.id.startswith(name)


def deciding(
    experiments: Sequence[Experiment], causes: Sequence[Ranked]
) -> list[Experiment]:
    """Those that can prove or refute what is likely, in their own order: what is chosen
    where the user says nothing.

    ``causes`` are the diagnosis', most likely first. Where none is likely, it is those
    of the causes on top; so it is where the likely one has no experiment and numbers
    alone do not tell it from others. Where nothing is suspected, all.
    """
    likely = [ranked for ranked in causes if ranked.score >= LIKELY]
    found = _about(experiments, likely)
    if found or (likely and likely[0].separable):
        return found
    testable = [ranked for ranked in causes if _about(experiments, [ranked])]
    return (
        _about(experiments, testable[:_ON_TOP])
        if causes
        else [each for each in experiments if not each.still]
    )


def _about(
    experiments: Sequence[Experiment], causes: Sequence[Ranked]
) -> list[Experiment]:
    """What is evidence for or against one of ``causes``; a change of more than one
    thing only where it is the one way.
    """
    out: set[str] = set()
    for ranked in causes:
        own = [
            each for each in experiments if (each.proves or each.cause) == ranked.cause
        ]
        single = [each for each in own if not each.combined]
        out |= {each.id for each in single or own}
    return [each for each in experiments if each.id in out]


def controls(
    session: Session, experiments: Iterable[Experiment]
) -> tuple[ChangedSide, ...]:
    """The unchanged backends that have to be captured again for the floor, because the
    session has no repeat of them along the path and in the batch that an experiment is
    compared with; each once.
    """
    out: dict[tuple[str, str, str], ChangedSide] = {}
    for experiment in experiments:
        for side in experiment.sides:
            info = session.manifest.capture(side.label)
            path = info.path if experiment.rescored else side.path
            if path == "decode" or side.given is not None:
                continue
            key = (side.backend, path, info.batch)
            known = [
                c
                for c in session.captures
                if (c.backend, c.path, c.batch) == key and c.status == "complete"
            ]
            if len(known) < 2:
                out.setdefault(
                    key,
                    replace(side, path=path, batch=info.batch, changes={}, given=None),
                )
    return tuple(out.values())


def _order(experiment: Experiment) -> tuple[float, str]:
    seconds = experiment.seconds if experiment.seconds is not None else 2 * _MINUTE
    return -experiment.telling * _MINUTE / (_MINUTE + seconds), experiment.id


def _telling(experiment: Experiment, diagnosis: Diagnosis) -> float:
    scores = {ranked.cause: ranked.score for ranked in diagnosis.causes}
    told = max(
        scores.get(experiment.cause, 0.0),
        scores.get(NOISE, 0.0) * _OF_NOISE.get(experiment.cause, 0.0),
        _LEAST,
    )
    return told * (_STILL if experiment.still else 1.0)


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
        if time is None or "compile" in (experiment.cause, *side.changes):
            return None
        total += time[0] + repeats * time[1]
    return total


def _groups(
    cause: Cause, states: Sequence[SideState]
) -> Iterator[list[tuple[SideState, Knob]]]:
    """What is turned together: the first knob for both sides of each engine at once,
    every other one by itself.
    """
    together: dict[str, list[tuple[SideState, Knob]]] = {}
    for state in states:
        if state.imported:
            continue
        for knob in cause.knobs.get(state.info.engine, ()):
            if knob.run and knob.both:
                key = knob.setting if cause.code == "compute_dtype" else cause.code
                together.setdefault(key, []).append((state, knob))
            elif knob.run:
                yield [(state, knob)]
    yield from together.values()


def _experiment(
    session: Session,
    pair: Pair,
    cause: Cause,
    group: list[tuple[SideState, Knob]],
    states: Sequence[SideState],
    left: list[LeftOut],
    gpus: int,
) -> Experiment | None:
    sides, refusals = [], []
    for state, knob in group:
        if needless(state, knob) is not None:
            left.append(
                LeftOut(
                    cause=cause.code,
                    backend=state.info.backend,
                    setting=knob.setting,
                    reason=pointless(state, knob, gpus) or "",
                )
            )
            continue
        side, reason = _turned(session, state, knob, gpus)
        if side is not None:
            sides.append(side)
        elif reason is not None:
            refusals.append(
                LeftOut(
                    cause=cause.code,
                    backend=state.info.backend,
                    setting=knob.setting,
                    reason=reason,
                )
            )
    left += refusals
    reason = _one_side_alone(group, states, refusals)
    if reason:
        left += [
            LeftOut(
                cause=cause.code,
                backend=side.backend,
                setting=group[0][1].setting,
                reason=reason,
            )
            for side in sides
        ]
        return None
    if not sides:
        return None
    if _shares_capture(sides):
        return None
    knobs = [knob for _, knob in group]
    combined = any(knob.combined for knob in knobs) or len(sides[0].changes) > 1
    title = " and ".join(side.text for side in sides)
    rescored = cause.group == "semantics" or any(
        "path" in side.changes for side in sides
    )
    substitutes = (
        []
        if rescored
        else [side for side in sides if side.path != _path_of(session, side.label)]
    )
    note = "; ".join(
        f"{side.path} stands for {side.label}, which cannot be repeated on the same"
        " tokens"
        for side in substitutes
    )
    return Experiment(
        _identifier(pair, cause.code, sides),
        cause.code,
        title,
        tuple(sides),
        combined,
        still=all(knob.still for knob in knobs),
        rescored=rescored,
        note=note,
        proves=_proves(cause, group, sides),
    )


def _turned(
    session: Session, state: SideState, knob: Knob, gpus: int
) -> tuple[ChangedSide | None, str | None]:
    """The side with the knob turned; or None, and why its backend cannot be captured
    so.
    """
    reason = impossible(state, knob, gpus)
    if reason is not None:
        return None, reason
    engine = state.info.engine
    path = _again(knob.change.get("path", state.info.path), engine)
    if path is None:
        return None, f"{engine} cannot go the path {state.info.path} along given ids"
    side = _side(session, state, knob, path)
    refusal = (
        ENGINES[engine].refusal(path, merged(state.options, side.changes)[1])
        if side.given is None
        else None
    )
    return (None, refusal) if refusal else (side, None)


def _one_side_alone(
    group: Sequence[tuple[SideState, Knob]],
    states: Sequence[SideState],
    refusals: Sequence[LeftOut],
) -> str:
    """Why a knob for both sides must not be turned on one alone: the other has it not,
    and cannot get it. Empty otherwise.
    """
    knob = group[0][1]
    if not knob.both:
        return ""
    names = [left.backend for left in refusals]
    turned = {state.which for state, _ in group}
    for other in states:
        has_it = any(
            other.values.get(name) == wanted for name, wanted in knob.unless.items()
        )
        if other.which not in turned and other.imported and not has_it:
            names.append(other.info.backend)
    return (
        f"it is for both sides at once, and {' and '.join(names)} cannot change"
        if names
        else ""
    )


def _proves(
    cause: Cause, group: list[tuple[SideState, Knob]], sides: list[ChangedSide]
) -> str:
    before = {str(state.values.get("dtype")) for state, _ in group}
    return (
        NOISE
        if cause.code == "compute_dtype" and len(sides) == 2 and len(before) == 1
        else cause.code
    )


def _shares_capture(sides: list[ChangedSide]) -> bool:
    """Both sides would become one and the same capture, which says nothing."""
    return len({(side.backend, side.path, side.batch) for side in sides}) < len(sides)


def _path_of(session: Session, label: str) -> str:
    return session.manifest.capture(label).path


def _again(path: str, engine: str) -> str | None:
    """The path along which given ids can be scored again; None where that is prefill
    standing for decode steps.

    A prefill in place of decode would change two things at once wherever the path
    matters, so it is only taken where the path itself is the knob, or where an engine
    has no other way (said in the experiment's note).
    """
    paths = ENGINES[engine].paths
    if path == "decode":
        path = "forced_decode" if "forced_decode" in paths else "prefill"
    return path if path in paths else None


def _side(session: Session, state: SideState, knob: Knob, path: str) -> ChangedSide:
    changes = knob.change
    batch: Batch = state.info.batch
    if "alone" in changes:
        batch = "alone" if changes["alone"] else "together"
    given = None
    if set(changes) <= {"path", "alone"}:
        wanted = (state.info.backend, path, batch, 1)
        given = next(
            (
                c.label
                for c in session.captures
                if (c.backend, c.path, c.batch, c.repeat) == wanted
                and c.status == "complete"
                and c.label != state.info.label
            ),
            None,
        )
    info = state.info
    return ChangedSide(
        which=state.which,
        label=info.label,
        backend=info.backend,
        engine=info.engine,
        path=path,
        batch=batch,
        changes=changes,
        given=given,
    )


def _identifier(pair: Pair, code: str, sides: list[ChangedSide]) -> str:
    """Cause, changed backends and what is set, and a digest of all that: a folder name,
    the same whenever it is made.
    """
    same = [
        pair.a.info.label,
        pair.b.info.label,
        *(side.to_json() | {"given": None} for side in sides),
    ]
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:6]
    words = [
        code if len(sides) > 1 else next(iter(sides[0].changes)),
        *(side.backend for side in sides),
    ]
    safe = "".join(c if c.isalnum() or c in "_-" else "-" for c in "-".join(words))
    return f"{safe[:60]}-{digest}"


def _setting(name: str, value: Any) -> str:
    if value is None:
        return f"no {name}"
    return f"{name}={value if isinstance(value, str) else json.dumps(value)}"


def merged(
    options: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(fields of the spec, options) after ``changes``: None takes an option away, as an
    empty mapping does; a mapping is merged into one that is there, so that
    ``hf_overrides`` keep what else they hold.
    """
    spec = {name: value for name, value in changes.items() if name in _SPEC_KEYS}
    out = dict(options)
    for name, value in changes.items():
        if name in _SPEC_KEYS or name in ("path", "alone"):
            continue
        if value is None or value == {}:
            out.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(out.get(name), Mapping):
            out[name] = {**out[name], **value}
        else:
            out[name] = value
    if "device_map" in changes:
        out.pop("device", None)
    return spec, out
