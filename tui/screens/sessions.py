"""The list of sessions in a folder: follows what happens there."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from textual import events, on
from textual.app import ComposeResult
from textual.message import Message

from logdrift.tui.actions import key_of
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import fit
from logdrift.tui.models.sessions import FolderWatch, SessionRow
from logdrift.tui.screens.managing import ManagingScreen
from logdrift.tui.services import services
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.session_list import COLUMNS, SessionList

_WAYS = {
    "tokens": ("largest first", "smallest first"),
    "mae": ("largest first", "smallest first"),
    "verdict": ("worst first", "best first"),
    "date": ("newest first", "oldest first"),
}
"""How sorting by a column is called, downwards and upwards; texts have letters."""
POLL_SECONDS = 0.75
"""A finished part is to be seen within a second, drawing included."""


@dataclass
class SessionsRead(Message):
    """The folder was read. ``problem``: why it could not be."""

    rows: tuple[SessionRow, ...]
    problem: str | None

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, SessionsRead)


class Detail(Bar):
    """What matters of the selected session and no column holds."""

    row: SessionRow | None = None

    def show(self, row: SessionRow | None) -> None:
        if row != self.row:
            self.row = row
            self.draw()

    def on_resize(self, event: events.Resize) -> None:
        self.draw()

    def draw(self) -> None:
        row = self.row
        p = self.palette
        if row is None:
            self.put([[("", p.text)]])
            return
        bad = row.problem or row.damage or row.state == "failed"
        words = [row.problem or row.damage or row.doing or row.title]
        if row.problem is None:
            key = self._key_words(row.state)
        else:
            key = ""
        if key:
            words.append(f"({key})" if words[0] else key)
        text = fit("  ".join(filter(None, words)), self.inner_width - 2)
        self.put([[(" ", p.text), (text, p.bad if bad else p.muted)]])

    def _key_words(self, state: str) -> str:
        """The key that goes on from a state, and what it does."""
        keys = services(self).keymap
        resume = key_of("sessions", "resume", keys)
        cancel = key_of("sessions", "cancel_capture", keys)
        return {
            "partial": f"{resume} goes on with it",
            "failed": f"{resume} tries again",
            "running": f"{cancel} cancels",
        }.get(state, "")


class SessionsScreen(ManagingScreen, inherit_bindings=False):
    """Opens sessions; a thread watches the folder, and nothing is drawn while nothing
    changes.
    """

    BINDINGS = bindings("sessions")
    SCOPES = ("sessions",)
    AUTO_FOCUS = "#sessions-list"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._stop = threading.Event()
        self._again = threading.Event()
        self._wake = threading.Event()
        self._wanted: Path | None = None
        self._empty = True

    def panes(self) -> ComposeResult:
        yield SessionList(self._folder, id="sessions-list")
        yield Detail(id="session-detail")

    def on_mount(self) -> None:
        self.query_one(Detail).show(None)
        self.set_timer(self.LATER / 4, self.watch_folder)

    def on_unmount(self) -> None:
        self._stop.set()
        self._wake.set()

    def draw(self) -> None:
        self.query_one(Detail).draw()

    # ---- the folder

    @background(group="reader", exclusive=True)
    def watch_folder(self) -> None:
        """Read the folder, first quickly, then with the numbers; afterwards look at
        times of change only.
        """
        watch = FolderWatch(self._folder)
        sent: tuple[tuple[SessionRow, ...], str | None] | None = None
        while not self._stop.is_set():
            for numbers in (False, True):
                seen = watch.look(numbers=numbers, stop=self._stop.is_set)
                if self._stop.is_set():
                    return
                if seen != sent:
                    sent = seen
                    self.post_message(SessionsRead(*seen))
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
            if self._again.is_set():
                self._again.clear()
                watch.forget()

    def look_again(self, select: Path | None = None) -> None:
        """Look at the folder now; ``select`` is selected as soon as it is there."""
        self._wanted = select
        self._wake.set()

    @on(SessionsRead)
    def _on_sessions_read(self, message: SessionsRead) -> None:
        arrived = any(row.folder == self._wanted for row in message.rows)
        self.list.show(message.rows, select=self._wanted if arrived else None)
        if arrived:
            self._wanted = None
        self._selected_changed()
        if message.problem or not message.rows:
            self.say(message.problem or self._nothing_here())
        elif self._empty:
            self.say("")
        self._empty = not message.rows

    def _nothing_here(self) -> str:
        return (
            f"no session here yet: {self._key('new_capture')} captures one, logdrift"
            " demo makes one of its own"
        )

    def _selected_changed(self) -> None:
        self.query_one(Detail).show(self.list.here)

    @on(Rows.Moved)
    def _on_moved(self, message: Rows.Moved) -> None:
        self._selected_changed()
        if self.list.marked is None:
            self.say("")

    @on(Rows.Chosen)
    def _on_chosen(self, message: Rows.Chosen) -> None:
        row = self.list.here
        if row is None:
            return
        if row.problem:
            self.logdrift.show_error(f"session {row.folder}: {row.problem}")
        else:
            self.logdrift.open_folder(row.folder)

    def action_open(self) -> None:
        self.list.action_choose()

    def action_refresh(self) -> None:
        self.say("read the folder again")
        self._again.set()
        self._wake.set()

    # ---- order and filter

    def action_sort(self) -> None:
        """By the next column, its usual way round."""
        names = [*COLUMNS]
        self._sort(names[(names.index(self.list.sort) + 1) % len(names)])

    def action_reverse(self) -> None:
        self._sort(self.list.sort)

    @on(SessionList.HeadClicked)
    def _on_head_clicked(self, message: SessionList.HeadClicked) -> None:
        self._sort(message.column)

    def _sort(self, column: str) -> None:
        view = self.list
        if column == view.sort:
            view.down = not view.down
        else:
            view.down = COLUMNS[column].down
        view.sort = column
        view.show()
        view.refresh_fixed()
        self._selected_changed()
        down, up = _WAYS.get(column, ("Z to A", "A to Z"))
        way = down if view.down else up
        self.say(f"sorted by {COLUMNS[column].title}, {way}")

    def action_filter(self) -> None:
        from logdrift.tui.screens.prompt import LinePrompt

        before = self.list.filter

        def answered(text: str | None) -> None:
            self._filter(before if text is None else text)

        words = (
            "words that stand in name, title, model, backends, verdict, state or date"
        )
        self.say("")
        self.app.push_screen(
            LinePrompt("Filter", words, before, typed=self._filter), answered
        )

    def _filter(self, text: str) -> None:
        self.list.filter = text
        self.list.show()
        self.list.refresh_fixed()
        self._selected_changed()

    def action_clear(self) -> None:
        """No filter and no mark."""
        self._mark(None)
        self._filter("")
        self.say("")
