"""A folder of sessions as a trend, looked at again and again: only what has changed is
measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from logdrift.core.errors import InputError, LogdriftError, words_inside
from logdrift.core.session.folders import session_folders
from logdrift.core.session.layout import MANIFEST
from logdrift.core.session.reader import open_session
from logdrift.core.trend.kept import KeptRows, session_key, step_key
from logdrift.core.trend.line import Trend, lines_of, repeated_steps
from logdrift.core.trend.row import TrendRow
from logdrift.core.trend.wish import TrendWish

if TYPE_CHECKING:
    from logdrift.core.trend.found import StepOfSession

_UNLIMITED = float("inf")
_SAVE_SECONDS = 2.0
"""What was measured is kept so often: a long first look that is ended loses no more."""


@dataclass(frozen=True, slots=True)
class _SessionRows:
    """What is known of a session, at which key. ``done``: nothing is to be measured."""

    key: str
    rows: tuple[TrendRow, ...] = ()
    problem: str = ""
    note: str = ""
    done: bool = True


@dataclass(frozen=True, slots=True)
class TrendLook:
    """The trend as it is known. ``left`` rows are not measured yet, of ``total``."""

    trend: Trend
    left: int
    total: int

    @property
    def done(self) -> bool:
        return not self.left


@dataclass(slots=True)
class _Allowance:
    """For how long a look may go on with something. It is over after ``seconds``, but
    not before it was ``used`` once: what is looked at in slices comes to an end.
    """

    stop: Callable[[], bool]
    seconds: float
    used: bool = False
    _start: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        if self.stop():
            return True
        return self.used and time.monotonic() >= self._start + self.seconds


class TrendReader:
    """Reads the sessions of a folder, or the steps of the session that it is."""

    def __init__(self, folder: Path, wanted: TrendWish | None = None) -> None:
        self.folder = folder
        self.wanted = wanted or TrendWish()
        self._kept = KeptRows(folder, self.wanted)
        self._found_last: Path | None = None
        self._known: dict[Path, _SessionRows] = {}
        self._saved = time.monotonic()

    def look(
        self,
        stop: Callable[[], bool] = lambda: False,
        *,
        seconds: float = _UNLIMITED,
    ) -> TrendLook:
        """Find what has changed, for ``seconds`` at most, then measure it, for as long:
        what has come in is to be seen. One session is found and one step measured
        whatever the time; a first look of limited time measures none. Raises InputError
        where the folder cannot be read.
        """
        folders = self._folders()
        for gone in self._known.keys() - set(folders):
            del self._known[gone]
        is_first = self._found_last is None
        self._find_each(folders, _Allowance(stop, seconds))
        # At first the rows themselves are to be seen: what measures is not even
        # imported. What is known already takes time to find: measuring has its own.
        if not is_first or seconds == _UNLIMITED:
            self._measure_each(folders, _Allowance(stop, seconds))
        self._kept.save()
        return self._seen(folders)

    def _find_each(self, folders: Sequence[Path], allowance: _Allowance) -> None:
        """Find what has changed, as there is time."""
        for folder in self._from_where_it_stopped(folders):
            if allowance.is_over:
                break
            self._find(folder)
            self._found_last = folder
            allowance.used = True

    def _measure_each(self, folders: Sequence[Path], allowance: _Allowance) -> None:
        """Measure what was found, as there is time."""
        for folder in folders:
            self._measure(folder, allowance)

    def _from_where_it_stopped(self, folders: Sequence[Path]) -> list[Path]:
        """New folders first, then those behind the one that was looked at last."""
        last = self._found_last

        def place(folder: Path) -> tuple[bool, bool]:
            was_before = last is not None and folder <= last
            return folder in self._known, was_before

        return sorted(folders, key=place)

    def _folders(self) -> list[Path]:
        if os.path.exists(self.folder / MANIFEST):
            return [self.folder]
        folders, problem = session_folders(self.folder)
        if problem is not None:
            raise InputError(problem, file=self.folder)
        return folders

    def _find(self, folder: Path) -> None:
        """Know the steps of a session, with the numbers that are kept."""
        key = session_key(folder, self.wanted)
        known = self._known.get(folder)
        if known is not None and key and known.key == key:
            return
        kept = self._kept.get(key, (folder.name, None))
        if kept is not None:
            self._known[folder] = _SessionRows(key, kept)
            return
        try:
            self._known[folder] = self._named(folder, key, known)
        except Exception as error:
            self._known[folder] = _SessionRows(key, problem=_words(error, folder))

    def _named(
        self, folder: Path, key: str, known: _SessionRows | None
    ) -> _SessionRows:
        """Its steps without numbers; old numbers stand until there are new ones."""
        # Imported here: what is kept is shown without what measures.
        from logdrift.core.trend.found import left_out_words, named_row, steps_of

        session = open_session(folder)
        steps = steps_of(session, self.wanted)
        rows = tuple(map(named_row, steps))
        if known is not None:
            rows = _with_old_numbers(rows, known.rows)
        note = left_out_words(session)
        return _SessionRows(key, rows, note=note, done=False)

    def _measure(self, folder: Path, allowance: _Allowance) -> None:
        """Measure the steps of a session, as many as there is time for."""
        known = self._known.get(folder)
        if known is None or known.done or allowance.is_over:
            return
        from logdrift.core.trend.found import steps_of

        try:
            session = open_session(folder)
            steps = steps_of(session, self.wanted)
            rows = self._rows(steps, known, allowance)
        except Exception as error:
            problem = _words(error, folder)
            self._known[folder] = _SessionRows(known.key, problem=problem)
            return
        done = all(row.measured for row in rows)
        self._known[folder] = replace(known, rows=rows, done=done)
        # Notes are of what was left out, which a kept row does not say.
        if done and not known.note:
            self._kept.put(known.key, (folder.name, None), rows)
            self._save_now_and_then()

    def _rows(
        self,
        steps: Sequence[StepOfSession],
        known: _SessionRows,
        allowance: _Allowance,
    ) -> tuple[TrendRow, ...]:
        """The rows of its steps: what is measured already stays, and so do old numbers
        of what there is no time for.
        """
        from logdrift.core.trend.found import named_row

        by_step = {row.step: row for row in known.rows}
        rows = []
        for step in steps:
            named = named_row(step)
            row = by_step.get(named.step, named)
            if not row.measured and not allowance.is_over:
                row = self._row(step, named)
                allowance.used = True
            rows.append(row)
        return tuple(rows)

    def _row(self, step: StepOfSession, named: TrendRow) -> TrendRow:
        """Measured, or as it is kept of an earlier look at a recording that grows."""
        from logdrift.core.trend.measured import measured_row

        if step.chosen is None:
            return measured_row(step, self.wanted)
        key = step_key(step, self.wanted)
        kept = self._kept.get(key, named.name)
        if kept:
            place = named.first_sequence
            return replace(kept[0], state=named.state, first_sequence=place)
        row = measured_row(step, self.wanted)
        self._kept.put(key, named.name, [row])
        return row

    def _save_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._saved >= _SAVE_SECONDS:
            self._saved = now
            self._kept.save()

    def _seen(self, folders: Sequence[Path]) -> TrendLook:
        rows: list[TrendRow] = []
        problems = []
        notes = []
        for folder in folders:
            known = self._known.get(folder)
            if known is None:
                continue
            rows += known.rows
            if known.problem:
                problems.append((folder.name, known.problem))
            if known.note:
                notes.append(f"{folder.name}: {known.note}")
        lines = lines_of(rows)
        for line in lines:
            notes += repeated_steps(line)
        waiting = sum(not row.measured for row in rows)
        unread = len(set(folders) - self._known.keys())
        trend = Trend(
            folder=self.folder,
            lines=lines,
            problems=tuple(problems),
            notes=tuple(notes),
        )
        return TrendLook(trend, waiting + unread, len(rows) + unread)


def _with_old_numbers(
    rows: Sequence[TrendRow], before: Sequence[TrendRow]
) -> tuple[TrendRow, ...]:
    """Rows with the numbers that they had, until they are measured again."""
    by_step = {row.step: row for row in before if row.measured}
    kept = []
    for row in rows:
        old = by_step.get(row.step)
        if old is not None:
            row = replace(old, measured=False, state=row.state)
        kept.append(row)
    return tuple(kept)


def _words(error: Exception, folder: Path) -> str:
    if isinstance(error, LogdriftError):
        return words_inside(error, folder)
    # Files from anywhere, with anything in them: what no check of the reader found.
    return f"damaged: {type(error).__name__}: {error}"
