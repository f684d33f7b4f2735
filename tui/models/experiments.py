"""The experiments of a pair: one frozen row for each that is proposed, runs, has run,
or is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from logdrift.core.diagnose.experiments import Experiment, Proposal
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.numbers import duration
from logdrift.core.session.layout import MANIFEST
from logdrift.tui.models.experiment_words import (
    cause_title,
    what_it_does,
    what_it_tells,
)

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
    """One row of the screen.

    ``change`` is the option as its engine takes it. ``short`` and ``outcome`` say what
    the experiment showed, or why it is left out. ``folder`` is its session, where it
    has one. ``deciding``: it can prove or refute what is likely. ``words`` say what the
    change does, and what its outcome can tell.
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
    words: str = ""

    @property
    def takes(self) -> str:
        """How long it takes, in words; "" for one that is left out."""
        if self.state == "left out":
            return ""
        if not self.runs:
            return "at once"
        if self.seconds is None:
            return "unknown"
        return duration(self.seconds)

    @property
    def about(self) -> str:
        """What it tests and how long that takes; why it is left out."""
        if self.state == "left out":
            return self.outcome
        cause = cause_title(self.cause)
        where = f"{self.backend}/{self.path}"
        words = f"tests {cause} on {where}, {self._time}"
        if self.note:
            words += f"; {self.note}"
        return words

    @property
    def _time(self) -> str:
        if not self.runs:
            return "at once: the session has this capture already"
        if self.seconds is None:
            return "how long it takes is not known here"
        return f"about {duration(self.seconds)}"


def row_of(
    experiment: Experiment,
    outcome: Outcome | None,
    folder: Path,
    *,
    running: bool,
    deciding: bool,
) -> ExperimentRow:
    """The row of an experiment that may run; ``folder`` holds the sessions of all."""
    session = folder / experiment.id
    row = ExperimentRow(
        id=experiment.id,
        cause=experiment.cause,
        title=experiment.title,
        backend=experiment.backend,
        path=experiment.path,
        change=_change(experiment),
        combined=experiment.combined,
        seconds=experiment.seconds,
        runs=experiment.runs,
        note=experiment.note,
        state=_state(outcome, running=running),
        folder=session if (session / MANIFEST).exists() else None,
        deciding=deciding,
        words=_words(experiment),
    )
    if outcome is None or running:
        return row
    return replace(row, short=_short(outcome), outcome=outcome.sentence)


def _words(experiment: Experiment) -> str:
    words = (what_it_does(experiment), what_it_tells(experiment))
    return " ".join(filter(None, words))


def _state(outcome: Outcome | None, *, running: bool) -> State:
    if running:
        return "running"
    if outcome is None:
        return "proposed"
    if outcome.judged:
        return "done"
    if outcome.status == "failed":
        return "failed"
    return "proposed"


def _change(experiment: Experiment) -> str:
    """The change, where all sides have the same one; the title otherwise."""
    different: set[str] = set()
    for side in experiment.sides:
        changes = dict(side.changes)
        written = json.dumps(changes, sort_keys=True)
        different.add(written)
    if len(different) > 1:
        return experiment.title
    first = experiment.sides[0]
    return write_changes(first.changes)


def write_changes(changes: Mapping[str, Any]) -> str:
    """``dtype=float32, enforce_eager=true``"""
    words = []
    for name, value in changes.items():
        words.append(_write_change(name, value))
    return ", ".join(words)


def _write_change(name: str, value: Any) -> str:
    if value is None:
        return f"no {name}"
    text = value
    if not isinstance(value, str):
        text = json.dumps(value)
    return f"{name}={text}"


def _short(outcome: Outcome) -> str:
    """What the column has room for."""
    if outcome.finding:
        return "numbers moved"
    words, _, _ = outcome.sentence.partition(":")
    return words.replace(" of the MAE", "")


def left_out_rows(proposal: Proposal) -> Iterator[ExperimentRow]:
    """One for each option that means nothing here; none where a backend's every option
    is left out for one reason.
    """
    if not proposal.experiments:
        return
    causes: dict[tuple[str, str, str], list[str]] = {}
    for left in proposal.left_out:
        option = (left.backend, left.setting, left.reason)
        codes = causes.setdefault(option, [])
        codes.append(left.cause)
    for option, codes in causes.items():
        backend, setting, reason = option
        named = filter(None, codes)
        title = f"{backend}: {setting}"
        yield ExperimentRow(
            id=title,
            cause=", ".join(named),
            title=title,
            backend=backend,
            path="",
            change=setting,
            combined=False,
            seconds=None,
            state="left out",
            short="left out",
            outcome=f"left out: {reason}",
        )


def chosen_at_first(rows: Iterable[ExperimentRow], budget: float) -> set[str]:
    """Ids of those that can prove or refute what is likely and have not run yet, most
    telling first, as far as ``budget`` (seconds) goes. Of those of unknown length, only
    the most telling one.
    """
    chosen: set[str] = set()
    has_unknown = False
    left = budget
    for row in rows:
        if row.state != "proposed" or not row.deciding:
            continue
        seconds = row.seconds
        if not row.runs:
            seconds = 0.0
        if seconds is None:
            if not has_unknown:
                chosen.add(row.id)
            has_unknown = True
        elif seconds <= left:
            chosen.add(row.id)
            left -= seconds
    return chosen


def total(rows: Sequence[ExperimentRow]) -> str:
    """How long they take together, in words."""
    seconds = 0.0
    known = 0
    unknown = 0
    for row in rows:
        if not row.runs:
            continue
        if row.seconds is None:
            unknown += 1
        else:
            known += 1
            seconds += row.seconds
    words = []
    if known:
        words.append(f"about {duration(seconds)}")
    if unknown:
        words.append(f"{unknown} of unknown length")
    if not words:
        return "nothing has to run"
    return " and ".join(words)
