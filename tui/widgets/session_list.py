"""The list of sessions as a widget: columns by width, sorted and filtered, repainted
row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.cells import cell_len
from textual.events import Click
from textual.message import Message
from textual.strip import Strip

from logdrift.core.numbers import duration, number
from logdrift.core.paths import samples_folder
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS_IN_A_SENTENCE
from logdrift.tui.glyphs import fit
from logdrift.tui.models.sessions import SessionRow
from logdrift.tui.widgets.answer_bar import tone_style
from logdrift.tui.widgets.lines import Row, Run, Runs, strip_of
from logdrift.tui.widgets.rows import Rows

_BADNESS = {"comparable": 0, "caution": 1, "not_comparable": 2}
_SHORT_SIZES = {"less than usual": "small"}
_MEANINGS = {"good": 0, "warn": 1, "bad": 2}


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
        title="session", cells=16, rank=0, key=lambda row: row.name.casefold()
    ),
    "mae": ListColumn(
        title="MAE", cells=8, rank=1, key=lambda row: row.size, right=True, down=True
    ),
    "verdict": ListColumn(
        title="verdict",
        cells=16,
        rank=2,
        key=lambda row: _badness(row),
        down=True,
    ),
    "cause": ListColumn(
        title="cause",
        cells=22,
        rank=4,
        key=lambda row: _cause_key(row),
    ),
    "state": ListColumn(
        title="state", cells=9, rank=3, key=lambda row: row.state or None
    ),
    "tokens": ListColumn(
        title="tokens",
        cells=10,
        rank=5,
        key=lambda row: None if row.problem else row.tokens,
        right=True,
        down=True,
    ),
    "backends": ListColumn(
        title="backends",
        cells=24,
        rank=6,
        key=lambda row: row.backends.casefold() or None,
    ),
    "date": ListColumn(
        title="date", cells=16, rank=7, key=lambda row: row.created or None, down=True
    ),
    "model": ListColumn(
        title="model", cells=16, rank=8, key=lambda row: row.model.casefold() or None
    ),
}
_STATE_CELLS = 18
"""Of a running session with its time left, where there is room."""
_CAUSE_CELLS = 34
"""Of most causes with how sure they are, where there is room."""
_ROOMY = 110
_NAME_CELLS = 44
_HEAD_LINES = 2


class ColumnRoom(NamedTuple):
    """A column that is shown, and how wide."""

    name: str
    cells: int


def layout(width: int, wanted: str = "") -> list[ColumnRoom]:
    """The columns that a width holds with their cells: ``wanted`` next to the name,
    then the most important ones that fit; what is left is the name's.
    """
    sizes = {name: column.cells for name, column in COLUMNS.items()}
    if width >= _ROOMY:
        sizes["state"] = _STATE_CELLS
        sizes["cause"] = _CAUSE_CELLS
    chosen: list[str] = []
    used = 1
    by_rank = sorted(COLUMNS, key=_rank_beside(wanted))
    for name in by_rank:
        needed = sizes[name] + 1
        if used + needed > width and chosen:
            continue
        chosen.append(name)
        used += needed
    widest_name = max(_NAME_CELLS, width // 4)
    spare = max(0, width - used)
    name_cells = sizes["name"] + spare
    sizes["name"] = min(name_cells, widest_name)
    in_order = [name for name in COLUMNS if name in chosen]
    return [ColumnRoom(name, sizes[name]) for name in in_order]


def _rank_beside(wanted: str) -> Callable[[str], int]:
    """The rank of a column; ``wanted`` comes right after the name."""

    def rank(name: str) -> int:
        own_rank = COLUMNS[name].rank
        if name == wanted:
            return min(1, own_rank)
        return own_rank

    return rank


def _badness(row: SessionRow) -> tuple[int, float] | None:
    """The worst meaning last, within it the largest MAE; None without a verdict."""
    if row.verdict is None:
        return None
    size = row.size or 0.0
    answer = row.answer
    if answer is None:
        badness = _BADNESS.get(row.verdict, 0)
    else:
        badness = _MEANINGS[answer.meaning]
    return badness, size


def _cause_key(row: SessionRow) -> str | None:
    if row.answer is None:
        return None
    return row.answer.cause.casefold()


def sorted_rows(
    rows: Sequence[SessionRow], column: str, down: bool
) -> tuple[SessionRow, ...]:
    """Rows by a column; those without a value come last either way, equal ones stay as
    they were.
    """
    key = COLUMNS[column].key
    with_value: list[SessionRow] = []
    without_value: list[SessionRow] = []
    for row in rows:
        value = key(row)
        if value is None:
            without_value.append(row)
        else:
            with_value.append(row)
    with_value.sort(key=key, reverse=down)
    return (*with_value, *without_value)


def matches(row: SessionRow, words: str) -> bool:
    """Whether every word of a filter stands somewhere in the row."""
    verdict = _verdict_words(row)
    texts = (
        row.name,
        row.title,
        row.model,
        row.backends,
        verdict,
        row.state,
        row.created,
        answer_words(row),
    )
    text = " ".join(texts)
    text = text.casefold()
    words = words.casefold()
    return all(word in text for word in words.split())


def _verdict_words(row: SessionRow) -> str:
    """The verdict of the gate as users read it, "" without one."""
    if row.verdict is None:
        return ""
    return VERDICTS_IN_A_SENTENCE.get(row.verdict, "")


def answer_words(row: SessionRow) -> str:
    """The words of the answer, for a filter."""
    if row.answer is None:
        return ""
    return f"{row.answer.size} {row.answer.cause}"


def short_verdict(row: SessionRow) -> str:
    """Whether the size is usual, or that the pair is not to be compared."""
    words = _verdict_words(row)
    if row.answer is None or not row.answer.size:
        return words.removeprefix("comparable with ")
    if row.verdict == "caution":
        return f"{_SHORT_SIZES.get(row.answer.size, row.answer.size)}, caution"
    return row.answer.size


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
        return layout(self.inner_width, self.wanted)

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
        if select is None and self.here is not None:
            select = self.here.folder
        if rows is not None:
            self.rows = tuple(rows)
            self.read = True
        words = self.filter
        matching = [row for row in self.rows if matches(row, words)]
        column = self.sort
        self.sessions = sorted_rows(matching, column, self.down)
        selected = self._index_of(select)
        folders = _folders(self.sessions)
        if folders != _folders(sessions_before):
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
        columns = layout(width, self.wanted)
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
            "date": row.created,
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


def state_words(row: SessionRow, cells: int) -> str:
    """State with progress and time left, in few words where there are few cells."""
    if row.state != "running":
        return row.state
    running = "run"
    if cells >= _STATE_CELLS:
        running = "running"
    words = [running]
    if row.progress is not None:
        progress = f"{row.progress:.0%}"
        words.append(progress)
    if row.left is not None:
        left = duration(row.left)
        with_left = " ".join([*words, left])
        if cell_len(with_left) <= cells:
            return with_left
    return " ".join(words)
