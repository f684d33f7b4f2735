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
"""How sorting by a column is called, downwards and upwards."""
_WAYS_OF_TEXTS = ("Z to A", "A to Z")


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
            nothing = ("", palette.text)
            self.put([[nothing]])
            return
        style = palette.muted
        has_failed = row.state == "failed"
        if has_failed or row.problem or row.damage:
            style = palette.bad
        blank = (" ", palette.text)
        words = self._words(row)
        text = fit(words, self.inner_width - 2)
        self.put([[blank, (text, style)]])

    def _words(self, row: SessionRow) -> str:
        """What is wrong or going on, or the title; then the key that helps."""
        if row.problem is not None:
            return row.problem
        words = row.damage or row.doing or row.title
        key = self._key_words(row.state)
        if words and key:
            return f"{words}  ({key})"
        return words or key

    def _key_words(self, state: str) -> str:
        """The key that goes on from a state, and what it does."""
        keymap = services(self).keymap
        resume = key_of("sessions", "resume", keymap)
        cancel = key_of("sessions", "cancel_capture", keymap)
        words = {
            "partial": f"{resume} goes on with it",
            "failed": f"{resume} tries again",
            "running": f"{cancel} cancels",
        }
        return words.get(state, "")


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

    @property
    def detail(self) -> Detail:
        return self.query_one(Detail)

    def on_mount(self) -> None:
        self.detail.show(None)
        self.set_timer(self.LATER / 4, self.reader.start)

    def on_unmount(self) -> None:
        self.reader.stop()

    def draw(self) -> None:
        self.detail.draw()

    # ---- the folder

    @on(SessionsRead)
    def _on_sessions_read(self, message: SessionsRead) -> None:
        rows = message.rows
        folders = {row.folder for row in rows}
        if self.awaited in folders:
            self.list.show(rows, select=self.awaited)
            self.awaited = None
        else:
            self.list.show(rows)
        self._selected_changed()
        is_empty = not rows
        if message.problem or is_empty:
            words = message.problem or self._nothing_here()
            self.say(words, stays=True)
        elif self._empty:
            self.say("")
        self._empty = is_empty

    def _nothing_here(self) -> str:
        capture_key = self._key("new_capture")
        return (
            f"no session here yet: {capture_key} captures one, logdrift"
            " demo makes one of its own"
        )

    def _selected_changed(self) -> None:
        row = self.list.here
        self.detail.show(row)

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

    def action_save_page(self) -> None:
        """Save the HTML report of the session."""
        from logdrift.tui.screens.save_page import save_page

        row = self._readable()
        if row is not None:
            save_page(self, row.folder)

    def action_refresh(self) -> None:
        self.say("read the folder again")
        self.reader.read_again()

    # ---- order and filter

    def action_sort(self) -> None:
        """By the next column, its usual way round."""
        names = list(COLUMNS)
        index = names.index(self.list.sort)
        following = (index + 1) % len(names)
        self._sort(names[following])

    def action_reverse(self) -> None:
        self._sort(self.list.sort)

    @on(SessionList.HeadClicked)
    def _on_head_clicked(self, message: SessionList.HeadClicked) -> None:
        self._sort(message.column)

    def _sort(self, name: str) -> None:
        view = self.list
        column = COLUMNS[name]
        if name == view.sort:
            view.down = not view.down
        else:
            view.down = column.down
        view.sort = name
        view.show()
        view.refresh_fixed()
        self._selected_changed()
        ways = _WAYS.get(name, _WAYS_OF_TEXTS)
        downwards, upwards = ways
        way = downwards if view.down else upwards
        self.say(f"sorted by {column.title}, {way}")

    def action_filter(self) -> None:
        from logdrift.tui.screens.prompt import LinePrompt

        before = self.list.filter

        def answered(text: str | None) -> None:
            if text is None:
                text = before
            self._filter(text)

        words = (
            "words that stand in name, title, model, backends, verdict, state or date"
        )
        self.say("")
        prompt = LinePrompt("Filter", words, before, typed=self._filter)
        self.app.push_screen(prompt, answered)

    def _filter(self, text: str) -> None:
        view = self.list
        view.filter = text
        view.show()
        view.refresh_fixed()
        self._selected_changed()

    def action_clear(self) -> None:
        """No filter and no mark."""
        self._mark(None)
        self._filter("")
        self.say("")
