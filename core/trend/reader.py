"""A folder of sessions as a trend, looked at again and again: only what has changed is
measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    from logdrift.core.trend.measured import StepOfSession

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


class TrendReader:
    """Reads the sessions of a folder, or the steps of the session that it is."""

    def __init__(self, folder: Path, wanted: TrendWish | None = None) -> None:
        self.folder = folder
        self.wanted = wanted or TrendWish()
        self._kept = KeptRows(folder)
        self._known: dict[Path, _SessionRows] = {}
        self._saved = time.monotonic()

    def look(
        self,
        stop: Callable[[], bool] = lambda: False,
        *,
        seconds: float = _UNLIMITED,
    ) -> TrendLook:
        """Find what has changed, then measure it, for ``seconds`` at most: what has
        come in is to be seen. Raises InputError where the folder cannot be read.
        """
        folders = self._folders()
        for gone in self._known.keys() - set(folders):
            del self._known[gone]
        end = time.monotonic() + seconds
        for folder in folders:
            if stop() or time.monotonic() >= end:
                break
            self._find(folder)
        for folder in folders:
            self._measure(folder, stop, end)
        self._kept.save()
        return self._seen(folders)

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
        kept = self._kept.get(key)
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
        from logdrift.core.trend.measured import left_out_words, named_row, steps_of

        session = open_session(folder)
        steps = steps_of(session, self.wanted)
        rows = tuple(map(named_row, steps))
        if known is not None:
            rows = _with_old_numbers(rows, known.rows)
        note = left_out_words(session)
        return _SessionRows(key, rows, note=note, done=False)

    def _measure(self, folder: Path, stop: Callable[[], bool], end: float) -> None:
        """Measure the steps of a session, as many as there is time for."""
        known = self._known.get(folder)
        if known is None or known.done or stop() or time.monotonic() >= end:
            return
        from logdrift.core.trend.measured import steps_of

        try:
            session = open_session(folder)
            steps = steps_of(session, self.wanted)
            rows = self._rows(steps, known, stop, end)
        except Exception as error:
            problem = _words(error, folder)
            self._known[folder] = _SessionRows(known.key, problem=problem)
            return
        done = all(row.measured for row in rows)
        self._known[folder] = replace(known, rows=rows, done=done)
        # Notes are of what was left out, which a kept row does not say.
        if done and not known.note:
            self._kept.put(known.key, rows)
            self._save_now_and_then()

    def _rows(
        self,
        steps: Sequence[StepOfSession],
        known: _SessionRows,
        stop: Callable[[], bool],
        end: float,
    ) -> tuple[TrendRow, ...]:
        from logdrift.core.trend.measured import named_row

        rows: list[TrendRow] = []
        for step in steps:
            if stop() or (rows and time.monotonic() >= end):
                rows.append(named_row(step))
            else:
                rows.append(self._row(step))
        return tuple(rows)

    def _row(self, step: StepOfSession) -> TrendRow:
        """Measured, or as it is kept of an earlier look at a recording that grows."""
        from logdrift.core.trend.measured import measured_row

        if step.chosen is None:
            return measured_row(step, self.wanted)
        key = step_key(step, self.wanted)
        kept = self._kept.get(key)
        if kept:
            return replace(kept[0], state=step.session.state)
        row = measured_row(step, self.wanted)
        self._kept.put(key, [row])
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
