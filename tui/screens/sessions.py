"""The list of the sessions in a folder; it follows what happens there."""

from __future__ import annotations

from pathlib import Path

from textual import on
from textual.app import ComposeResult

from logdrift.core.paths import samples_folder
from logdrift.tui.bindings import bindings
from logdrift.tui.models.session_columns import COLUMNS
from logdrift.tui.models.sessions import can_be_done
from logdrift.tui.screens.folder_reader import SessionsRead
from logdrift.tui.screens.managing import ManagingScreen
from logdrift.tui.widgets.lines import Row
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.session_detail import SessionDetail
from logdrift.tui.widgets.session_list import SessionList

_WAYS = {
    "tokens": ("largest first", "smallest first"),
    "mae": ("largest first", "smallest first"),
    "verdict": ("worst first", "best first"),
    "date": ("newest first", "oldest first"),
}
"""How sorting by a column is called, downwards and upwards."""
_OF_SEVERAL = frozenset({"filter", "sort", "sorts", "trend"})
"""Commands that need a session in the folder, and not one that is selected."""
_WAYS_OF_TEXTS = ("Z to A", "A to Z")


class SessionsScreen(ManagingScreen, inherit_bindings=False):
    """Opens sessions; nothing is drawn while nothing in the folder changes."""

    BINDINGS = bindings("sessions")
    SCOPES = ("sessions",)
    AUTO_FOCUS = "#sessions-list"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.title_text = str(folder)

    def panes(self) -> ComposeResult:
        yield SessionList(self.reader.folder, id="sessions-list")
        yield SessionDetail(id="session-detail")

    @property
    def detail(self) -> SessionDetail:
        return self.query_one(SessionDetail)

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
        self.list.offer(self._ways(message) if not rows else ())
        self._selected_changed()

    def _ways(self, message: SessionsRead) -> list[tuple[str, str]]:
        """What can be done where there is no session."""
        return [
            ("", message.problem or "No session here yet."),
            ("", ""),
            (self._key("open"), "look at the samples that come with logdrift"),
            (self._key("new_capture"), "capture: choose model, prompts and backends"),
            (self._key("import_session"), "import log-probabilities from elsewhere"),
            ("", "logdrift demo captures a small model and opens it"),
        ]

    def applies(self, name: str) -> bool:
        view = self.list
        if name == "open":
            return bool(view.sessions or view.ways)
        if name in _OF_SEVERAL:
            return bool(view.rows)
        return can_be_done(name, view.here)

    def _selected_changed(self) -> None:
        row = self.list.here
        self.show_hints()
        self.detail.show(row)
        self.reader.selected = None if row is None else row.folder

    @on(Rows.Moved)
    def _on_moved(self, message: Rows.Moved) -> None:
        self._selected_changed()
        if self.list.marked is None:
            self.say("")

    @on(Rows.Chosen)
    def _on_chosen(self, message: Rows.Chosen) -> None:
        self._open()

    def _open(self, front: str = "") -> None:
        """Open the selected session; ``front`` as `Services.open_folder` takes it."""
        row = self.list.here
        if row is None:
            if not front:
                self._open_samples()
        elif row.problem:
            self.logdrift.show_error(f"session {row.folder}: {row.problem}")
        else:
            added = self.added.pop(row.folder, ())
            self.logdrift.open_folder(row.folder, front=front, added=added)

    def _open_samples(self) -> None:
        """Where there is no session, the samples that come with logdrift."""
        if self.list.ways:
            samples = SessionsScreen(samples_folder())
            self.app.push_screen(samples)

    def action_open(self) -> None:
        self.list.action_choose()

    def action_why(self) -> None:
        self._open("why")

    def action_worst(self) -> None:
        self._open("worst")

    def action_report(self) -> None:
        self._open("report")

    def action_save_page(self) -> None:
        """Save the HTML report of the session."""
        from logdrift.tui.screens.save_page import save_page

        row = self._readable()
        if row is not None:
            save_page(self, row.folder)

    def action_trend(self) -> None:
        """The sessions of the folder over the steps of a training."""
        from logdrift.tui.screens.trend import TrendScreen

        self.app.push_screen(TrendScreen(self.reader.folder))

    def action_refresh(self) -> None:
        self.say("read the folder again")
        self.reader.read_again()

    # ---- order and filter

    def action_sort(self) -> None:
        """By the next column that is shown, its usual way round."""
        view = self.list
        names = view.shown_columns
        following = 0
        if view.sort in names:
            following = names.index(view.sort) + 1
        self._sort(names[following % len(names)])

    def action_sorts(self) -> None:
        """Choose the column; the one that rows are sorted by turns them round."""
        from logdrift.tui.screens.texts import Picker

        names = list(COLUMNS)
        view = self.list
        palette = self.palette

        def row(index: int, width: int) -> Row:
            name = names[index]
            column = COLUMNS[name]
            down = column.down
            mark = " "
            if name == view.sort:
                down = not view.down
                mark = "•"
            return [(f" {mark} {column.title}, {_way(name, down)}", palette.text)]

        def chosen(index: int) -> None:
            self._sort(names[index])

        start = names.index(view.sort)
        picker = Picker("Sort by", "   • turns the order round", len(names), row, start)
        self.choose(picker, chosen)

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
        view.wanted = name
        view.show()
        view.refresh_fixed()
        self._selected_changed()
        self.say(f"sorted by {column.title}, {_way(name, view.down)}")

    def action_filter(self) -> None:
        from logdrift.tui.screens.prompt import LinePrompt

        before = self.list.filter

        def answered(text: str | None) -> None:
            if text is None:
                text = before
            self._filter(text)

        words = "words of name, title, model, backends, verdict, cause, state or date"
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


def _way(column: str, down: bool) -> str:
    """How sorting by a column is called."""
    downwards, upwards = _WAYS.get(column, _WAYS_OF_TEXTS)
    return downwards if down else upwards
