"""The list of sessions: one frozen record for each, read again where it changed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from logdrift.core.compare.pair import default_pair
from logdrift.core.errors import LogdriftError, words_inside
from logdrift.core.session.layout import LOCK, MANIFEST
from logdrift.core.session.lock import read_lock
from logdrift.core.session.progress import live, progress
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.visible import visible


@dataclass(frozen=True)
class SessionRow:
    """One line of the sessions screen. ``problem``: why the folder does not open;
    ``damage``: why it has no numbers; ``doing``: what one wants to know of a session
    that is not complete.
    """

    folder: Path
    name: str
    title: str = ""
    model: str = ""
    backends: str = ""
    tokens: int = 0
    state: str = ""
    progress: float | None = None
    left: float | None = None
    doing: str = ""
    mae: float | None = None
    verdict: str | None = None
    created: str = ""
    problem: str | None = None
    damage: str = ""


def session_row(folder: Path, *, numbers: bool) -> SessionRow:
    """Open one folder for the list; ``numbers`` also works out MAE and verdict of its
    default pair.
    """
    name = visible(folder.name)
    try:
        session = open_session(folder)
        row = _plain_row(folder, name, session)
        if numbers:
            row = _with_numbers(row, session)
    except Exception as error:
        return _damaged(folder, error)
    return row


def _with_numbers(row: SessionRow, session: Session) -> SessionRow:
    """The row with MAE and verdict of the default pair."""
    pair = default_pair(session)
    if pair is None:
        return row
    # The numbers come second: the list is drawn without what they need.
    from logdrift.tui.models.pairs import pair_row

    a, b = pair
    judgement = pair_row(session, a, b)
    return replace(
        row,
        mae=judgement.mae,
        verdict=judgement.verdict,
        damage=judgement.problem or "",
    )


def _damaged(folder: Path, error: Exception) -> SessionRow:
    """The row of a session that does not open."""
    if isinstance(error, LogdriftError):
        words = words_inside(error, folder)
    else:
        # Files from anywhere, with anything in them: what no check of the reader found.
        kind = type(error).__name__
        words = f"damaged: {kind}: {error}"
    name = visible(folder.name)
    problem = visible(words)
    return SessionRow(folder, name, problem=problem)


def _plain_row(folder: Path, name: str, session: Session) -> SessionRow:
    manifest = session.manifest
    parts = manifest.sequences.parts
    tokens = [part.tokens for part in parts]
    model = manifest.model.id
    model_name = Path(model).name or model
    names = [info.backend for info in session.captures]
    backends = dict.fromkeys(names)
    minute = manifest.created[:16]
    minute = minute.replace("T", " ")
    row = SessionRow(
        folder=folder,
        name=name,
        title=visible(manifest.title),
        model=visible(model_name),
        backends=visible(", ".join(backends)),
        tokens=sum(tokens),
        created=visible(minute),
    )
    holder = session.lock
    if holder is None:
        return replace(
            row,
            state=session.state,
            progress=progress(session),
            doing=_missing(session, session.state),
        )
    now = live(session, holder)
    return replace(
        row, state="running", progress=now.share, left=now.left, doing=now.doing
    )


def _missing(session: Session, state: str) -> str:
    """Why a session that no capture writes is not whole."""
    captures = session.captures
    if state == "failed":
        failed = next(info for info in captures if info.status == "failed")
        reasons = failed.failure_lines or ["no reason given"]
        return visible(f"{failed.label} failed: {reasons[0]}")
    if state == "partial":
        statuses = [info.status for info in captures]
        complete = statuses.count("complete")
        return f"{complete} of {len(statuses)} captures are complete"
    return ""


@dataclass
class _Known:
    """What was read of a folder: at which stamp, whether its numbers are of that stamp,
    and what they cost.
    """

    stamp: object
    row: SessionRow
    judged: object = None
    at: float = 0.0
    took: float = 0.0


_SHARE = 20
"""The numbers of a capture that runs are worked out again when this many times their
cost has passed.
"""


class FolderWatch:
    """Looks at a folder of sessions again and again; reads only what has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[Path, _Known] = {}

    def forget(self) -> None:
        """Read everything again at the next look."""
        self._known.clear()

    def look(
        self, *, numbers: bool, stop: Callable[[], bool]
    ) -> tuple[tuple[SessionRow, ...], str | None]:
        """All rows, the newest session first, and why the folder cannot be read.
        ``numbers``: with MAE and verdict.
        """
        folders, problem = session_folders(self.folder)
        listed = set(folders)
        for gone in self._known.keys() - listed:
            del self._known[gone]
        for folder in folders:
            if stop():
                break
            try:
                self._look_at(folder, numbers)
            except Exception as error:
                # Whatever is wrong with one session: its row says it, and the others
                # are read.
                row = _damaged(folder, error)
                no_stamp = object()
                self._known[folder] = _Known(no_stamp, row)
        rows: list[SessionRow] = []
        for folder in folders:
            known = self._known.get(folder)
            if known is not None:
                rows.append(known.row)
        rows.sort(key=_age, reverse=True)
        return tuple(rows), problem

    def _look_at(self, folder: Path, numbers: bool) -> None:
        stamp = _stamp(folder)
        running = stamp[2]
        known = self._known.get(folder)
        if known is None or known.stamp != stamp or running:
            row = session_row(folder, numbers=False)
            if known is None:
                known = _Known(stamp, row)
                self._known[folder] = known
            known.stamp = stamp
            # The old numbers stand until there are new ones.
            old = known.row
            known.row = replace(
                row, mae=old.mae, verdict=old.verdict, damage=old.damage
            )
        if numbers and known.judged != stamp:
            self._judge(known, stamp, running)

    def _judge(self, known: _Known, stamp: object, running: bool) -> None:
        """Work out a session's numbers; seldom while a capture writes it."""
        began = time.monotonic()
        since_last = began - known.at
        if running and since_last < _SHARE * known.took:
            return
        folder = known.row.folder
        known.row = session_row(folder, numbers=True)
        known.judged = stamp
        known.at = time.monotonic()
        known.took = known.at - began


def _age(row: SessionRow) -> tuple[str, str]:
    """What rows are sorted by: newer sessions have larger ones."""
    return row.created, row.name


def session_folders(folder: Path) -> tuple[list[Path], str | None]:
    """The sessions in a folder by name, and why it cannot be read."""
    try:
        entries = list(os.scandir(folder))
        entries.sort(key=lambda entry: entry.name)
    except FileNotFoundError:
        return [], "no such folder yet: logdrift demo makes it, and a session in it"
    except OSError as error:
        return [], f"cannot be read: {error.strerror}"
    folders: list[Path] = []
    for entry in entries:
        hidden = entry.name.startswith(".")
        if not hidden and _is_session(entry):
            path = Path(entry.path)
            folders.append(path)
    return folders, None


def _is_session(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        manifest = os.path.join(entry.path, MANIFEST)
        has_manifest = os.path.exists(manifest)
        return has_manifest and entry.is_dir()
    return False


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
