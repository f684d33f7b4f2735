"""Running experiments: each a whole session of its own below ``why/experiments``,
captured by the ordinary supervisor.

An experiment's session has the sequences of the session it belongs to, file for file,
so the ids are the same to the last bit; its one backend (or two) is the session's, with
one knob changed. The capture that stays unchanged is taken over, so an experiment opens
by itself. Files are linked where the disk allows it, else copied. What was captured
before an interruption is kept: the supervisor goes on with it. An engine that dies
fails its own experiment, with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from logdrift.core.capture import trust
from logdrift.core.capture.environments import nvidia_gpus
from logdrift.core.capture.supervisor import run_session
from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.experiments import ChangedSide, Experiment, controls, merged
from logdrift.core.diagnose.outcomes import Outcome, judge
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.investigate.budget import DEFAULT_BUDGET
from logdrift.core.numbers import clock
from logdrift.core.plan import BackendSpec, CapturePlan, label_of
from logdrift.core.session import lock
from logdrift.core.session.below import folder_at, refuse_links, temporary_name
from logdrift.core.session.experiments import (
    FOLDER,
    RECORD,
    SCHEMA,
    check_writable,
    read_record,
    timings,
)
from logdrift.core.session.layout import (
    MANIFEST,
    PIECES,
    CaptureInfo,
    Manifest,
    read_manifest,
)
from logdrift.core.session.reader import Capture, Session, open_session
from logdrift.core.session.schema import Unfit
from logdrift.core.session.writer import append_event, replace_file, write_manifest

Report = Callable[[Mapping[str, Any]], None]
DEFAULT_REPEATS = 2
_POLL = 0.2
_MACHINE = (
    "engine_version",
    "torch_version",
    "transformers_version",
    "device",
    "device_name",
    "threads",
    "weights_digest",
)
"""Facts that no knob changes: where they differ from the session's, another machine or
version did the experiment.
"""


class _OverBudget(KeyboardInterrupt):
    """The time is up. What Ctrl-C ends, this ends: the supervisor cleans up on its way
    out.
    """


def gpu_count() -> int:
    """NVIDIA GPUs of this machine."""
    return len(nvidia_gpus())


def run_experiments(
    session: Session,
    pair: Pair,
    experiments: Sequence[Experiment],
    *,
    budget_s: float = DEFAULT_BUDGET,
    repeats: int = DEFAULT_REPEATS,
    report: Report = lambda event: None,
    cancel: Callable[[], bool] | None = None,
) -> list[Outcome]:
    """Run ``experiments`` one after another within ``budget_s`` seconds, and judge
    each; outcomes in the same order.

    What does not fit is not run, with the reason, and what takes longer than that is
    ended there; both go on when asked again. An experiment with an outcome from as many
    ``repeats`` is not run again. ``report`` gets the supervisor's events, and
    ``{"type": "experiment", "id", "state": "begun" | "ended", ...}``. Call it in the
    main thread only.

    Raises InputError where the session is shipped, being captured, or half captured;
    KeyboardInterrupt after cleaning up, on Ctrl-C and where ``cancel`` says so.
    """
    check_writable(session)
    trust.require(session.folder, session.manifest)
    _check_whole(session, pair)
    folder = session.folder / FOLDER
    try:
        with folder_at(session.folder, FOLDER, create=True):
            pass
    except OSError as error:
        raise InputError(
            f"session {session.folder} cannot be written to: {error.strerror}"
        ) from None
    token = uuid.uuid4().hex
    lock.acquire(folder, token)
    try:
        run = _Run(session, pair, budget_s, repeats, report, cancel, token)
        run.note(
            {
                "type": "plan",
                "pair": [pair.a.info.label, pair.b.info.label],
                "budget": budget_s,
                "repeats": repeats,
                "experiments": [each.id for each in experiments],
            }
        )
        return run.all(experiments)
    finally:
        lock.release(folder)


def _check_whole(session: Session, pair: Pair) -> None:
    if session.lock is not None:
        raise InputError(
            f"session {session.name} is being captured: wait for it, then run the"
            " experiments"
        )
    planned = session.manifest.sequences.planned
    for info in (pair.a.info, pair.b.info):
        if info.status != "complete" or info.sequences < planned:
            raise InputError(
                f"{info.label} is not complete: go on with logdrift capture --out"
                f" {session.folder} --resume first"
            )


@dataclass
class _Run:
    """One run of experiments: what it was asked for, when it must end, and its
    controls.
    """

    session: Session
    pair: Pair
    budget: float
    repeats: int
    report: Report
    cancel: Callable[[], bool] | None
    token: str

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.budget
        self.folder = self.session.folder / FOLDER
        self.times = timings(self.session.folder)

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()

    def note(self, event: Mapping[str, Any]) -> None:
        stamped = {"t": round(time.time(), 3), **event}
        append_event(self.folder, stamped, self.token)
        self.report(stamped)

    def all(self, experiments: Sequence[Experiment]) -> list[Outcome]:
        outcomes = []
        for place, experiment in enumerate(experiments, 1):
            self.note(
                {
                    "type": "experiment",
                    "id": experiment.id,
                    "title": experiment.title,
                    "state": "begun",
                    "place": place,
                    "of": len(experiments),
                }
            )
            outcome = self._one(experiment)
            outcomes.append(outcome)
            self.note(
                {
                    "type": "experiment",
                    "id": experiment.id,
                    "title": experiment.title,
                    "state": "ended",
                    "place": place,
                    "of": len(experiments),
                    "outcome": outcome.to_json(),
                }
            )
        return outcomes

    # -- one experiment

    def _one(self, experiment: Experiment) -> Outcome:
        known = self._known(experiment)
        if known is not None:
            return known
        short = self._short(experiment)
        if short:
            return Outcome(experiment, "not run", reason=short)
        began = time.time()
        try:
            outcome = self._judged(experiment)
        except _OverBudget:
            said = (
                f"the budget of {clock(self.budget)} ended in the middle of it; asked"
                " again, it goes on from there"
            )
            outcome = Outcome(experiment, "not run", reason=said)
        except LogdriftError as error:
            outcome = Outcome(experiment, "failed", reason=str(error))
        self._save(experiment, outcome, began)
        return outcome

    def _known(self, experiment: Experiment) -> Outcome | None:
        """The outcome of an earlier run with as many repeats."""
        record = read_record(self.folder / experiment.id)
        data = record.get("outcome") if record else None
        if isinstance(data, Mapping):
            with contextlib.suppress(Unfit):
                outcome = Outcome.from_json(experiment, data)
                if outcome.judged and outcome.repeats >= min(
                    self.repeats, 1 if not experiment.runs else self.repeats
                ):
                    return outcome
        return None

    def _short(self, experiment: Experiment) -> str:
        """Why the time that is left is not enough; empty where it is, or where nobody
        knows.
        """
        if not experiment.runs:
            return ""
        if self.left <= 0:
            return (
                f"the budget of {clock(self.budget)} is used up: give a larger --budget"
            )
        seconds = experiment.seconds
        if (
            seconds is not None
            and (seconds := seconds + self._controls_take(experiment)) > self.left
        ):
            return (
                f"it takes about {clock(seconds)}, and {clock(self.left)} of the"
                f" budget of {clock(self.budget)} are left: give a larger --budget"
            )
        return ""

    def _controls_take(self, experiment: Experiment) -> float:
        """Seconds for the controls that it needs and that are not there yet, where
        their time is known.
        """
        missing = [
            side
            for side in controls(self.session, [experiment])
            if not self._has_control(side)
        ]
        times = [self.times[side.label] for side in missing if side.label in self.times]
        return sum(start + self.repeats * capture for start, capture in times)

    def _has_control(self, side: ChangedSide) -> bool:
        folder = self.folder / _control_name(side)
        return (folder / MANIFEST).exists() and open_session(folder).state == "complete"

    def _judged(self, experiment: Experiment) -> Outcome:
        after = self._changed(experiment)
        before: list[list[Capture]] = []
        notes: list[str] = [experiment.note] if experiment.note else []
        changed = [(p.a, p.b) for p in after]
        for side in experiment.sides:
            mine = changed[0][0 if side.which == "a" else 1]
            before.append(self._unchanged(experiment, side, mine, notes))
        a, b = self.pair.a, self.pair.b
        for side, group in zip(experiment.sides, before, strict=True):
            a, b = (group[0], b) if side.which == "a" else (a, group[0])
        old = Pair(
            self.session,
            a,
            b,
            self.pair.sequences,
            self.pair.count,
            min(self.pair.tokens, a.tokens, b.tokens),
        )
        return judge(experiment, old, after, before, "; ".join(dict.fromkeys(notes)))

    def _changed(self, experiment: Experiment) -> list[Pair]:
        """The pair with the changed captures, one for each repeat."""
        if not experiment.runs:
            given = {
                side.which: self._repeats_of(side.given)
                for side in experiment.sides
                if side.given
            }
            return [
                self._pair(
                    self.session,
                    given.get("a", [self.pair.a] * 9)[i],
                    given.get("b", [self.pair.b] * 9)[i],
                )
                for i in range(min(len(group) for group in given.values()))
            ]
        opened = self._capture(
            experiment.id,
            list(experiment.sides),
            self.repeats,
            {"experiment": experiment.to_json()},
        )
        pairs = []
        for repeat in range(1, self.repeats + 1):
            a, b = self.pair.a, self.pair.b
            for side in experiment.sides:
                made = opened.capture(_label(side, repeat))
                a, b = (made, b) if side.which == "a" else (a, made)
            pairs.append(self._pair(opened, a, b))
        return pairs

    def _pair(self, session: Session, a: Capture, b: Capture) -> Pair:
        sequences = session.sequences
        count = min(a.sequences, b.sequences, len(sequences))
        return Pair(
            session,
            a,
            b,
            sequences,
            count,
            min(int(sequences.offsets[count]), a.tokens, b.tokens),
        )

    def _unchanged(
        self,
        experiment: Experiment,
        side: ChangedSide,
        changed: Capture,
        notes: list[str],
    ) -> list[Capture]:
        """The capture to compare with, and its repeats: the session's own, with a
        control where it has no repeat, went another path, or was made by another
        version or machine.
        """
        own = self.pair.a if side.which == "a" else self.pair.b
        if experiment.rescored:
            side = replace(side, path=own.info.path)
            if side.path == "decode" or side.given is not None:
                return self._repeats_of(own.info.label)
        along = (
            self._repeats_of(own.info.label)
            if side.path == own.info.path
            else self._first_along(side)
        )
        other = _machine_differs(along[0] if along else own, changed)
        if len(along) > 1 and not other:
            return along
        try:
            control = self._control(side)
        except _OverBudget:
            raise
        except LogdriftError as error:
            if not along:
                raise LogdriftError(
                    f"its control, the unchanged {side.backend}, failed: {error}"
                ) from None
            notes.append(
                f"the unchanged {side.backend} could not be captured again: {error}"
            )
            return along
        if other:
            notes.append(
                f"{other}: compared with the unchanged {side.backend} captured here"
            )
            return control
        return [*along, *control]

    def _repeats_of(self, label: str | None) -> list[Capture]:
        """A capture of the session and its complete repeats in the same kind of batch,
        itself first.
        """
        info = self.session.manifest.capture(str(label))
        same = [
            c
            for c in self.session.captures
            if (c.backend, c.path, c.batch, c.status)
            == (info.backend, info.path, info.batch, "complete")
        ]
        return [
            self.session.capture(c.label)
            for c in sorted(same, key=lambda c: (c.label != info.label, c.repeat))
        ]

    def _first_along(self, side: ChangedSide) -> list[Capture]:
        """The session's own unchanged captures along the path that stands for one that
        cannot be repeated.
        """
        info = self.session.manifest.capture(side.label)
        for c in self.session.captures:
            if (c.backend, c.path, c.batch, c.repeat) == (
                info.backend,
                side.path,
                side.batch,
                1,
            ):
                return self._repeats_of(c.label) if c.status == "complete" else []
        return []

    def _control(self, side: ChangedSide) -> list[Capture]:
        """The unchanged backend captured again, once for all experiments that need
        it.
        """
        plain = replace(
            side,
            changes={},
            batch=self.session.manifest.capture(side.label).batch,
            given=None,
        )
        opened = self._capture(
            _control_name(plain), [plain], self.repeats, {"control": plain.to_json()}
        )
        return [
            opened.capture(_label(plain, repeat))
            for repeat in range(1, self.repeats + 1)
        ]

    # -- capturing

    def _capture(
        self,
        name: str,
        sides: list[ChangedSide],
        repeats: int,
        record: Mapping[str, Any],
    ) -> Session:
        """The session of an experiment, complete. Raises LogdriftError with the
        engine's reason, `_OverBudget`.
        """
        lock.check_folder_held(self.folder, self.token)
        refuse_links(self.session.folder, f"{FOLDER}/{name}")
        folder = self.folder / name
        began = time.time()
        whole = _make(self.session, self.pair, folder, sides, repeats)
        if "control" in record or read_record(folder) is None:
            labels = (
                [self.pair.a.info.label, self.pair.b.info.label]
                if "experiment" in record
                else None
            )
            self._record(
                folder,
                {
                    **record,
                    "pair": labels,
                    "outcome": None,
                    "repeats": repeats,
                    "began": began,
                },
            )
        if not whole:
            with self._watched():
                whole = run_session(folder, self.report)
        if not whole:
            raise LogdriftError(_why(folder))
        return open_session(folder)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Raises `_OverBudget` here when the time is up, KeyboardInterrupt when
        ``cancel`` says so.
        """

        def look(number: int, frame: object) -> None:
            cancelled = self.cancel is not None and self.cancel()
            if cancelled or self.left <= 0:
                signal.setitimer(
                    signal.ITIMER_REAL, 0
                )  # once: what cleans up on the way out is not to be interrupted
                raise KeyboardInterrupt if cancelled else _OverBudget

        before = signal.signal(signal.SIGALRM, look)
        try:
            signal.setitimer(signal.ITIMER_REAL, _POLL, _POLL)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _save(self, experiment: Experiment, outcome: Outcome, began: float) -> None:
        folder = self.folder / experiment.id
        self._record(
            folder,
            {
                "experiment": experiment.to_json(),
                "pair": [self.pair.a.info.label, self.pair.b.info.label],
                "outcome": outcome.to_json(),
                "repeats": self.repeats,
                "began": began,
                "ended": time.time(),
            },
        )

    def _record(self, folder: Path, data: Mapping[str, Any]) -> None:
        text = json.dumps({"schema": SCHEMA, **data}, ensure_ascii=False, indent=1)
        replace_file(
            self.folder,
            f"{folder.name}/{RECORD}",
            text.encode("utf-8", "backslashreplace"),
            self.token,
        )


