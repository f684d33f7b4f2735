"""The list of sessions in a folder; follows what happens there."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.message import Message
from textual.strip import Strip

from core.session.layout import MANIFEST
from core.session.visible import visible
from tui.actions import bindings
from tui.glyphs import fit, number
from tui.screens.base import BaseScreen, TooSmall
from tui.views import SessionRow, session_row
from tui.widgets.bars import VERDICTS, Hints
from tui.widgets.lines import Run, strip_of
from tui.widgets.rows import Rows

POLL_SECONDS = 2.0


@dataclass
class SessionsRead(Message):
    """The folder was read. ``problem``: why it could not be."""

    rows: tuple[SessionRow, ...]
    problem: str | None

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, SessionsRead)


class SessionList(Rows):
    """One session a row, the newest first."""

    fixed = 2

    def __init__(self, folder: Path, *, id: str) -> None:
        super().__init__(id=id)
        self._folder = folder
        self.sessions: tuple[SessionRow, ...] = ()
        self.note = "reading"

    @property
    def line_count(self) -> int:
        return len(self.sessions)

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self.title_line(f"logdrift · {visible(str(self._folder))}", width, self.note)
        return strip_of(
            _columns(
                ("session", "model", "backends", "tokens", "MAE", "verdict", "state", "date"), width, self.palette.muted
            ),
            width,
        )

    def runs(self, index: int, width: int) -> Sequence[Run]:
        row, p = self.sessions[index], self.palette
        if row.problem:
            return [(f" {fit(row.name, 20)} ", p.text), (fit(row.problem, width - 22), p.bad)]
        state = row.state
        if row.state == "running" and row.progress is not None:
            state = f"running {row.progress:.0%}"
        cells = (row.name, row.model, row.backends, f"{row.tokens:,}", number(row.mae), VERDICTS.get(row.verdict or "", ""), state, row.created)  # fmt: skip
        runs = _columns(cells, width, p.text)
        styles = {
            "verdict": p.verdict(row.verdict),
            "state": {"failed": p.bad, "partial": p.warn, "running": p.accent}.get(row.state, p.good),
        }
        names = [name for name, _, _ in _layout(width)]
        return [(text, styles.get(name, style)) for name, (text, style) in zip(names, runs, strict=True)]


_ALL = (
    ("name", 24, False), ("model", 18, False), ("backends", 24, False), ("tokens", 10, True), ("mae", 8, True),
    ("verdict", 14, False), ("state", 12, False), ("date", 16, False),
)  # fmt: skip
_NEEDED = {"name", "tokens", "mae", "verdict", "state"}


def _layout(width: int) -> list[tuple[str, int, bool]]:
    """The columns that a width holds; what is left over goes to the names."""
    kept = [column for column in _ALL if column[0] in _NEEDED]
    for wanted in ("backends", "date", "model"):
        more = [column for column in _ALL if column in kept or column[0] == wanted]
        if sum(cells + 1 for _, cells, _ in more) + 1 <= width:
            kept = more
    spare = width - 1 - sum(cells + 1 for _, cells, _ in kept)
    return [(name, max(8, cells + min(spare, 20)) if name == "name" else cells, right) for name, cells, right in kept]


def _columns(cells: Sequence[str], width: int, style: object) -> list[Run]:
    by_name = dict(zip((name for name, _, _ in _ALL), cells, strict=True))
    return [(" " + fit(by_name[name], size, right=right), style) for name, size, right in _layout(width)]  # type: ignore[misc]


class SessionsScreen(BaseScreen, inherit_bindings=False):
    """Opens sessions; a thread watches the folder, and nothing is drawn while nothing changes."""

    BINDINGS = bindings("sessions")
    SCOPES = ("sessions",)
    AUTO_FOCUS = "#sessions-list"

    def __init__(self, folder: Path) -> None:
        super().__init__(id="sessions-screen")
        self._folder = folder
        self._stop = threading.Event()
        self._again = threading.Event()

    def compose(self) -> ComposeResult:
        yield SessionList(self._folder, id="sessions-list")
        yield Hints(id="hints")
        yield TooSmall(id="toosmall")

    def on_mount(self) -> None:
        self.show_hints()
        self.set_timer(self.LATER / 4, self.watch_folder)

    def on_unmount(self) -> None:
        self._stop.set()
        self._again.set()

    @property
    def list(self) -> SessionList:
        return self.query_one(SessionList)

    @work(thread=True, group="reader", exclusive=True)
    def watch_folder(self) -> None:
        """Read the folder, first quickly, then with the numbers; afterwards look at times of change only."""
        known: dict[Path, tuple[object, SessionRow]] = {}
        shown: tuple[tuple[SessionRow, ...], str | None] | None = None
        while not self._stop.is_set():
            folders, problem = _folders(self._folder)
            for numbers in (False, True):
                for folder in folders:
                    if self._stop.is_set():
                        return
                    stamp = (_stamp(folder), numbers)
                    if known.get(folder, (None,))[0] not in (stamp, (stamp[0], True)):
                        known[folder] = (stamp, session_row(folder, numbers=numbers))
                rows = tuple(sorted((known[f][1] for f in folders), key=lambda r: (r.created, r.name), reverse=True))
                if (rows, problem) != shown:
                    shown = rows, problem
                    self.post_message(SessionsRead(rows, problem))
            self._again.wait(POLL_SECONDS)
            if self._again.is_set():
                self._again.clear()
                known.clear()

    @on(SessionsRead)
    def _on_sessions_read(self, message: SessionsRead) -> None:
        view = self.list
        here = view.sessions[view.selected].folder if view.sessions else None
        count = len(message.rows)
        note = f"{count} session{'' if count == 1 else 's'}"
        view.sessions, view.note = message.rows, note
        view.selected = next(
            (i for i, row in enumerate(message.rows) if row.folder == here), min(view.selected, max(0, count - 1))
        )
        view.rows_changed()
        if message.problem or not count:
            self.say(
                message.problem or "no session here yet: logdrift demo makes one, logdrift capture --out DIR another"
            )
        else:
            self.say("")

    @on(Rows.Chosen)
    def _on_chosen(self, message: Rows.Chosen) -> None:
        row = self.list.sessions[message.index]
        if row.problem:
            self.logdrift.show_error(f"session {row.folder}: {row.problem}")
        else:
            self.logdrift.open_folder(row.folder)

    def action_open(self) -> None:
        self.list.action_choose()

    def action_refresh(self) -> None:
        self.say("reading the folder again")
        self._again.set()


def _folders(folder: Path) -> tuple[list[Path], str | None]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return [], "no such folder yet: logdrift demo makes it, and a session in it"
    except OSError as error:
        return [], f"cannot be read: {error.strerror}"
    return [Path(e.path) for e in entries if not e.name.startswith(".") and _is_session(e)], None


def _is_session(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        return entry.is_dir() and os.path.exists(os.path.join(entry.path, MANIFEST))
    return False


def _stamp(folder: Path) -> tuple[int, int, bool]:
    with contextlib.suppress(OSError):
        status = os.stat(folder / MANIFEST)
        return status.st_mtime_ns, status.st_ino, os.path.exists(folder / "lock")
    return 0, 0, False
