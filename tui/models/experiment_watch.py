"""The experiments of a pair, followed while they run in a process of their own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose import Diagnosis
from logdrift.core.diagnose.experiments import Experiment, propose
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import duration
from logdrift.core.report.experiments import saved_outcomes
from logdrift.core.session.events import began, events_of_last_run
from logdrift.core.session.experiments import FOLDER, saved, timings
from logdrift.core.session.layout import EVENTS
from logdrift.core.session.lock import LockHolder, read_lock
from logdrift.core.session.progress import live
from logdrift.core.session.reader import Session
from logdrift.core.session.schema import Unfit
from logdrift.core.session.visible import visible
from logdrift.tui.models.experiments import ExperimentRow, left_out_rows, row_of

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Experiments:
    """All that the screen shows of the experiments of a pair.

    Attributes:
        rows: the most telling first, those left out last.
        running: what runs now, in words; "" for nothing.
        ended: how the last run ended, if badly.
        began: when the last run began, in seconds since 1970; 0 where none did.
        why_none: why no experiment is proposed, where none is.
    """

    rows: tuple[ExperimentRow, ...]
    running: str = ""
    ended: str = ""
    began: float = 0.0
    why_none: str = ""


class ExperimentWatch:
    """Looks at the experiments of a pair again and again. Not for the event loop."""

    def __init__(self, session: Session, pair: Pair, diagnosis: Diagnosis) -> None:
        from logdrift.core.investigate.experiments import gpu_count  # only when opened

        self.session = session
        self.pair = pair
        self.folder = session.folder / FOLDER
        durations = timings(session.folder)
        gpus = gpu_count()
        self.proposal = propose(session, pair, diagnosis, durations, gpus=gpus)
        self.proposed: dict[str, Experiment] = {}
        for experiment in self.proposal.experiments:
            self.proposed[experiment.id] = experiment

    def look(self) -> Experiments:
        """What is proposed with what came of it, and what runs."""
        events = events_of_last_run(self.folder / EVENTS)
        holder = read_lock(self.folder)
        running: Event = {}
        running_words = ""
        ended = ""
        if holder is None:
            ended = _how_it_ended(events)
        else:
            running = _running_experiment(events)
            running_words = self._running_words(holder, running)
        outcomes = self._outcomes(events)
        running_id = running.get("id")
        rows = self._rows(outcomes, running_id)
        left_out = left_out_rows(self.proposal)
        return Experiments(
            rows=(*rows, *left_out),
            running=running_words,
            ended=ended,
            began=began(events),
            why_none=self.proposal.why_none,
        )

    def _outcomes(self, events: Sequence[Event]) -> dict[str, Outcome]:
        """What is known of each experiment, by its id: what is saved comes first."""
        not_run = _not_run(events, self.proposed)
        known = saved_outcomes(self.session, self.pair)
        outcomes: dict[str, Outcome] = {}
        for outcome in (*not_run, *known):
            outcomes[outcome.experiment.id] = outcome
        return outcomes

    def _rows(
        self, outcomes: Mapping[str, Outcome], running: str | None
    ) -> Iterator[ExperimentRow]:
        experiments = dict(self.proposed)
        for id, outcome in outcomes.items():
            experiments[id] = outcome.experiment
        for id, experiment in experiments.items():
            yield row_of(
                experiment,
                outcomes.get(id),
                self.folder,
                running=id == running,
                deciding=id in self.proposal.deciding,
            )

    def _running_words(self, holder: LockHolder, running: Event) -> str:
        words = ["they are being started"]
        if running:
            place = running.get("place")
            count = running.get("of")
            title = running.get("title")
            words = [f"{place} of {count}, {title}"]
            words += self._capturing()
        seconds = time.time() - holder.since
        words.append(f"{duration(seconds)} so far")
        filled = filter(None, words)
        return visible(" · ".join(filled))

    def _capturing(self) -> Iterator[str]:
        """What the sessions of experiments that are being written say last."""
        for record in saved(self.session.folder):
            with contextlib.suppress(LogdriftError, OSError):
                session = record.session
                if session is None:
                    continue
                writer = session.lock
                if writer is not None:
                    yield live(session, writer).doing


def _running_experiment(events: Sequence[Event]) -> Event:
    """The last event of an experiment, where it is its beginning."""
    for event in reversed(events):
        if event.get("type") != "experiment":
            continue
        if event.get("state") == "begun":
            return event
        return {}
    return {}


def _not_run(
    events: Sequence[Event], proposed: Mapping[str, Experiment]
) -> Iterator[Outcome]:
    """What the last run left out: no folder holds it."""
    for event in events:
        if event.get("state") != "ended":
            continue
        with contextlib.suppress(KeyError, Unfit):
            experiment = proposed[event["id"]]
            saved_outcome = event["outcome"]
            outcome = Outcome.from_json(experiment, saved_outcome)
            if not outcome.judged:
                yield outcome


def _how_it_ended(events: Sequence[Event]) -> str:
    """In words, if badly."""
    if not events:
        return ""
    last = events[-1]
    kind = last.get("type")
    if kind == "failed":
        error = last.get("error")
        return visible(f"the last run failed: {error}")
    if kind == "cancelled":
        return "the last run was cancelled"
    unfinished = _running_experiment(events)
    if unfinished:  # killed, or interrupted in a terminal: it could not say so
        title = unfinished.get("title")
        return visible(f"the last run ended in the middle of {title}")
    return ""