def _control_name(side: ChangedSide) -> str:
    return f"control-{side.backend}-{side.path}-{side.batch}"


def _label(side: ChangedSide, repeat: int) -> str:
    label = label_of(side.backend, side.path, batch=side.batch)
    return (
        label
        if repeat == 1
        else f"{label}{'-' if side.batch == 'alone' else '#'}{repeat}"
    )


def _make(
    session: Session,
    pair: Pair,
    folder: Path,
    sides: Sequence[ChangedSide],
    repeats: int,
) -> bool:
    """Make the session of an experiment, or go on with the one that is there; returns
    whether it is complete.
    """
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        # An experiment that came with a session from elsewhere has a plan of its own,
        # which nobody has confirmed.
        if manifest.plan.get("repeats_of_experiment", 0) < repeats or not trust.is_ours(
            manifest
        ):
            fresh = _manifest(session, pair, sides, repeats)
            known = {capture.label: capture for capture in manifest.captures}
            captures = tuple(
                known.get(capture.label, capture) for capture in fresh.captures
            )
            manifest = replace(
                fresh, id=manifest.id, created=manifest.created, captures=captures
            )
            trust.remember(manifest)
            write_manifest(folder, manifest)
        return all(capture.status == "complete" for capture in manifest.captures)
    manifest = _manifest(session, pair, sides, repeats)
    files = [part.file for part in manifest.sequences.parts]
    files += [part.file for capture in manifest.captures for part in capture.parts]
    files += [
        capture.loaded.file
        for capture in manifest.captures
        if capture.loaded is not None
    ]
    for file in files:
        refuse_links(session.folder, file)
        _take_over(session.folder / file, folder / file)
    folder.mkdir(parents=True, exist_ok=True)
    if (session.folder / PIECES).exists():
        # A copy: the supervisor adds to it.
        replace_file(folder, PIECES, (session.folder / PIECES).read_bytes())
    trust.remember(manifest)
    write_manifest(folder, manifest)
    return False


