"""What the experiments screen is given: a frozen row for each experiment that is
proposed, runs, or has run.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose import Diagnosis
from logdrift.core.diagnose.experiments import Experiment, Proposal, propose
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import duration
from logdrift.core.report.experiments import saved_outcomes
from logdrift.core.session.events import read_events
from logdrift.core.session.experiments import FOLDER, saved, timings
from logdrift.core.session.layout import EVENTS, MANIFEST
from logdrift.core.session.lock import LockHolder, read_lock
from logdrift.core.session.progress import live
from logdrift.core.session.reader import Session
from logdrift.core.session.schema import Unfit
from logdrift.core.session.visible import visible

State = Literal["proposed", "running", "done", "failed", "left out"]
STATES: Mapping[State, str] = {
    "proposed": "○",
    "running": "▶",
    "done": "✓",
    "failed": "✗",
    "left out": "–",
}


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """``change`` is the option as that engine takes it, ``short`` and ``outcome`` what
    the experiment showed, or why it is left out; ``folder`` its session, where it has
    one. ``deciding``: it can prove or refute what is likely.
    """

    id: str
    cause: str
    title: str
    backend: str
    path: str
    change: str
    combined: bool
    seconds: float | None
    runs: bool = True
    note: str = ""
    state: State = "proposed"
    short: str = ""
    outcome: str = ""
    folder: Path | None = None
    deciding: bool = False

    @property
    def takes(self) -> str:
        if self.state == "left out":
            return ""
        return (
            "no run"
            if not self.runs
            else "unknown"
            if self.seconds is None
            else duration(self.seconds)
        )


@dataclass(frozen=True, slots=True)
class Experiments:
    """All rows, the most telling first, those left out last; what runs now, in words,
    "" for nothing; how the last run ended, if badly; when it began, in seconds since
    1970, 0 where nothing ran yet; and why nothing is proposed, where nothing is.
    """

    rows: tuple[ExperimentRow, ...]
    running: str = ""
    ended: str = ""
    began: float = 0.0
    why_none: str = ""


class ExperimentWatch:
    """Looks at the experiments of a pair again and again. Not for the event loop."""

    def __init__(self, session: Session, pair: Pair, found: Diagnosis) -> None:
        from logdrift.core.investigate.experiments import gpu_count

        self.session, self.pair = session, pair
        self.labels = pair.a.info.label, pair.b.info.label
        times = timings(session.folder)
        self.proposal = propose(session, pair, found, times, gpus=gpu_count())
        self.proposed = {e.id: e for e in self.proposal.experiments}

    def look(self) -> Experiments:
        """What is proposed with what came of it, and what runs."""
        folder = self.session.folder / FOLDER
        events = list(_events(folder))
        holder = read_lock(folder)
        outcomes = {
            outcome.experiment.id: outcome
            for outcome in saved_outcomes(self.session, self.pair)
        }
        outcomes |= {
            o.experiment.id: o
            for o in _not_run(events, self.proposed)
            if o.experiment.id not in outcomes
        }
        begun = _begun(events) if holder is not None else {}
        known = {
            **self.proposed,
            **{id: outcome.experiment for id, outcome in outcomes.items()},
        }
        rows = tuple(
            _row(
                folder,
                experiment,
                outcomes.get(experiment.id),
                running=begun.get("id") == experiment.id,
            )
            for experiment in known.values()
        )
        decided = self.proposal.deciding
        rows = tuple(replace(row, deciding=row.id in decided) for row in rows)
        return Experiments(
            rows=(*rows, *_left_out_rows(self.proposal)),
            running=self._running(holder, begun),
            ended="" if holder is not None else _ended(events),
            began=_started(events),
            why_none=self.proposal.why_none,
        )

    def _running(self, holder: LockHolder | None, begun: Mapping[str, Any]) -> str:
        if holder is None:
            return ""
        words = ["they are being started"]
        if begun:
            words = [f"{begun.get('place')} of {begun.get('of')}, {begun.get('title')}"]
            for each in saved(self.session.folder):
                with contextlib.suppress(LogdriftError, OSError):
                    writer = each.session.lock if each.session is not None else None
                    if each.session is not None and writer is not None:
                        words.append(live(each.session, writer).doing)
        words.append(f"{duration(time.time() - holder.since)} so far")
        return visible(" · ".join(filter(None, words)))


def _row(
    folder: Path, experiment: Experiment, outcome: Outcome | None, *, running: bool
) -> ExperimentRow:
    same = (
        len(
            {
                json.dumps(dict(side.changes), sort_keys=True)
                for side in experiment.sides
            }
        )
        == 1
    )
    change = write_changes(experiment.sides[0].changes) if same else experiment.title
    state: State = "proposed"
    if running:
        state = "running"
    elif outcome is not None:
        state = (
            "done"
            if outcome.judged
            else "failed"
            if outcome.status == "failed"
            else "proposed"
        )
    note = "; ".join(
        filter(
            None, ("no number may move" if experiment.still else "", experiment.note)
        )
    )
    own = folder / experiment.id
    row = ExperimentRow(
        experiment.id,
        experiment.cause,
        experiment.title,
        experiment.backend,
        experiment.path,
        change,
        experiment.combined,
        experiment.seconds,
        experiment.runs,
        note,
        state,
        folder=own if (own / MANIFEST).exists() else None,
    )
    return (
        row
        if outcome is None or running
        else replace(row, short=_short(outcome), outcome=outcome.sentence)
    )


def _left_out_rows(proposal: Proposal) -> Iterator[ExperimentRow]:
    """One for each option that means nothing here; none where a backend's every option
    is left out for one reason.
    """
    causes: dict[tuple[str, str, str], list[str]] = {}
    for left in proposal.left_out if proposal.experiments else ():
        causes.setdefault((left.backend, left.setting, left.reason), []).append(
            left.cause
        )
    for (backend, setting, reason), codes in causes.items():
        yield ExperimentRow(
            id=f"{backend}: {setting}",
            cause=", ".join(filter(None, codes)),
            title=f"{backend}: {setting}",
            backend=backend,
            path="",
            change=setting,
            combined=False,
            seconds=None,
            state="left out",
            short="left out",
            outcome=f"left out: {reason}",
        )


def _short(outcome: Outcome) -> str:
    """What the column has room for."""
    if outcome.finding:
        return "numbers moved"
    return outcome.sentence.partition(":")[0].replace(" of the MAE", "")


def _events(folder: Path) -> Iterator[Mapping[str, Any]]:
    """What was said of the last run of experiments, oldest first."""
    found: list[Mapping[str, Any]] = []
    for event in read_events(folder / EVENTS):
        found = [] if event.get("type") == "plan" else found
        found.append(event)
    yield from found


def _begun(events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The experiment that runs now."""
    of_experiments = (e for e in reversed(events) if e.get("type") == "experiment")
    last: Mapping[str, Any] = next(of_experiments, {})
    return last if last.get("state") == "begun" else {}


