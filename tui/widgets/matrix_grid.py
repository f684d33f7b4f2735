"""The matrix as a table: one number for each pair, marked and shaded by its size."""

from __future__ import annotations

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip

from logdrift.core.compare.matrix import MatrixCell
from logdrift.core.numbers import NOTHING, number
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.models.matrix import COLUMN, ROW, VOID, MatrixTable, mark_and_value
from logdrift.tui.models.short_names import short_names
from logdrift.tui.widgets.heat import heat_styles
from logdrift.tui.widgets.lines import Lines, Run, strip_of

_CELL = 11


class MatrixGrid(Lines, inherit_bindings=False):
    """The table with one cell under the cursor."""

    fixed = 3

    class CellMoved(Message):
        """Another cell is under the cursor."""

    class CellChosen(Message):
        """The cell under the cursor was clicked on again."""

    def __init__(
        self, table: MatrixTable, pair: tuple[str, str] | None, *, id: str
    ) -> None:
        super().__init__(id=id)
        self.table = table
        self.heads = short_names(table.labels, _CELL - 1)
        self.pair = pair or ("", "")
        """The labels of the row and of the column that are marked."""
        self.row = 0
        last_column = len(table.labels) - 1
        self.column = min(1, last_column)

    @property
    def position(self) -> tuple[int, int]:
        """Row and column of the cursor."""
        return self.row, self.column

    @property
    def line_count(self) -> int:
        return len(self.table.labels)

    @property
    def label_width(self) -> int:
        """Cells for the labels of the rows, their marks included."""
        widths = map(_cells_of_label, self.table.labels)
        needed = max(widths, default=8) + 3
        columns_at_least = min(3, self.line_count)
        room = self.inner_width - _CELL * columns_at_least - 1
        width = min(needed, room, 36)
        return max(12, width)

    def columns(self) -> range:
        """The columns that are seen: those around the cursor where not all fit."""
        room = self.inner_width - self.label_width
        count = max(1, room // _CELL)
        centred = self.column - count // 2
        last_first = self.line_count - count
        first = max(0, min(centred, last_first))
        end = min(self.line_count, first + count)
        return range(first, end)

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self._title(width)
        return self._head(y - 1, width)

    def _title(self, width: int) -> Strip:
        table = self.table
        title = f"Matrix · {table.title}"
        aside = f"{table.scope} tokens"
        if table.scope == "all":
            aside = "all tokens"
        count = len(table.rows)
        if table.computed < count:
            aside += f", {table.computed} of {count} rows"
        return self.title_line(title, width, aside)

    def _head(self, y: int, width: int) -> Strip:
        """One line of the names of the columns, and whether there are more to either
        side.
        """
        palette = self.palette
        columns = self.columns()
        corner = ("A ↓  B →", "")[y]
        text = fit(corner, self.label_width - 2)
        more_left = "‹" if columns.start else " "
        runs = [(f" {text}{more_left}", palette.muted)]
        for column in columns:
            runs.append(self._head_of_column(y, column))
        more_right = " ›" if columns.stop < self.line_count else ""
        runs.append((more_right, palette.muted))
        return strip_of(runs, width)

    def _head_of_column(self, y: int, column: int) -> Run:
        palette = self.palette
        style = palette.muted
        mark = ""
        if self.table.labels[column] == self.pair[1]:
            style = palette.accent
            mark = COLUMN if y else ""
        if column == self.column:
            style = palette.strong
        name = self.heads[column][y]
        text = fit(f"{mark}{name}", _CELL - 1, right=True)
        return f"{text} ", style

    def line(self, index: int, width: int) -> Strip:
        palette = self.palette
        blank = (" ", palette.text)
        runs = [self._label(index)]
        for column in self.columns():
            text, style = self._cell(index, column)
            if self.position == (index, column):
                style = palette.cursor
            runs.append((text, style))
            runs.append(blank)
        return strip_of(runs, width)

    def _label(self, row: int) -> Run:
        """The mark and label of a row."""
        label = self.table.labels[row]
        mark = " "
        style = self.palette.text
        if label == self.pair[0]:
            mark = ROW
            style = self.palette.accent
        if row == self.row:
            style = self.palette.strong
        text = fit(visible(label), self.label_width - 2)
        return f"{mark}{text} ", style

    def _cell(self, row: int, column: int) -> Run:
        """The text of a cell in `_CELL` - 1 cells and its style."""
        palette = self.palette
        if row == column:
            return _right(NOTHING), palette.muted
        cell = self.table.cell(row, column)
        if cell is None:
            return _right("…"), palette.muted
        if cell.problem is not None:
            return _right("✗"), palette.bad
        if not cell.comparable:
            value = number(cell.value)
            return _marked(VOID, value), palette.grey
        mark, value = mark_and_value(self.table, cell)
        style = self._style(cell)
        return _marked(mark, value), style

    def _style(self, cell: MatrixCell) -> Style:
        """The colour of a comparable number: the larger it is, the stronger."""
        palette = self.palette
        grade = self.table.grade(cell)
        if grade.noise:
            return palette.muted
        if grade.level:
            return palette.single[grade.level - 1]
        heat = self.table.heat(cell)
        return heat_styles(palette)[heat]

    def go(self, row: int, column: int) -> None:
        """Put the cursor on a cell."""
        row = self._nearest(row)
        column = self._nearest(column)
        if self.position == (row, column):
            return
        columns_before = self.columns()
        row_before = self.row
        column_before = self.column
        self.row = row
        self.column = column
        if self.columns() != columns_before:
            self.refresh()
        else:
            self.refresh_line(row_before)
            self.refresh_line(row)
        if column != column_before:
            self.refresh_fixed()
        self.reveal(row)
        self.post_message(self.CellMoved())

    def _nearest(self, index: int) -> int:
        """The row or column that is nearest to an index which may lie outside."""
        last = self.line_count - 1
        within = min(index, last)
        return max(0, within)

    def on_click(self, event: events.Click) -> None:
        """Go to the cell that was clicked on; a second click chooses it."""
        cell = self._cell_at(event.x, event.y)
        if cell is None:
            return
        if cell == self.position:
            self.post_message(self.CellChosen())
        self.go(*cell)

    def _cell_at(self, x: int, y: int) -> tuple[int, int] | None:
        """Row and column of the cell at a place of the pane; None beside the cells."""
        below_head = y - self.fixed
        row = self.top + below_head
        if below_head < 0 or row >= self.line_count:
            return None
        right_of_labels = x - self.label_width
        if right_of_labels < 0:
            return None
        columns = self.columns()
        index = right_of_labels // _CELL
        if index >= len(columns):
            return None
        return row, columns[index]


def _cells_of_label(label: str) -> int:
    return cell_len(visible(label))


def _right(text: str) -> str:
    """``text`` at the right end of a cell."""
    return _marked("", text)


def _marked(mark: str, text: str) -> str:
    """``mark`` at the left end of a cell, ``text`` at the right end."""
    room = _CELL - 1 - cell_len(mark)
    shown = fit(text, room, right=True)
    return f"{mark}{shown}"
