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
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from logdrift.core.capture import trust
from logdrift.core.capture.environments import nvidia_gpus
from logdrift.core.capture.supervisor import run_session
from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.experiments import ChangedSide, Experiment, controls
from logdrift.core.diagnose.outcomes import Outcome, judge
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.investigate.budget import DEFAULT_BUDGET
from logdrift.core.investigate.experiment_session import (
    control_name,
    label_for,
    prepare_session,
)
from logdrift.core.investigate.unchanged import (
    first_along,
    machine_differs,
    pair_of,
    repeats_of,
)
from logdrift.core.numbers import clock
from logdrift.core.session import lock
from logdrift.core.session.below import folder_at, refuse_links
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
    read_manifest,
)
from logdrift.core.session.reader import Capture, Session, open_session
from logdrift.core.session.schema import Unfit
from logdrift.core.session.writer import append_event, replace_file

Report = Callable[[Mapping[str, Any]], None]
DEFAULT_REPEATS = 2
_POLL = 0.2


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
        run = _Run(
            session=session,
            pair=pair,
            budget=budget_s,
            repeats=repeats,
            report=report,
            cancel=cancel,
            token=token,
        )
        run.note(
            {
                "type": "plan",
                "pair": [pair.a.info.label, pair.b.info.label],
                "budget": budget_s,
                "repeats": repeats,
                "experiments": [experiment.id for experiment in experiments],
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
            reason = (
                f"the budget of {clock(self.budget)} ended in the middle of it; asked"
                " again, it goes on from there"
            )
            outcome = Outcome(experiment, "not run", reason=reason)
        except LogdriftError as error:
            outcome = Outcome(experiment, "failed", reason=str(error))
        self._save(experiment, outcome, began)
        return outcome

    def _known(self, experiment: Experiment) -> Outcome | None:
        """The outcome of an earlier run with as many repeats."""
        record = read_record(self.folder / experiment.id)
        data = record.get("outcome") if record else None
        if not isinstance(data, Mapping):
            return None
        try:
            outcome = Outcome.from_json(experiment, data)
        except Unfit:
            return None
        if experiment.runs:
            enough = self.repeats
        else:
            enough = min(self.repeats, 1)
        if outcome.judged and outcome.repeats >= enough:
            return outcome
        return None

    def _short(self, experiment: Experiment) -> str:
        """Why the time that is left is not enough; empty where it is, or where that is
        not known.
        """
        if not experiment.runs:
            return ""
        if self.left <= 0:
            return (
                f"the budget of {clock(self.budget)} is used up: give a larger --budget"
            )
        if experiment.seconds is None:
            return ""
        seconds = experiment.seconds + self._controls_take(experiment)
        if seconds > self.left:
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
        folder = self.folder / control_name(side)
        return (folder / MANIFEST).exists() and open_session(folder).state == "complete"

    def _judged(self, experiment: Experiment) -> Outcome:
        after = self._changed(experiment)
        notes: list[str] = [experiment.note] if experiment.note else []
        before: list[list[Capture]] = []
        a = self.pair.a
        b = self.pair.b
        for side in experiment.sides:
            if side.which == "a":
                changed = after[0].a
            else:
                changed = after[0].b
            group = self._unchanged(experiment, side, changed, notes)
            before.append(group)
            a, b = (group[0], b) if side.which == "a" else (a, group[0])
        old = replace(
            self.pair, a=a, b=b, tokens=min(self.pair.tokens, a.tokens, b.tokens)
        )
        return judge(experiment, old, after, before, "; ".join(dict.fromkeys(notes)))

    def _changed(self, experiment: Experiment) -> list[Pair]:
        """The pair with the changed captures, one for each repeat."""
        if not experiment.runs:
            return self._pairs_given(experiment)
        opened = self._capture(
            experiment.id,
            list(experiment.sides),
            self.repeats,
            {"experiment": experiment.to_json()},
        )
        pairs = []
        for repeat in range(1, self.repeats + 1):
            a = self.pair.a
            b = self.pair.b
            for side in experiment.sides:
                made = opened.capture(label_for(side, repeat))
                a, b = (made, b) if side.which == "a" else (a, made)
            pairs.append(pair_of(opened, a, b))
        return pairs

    def _pairs_given(self, experiment: Experiment) -> list[Pair]:
        """The pairs of an experiment whose changed captures the session has already."""
        given = {
            side.which: repeats_of(self.session, side.given)
            for side in experiment.sides
            if side.given is not None
        }
        count = min(len(group) for group in given.values())
        captures_a = given.get("a", [self.pair.a] * count)[:count]
        captures_b = given.get("b", [self.pair.b] * count)[:count]
        return [
            pair_of(self.session, a, b)
            for a, b in zip(captures_a, captures_b, strict=True)
        ]

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
        if side.which == "a":
            own = self.pair.a
        else:
            own = self.pair.b
        if experiment.rescored:
            side = replace(side, path=own.info.path)
            if side.path == "decode" or side.given is not None:
                return repeats_of(self.session, own.info.label)
        if side.path == own.info.path:
            along = repeats_of(self.session, own.info.label)
        else:
            along = first_along(self.session, side)
        other_machine = machine_differs(along[0] if along else own, changed)
        if len(along) > 1 and not other_machine:
            return along
        control = self._control_or_note(side, bool(along), notes)
        if control is None:
            return along
        if other_machine:
            notes.append(
                f"{other_machine}: compared with the unchanged {side.backend} captured"
                " here"
            )
            return control
        return [*along, *control]

    def _control_or_note(
        self, side: ChangedSide, spare: bool, notes: list[str]
    ) -> list[Capture] | None:
        """The control of a side. Where it fails and there are captures to ``spare`` it
        for, a note says so. Raises LogdriftError.
        """
        try:
            return self._control(side)
        except LogdriftError as error:
            if not spare:
                raise LogdriftError(
                    f"its control, the unchanged {side.backend}, failed: {error}"
                ) from None
            notes.append(
                f"the unchanged {side.backend} could not be captured again: {error}"
            )
            return None

    def _control(self, side: ChangedSide) -> list[Capture]:
        """The unchanged backend captured again, once for all experiments that need
        it.
        """
        batch = self.session.manifest.capture(side.label).batch
        plain = replace(side, changes={}, batch=batch, given=None)
        opened = self._capture(
            control_name(plain), [plain], self.repeats, {"control": plain.to_json()}
        )
        return [
            opened.capture(label_for(plain, repeat))
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
        whole = prepare_session(self.session, self.pair, folder, sides, repeats)
        if "control" in record or read_record(folder) is None:
            labels = self._labels() if "experiment" in record else None
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
                # Once: what cleans up on the way out is not to be interrupted.
                signal.setitimer(signal.ITIMER_REAL, 0)
                raise KeyboardInterrupt if cancelled else _OverBudget

        before = signal.signal(signal.SIGALRM, look)
        try:
            signal.setitimer(signal.ITIMER_REAL, _POLL, _POLL)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _labels(self) -> list[str]:
        return [self.pair.a.info.label, self.pair.b.info.label]

    def _save(self, experiment: Experiment, outcome: Outcome, began: float) -> None:
        folder = self.folder / experiment.id
        self._record(
            folder,
            {
                "experiment": experiment.to_json(),
                "pair": self._labels(),
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


def _why(folder: Path) -> str:
    """The first line of the first failure of an experiment."""
    for capture in read_manifest(folder).captures:
        if capture.status != "complete":
            return (capture.failure_lines or ["it did not come to an end"])[0]
    return "it did not come to an end"
