"""The rows of a trend: a step each, the change and a mark shown beside them."""

from __future__ import annotations

from rich.style import Style
from textual.strip import Strip

from logdrift.core.numbers import counted
from logdrift.core.session.visible import visible
from logdrift.core.trend.answered import AnsweredLine
from logdrift.core.trend.column import ColumnTexts, trend_layout
from logdrift.core.trend.row import RowName, TrendRow
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.widgets.lines import Row, Run, Runs, strip_of
from logdrift.tui.widgets.rows import Rows

_MARK = 2
"""Cells before the columns: whether a row is marked, or is the change."""
_MARKED = "•"
_CHANGED = "c"


class TrendRows(Rows):
    """The rows of one line of a trend."""

    fixed = 2

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.answered: AnsweredLine | None = None
        self.aside = ""
        self.marked: RowName | None = None
        self._judged = False
        self._rooms: list[ColumnTexts] = []
        self._laid_out: tuple[AnsweredLine | None, int] = (None, 0)

    @property
    def rows(self) -> tuple[TrendRow, ...]:
        if self.answered is None:
            return ()
        return self.answered.line.rows

    @property
    def line_count(self) -> int:
        return len(self.rows)

    @property
    def here(self) -> TrendRow | None:
        """The selected row."""
        if not self.rows:
            return None
        return self.rows[self.selected]

    def put(self, answered: AnsweredLine | None, aside: str, *, judged: bool) -> None:
        """Show a line, or what it has become; the selection stays on its step, or at
        the end where it was there.
        """
        before = self.here
        was_last = self.selected >= self.line_count - 1
        self.answered = answered
        self.aside = aside
        self._judged = judged
        if before is None or was_last:
            self.selected = max(0, self.line_count - 1)
        else:
            self.selected = self._place_of(before)
        self.rows_changed()

    def _place_of(self, wanted: TrendRow) -> int:
        place = self.place_of(wanted.name)
        if place is None:
            return self._row_within(self.selected)
        return place

    def place_of(self, name: RowName) -> int | None:
        """Where the row of a name is, whatever its numbers have become; None where it
        is gone.
        """
        for place, row in enumerate(self.rows):
            if row.name == name:
                return place
        return None

    def mark(self, row: TrendRow | None) -> None:
        """Mark a row, or none."""
        self.marked = None
        if row is not None:
            self.marked = row.name
        self.refresh()

    # ---- drawing

    @property
    def _columns(self) -> list[ColumnTexts]:
        width = self.inner_width - _MARK
        if self.answered is None:
            return []
        needed = (self.answered, width)
        if self._laid_out != needed:
            self._laid_out = needed
            self._rooms = trend_layout(self.answered.line, width).shown
        return self._rooms

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self.title_line(self._title(), width, self.aside)
        texts = [" " * _MARK]
        for room in self._columns:
            column = room.column
            texts.append(f"{fit(column.name, room.cells, right=column.right)} ")
        run = ("".join(texts), self.palette.muted)
        return strip_of([run], width)

    def _title(self) -> str:
        if self.answered is None:
            return "Steps"
        line = self.answered.line
        pair = f"{visible(line.a)} {ARROW} {visible(line.b)}"
        return f"{pair} · {counted(len(line.rows), 'row')}"

    def runs(self, index: int, width: int) -> Row:
        row = self.rows[index]
        runs: Runs = [self._sign(index, row)]
        for room in self._columns:
            column = room.column
            text = fit(column.text(row), room.cells, right=column.right)
            runs.append((f"{text} ", self._style(column.name, row)))
        return runs

    def _sign(self, index: int, row: TrendRow) -> Run:
        palette = self.palette
        if row.name == self.marked:
            return fit(_MARKED, _MARK), palette.accent
        change = None
        if self.answered is not None and self._judged:
            change = self.answered.change
        if change is not None and change.shift.start == index:
            return fit(_CHANGED, _MARK), palette.bad
        return " " * _MARK, palette.text

    def _style(self, name: str, row: TrendRow) -> Style:
        palette = self.palette
        if name in ("verdict", "cause"):
            return palette.meaning(row.meaning)
        if row.void or not row.measured:
            return palette.muted
        return palette.text
