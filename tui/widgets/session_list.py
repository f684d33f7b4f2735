"""The list of sessions as a widget: columns by width, sorted and filtered, repainted
row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from textual.events import Click
from textual.message import Message
from textual.strip import Strip

from logdrift.core.numbers import duration, number
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.glyphs import fit
from logdrift.tui.models.sessions import SessionRow
from logdrift.tui.widgets.lines import Run, Runs, strip_of
from logdrift.tui.widgets.rows import Rows

_BADNESS = {"comparable": 0, "caution": 1, "not_comparable": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListColumn:
    """One column; its place is that in `COLUMNS`.

    Attributes:
        title: its head.
        cells: how wide it is.
        rank: how early it is given room, 0 first.
        key: what rows are sorted by; None for a row without a value.
        right: whether its texts stand at the right.
        down: whether sorting by it puts the largest first.
    """

    title: str
    cells: int
    rank: int
    key: Callable[[SessionRow], Any]
    right: bool = False
    down: bool = False


COLUMNS: dict[str, ListColumn] = {
    "name": ListColumn(
        title="session", cells=14, rank=0, key=lambda row: row.name.casefold()
    ),
    "model": ListColumn(
        title="model", cells=16, rank=7, key=lambda row: row.model.casefold() or None
    ),
    "backends": ListColumn(
        title="backends",
        cells=24,
        rank=5,
        key=lambda row: row.backends.casefold() or None,
    ),
    "tokens": ListColumn(
        title="tokens",
        cells=10,
        rank=4,
        key=lambda row: None if row.problem else row.tokens,
        right=True,
        down=True,
    ),
    "mae": ListColumn(
        title="MAE", cells=8, rank=3, key=lambda row: row.mae, right=True, down=True
    ),
    "verdict": ListColumn(
        title="verdict",
        cells=14,
        rank=2,
        key=lambda row: _BADNESS.get(row.verdict or ""),
        down=True,
    ),
    "state": ListColumn(
        title="state", cells=12, rank=1, key=lambda row: row.state or None
    ),
    "date": ListColumn(
        title="date", cells=16, rank=6, key=lambda row: row.created or None, down=True
    ),
}
_STATE_CELLS = 17
"""Of a running session with its time left, where there is room."""
_ROOMY = 72
_NAME_CELLS = 44


def layout(width: int) -> list[tuple[str, int]]:
    """The columns that a width holds with their cells, the most important first served;
    what is left is the name's.
    """
    sizes = {name: column.cells for name, column in COLUMNS.items()}
    if width >= _ROOMY:
        sizes["state"] = _STATE_CELLS
    chosen: list[str] = []
    used = 1
    for name in sorted(COLUMNS, key=lambda name: COLUMNS[name].rank):
        if used + sizes[name] + 1 > width and chosen:
            break
        chosen.append(name)
        used += sizes[name] + 1
    widest = max(_NAME_CELLS, width // 4)
    sizes["name"] = min(sizes["name"] + max(0, width - used), widest)
    return [(name, sizes[name]) for name in COLUMNS if name in chosen]


def sorted_rows(
    rows: Sequence[SessionRow], column: str, down: bool
) -> tuple[SessionRow, ...]:
    """Rows by a column; those without a value come last either way, equal ones stay as
    they were.
    """
    key = COLUMNS[column].key
    with_value = [row for row in rows if key(row) is not None]
    without_value = [row for row in rows if key(row) is None]
    with_value.sort(key=key, reverse=down)
    return (*with_value, *without_value)


def matches(row: SessionRow, words: str) -> bool:
    """Whether every word of a filter stands somewhere in the row."""
    texts = (
        row.name,
        row.title,
        row.model,
        row.backends,
        VERDICTS.get(row.verdict or "", ""),
        row.state,
        row.created,
    )
    text = " ".join(texts).casefold()
    return all(word in text for word in words.casefold().split())


class SessionList(Rows):
    """One session a row."""

    fixed = 2

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
        self.filter = ""
        self.marked: Path | None = None
        self.read = False

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
    def note(self) -> str:
        """How many sessions there are, and which are shown."""
        if not self.read:
            return "reading"
        total = len(self.rows)
        noun = "session" if total == 1 else "sessions"
        if not self.filter:
            return f"{total} {noun}"
        shown = len(self.sessions)
        return f"{shown} of {total} {noun} · filter: {visible(self.filter)}"

    def show(
        self, rows: Sequence[SessionRow] | None = None, *, select: Path | None = None
    ) -> None:
        """List other rows, or the same ones after another order or filter was set; the
        selection stays on its session.

        Only lines that differ are painted again.
        """
        before = self.sessions
        note = self.note
        if select is None and self.here is not None:
            select = self.here.folder
        if rows is not None:
            self.rows = tuple(rows)
            self.read = True
        matching = [row for row in self.rows if matches(row, self.filter)]
        self.sessions = sorted_rows(matching, self.sort, self.down)
        selected = self._index_of(select)
        if _folders(before) != _folders(self.sessions):
            self.selected = selected
            self.rows_changed()
            return
        if note != self.note:
            self.refresh_fixed()
        for index, (old, new) in enumerate(zip(before, self.sessions, strict=True)):
            if old != new:
                self.refresh_line(index)
        if self.sessions:
            self.select(selected)

    def _index_of(self, folder: Path | None) -> int:
        """The row of a folder; where it is not listed, the one that is selected."""
        for index, row in enumerate(self.sessions):
            if row.folder == folder:
                return index
        return min(self.selected, max(0, len(self.sessions) - 1))

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self.title_line(self._title(width), width, self.note)
        runs: Runs = [("", self.palette.text)]
        for name, cells in layout(self.inner_width):
            runs += self._head_runs(name, cells)
        return strip_of(runs, width)

    def _title(self, width: int) -> str:
        path = visible(str(self._folder))
        room = max(8, width - cell_len(self.note) - 15)
        if cell_len(path) > room:
            # Of a long path the end says more than the start.
            path = "…" + path[1 - room :]
        return f"logdrift · {path}"

    def _head_runs(self, name: str, cells: int) -> Runs:
        column = COLUMNS[name]
        title = column.title
        style = self.palette.muted
        if name == self.sort:
            title += "▾" if self.down else "▴"
            style = self.palette.text
        return [(f" {fit(title, cells, right=column.right)}", style)]

    def runs(self, index: int, width: int) -> Sequence[Run]:
        row = self.sessions[index]
        mark = "•" if row.folder == self.marked else " "
        runs: Runs = [(mark, self.palette.accent)]
        if row.problem:
            runs.append((f"{fit(row.name, 20)} ", self.palette.text))
            runs.append((fit(row.problem, width - 22), self.palette.bad))
            return runs
        for column, cells in layout(width):
            runs += self._column_runs(row, column, cells)
        return runs

    def _column_runs(self, row: SessionRow, column: str, cells: int) -> Runs:
        if column == "name":
            return self._name_runs(row, cells)
        text, style = self._cell(row, column, cells)
        aligned = fit(text, cells, right=COLUMNS[column].right)
        return [(f" {aligned}", style)]

    def _name_runs(self, row: SessionRow, cells: int) -> Runs:
        """The name, and as much of the title as there is room for."""
        room = cells - cell_len(row.name) - 2
        if not row.title or room < 6:
            return [(fit(row.name, cells), self.palette.text)]
        return [
            (f"{row.name}  ", self.palette.text),
            (fit(row.title, room), self.palette.muted),
        ]

    def _cell(self, row: SessionRow, name: str, cells: int) -> Run:
        """The text of a column, and its style."""
        if name == "verdict":
            return self._verdict(row)
        if name == "state":
            return self._state(row, cells)
        texts = {
            "model": row.model,
            "backends": row.backends,
            "tokens": f"{row.tokens:,}",
            "mae": number(row.mae),
            "date": row.created,
        }
        return texts[name], self.palette.text

    def _verdict(self, row: SessionRow) -> Run:
        if row.damage:
            return "damaged", self.palette.bad
        verdict = VERDICTS.get(row.verdict or "", "")
        return verdict, self.palette.verdict(row.verdict)

    def _state(self, row: SessionRow, cells: int) -> Run:
        palette = self.palette
        styles = {
            "failed": palette.bad,
            "partial": palette.warn,
            "running": palette.accent,
        }
        return state_words(row, cells), styles.get(row.state, palette.good)

    def on_click(self, event: Click) -> None:
        if event.y != 1:
            return
        event.stop()
        end = 0
        for name, cells in layout(self.inner_width):
            end += cells + 1
            if event.x < end:
                self.post_message(self.HeadClicked(name))
                return


def _folders(rows: Sequence[SessionRow]) -> list[Path]:
    return [row.folder for row in rows]


def state_words(row: SessionRow, cells: int) -> str:
    """State with progress and time left, in few words where there are few cells."""
    if row.state != "running":
        return row.state
    words = ["running" if cells >= _STATE_CELLS else "run"]
    if row.progress is not None:
        words.append(f"{row.progress:.0%}")
    if row.left is not None:
        words.append(duration(row.left))
    return " ".join(words)
