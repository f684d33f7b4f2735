"""Running experiments: each is a session of its own below ``why/experiments``.

The ordinary supervisor captures it. An experiment's session has the sequences of the
session it belongs to, file for file, so the ids are identical; its one backend (or two)
is the session's, with one knob changed. The capture that stays unchanged is linked or
copied into it, so that an experiment can be opened alone. What was captured before an
interruption is kept, and the supervisor resumes there. An engine that dies fails its
own experiment only, with the reason.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from logdrift.core.capture import trust
from logdrift.core.capture.environments import nvidia_gpus
from logdrift.core.capture.ledger import OnEvent
from logdrift.core.capture.supervisor import run_session
from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.experiments import ChangedSide, Experiment, controls
from logdrift.core.diagnose.outcomes import Outcome, judge
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.interrupts import cancellable
from logdrift.core.investigate.budget import DEFAULT_BUDGET
from logdrift.core.investigate.experiment_session import (
    control_name,
    label_for,
    prepare_session,
)
from logdrift.core.investigate.unchanged import (
    first_along,
    machine_differs,
    repeats_of,
)
from logdrift.core.investigate.watch import OverBudget, watched
from logdrift.core.numbers import clock
from logdrift.core.session import lock
from logdrift.core.session.below import folder_at, refuse_links, remove_temporary
from logdrift.core.session.experiments import (
    FOLDER,
    RECORD,
    SCHEMA,
    check_writable,
    read_record,
    timings,
)
from logdrift.core.session.files import sealed
from logdrift.core.session.layout import LOCK, MANIFEST, read_manifest
from logdrift.core.session.reader import Capture, Session, open_session
from logdrift.core.session.schema import Unfit
from logdrift.core.session.writer import append_event, replace_file

DEFAULT_REPEATS = 2


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
    report: OnEvent = lambda event: None,
    cancel: Callable[[], bool] | None = None,
) -> list[Outcome]:
    """Run ``experiments`` one after another and judge each; outcomes in their order.

    All together may take ``budget_s`` seconds: an experiment that does not fit is not
    run, and one that takes longer is stopped; its outcome has the reason, and the next
    run resumes it. An experiment with an outcome from as many ``repeats`` is not run
    again. ``report`` gets the supervisor's events, and ``{"type": "experiment", "id",
    "state": "begun" | "ended", ...}``. Call it in the main thread only.

    Raises InputError where the session is shipped, being captured, or half captured;
    KeyboardInterrupt, after cleaning up, on Ctrl-C or once ``cancel`` returns True.
    """
    check_writable(session)
    trust.require(session.folder, session.manifest)
    _check_whole(session, pair)
    folder = _experiments_folder(session)
    token = uuid.uuid4().hex
    run = _Run(
        session=session,
        pair=pair,
        budget=budget_s,
        repeats=repeats,
        report=report,
        cancel=cancel,
        token=token,
    )
    with cancellable():
        lock.acquire(folder, token)
        try:
            remove_temporary(session.folder, FOLDER, below=True)
            return run.all(experiments)
        finally:
            lock.release(folder)


def _experiments_folder(session: Session) -> Path:
    """The folder of a session's experiments, made where it is missing."""
    try:
        with folder_at(session.folder, FOLDER, create=True):
            pass
    except OSError as error:
        raise InputError(
            f"session {session.folder} cannot be written to: {error.strerror}"
        ) from None
    return session.folder / FOLDER


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
    """One run of experiments: what it was asked for, and when it must end."""

    session: Session
    pair: Pair
    budget: float
    repeats: int
    report: OnEvent
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
        now = round(time.time(), 3)
        stamped = {"t": now, **event}
        append_event(self.folder, stamped, self.token)
        self.report(stamped)

    def all(self, experiments: Sequence[Experiment]) -> list[Outcome]:
        ids = [experiment.id for experiment in experiments]
        self.note(
            {
                "type": "plan",
                "pair": self._labels(),
                "budget": self.budget,
                "repeats": self.repeats,
                "experiments": ids,
            }
        )
        outcomes = []
        for place, experiment in enumerate(experiments, 1):
            event = {
                "type": "experiment",
                "id": experiment.id,
                "title": experiment.title,
                "state": "begun",
                "place": place,
                "of": len(experiments),
            }
            self.note(event)
            outcome = self._outcome_of(experiment)
            outcomes.append(outcome)
            event["state"] = "ended"
            event["outcome"] = outcome.to_json()
            self.note(event)
        return outcomes

    # -- one experiment

    def _outcome_of(self, experiment: Experiment) -> Outcome:
        earlier = self._earlier_outcome(experiment)
        if earlier is not None:
            return earlier
        does_not_fit = self._does_not_fit(experiment)
        if does_not_fit:
            return Outcome(experiment, "not run", reason=does_not_fit)
        began = time.time()
        try:
            outcome = self._judged(experiment)
        except OverBudget:
            reason = (
                f"the budget of {clock(self.budget)} ended in the middle of it; asked"
                " again, it goes on from there"
            )
            outcome = Outcome(experiment, "not run", reason=reason)
        except LogdriftError as error:
            outcome = Outcome(experiment, "failed", reason=str(error))
        self._save(experiment, outcome, began)
        return outcome

    def _earlier_outcome(self, experiment: Experiment) -> Outcome | None:
        """The outcome of an earlier run, if it had at least as many repeats and no
        control failed it.
        """
        folder = self.folder / experiment.id
        record = read_record(folder) or {}
        data = record.get("outcome")
        if not isinstance(data, Mapping):
            return None
        try:
            outcome = Outcome.from_json(experiment, data)
        except Unfit:
            return None
        enough = self.repeats
        if not experiment.runs:
            # Its captures are those of the session, however many these are.
            enough = min(self.repeats, 1)
        is_final = outcome.judged and outcome.repeats >= enough
        if is_final and not self._has_failed_control(experiment):
            return outcome
        return None

    def _has_failed_control(self, experiment: Experiment) -> bool:
        """Whether a control of an experiment was begun and is not complete: the outcome
        was judged without it.
        """
        for side in controls(self.session, [experiment]):
            folder = self.folder / control_name(side)
            is_begun = (folder / MANIFEST).exists()
            if is_begun and not self._has_control(side):
                return True
        return False

    def _does_not_fit(self, experiment: Experiment) -> str:
        """Why the time that is left is too short; empty if it suffices or is
        unknown.
        """
        if not experiment.runs:
            return ""
        if self.left <= 0:
            return (
                f"the budget of {clock(self.budget)} is used up: give a larger --budget"
            )
        if experiment.seconds is None:
            return ""
        seconds = experiment.seconds + self._control_seconds(experiment)
        if seconds > self.left:
            return (
                f"it takes about {clock(seconds)}, and {clock(self.left)} of the"
                f" budget of {clock(self.budget)} are left: give a larger --budget"
            )
        return ""

    def _control_seconds(self, experiment: Experiment) -> float:
        """Seconds for the controls that are still to be captured, as far as known."""
        seconds = 0.0
        for side in controls(self.session, [experiment]):
            times = self.times.get(side.label)
            if times is not None and not self._has_control(side):
                start, capture = times
                seconds += start + self.repeats * capture
        return seconds

    def _has_control(self, side: ChangedSide) -> bool:
        folder = self.folder / control_name(side)
        if not (folder / MANIFEST).exists():
            return False
        return open_session(folder).state == "complete"

    def _judged(self, experiment: Experiment) -> Outcome:
        after = self._changed(experiment)
        first_changed = {"a": after[0].a, "b": after[0].b}
        notes: list[str] = []
        if experiment.note:
            notes.append(experiment.note)
        before: list[list[Capture]] = []
        captures = self._captures()
        for side in experiment.sides:
            changed = first_changed[side.which]
            unchanged = self._unchanged(experiment, side, changed, notes)
            before.append(unchanged)
            captures[side.which] = unchanged[0]
        a = captures["a"]
        b = captures["b"]
        pair = self.pair
        old = pair.between(a, b)
        note = "; ".join(dict.fromkeys(notes))
        return judge(experiment, old, after, before, note)

    def _captures(self) -> dict[str, Capture]:
        """The session's captures of the pair, by side: ``a`` and ``b``."""
        pair = self.pair
        return {"a": pair.a, "b": pair.b}

    def _changed(self, experiment: Experiment) -> list[Pair]:
        """The pair with the changed captures, one for each repeat."""
        if not experiment.runs:
            return self._pairs_given(experiment)
        opened = self._capture(
            experiment.id,
            list(experiment.sides),
            {"experiment": experiment.to_json()},
        )
        pairs = []
        for repeat in range(1, self.repeats + 1):
            captures = self._captures()
            for side in experiment.sides:
                label = label_for(side, repeat)
                captures[side.which] = opened.capture(label)
            pair = Pair.of_captures(opened, **captures)
            pairs.append(pair)
        return pairs

    def _pairs_given(self, experiment: Experiment) -> list[Pair]:
        """The pairs of an experiment whose changed captures the session has already."""
        changed: dict[str, list[Capture]] = {}
        for side in experiment.sides:
            if side.given is not None:
                changed[side.which] = repeats_of(self.session, side.given)
        repeats_of_both = min(map(len, changed.values()))
        pairs = []
        for repeat in range(repeats_of_both):
            captures = self._captures()
            for which, repeats in changed.items():
                captures[which] = repeats[repeat]
            pair = Pair.of_captures(self.session, **captures)
            pairs.append(pair)
        return pairs

    def _unchanged(
        self,
        experiment: Experiment,
        side: ChangedSide,
        changed: Capture,
        notes: list[str],
    ) -> list[Capture]:
        """The capture to compare a changed one with, and its repeats. ``notes`` gets
        what is to be known of the comparison.

        They are the session's own. A control, the unchanged backend captured again,
        joins them where the session has no repeat or another path, and replaces them
        where another version or machine made them.
        """
        own = self._captures()[side.which]
        path = own.info.path
        if experiment.rescored:
            if path == "decode" or side.given is not None:
                return repeats_of(self.session, own.info.label)
            side = replace(side, path=path)
        repeats = self._repeats_along(side, own)
        first = repeats[0] if repeats else own
        other_machine = machine_differs(first, changed)
        if len(repeats) > 1 and not other_machine:
            return repeats
        is_needed = not repeats
        control = self._control_or_note(side, needed=is_needed, notes=notes)
        if control is None:
            return repeats
        if other_machine:
            notes.append(
                f"{other_machine}: compared with the unchanged {side.backend} captured"
                " here"
            )
            return control
        return [*repeats, *control]

    def _repeats_along(self, side: ChangedSide, own: Capture) -> list[Capture]:
        """The session's captures of the unchanged backend along the path of a side."""
        if side.path == own.info.path:
            return repeats_of(self.session, own.info.label)
        return first_along(self.session, side)

    def _control_or_note(
        self, side: ChangedSide, *, needed: bool, notes: list[str]
    ) -> list[Capture] | None:
        """The control of a side; None, with a note, where it fails and is not needed.

        Raises LogdriftError where it fails and is needed.
        """
        try:
            return self._control(side)
        except LogdriftError as error:
            if needed:
                raise LogdriftError(
                    f"its control, the unchanged {side.backend}, failed: {error}"
                ) from None
            notes.append(
                f"the unchanged {side.backend} could not be captured again: {error}"
            )
            return None

    def _control(self, side: ChangedSide) -> list[Capture]:
        """The unchanged backend captured again, once for all experiments."""
        info = self.session.manifest.capture(side.label)
        plain = replace(side, changes={}, batch=info.batch, given=None)
        name = control_name(plain)
        record = {"control": plain.to_json()}
        opened = self._capture(name, [plain], record)
        captures = []
        for repeat in range(1, self.repeats + 1):
            label = label_for(plain, repeat)
            captures.append(opened.capture(label))
        return captures

    # -- capturing

    def _capture(
        self, name: str, sides: list[ChangedSide], record: Mapping[str, Any]
    ) -> Session:
        """The session of an experiment or a control, complete.

        Raises LogdriftError with the engine's reason, and `OverBudget`.
        """
        lock.check_folder_held(self.folder, self.token)
        refuse_links(self.session.folder, f"{FOLDER}/{name}")
        folder = self.folder / name
        began = time.time()
        complete = prepare_session(
            session=self.session,
            pair=self.pair,
            folder=folder,
            sides=sides,
            repeats=self.repeats,
        )
        # An experiment that goes on keeps its record, which may have an outcome.
        is_control = "control" in record
        if is_control or read_record(folder) is None:
            begun = {
                **record,
                "pair": None if is_control else self._labels(),
                "outcome": None,
                "repeats": self.repeats,
                "began": began,
            }
            self._record(name, begun)
        # A complete one may have a lock that a killed supervisor has left.
        is_locked = (folder / LOCK).exists()
        if is_locked or not complete:
            with watched(self._time_is_up, self._is_cancelled):
                complete = run_session(folder, self.report)
        if not complete:
            raise LogdriftError(_first_failure(folder))
        return open_session(folder)

    def _time_is_up(self) -> bool:
        return self.left <= 0

    def _is_cancelled(self) -> bool:
        return self.cancel is not None and self.cancel()

    def _labels(self) -> list[str]:
        pair = self.pair
        return [pair.a.info.label, pair.b.info.label]

    def _save(self, experiment: Experiment, outcome: Outcome, began: float) -> None:
        record = {
            "experiment": experiment.to_json(),
            "pair": self._labels(),
            "outcome": outcome.to_json(),
            "repeats": self.repeats,
            "began": began,
            "ended": time.time(),
        }
        self._record(experiment.id, record)

    def _record(self, name: str, data: Mapping[str, Any]) -> None:
        record = {"schema": SCHEMA, **data}
        file = f"{name}/{RECORD}"
        replace_file(self.folder, file, sealed(record), self.token)


def _first_failure(folder: Path) -> str:
    """The first line of the first failure of an experiment."""
    for capture in read_manifest(folder).captures:
        if capture.status != "complete" and capture.failure_lines:
            return capture.failure_lines[0]
        if capture.status != "complete":
            break
    return "it did not come to an end"
