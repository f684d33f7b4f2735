"""Every capture against every capture: one number, coloured and marked by how large it
is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.message import Message
from textual.strip import Strip
from textual.worker import get_current_worker

from logdrift.core.compare.gate import Gate, Reason
from logdrift.core.compare.matrix import Cell, matrix_cell, matrix_labels
from logdrift.core.compare.metric import METRICS
from logdrift.core.compare.pair import SCOPES, Scope, default_scope
from logdrift.core.numbers import NOTHING, number
from logdrift.core.report.grade import STEPS, grade, largest_distance
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.saving import Saving
from logdrift.tui.screens.texts import Picker
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Lines, Run, strip_of
from logdrift.tui.widgets.reading import Row, wrap_at_most

SIZES = (" ", "▂", "▄", "▆", "█")
"""Marks of the grades: their height says what the colour says."""
NOISE, VOID = "≈", "!!"
_CELL = 11
DEFAULT_METRIC = "errors.mae"


@dataclass(eq=False, repr=False)
class RowDone(Message):
    """One row of the matrix was computed."""

    key: tuple[str, str]
    index: int
    cells: tuple[Cell | None, ...]


@dataclass
class Table:
    """What is known: a row is None until it has been computed."""

    labels: tuple[str, ...]
    metric: str
    scope: Scope
    rows: list[tuple[Cell | None, ...] | None] = field(default_factory=list)
    largest: float = 0.0

    def cell(self, row: int, column: int) -> Cell | None:
        found = self.rows[row]
        return None if found is None else found[column]

    def cells(self) -> Iterator[Cell]:
        return (cell for row in self.rows if row for cell in row if cell is not None)


class Grid(Lines, inherit_bindings=False):
    """The table with one cell under the cursor."""

    fixed = 2

    class Moved(Message):
        """Another cell is under the cursor."""

    class Chosen(Message):
        """The cell under the cursor was clicked on again."""

    def __init__(self, session: Session, table: Table, *, id: str) -> None:
        super().__init__(id=id)
        self.session, self.table = session, table
        self.row, self.column = 0, min(1, len(table.labels) - 1)

    @property
    def line_count(self) -> int:
        return len(self.table.labels)

    @property
    def label_width(self) -> int:
        longest = (
            max((cell_len(visible(label)) for label in self.table.labels), default=8)
            + 5
        )
        room = self.inner_width - _CELL * min(3, self.line_count) - 1
        return max(12, min(longest, room, 36))

    def columns(self) -> range:
        """The columns that are seen: those around the cursor where not all fit."""
        shown = max(1, (self.inner_width - self.label_width) // _CELL)
        first = max(0, min(self.column - shown // 2, self.line_count - shown))
        return range(first, min(self.line_count, first + shown))

    def fixed_line(self, y: int, width: int) -> Strip:
        table, p = self.table, self.palette
        if y == 0:
            metric = METRICS[table.metric]
            tokens = "all tokens" if table.scope == "all" else f"{table.scope} tokens"
            done = sum(row is not None for row in table.rows)
            aside = (
                tokens
                if done == len(table.rows)
                else f"{tokens}, {done} of {len(table.rows)} rows"
            )
            return self.title_line(
                f"Matrix · {table.metric} ({metric.unit})", width, aside
            )
        columns = self.columns()
        left = " ‹" if columns.start else "  "
        right = " ›" if columns.stop < self.line_count else ""
        head = fit("A ↓  B →", self.label_width - 2)
        numbers = "".join(
            fit(str(column + 1), _CELL - 1, right=True) + " " for column in columns
        )
        return strip_of([(f" {head}{left[1]}{numbers}{right}", p.muted)], width)

    def line(self, index: int, width: int) -> Strip:
        p = self.palette
        style = p.strong if index == self.row else p.text
        label = fit(
            f"{index + 1:>2} {visible(self.table.labels[index])}", self.label_width - 2
        )
        runs: list[Run] = [(f" {label} ", style)]
        for column in self.columns():
            here = (index, column) == (self.row, self.column)
            text, found = self._cell(index, column)
            runs.append((text, p.cursor if here else found))
            runs.append((" ", p.text))
        return strip_of(runs, width)

    def _cell(self, row: int, column: int) -> Run:
        """The text of a cell in `_CELL` - 1 cells and its style."""
        p, table = self.palette, self.table
        if row == column:
            return fit(NOTHING, _CELL - 1, right=True), p.muted
        cell = table.cell(row, column)
        if cell is None:
            return fit("…", _CELL - 1, right=True), p.muted
        if cell.problem is not None:
            return fit("✗", _CELL - 1, right=True), p.bad
        value = number(cell.value)
        if not cell.comparable:
            return f"{VOID}{fit(value, _CELL - 3, right=True)}", p.grey
        found = grade(cell, table.metric, self.session.captures, table.largest)
        mark = NOISE if found.noise else SIZES[found.level]
        style = (
            p.muted
            if found.noise
            else p.single[found.level - 1]
            if found.level
            else p.text
        )
        return f"{mark}{fit(value, _CELL - 2, right=True)}", style

    def go(self, row: int, column: int) -> None:
        """Put the cursor on a cell."""
        last = self.line_count - 1
        row, column = max(0, min(row, last)), max(0, min(column, last))
        if (row, column) == (self.row, self.column):
            return
        before = self.columns()
        old, self.row, self.column = self.row, row, column
        if self.columns() != before:
            self.refresh()
        else:
            self.refresh_line(old)
            self.refresh_line(row)
        self.reveal(row)
        self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        row, at = self.top + event.y - self.fixed, event.x - self.label_width
        if (
            event.y < self.fixed
            or row >= self.line_count
            or at < 0
            or at // _CELL >= len(self.columns())
        ):
            return
        target = row, self.columns()[at // _CELL]
        if target == (self.row, self.column):
            self.post_message(self.Chosen())
        self.go(*target)


class MatrixScreen(Saving, BaseScreen, inherit_bindings=False):
    """The table, and in words what stands under the cursor. A thread computes it row by
    row until the screen is left.
    """

    BINDINGS = bindings("matrix")
    SCOPES = ("matrix",)
    SAVED_AS = "matrix.tsv"
    AUTO_FOCUS = "#grid"

    def __init__(
        self,
        session: Session,
        pair: tuple[str, str] | None,
        chosen: Callable[[tuple[str, str]], None],
    ) -> None:
        super().__init__()
        self.session, self._chosen = session, chosen
        labels = matrix_labels(session)
        scope = default_scope(session.sequences)
        self.table = Table(labels, DEFAULT_METRIC, scope, [None] * len(labels))
        self._gates: dict[tuple[str, str], Gate] = {}
        self._start = pair

    def panes(self) -> ComposeResult:
        yield Grid(self.session, self.table, id="grid")
        yield Bar(id="detail")

    @property
    def grid(self) -> Grid:
        return self.query_one(Grid)

    def on_mount(self) -> None:
        labels = self.table.labels
        if self._start is not None and set(self._start) <= set(labels):
            self.grid.row, self.grid.column = (
                labels.index(label) for label in self._start
            )
            self.call_after_refresh(self.grid.reveal, self.grid.row)
        self._compute()

    def on_unmount(self) -> None:
        self.workers.cancel_group(self, "matrix")

    # ---- computing

    def _show(self, metric: str, scope: Scope) -> None:
        """Another number or other tokens."""
        table = self.table
        if (metric, scope) == (table.metric, table.scope):
            return
        table.metric, table.scope, table.largest = metric, scope, 0.0
        table.rows = [None] * len(table.labels)
        self.grid.refresh()
        self.draw()
        self._compute()

    def _compute(self) -> None:
        table = self.table
        self._fill(table.labels, table.metric, table.scope, dict(self._gates))

    @background(group="matrix", exclusive=True)
    def _fill(
        self,
        labels: Sequence[str],
        metric: str,
        scope: Scope,
        gates: dict[tuple[str, str], Gate],
    ) -> None:
        worker = get_current_worker()
        for index, a in enumerate(labels):
            row: list[Cell | None] = []
            for b in labels:
                if worker.is_cancelled:
                    return
                row.append(
                    None
                    if a == b
                    else matrix_cell(
                        self.session, a, b, metric, scope, gates.get((a, b))
                    )
                )
            self.post_message(RowDone((metric, scope), index, tuple(row)))

    @on(RowDone)
    def _on_row_done(self, message: RowDone) -> None:
        table = self.table
        if message.key != (table.metric, table.scope):
            return
        table.rows[message.index] = message.cells
        for cell in message.cells:
            if cell is not None and cell.verdict is not None:
                # The verdict does not depend on the number: the next one is computed
                # without asking the gate again.
                reasons = (Reason("known", "info", cell.reason),) if cell.reason else ()
                self._gates[cell.a, cell.b] = Gate(cell.verdict, reasons)
        largest = largest_distance(table.cells(), table.metric)
        if largest != table.largest:
            table.largest = largest
            self.grid.refresh()
        else:
            self.grid.refresh_line(message.index)
        self.grid.refresh_fixed()
        self.draw()

    # ---- in words

    @on(Grid.Moved)
    def _on_moved(self) -> None:
        self.say("")
        self.draw()

    def draw(self) -> None:
        """What stands under the cursor, in words."""
        bar, p, width = self.query_one("#detail", Bar), self.palette, self.size.width
        if not width:
            return
        most = 2 if self.size.height >= 24 else 1
        rows: list[list[Run]] = []
        for text, style in self._detail():
            rows += [
                [(" ", p.text), (part, style)]
                for part in wrap_at_most(text, width - 2, most)
            ]
        bar.put(rows)

    def _detail(self) -> list[Run]:
        p, table, grid = self.palette, self.table, self.grid
        if len(table.labels) < 2:
            return [
                (
                    "Two captures with a finished sequence are needed for a matrix.",
                    p.warn,
                )
            ]
        a, b = table.labels[grid.row], table.labels[grid.column]
        metric = METRICS[table.metric]
        meaning = f"{table.metric}: {metric.meaning}; good: {metric.good}"
        legend = (
            f"Size {' '.join(SIZES[1:])}  {NOISE} at or below the noise floor  {VOID}"
            f" not comparable  {NOTHING} no number"
        )
        cell = table.cell(grid.row, grid.column) if a != b else None
        head = f"{visible(a)} {ARROW} {visible(b)}"
        if a == b:
            found: list[Run] = [(f"{visible(a)} against itself", p.text), ("", p.text)]
        elif cell is None:
            found = [(f"{head}: being computed", p.text), ("", p.text)]
        elif cell.problem is not None:
            found = [(head, p.strong), (visible(cell.problem), p.bad)]
        else:
            words = grade(
                cell, table.metric, self.session.captures, table.largest
            ).words
            verdict = VERDICTS.get(cell.verdict or "", "")
            void = "means nothing" if not cell.comparable else words
            found = [
                (
                    f"{head}: {number(cell.value)}, {void}",
                    p.strong if cell.comparable else p.muted,
                )
            ]
            found.append(
                (f"{verdict}  {visible(cell.reason)}".rstrip(), p.verdict(cell.verdict))
            )
        return [*found, (meaning, p.muted), (legend, p.muted)]

    # ---- commands

    def action_move(self, rows: int, columns: int) -> None:
        self.grid.go(self.grid.row + rows, self.grid.column + columns)

    @on(Grid.Chosen)
    def action_open_pair(self) -> None:
        """Leave, and show this pair."""
        if len(self.table.labels) < 2:
            self.say(
                "two captures with a finished sequence are needed for a pair", warn=True
            )
            return
        a, b = self.table.labels[self.grid.row], self.table.labels[self.grid.column]
        if a == b:
            self.say("a capture against itself is no pair", warn=True)
            return
        self.dismiss()
        self._chosen((a, b))

    def action_choose_metric(self) -> None:
        p, rows = self.palette, tuple(METRICS.values())

        def row(index: int, width: int) -> Row:
            metric = rows[index]
            room = max(12, min(44, width // 2))
            return [
                (f" {fit(metric.path, room - 2)} ", p.text),
                (fit(metric.meaning, width - room), p.muted),
            ]

        def answered(index: int | None) -> None:
            if index is not None:
                self._show(rows[index].path, self.table.scope)

        start = rows.index(METRICS[self.table.metric])
        self.app.push_screen(
            Picker("Metric", " number and what it is", len(rows), row, start),
            answered,
        )

    def action_step_metric(self, step: int) -> None:
        paths = tuple(METRICS)
        at = (paths.index(self.table.metric) + step) % len(paths)
        self._show(paths[at], self.table.scope)

    def action_scope(self) -> None:
        order: tuple[Scope, ...] = ("completion", "prompt", "all")
        assert set(order) == set(SCOPES)
        self._show(
            self.table.metric, order[(order.index(self.table.scope) + 1) % len(order)]
        )

    def action_copy(self) -> None:
        self.say(self.logdrift.copy_text(self.text_to_save()))

    def text_to_save(self) -> str:
        """The table with tabs between its cells, not comparable ones marked."""
        table = self.table
        lines = ["\t".join([f"{table.metric} ({table.scope})", *table.labels])]
        for index, label in enumerate(table.labels):
            cells = [
                self._written(table.cell(index, column))
                for column in range(len(table.labels))
            ]
            lines.append("\t".join([label, *cells]))
        return visible_table(lines)

    def _written(self, cell: Cell | None) -> str:
        if cell is None or cell.value is None:
            return ""
        return f"{'' if cell.comparable else VOID}{cell.value:.6g}"


def visible_table(lines: Sequence[str]) -> str:
    """Lines of cells with tabs between them, each cell made visible."""
    return "\n".join(
        "\t".join(visible(cell) for cell in line.split("\t")) for line in lines
    )


assert len(SIZES) == STEPS + 1