def _take_over(source: Path, target: Path) -> None:
    """Finished files are never written again, so a link is as good as a copy."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            try:
                os.link(source.resolve(), target)
            except FileExistsError:
                raise
            except OSError:
                temporary = target.with_name(temporary_name(target.name))
                shutil.copyfile(source, temporary)
                os.replace(temporary, target)
    except OSError as error:
        raise LogdriftError(f"cannot write {target}: {error.strerror}") from None


def _manifest(
    session: Session, pair: Pair, sides: Sequence[ChangedSide], repeats: int
) -> Manifest:
    """A manifest with the session's sequences, what stays unchanged, and the changed
    captures pending.
    """
    base = session.manifest
    plan = session.plan
    if plan is None:
        raise InputError(
            f"session {session.name} was imported: no backend of it can be captured"
            " again"
        )
    specs = _specs(plan, sides, repeats)
    captures: list[CaptureInfo] = []
    changed = {side.which for side in sides}
    for which, info in (("a", pair.a.info), ("b", pair.b.info)):
        if which not in changed and not any(
            _label(side, 1) == info.label for side in sides
        ):
            captures.append(info)
    for side in sides:
        spec = specs[side.backend]
        for repeat in range(1, repeats + 1):
            captures.append(
                CaptureInfo(
                    _label(side, repeat),
                    spec.name,
                    spec.engine,
                    spec.dtype,
                    side.path,
                    repeat,
                    spec.role,
                    batch=side.batch,
                )
            )
    title = (
        " and ".join(side.text for side in sides)
        if any(side.changes for side in sides)
        else "unchanged, again"
    )
    saved_plan = {
        **base.plan,
        "backends": [
            {**asdict(spec), "options": dict(spec.options)} for spec in specs.values()
        ],
        "title": title,
        "repeats_of_experiment": repeats,
    }
    return Manifest(
        id=uuid.uuid4().hex,
        model=base.model,
        title=f"experiment of {session.name}: {title}",
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        logdrift_version=base.logdrift_version,
        plan=saved_plan,
        sequences=replace(base.sequences, generated_by=None),
        captures=tuple(captures),
    )


def _specs(
    plan: CapturePlan, sides: Sequence[ChangedSide], repeats: int
) -> dict[str, BackendSpec]:
    """The changed backends by name. InputError for a change that no backend can
    have.
    """
    known = {spec.name: spec for spec in plan.backends}
    out: dict[str, BackendSpec] = {}
    for side in sides:
        spec = out.get(side.backend, replace(known[side.backend], paths=()))
        values, options = merged(spec.options, side.changes)
        paths = tuple(dict.fromkeys((*spec.paths, side.path)))
        out[side.backend] = replace(
            spec, **values, options=options, paths=paths, repeats=repeats, alone=False
        )
    return out


def _machine_differs(unchanged: Capture, changed: Capture) -> str:
    """What the machine or its software has otherwise than when the unchanged capture
    was made; empty: nothing known.
    """
    old, new = unchanged.info.facts, changed.info.facts
    if old is None or new is None:
        return ""
    found = [
        f"{name} was {getattr(old, name)}, is {getattr(new, name)}"
        for name in _MACHINE
        if None not in (getattr(old, name), getattr(new, name))
        and getattr(old, name) != getattr(new, name)
    ]
    return ", ".join(found)


def _why(folder: Path) -> str:
    """The first line of the first failure of an experiment."""
    for capture in read_manifest(folder).captures:
        if capture.status != "complete":
            return (capture.failure_lines or ["it did not come to an end"])[0]
    return "it did not come to an end"