def _not_run(
    events: Sequence[Mapping[str, Any]], known: Mapping[str, Experiment]
) -> Iterator[Outcome]:
    """What the last run left out, which no folder tells."""
    for event in events:
        if event.get("state") != "ended":
            continue
        with contextlib.suppress(KeyError, Unfit):
            outcome = Outcome.from_json(known[event["id"]], event["outcome"])
            if not outcome.judged:
                yield outcome


def _ended(events: Sequence[Mapping[str, Any]]) -> str:
    last = events[-1] if events else {}
    if last.get("type") == "failed":
        return visible(f"the last run failed: {last.get('error')}")
    if last.get("type") == "cancelled":
        return "the last run was cancelled"
    begun = _begun(events)
    # Killed, or interrupted in a terminal: it had no time to say so.
    return (
        visible(f"the last run ended in the middle of {begun.get('title')}")
        if begun
        else ""
    )


def _started(events: Sequence[Mapping[str, Any]]) -> float:
    at = events[0].get("t") if events else None
    return float(at) if isinstance(at, (int, float)) else 0.0


def chosen_at_first(rows: Iterable[ExperimentRow], budget: float) -> set[str]:
    """Those that can prove or refute what is likely and have not run yet, the most
    telling first, as far as the budget goes. Of those of unknown length, only the most
    telling one.
    """
    chosen: set[str] = set()
    left, unknown = budget, False
    for row in rows:
        if row.state != "proposed" or not row.deciding:
            continue
        takes = row.seconds if row.runs else 0.0
        if not unknown if takes is None else takes <= left:
            chosen.add(row.id)
            unknown = unknown or takes is None
            left -= takes or 0.0
    return chosen


def total(rows: Sequence[ExperimentRow]) -> str:
    """How long they take together, in words."""
    known = [row.seconds for row in rows if row.runs and row.seconds is not None]
    unknown = sum(row.runs and row.seconds is None for row in rows)
    words = f"about {duration(sum(known))}" if known else ""
    more = f"{unknown} of unknown length" if unknown else ""
    return " and ".join(filter(None, (words, more))) or "nothing has to run"


def write_changes(changes: Mapping[str, Any]) -> str:
    """``dtype=float32, enforce_eager=true``"""
    return ", ".join(
        (
            f"no {name}"
            if value is None
            else f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        )
        for name, value in changes.items()
    )
