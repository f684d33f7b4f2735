"""Every capture against every capture: one number, coloured and marked by its size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.worker import get_current_worker

from logdrift.core.compare.gate import Gate
from logdrift.core.compare.matrix import MatrixCell, matrix_cell
from logdrift.core.compare.metric import metric
from logdrift.core.compare.scopes import Scope
from logdrift.core.numbers import number
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.matrix import (
    CellRow,
    MatrixTable,
    legend,
    meaning,
)
from logdrift.tui.screens.origin import Labels
from logdrift.tui.screens.result import ResultScreen
from logdrift.tui.screens.texts import Picker
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.matrix_grid import MatrixGrid
from logdrift.tui.widgets.reading import Row

_TOO_FEW_FOR_A_PAIR = "two captures with a finished sequence are needed for a pair"
_TOO_FEW = "Two captures with a finished sequence are needed for a matrix."


@dataclass(eq=False, repr=False)
class RowDone(Message):
    """One row of the matrix was computed."""

    key: tuple[str, Scope]
    index: int
    cells: CellRow


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
        session = self.session
        metric, scope = key
        for index, a in enumerate(labels):
            row: list[MatrixCell | None] = []
            for b in labels:
                if worker.is_cancelled:
                    return
                cell = None
                if a != b:
                    pair = (a, b)
                    gate = gates.get(pair)
                    cell = matrix_cell(session, a, b, metric, scope, gate)
                row.append(cell)
            cells = tuple(row)
            done = RowDone(key, index, cells)
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
            return [
                (head, palette.strong),
                (problem, palette.bad),
            ]
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
        judgement = f"{verdict}  {reason}"
        judgement = judgement.rstrip()
        return [
            (f"{head}: {value}, {size}", style),
            (judgement, verdict_style),
        ]

    # ---- commands

    def action_move(self, rows: int, columns: int) -> None:
        """Move the cursor."""
        grid = self.grid
        row, column = grid.position
        row += rows
        column += columns
        grid.go(row, column)

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
        table = self.table
        metrics = list(map(metric, table.metrics))

        def row(index: int, width: int) -> Row:
            metric = metrics[index]
            half = width // 2
            room = min(44, half)
            room = max(12, room)
            path = fit(metric.path, room - 2)
            words = fit(metric.meaning, width - room)
            return [
                (f" {path} ", palette.text),
                (words, palette.muted),
            ]

        def chosen(index: int) -> None:
            metric = metrics[index]
            self._show(metric.path, table.scope)

        start = metrics.index(table.row_of_metric)
        head = " number and what it is"
        count = len(metrics)
        picker = Picker("Metric", head, count, row, start)
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
