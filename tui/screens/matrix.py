"""Every capture against every capture: one number, coloured and marked by its size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from textual import events, on
from textual.app import ComposeResult
from textual.message import Message
from textual.strip import Strip
from textual.worker import get_current_worker

from logdrift.core.compare.gate import Gate
from logdrift.core.compare.matrix import MatrixCell, matrix_cell
from logdrift.core.compare.metric import METRICS
from logdrift.core.compare.scopes import Scope
from logdrift.core.numbers import NOTHING, number
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.matrix import (
    COLUMN,
    ROW,
    VOID,
    CellRow,
    MatrixTable,
    legend,
    mark_and_value,
    meaning,
)
from logdrift.tui.models.short_names import short_names
from logdrift.tui.screens.origin import Labels
from logdrift.tui.screens.result import ResultScreen
from logdrift.tui.screens.texts import Picker
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.heat import heat_styles
from logdrift.tui.widgets.lines import Lines, Run, strip_of
from logdrift.tui.widgets.reading import Row

_CELL = 11
_TOO_FEW_FOR_A_PAIR = "two captures with a finished sequence are needed for a pair"
_TOO_FEW = "Two captures with a finished sequence are needed for a matrix."


@dataclass(eq=False, repr=False)
class RowDone(Message):
    """One row of the matrix was computed."""

    key: tuple[str, Scope]
    index: int
    cells: CellRow


class MatrixGrid(Lines, inherit_bindings=False):
    """The table with one cell under the cursor."""

    fixed = 3

    class CellMoved(Message):
        """Another cell is under the cursor."""

    class CellChosen(Message):
        """The cell under the cursor was clicked on again."""

    def __init__(self, table: MatrixTable, pair: Labels | None, *, id: str) -> None:
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


class MatrixScreen(ResultScreen, inherit_bindings=False):
    """The table, and in words what stands under the cursor.

    A thread computes it row by row until the screen is left.
    """

    BINDINGS = bindings("matrix")
    SCOPES = ("matrix",)
    AUTO_FOCUS = "#grid"
    SAVED_AS = "matrix.tsv"

    def __init__(
        self,
        session: Session,
        pair: Labels | None,
        chosen: Callable[[Labels], None],
        explain: Callable[[Labels], None],
    ) -> None:
        super().__init__()
        self.session = session
        self._chosen = chosen
        self._explain = explain
        self.table = MatrixTable.of_session(session)
        self._start = pair

    def panes(self) -> ComposeResult:
        yield MatrixGrid(self.table, self._start, id="grid")
        yield Bar(id="detail")

    @property
    def grid(self) -> MatrixGrid:
        """The pane with the table."""
        return self.query_one(MatrixGrid)

    def on_mount(self) -> None:
        self._go_to_pair()
        self._compute()

    def _go_to_pair(self) -> None:
        """Put the cursor on the pair that the explorer shows."""
        labels = self.table.labels
        if self._start is None:
            return
        a, b = self._start
        if a in labels and b in labels:
            grid = self.grid
            grid.row = labels.index(a)
            grid.column = labels.index(b)
            self.call_after_refresh(grid.reveal, grid.row)

    def on_unmount(self) -> None:
        self.workers.cancel_group(self, "matrix")

    # ---- computing

    def _show(self, metric: str, scope: Scope) -> None:
        """Another metric or other tokens."""
        if self.table.show(metric, scope):
            self.grid.refresh()
            self.draw()
            self._compute()

    def _compute(self) -> None:
        table = self.table
        gates = dict(table.gates)
        self._fill(table.labels, table.key, gates)

    @background(group="matrix", exclusive=True)
    def _fill(
        self,
        labels: Sequence[str],
        key: tuple[str, Scope],
        gates: dict[Labels, Gate],
    ) -> None:
        worker = get_current_worker()
        metric, scope = key
        for index, a in enumerate(labels):
            row: list[MatrixCell | None] = []
            for b in labels:
                if worker.is_cancelled:
                    return
                cell = None
                if a != b:
                    gate = gates.get((a, b))
                    cell = matrix_cell(self.session, a, b, metric, scope, gate)
                row.append(cell)
            done = RowDone(key, index, tuple(row))
            self.post_message(done)

    @on(RowDone)
    def _on_row_done(self, message: RowDone) -> None:
        table = self.table
        if message.key != table.key:
            return
        scale_changed = table.take_row(message.index, message.cells)
        if scale_changed:
            self.grid.refresh()
        else:
            self.grid.refresh_line(message.index)
        self.grid.refresh_fixed()
        self.draw()

    # ---- in words

    @on(MatrixGrid.CellMoved)
    def _on_moved(self) -> None:
        self.say("")
        self.draw()

    def draw(self) -> None:
        """What stands under the cursor, in words."""
        if not self.size.width:
            return
        most = 2
        if self.is_low:
            most = 1
        rows: list[Row] = []
        for text, style in self._detail():
            rows += self.paragraph(text, style, most)
        self.bar("detail").put(rows)

    def _detail(self) -> list[Run]:
        palette = self.palette
        table = self.table
        if len(table.labels) < 2:
            return [(_TOO_FEW, palette.warn)]
        metric_meaning = meaning(table.row_of_metric)
        return [
            *self._cell_in_words(),
            (metric_meaning, palette.muted),
            (legend(), palette.muted),
        ]

    def _cell_in_words(self) -> list[Run]:
        """Two lines: the number, and the verdict or what is missing."""
        palette = self.palette
        row, column = self.grid.position
        labels = self.table.labels
        a = visible(labels[row])
        b = visible(labels[column])
        nothing_more = ("", palette.text)
        if row == column:
            return [(f"{a} against itself", palette.text), nothing_more]
        head = f"{a} {ARROW} {b}"
        cell = self.table.cell(row, column)
        if cell is None:
            return [(f"{head}: being computed", palette.text), nothing_more]
        if cell.problem is not None:
            problem = visible(cell.problem)
            return [(head, palette.strong), (problem, palette.bad)]
        return self._number_and_verdict(head, cell)

    def _number_and_verdict(self, head: str, cell: MatrixCell) -> list[Run]:
        palette = self.palette
        value = number(cell.value)
        size = "means nothing"
        style = palette.muted
        if cell.comparable:
            grade = self.table.grade(cell)
            size = grade.words
            style = palette.strong
        verdict = VERDICTS.get(cell.verdict or "", "")
        verdict_style = palette.verdict(cell.verdict)
        reason = visible(cell.reason)
        judgement = f"{verdict}  {reason}".rstrip()
        return [(f"{head}: {value}, {size}", style), (judgement, verdict_style)]

    # ---- commands

    def action_move(self, rows: int, columns: int) -> None:
        """Move the cursor."""
        row, column = self.grid.position
        self.grid.go(row + rows, column + columns)

    @on(MatrixGrid.CellChosen)
    def action_open_pair(self) -> None:
        """Leave, and show this pair."""
        pair = self._pair_here()
        if pair is not None:
            self.dismiss()
            self._chosen(pair)

    def action_why(self) -> None:
        """The causes of this pair, above this screen."""
        pair = self._pair_here()
        if pair is not None:
            self._explain(pair)

    def _pair_here(self) -> Labels | None:
        """The pair under the cursor; says what is missing where there is none."""
        labels = self.table.labels
        row, column = self.grid.position
        if len(labels) < 2:
            self.warn(_TOO_FEW_FOR_A_PAIR)
            return None
        if row == column:
            self.warn("a capture against itself is no pair")
            return None
        return labels[row], labels[column]

    def action_choose_metric(self) -> None:
        """Choose the metric from the list of all."""
        palette = self.palette
        metrics = tuple(METRICS.values())

        def row(index: int, width: int) -> Row:
            metric = metrics[index]
            room = max(12, min(44, width // 2))
            path = fit(metric.path, room - 2)
            words = fit(metric.meaning, width - room)
            return [(f" {path} ", palette.text), (words, palette.muted)]

        def chosen(index: int) -> None:
            metric = metrics[index]
            self._show(metric.path, self.table.scope)

        start = metrics.index(self.table.row_of_metric)
        title = " number and what it is"
        picker = Picker("Metric", title, len(metrics), row, start)
        self.choose(picker, chosen)

    def action_step_metric(self, step: int) -> None:
        """The metric before or after this one."""
        table = self.table
        metric = table.next_metric(step)
        self._show(metric, table.scope)

    def action_scope(self) -> None:
        """The next scope."""
        table = self.table
        scope = table.next_scope()
        self._show(table.metric, scope)

    def text_to_save(self) -> str:
        """The table with tabs between its cells, not comparable ones marked."""
        return self.table.tab_separated()
