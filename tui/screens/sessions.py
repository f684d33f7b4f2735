"""The list of the sessions in a folder; it follows what happens there."""

from __future__ import annotations

from pathlib import Path

from textual import on
from textual.app import ComposeResult

from logdrift.tui.actions import key_of
from logdrift.tui.bindings import bindings
from logdrift.tui.glyphs import fit
from logdrift.tui.models.sessions import SessionRow
from logdrift.tui.screens.folder_reader import SessionsRead
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


class Detail(Bar):
    """What the columns do not show of the selected session."""

    row: SessionRow | None = None

    def show(self, row: SessionRow | None) -> None:
        if row != self.row:
            self.row = row
            self.draw()

    def draw(self) -> None:
        row = self.row
        palette = self.palette
        if row is None:
            self.put([[("", palette.text)]])
            return
        is_bad = row.problem or row.damage or row.state == "failed"
        style = palette.bad if is_bad else palette.muted
        text = fit(self._words(row), self.inner_width - 2)
        self.put([[(" ", palette.text), (text, style)]])

    def _words(self, row: SessionRow) -> str:
        """What is wrong or going on, or the title; then the key that helps."""
        if row.problem is not None:
            return row.problem
        words = row.damage or row.doing or row.title
        key = self._key_words(row.state)
        if not (words and key):
            return words or key
        return f"{words}  ({key})"

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
    """Opens sessions; nothing is drawn while nothing in the folder changes."""

    BINDINGS = bindings("sessions")
    SCOPES = ("sessions",)
    AUTO_FOCUS = "#sessions-list"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._empty = True

    def panes(self) -> ComposeResult:
        yield SessionList(self.reader.folder, id="sessions-list")
        yield Detail(id="session-detail")

    def on_mount(self) -> None:
        self.query_one(Detail).show(None)
        self.set_timer(self.LATER / 4, self.reader.start)

    def on_unmount(self) -> None:
        self.reader.stop()

    def draw(self) -> None:
        self.query_one(Detail).draw()

    # ---- the folder

    @on(SessionsRead)
    def _on_sessions_read(self, message: SessionsRead) -> None:
        arrived = any(row.folder == self.awaited for row in message.rows)
        if arrived:
            self.list.show(message.rows, select=self.awaited)
            self.awaited = None
        else:
            self.list.show(message.rows)
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
        self.reader.read_again()

    # ---- order and filter

    def action_sort(self) -> None:
        """By the next column, its usual way round."""
        names = list(COLUMNS)
        following = names.index(self.list.sort) + 1
        self._sort(names[following % len(names)])

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
        downwards, upwards = _WAYS.get(column, ("Z to A", "A to Z"))
        way = downwards if view.down else upwards
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
