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
    VOID,
    CellRow,
    MatrixTable,
    legend,
    mark_and_value,
    meaning,
)
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.saving import save
from logdrift.tui.screens.texts import Picker
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Lines, Run, strip_of
from logdrift.tui.widgets.paragraph import paragraph
from logdrift.tui.widgets.reading import Row

_CELL = 11
_TOO_FEW = "Two captures with a finished sequence are needed for a matrix."


@dataclass(eq=False, repr=False)
class RowDone(Message):
    """One row of the matrix was computed."""

    key: tuple[str, Scope]
    index: int
    cells: CellRow


class MatrixGrid(Lines, inherit_bindings=False):
    """The table with one cell under the cursor."""

    fixed = 2

    class CellMoved(Message):
        """Another cell is under the cursor."""

    class CellChosen(Message):
        """The cell under the cursor was clicked on again."""

    def __init__(self, table: MatrixTable, *, id: str) -> None:
        super().__init__(id=id)
        self.table = table
        self.row = 0
        self.column = min(1, len(table.labels) - 1)

    @property
    def line_count(self) -> int:
        return len(self.table.labels)

    @property
    def label_width(self) -> int:
        """Cells for the labels of the rows, their numbers included."""
        widths = (cell_len(visible(label)) for label in self.table.labels)
        longest = max(widths, default=8) + 5
        room = self.inner_width - _CELL * min(3, self.line_count) - 1
        return max(12, min(longest, room, 36))

    def columns(self) -> range:
        """The columns that are seen: those around the cursor where not all fit."""
        count = max(1, (self.inner_width - self.label_width) // _CELL)
        first = max(0, min(self.column - count // 2, self.line_count - count))
        return range(first, min(self.line_count, first + count))

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self._title(width)
        return self._head(width)

    def _title(self, width: int) -> Strip:
        table = self.table
        if table.scope == "all":
            aside = "all tokens"
        else:
            aside = f"{table.scope} tokens"
        if table.computed < len(table.rows):
            aside += f", {table.computed} of {len(table.rows)} rows"
        title = f"Matrix · {table.metric} ({table.row_of_metric.unit})"
        return self.title_line(title, width, aside)

    def _head(self, width: int) -> Strip:
        """The numbers of the columns, and whether there are more to either side."""
        columns = self.columns()
        left = "‹" if columns.start else " "
        right = " ›" if columns.stop < self.line_count else ""
        head = fit("A ↓  B →", self.label_width - 2)
        numbers = [f"{_right(str(column + 1))} " for column in columns]
        text = f" {head}{left}{''.join(numbers)}{right}"
        return strip_of([(text, self.palette.muted)], width)

    def line(self, index: int, width: int) -> Strip:
        p = self.palette
        label = f"{index + 1:>2} {visible(self.table.labels[index])}"
        style = p.strong if index == self.row else p.text
        runs: list[Run] = [(f" {fit(label, self.label_width - 2)} ", style)]
        for column in self.columns():
            text, cell_style = self._cell(index, column)
            under_cursor = (index, column) == (self.row, self.column)
            runs.append((text, p.cursor if under_cursor else cell_style))
            runs.append((" ", p.text))
        return strip_of(runs, width)

    def _cell(self, row: int, column: int) -> Run:
        """The text of a cell in `_CELL` - 1 cells and its style."""
        p = self.palette
        cell = self.table.cell(row, column)
        if row == column:
            return _right(NOTHING), p.muted
        if cell is None:
            return _right("…"), p.muted
        if cell.problem is not None:
            return _right("✗"), p.bad
        if not cell.comparable:
            return f"{VOID}{fit(number(cell.value), _CELL - 3, right=True)}", p.grey
        mark, value = mark_and_value(self.table, cell)
        return f"{mark}{fit(value, _CELL - 2, right=True)}", self._style(cell)

    def _style(self, cell: MatrixCell) -> Style:
        """The colour of a comparable number: the larger it is, the stronger."""
        palette = self.palette
        grade = self.table.grade(cell)
        if grade.noise:
            return palette.muted
        if grade.level:
            return palette.single[grade.level - 1]
        return palette.text

    def go(self, row: int, column: int) -> None:
        """Put the cursor on a cell."""
        last = self.line_count - 1
        row = max(0, min(row, last))
        column = max(0, min(column, last))
        if (row, column) == (self.row, self.column):
            return
        columns_before = self.columns()
        row_before = self.row
        self.row = row
        self.column = column
        if self.columns() != columns_before:
            self.refresh()
        else:
            self.refresh_line(row_before)
            self.refresh_line(row)
        self.reveal(row)
        self.post_message(self.CellMoved())

    def on_click(self, event: events.Click) -> None:
        """Go to the cell that was clicked on; a second click chooses it."""
        cell = self._cell_at(event.x, event.y)
        if cell is None:
            return
        if cell == (self.row, self.column):
            self.post_message(self.CellChosen())
        self.go(*cell)

    def _cell_at(self, x: int, y: int) -> tuple[int, int] | None:
        row = self.top + y - self.fixed
        at = x - self.label_width
        if y < self.fixed or row >= self.line_count or at < 0:
            return None
        columns = self.columns()
        index = at // _CELL
        if index < len(columns):
            return (row, columns[index])
        return None


def _right(text: str) -> str:
    """``text`` at the right end of a cell."""
    return fit(text, _CELL - 1, right=True)


class MatrixScreen(BaseScreen, inherit_bindings=False):
    """The table, and in words what stands under the cursor.

    A thread computes it row by row until the screen is left.
    """

    BINDINGS = bindings("matrix")
    SCOPES = ("matrix",)
    AUTO_FOCUS = "#grid"

    def __init__(
        self,
        session: Session,
        pair: tuple[str, str] | None,
        chosen: Callable[[tuple[str, str]], None],
    ) -> None:
        super().__init__()
        self.session = session
        self._chosen = chosen
        self.table = MatrixTable.of_session(session)
        self._start = pair

    def panes(self) -> ComposeResult:
        yield MatrixGrid(self.table, id="grid")
        yield Bar(id="detail")

    @property
    def grid(self) -> MatrixGrid:
        """The pane with the table."""
        return self.query_one(MatrixGrid)

    def on_mount(self) -> None:
        labels = self.table.labels
        if self._start is not None and set(self._start) <= set(labels):
            a, b = self._start
            self.grid.row, self.grid.column = labels.index(a), labels.index(b)
            self.call_after_refresh(self.grid.reveal, self.grid.row)
        self._compute()

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
        self._fill(table.labels, table.key, dict(table.gates))

    @background(group="matrix", exclusive=True)
    def _fill(
        self,
        labels: Sequence[str],
        key: tuple[str, Scope],
        gates: dict[tuple[str, str], Gate],
    ) -> None:
        worker = get_current_worker()
        metric, scope = key
        for index, a in enumerate(labels):
            row: list[MatrixCell | None] = []
            for b in labels:
                if worker.is_cancelled:
                    return
                if a == b:
                    row.append(None)
                    continue
                gate = gates.get((a, b))
                row.append(matrix_cell(self.session, a, b, metric, scope, gate))
            self.post_message(RowDone(key, index, tuple(row)))

    @on(RowDone)
    def _on_row_done(self, message: RowDone) -> None:
        if message.key != self.table.key:
            return
        if self.table.take_row(message.index, message.cells):
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
        width = self.size.width - 2
        most = 2 if self.size.height >= 24 else 1
        rows: list[list[Run]] = []
        for text, style in self._detail():
            rows += paragraph(text, style, self.palette, width=width, most=most)
        self.query_one("#detail", Bar).put(rows)

    def _detail(self) -> list[Run]:
        p = self.palette
        table = self.table
        if len(table.labels) < 2:
            return [(_TOO_FEW, p.warn)]
        explained = [(meaning(table.row_of_metric), p.muted), (legend(), p.muted)]
        return [*self._cell_in_words(), *explained]

    def _cell_in_words(self) -> list[Run]:
        """Two lines: the number, and the verdict or what is missing."""
        palette = self.palette
        row = self.grid.row
        column = self.grid.column
        a = visible(self.table.labels[row])
        b = visible(self.table.labels[column])
        if row == column:
            return [(f"{a} against itself", palette.text), ("", palette.text)]
        head = f"{a} {ARROW} {b}"
        cell = self.table.cell(row, column)
        if cell is None:
            return [(f"{head}: being computed", palette.text), ("", palette.text)]
        if cell.problem is not None:
            return [(head, palette.strong), (visible(cell.problem), palette.bad)]
        return self._number_and_verdict(head, cell)

    def _number_and_verdict(self, head: str, cell: MatrixCell) -> list[Run]:
        palette = self.palette
        if cell.comparable:
            meaning = self.table.grade(cell).words
            style = palette.strong
        else:
            meaning = "means nothing"
            style = palette.muted
        verdict = VERDICTS.get(cell.verdict or "", "")
        reason = f"{verdict}  {visible(cell.reason)}".rstrip()
        return [
            (f"{head}: {number(cell.value)}, {meaning}", style),
            (reason, palette.verdict(cell.verdict)),
        ]

    # ---- commands

    def action_move(self, rows: int, columns: int) -> None:
        """Move the cursor."""
        self.grid.go(self.grid.row + rows, self.grid.column + columns)

    @on(MatrixGrid.CellChosen)
    def action_open_pair(self) -> None:
        """Leave, and show this pair."""
        labels = self.table.labels
        if len(labels) < 2:
            words = "two captures with a finished sequence are needed for a pair"
            self.say(words, warn=True)
        elif self.grid.row == self.grid.column:
            self.say("a capture against itself is no pair", warn=True)
        else:
            self.dismiss()
            self._chosen((labels[self.grid.row], labels[self.grid.column]))

    def action_choose_metric(self) -> None:
        """Choose the metric from the list of all."""
        p = self.palette
        metrics = tuple(METRICS.values())

        def row(index: int, width: int) -> Row:
            metric = metrics[index]
            room = max(12, min(44, width // 2))
            return [
                (f" {fit(metric.path, room - 2)} ", p.text),
                (fit(metric.meaning, width - room), p.muted),
            ]

        def answered(index: int | None) -> None:
            if index is not None:
                self._show(metrics[index].path, self.table.scope)

        start = metrics.index(self.table.row_of_metric)
        title = " number and what it is"
        self.app.push_screen(
            Picker("Metric", title, len(metrics), row, start), answered
        )

    def action_step_metric(self, step: int) -> None:
        """The metric before or after this one."""
        self._show(self.table.next_metric(step), self.table.scope)

    def action_scope(self) -> None:
        """The next scope."""
        self._show(self.table.metric, self.table.next_scope())

    def action_copy(self) -> None:
        """Copy the table."""
        self.say(self.logdrift.copy_text(self.text_to_save()))

    def action_save(self) -> None:
        save(self, "matrix.tsv", self.text_to_save, session=self.session.folder)

    def text_to_save(self) -> str:
        """The table with tabs between its cells, not comparable ones marked."""
        return self.table.tab_separated()
