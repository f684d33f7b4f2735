"""A folder of sessions, looked at again and again: only what has changed is read.

A look goes as deep as it is asked to: names first, then the numbers of each session,
then its answer. Each is kept until the session changes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from logdrift.core.session.folders import session_folders
from logdrift.core.session.layout import LOCK, MANIFEST
from logdrift.core.session.lock import read_lock
from logdrift.tui.models.session_answers import evidence_of
from logdrift.tui.models.sessions import (
    SessionRow,
    answered_row,
    damaged_row,
    session_row,
)

Depth = Literal["rows", "numbers", "answers"]
DEPTHS: tuple[Depth, ...] = ("rows", "numbers", "answers")
_SHARE = 20
"""What is known of a capture that runs is worked out again when this many times its
cost has passed.
"""
_UNLIMITED = float("inf")


@dataclass
class _Effort:
    """What was worked out last: at which stamp, when, and what it cost in seconds."""

    stamp: object = None
    at: float = 0.0
    took: float = 0.0

    def due(self, stamp: object, running: bool) -> bool:
        """Whether it is to be worked out again; seldom while a capture writes."""
        if stamp == self.stamp:
            return False
        since_last = time.monotonic() - self.at
        return not running or since_last >= _SHARE * self.took


@dataclass
class _Known:
    """What was read of a folder, at which stamp."""

    stamp: object
    row: SessionRow
    numbers: _Effort = field(default_factory=_Effort)
    answer: _Effort = field(default_factory=_Effort)


@dataclass(frozen=True)
class FolderLook:
    """All rows, the newest session first; ``problem``: why the folder cannot be read.
    ``done``: everything was worked out that was asked for.
    """

    rows: tuple[SessionRow, ...]
    problem: str | None
    done: bool = True


class FolderWatch:
    """Looks at a folder of sessions again and again; reads only what has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[Path, _Known] = {}
        self._worked = False
        """Whether this look has worked something out: each gets on by one at least."""

    def forget(self) -> None:
        """Read everything again at the next look."""
        self._known.clear()

    def look(
        self,
        *,
        depth: Depth,
        stop: Callable[[], bool],
        seconds: float = _UNLIMITED,
        first: Path | None = None,
    ) -> FolderLook:
        """Look as deep as ``depth``. After ``seconds`` nothing more is begun, and the
        look is not done: what has come in is to be seen. ``first`` is worked out before
        the others.
        """
        folders, problem = session_folders(self.folder)
        listed = set(folders)
        for gone in self._known.keys() - listed:
            del self._known[gone]
        end = time.monotonic() + seconds
        done = True
        self._worked = False
        for folder in self._in_order(folders, first):
            if stop():
                break
            late = self._worked and time.monotonic() >= end
            done = self._safely(folder, depth, late) and done
        return FolderLook(self._rows(folders), problem, done)

    def _in_order(self, folders: Sequence[Path], first: Path | None) -> list[Path]:
        """The newest sessions first, as they are listed; ``first`` before them."""

        def age(folder: Path) -> tuple[bool, str, str]:
            known = self._known.get(folder)
            created = known.row.created if known is not None else ""
            return folder == first, created, folder.name

        return sorted(folders, key=age, reverse=True)

    def _rows(self, folders: Sequence[Path]) -> tuple[SessionRow, ...]:
        rows: list[SessionRow] = []
        for folder in folders:
            known = self._known.get(folder)
            if known is not None:
                rows.append(known.row)
        rows.sort(key=_age, reverse=True)
        return tuple(rows)

    def _safely(self, folder: Path, depth: Depth, late: bool) -> bool:
        """`_look_at`; whatever is wrong with one session, its row says it, and the
        others are read.
        """
        try:
            return self._look_at(folder, depth, late)
        except Exception as error:
            row = damaged_row(folder, error)
            no_stamp = object()
            self._known[folder] = _Known(no_stamp, row)
            return True

    def _look_at(self, folder: Path, depth: Depth, late: bool) -> bool:
        """Read a folder where it has changed; False where it is too late for what is
        due.
        """
        stamp = _stamp(folder)
        running = stamp[2]
        known = self._known.get(folder)
        if known is None or known.stamp != stamp or running:
            known = self._read(folder, stamp)
        if depth != "rows" and known.numbers.due(stamp, running):
            if late:
                return False
            self._worked = True
            with _timed(known.numbers, stamp):
                row = session_row(folder, numbers=True)
                known.row = replace(row, answer=known.row.answer)
        evidence = (stamp, evidence_of(folder))
        if depth == "answers" and known.answer.due(evidence, running):
            if late:
                return False
            self._worked = True
            with _timed(known.answer, evidence):
                known.row = answered_row(known.row)
        return True

    def _read(self, folder: Path, stamp: object) -> _Known:
        """Read names and state; the old numbers stand until there are new ones."""
        row = session_row(folder, numbers=False)
        known = self._known.setdefault(folder, _Known(stamp, row))
        known.stamp = stamp
        old = known.row
        known.row = replace(
            row,
            mae=old.mae,
            verdict=old.verdict,
            damage=old.damage,
            answer=old.answer,
        )
        return known


@contextlib.contextmanager
def _timed(work: _Effort, stamp: object) -> Iterator[None]:
    """Keeps what the work within costs."""
    began = time.monotonic()
    yield
    work.stamp = stamp
    work.at = time.monotonic()
    work.took = work.at - began


def _age(row: SessionRow) -> tuple[str, str]:
    """What rows are sorted by: newer sessions have larger ones."""
    return row.created, row.name


def _stamp(folder: Path) -> tuple[int, int, bool]:
    """Changes when the manifest is replaced, and when a writer comes or goes, killed
    ones included.
    """
    with contextlib.suppress(OSError):
        status = os.stat(folder / MANIFEST)
        locked = os.path.exists(folder / LOCK)
        has_writer = locked and read_lock(folder) is not None
        return status.st_mtime_ns, status.st_ino, has_writer
    return 0, 0, False
