"""The list of sessions as a widget: one session a row, repainted row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from textual.events import Click
from textual.message import Message
from textual.strip import Strip

from logdrift.core.numbers import number
from logdrift.core.paths import samples_folder
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.models.session_columns import (
    COLUMNS,
    ColumnRoom,
    layout,
    sorted_rows,
)
from logdrift.tui.models.session_words import matches, short_verdict, state_words
from logdrift.tui.models.sessions import SessionRow
from logdrift.tui.widgets.answer_bar import tone_style
from logdrift.tui.widgets.lines import Row, Run, Runs, strip_of
from logdrift.tui.widgets.rows import Rows

_HEAD_LINES = 2


class SessionList(Rows):
    """One session a row."""

    fixed = _HEAD_LINES

    @dataclass
    class HeadClicked(Message):
        """The head of a column was clicked."""

        column: str

    def __init__(self, folder: Path, *, id: str) -> None:
        super().__init__(id=id)
        self._folder = folder
        self.rows: tuple[SessionRow, ...] = ()
        self.sessions: tuple[SessionRow, ...] = ()
        """Those that are shown, in this order."""
        self.sort = "date"
        self.down = True
        self.wanted = ""
        """The column that somebody has sorted by: it is shown."""
        self.ways: Sequence[tuple[str, str]] = ()
        """What can be done where there is no session: a key and words each."""
        self.filter = ""
        self.marked: Path | None = None
        self.read = False
        self._any_runs = False

    @property
    def line_count(self) -> int:
        return len(self.sessions)

    @property
    def here(self) -> SessionRow | None:
        """The selected session."""
        if self.sessions:
            return self.sessions[self.selected]
        return None

    @property
    def shown_columns(self) -> list[str]:
        """The columns that there is room for."""
        return [column.name for column in self._columns]

    @property
    def _columns(self) -> list[ColumnRoom]:
        return self._layout(self.inner_width)

    def _layout(self, width: int) -> list[ColumnRoom]:
        return layout(width, self.wanted, any_runs=self._any_runs)

    @property
    def note(self) -> str:
        """How many sessions there are, and which are shown."""
        if not self.read:
            return "reading"
        total = len(self.rows)
        noun = "sessions"
        if total == 1:
            noun = "session"
        if not self.filter:
            return f"{total:,} {noun}{self._order}"
        listed = len(self.sessions)
        words = visible(self.filter)
        return f"{listed:,} of {total:,} {noun} · filter: {words}"

    @property
    def _order(self) -> str:
        """What rows are sorted by, where no head says so."""
        if self.sort in self.shown_columns:
            return ""
        return f" by {COLUMNS[self.sort].title}"

    def show(
        self, rows: Sequence[SessionRow] | None = None, *, select: Path | None = None
    ) -> None:
        """List other rows, or the same ones after another order or filter was set; the
        selection stays on its session.

        Only lines that differ are painted again.
        """
        sessions_before = self.sessions
        note_before = self.note
        columns_before = self._columns
        if select is None and self.here is not None:
            select = self.here.folder
        if rows is not None:
            self.rows = tuple(rows)
            self._any_runs = any(row.state == "running" for row in rows)
            self.read = True
        words = self.filter
        matching = [row for row in self.rows if matches(row, words)]
        column = self.sort
        self.sessions = sorted_rows(matching, column, self.down)
        selected = self._index_of(select)
        folders = _folders(self.sessions)
        are_others = folders != _folders(sessions_before)
        if are_others or self._columns != columns_before:
            self.selected = selected
            self.rows_changed()
            return
        if note_before != self.note:
            self.refresh_fixed()
        self._refresh_changed(sessions_before)
        if self.sessions:
            self.select(selected)

    def _refresh_changed(self, before: Sequence[SessionRow]) -> None:
        """Repaint the rows that differ from the same sessions before."""
        pairs = zip(before, self.sessions, strict=True)
        for index, (old, new) in enumerate(pairs):
            if old != new:
                self.refresh_line(index)

    def _index_of(self, folder: Path | None) -> int:
        """The row of a folder; where it is not listed, the one that is selected."""
        for index, row in enumerate(self.sessions):
            if row.folder == folder:
                return index
        return self._row_within(self.selected)

    def offer(self, ways: Sequence[tuple[str, str]]) -> None:
        """Say what can be done where there is no session; nothing where there is."""
        if ways != self.ways:
            self.ways = ways
            self.fixed = _HEAD_LINES + len(ways)
            self.refresh()

    def action_choose(self) -> None:
        """Choose the selected session; where there is none, what is offered first."""
        if self.line_count:
            super().action_choose()
        elif self.ways:
            first = self.Chosen(self, 0)
            self.post_message(first)

    def _way(self, index: int, width: int) -> Strip:
        key, words = self.ways[index]
        palette = self.palette
        key_run = (f" {key:<8}", palette.accent)
        words_run = (words, palette.text)
        runs = [key_run, words_run]
        return strip_of(runs, width)

    def fixed_line(self, y: int, width: int) -> Strip:
        if y >= _HEAD_LINES:
            return self._way(y - _HEAD_LINES, width)
        if y == 0:
            title = self._title(width)
            return self.title_line(title, width, self.note)
        palette = self.palette
        margin = ("", palette.text)
        runs: Runs = [margin]
        for name, cells in self._columns:
            head = self._head(name, cells)
            runs.append(head)
        return strip_of(runs, width)

    def _title(self, width: int) -> str:
        if self._folder == samples_folder():
            return "logdrift · samples that come with it"
        path = str(self._folder)
        path = visible(path)
        note_cells = cell_len(self.note)
        room = width - note_cells - 15
        room = max(8, room)
        if cell_len(path) > room:
            # Of a long path the end says more than the start.
            end = path[1 - room :]
            path = f"…{end}"
        return f"logdrift · {path}"

    def _head(self, name: str, cells: int) -> Run:
        """The head of a column, marked where rows are sorted by it."""
        column = COLUMNS[name]
        title = column.title
        style = self.palette.muted
        if name == self.sort:
            title += self._sort_mark()
            style = self.palette.text
        right = column.right
        text = fit(title, cells, right=right)
        return f" {text}", style

    def _sort_mark(self) -> str:
        if self.down:
            return "▾"
        return "▴"

    def runs(self, index: int, width: int) -> Row:
        palette = self.palette
        row = self.sessions[index]
        mark = " "
        if row.folder == self.marked:
            mark = "•"
        runs: Runs = [(mark, palette.accent)]
        if row.problem:
            name = fit(row.name, 20)
            room = width - 22
            problem = fit(row.problem, room)
            runs.append((f"{name} ", palette.text))
            runs.append((problem, palette.bad))
            return runs
        columns = self._layout(width)
        for column, cells in columns:
            runs += self._column_runs(row, column, cells)
        return runs

    def _column_runs(self, row: SessionRow, column: str, cells: int) -> Runs:
        if column == "name":
            return self._name_runs(row, cells)
        text, style = self._cell(row, column, cells)
        right = COLUMNS[column].right
        aligned = fit(text, cells, right=right)
        return [(f" {aligned}", style)]

    def _name_runs(self, row: SessionRow, cells: int) -> Runs:
        """The name, and as much of the title as there is room for."""
        palette = self.palette
        name_cells = cell_len(row.name)
        room = cells - name_cells - 2
        if not row.title or room < 6:
            name = fit(row.name, cells)
            return [(name, palette.text)]
        title = fit(row.title, room)
        return [
            (f"{row.name}  ", palette.text),
            (title, palette.muted),
        ]

    def _cell(self, row: SessionRow, name: str, cells: int) -> Run:
        """The text of a column, and its style."""
        if name == "verdict":
            return self._verdict(row)
        if name == "mae":
            return self._mae(row)
        if name == "cause":
            return self._cause(row)
        if name == "state":
            return self._state(row, cells)
        texts = {
            "model": row.model,
            "backends": row.backends,
            "tokens": f"{row.tokens:,}",
            "date": row.minute,
        }
        return texts[name], self.palette.text

    def _verdict(self, row: SessionRow) -> Run:
        """In the colour of what the whole answer means: that two captures may be
        compared is no good news yet.
        """
        palette = self.palette
        style = palette.muted
        if row.answer is not None:
            style = palette.meaning(row.answer.meaning)
        elif row.verdict == "not_comparable":
            style = palette.bad
        return short_verdict(row), style

    def _mae(self, row: SessionRow) -> Run:
        palette = self.palette
        style = palette.text
        if row.verdict == "not_comparable":
            style = palette.muted
        elif row.answer is not None:
            style = tone_style(row.answer.size_tone, palette)
        return number(row.size), style

    def _cause(self, row: SessionRow) -> Run:
        palette = self.palette
        answer = row.answer
        if answer is not None:
            style = palette.meaning(answer.meaning)
            return answer.cause, style
        words = ""
        if row.verdict is not None:
            words = "…"
        return words, palette.muted

    def _state(self, row: SessionRow, cells: int) -> Run:
        palette = self.palette
        if row.damage:
            return "damaged", palette.bad
        styles = {
            "failed": palette.bad,
            "partial": palette.warn,
            "running": palette.accent,
        }
        words = state_words(row, cells)
        style = styles.get(row.state, palette.muted)
        return words, style

    def on_click(self, event: Click) -> None:
        if event.y != 1:
            return
        event.stop()
        end = 0
        for column in self._columns:
            end += column.cells + 1
            if event.x < end:
                clicked = self.HeadClicked(column.name)
                self.post_message(clicked)
                return


def _folders(rows: Sequence[SessionRow]) -> list[Path]:
    return [row.folder for row in rows]
