"""What the matrix shows: the cells computed so far, and each in words and in marks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from logdrift.core.compare.gate import Gate, Reason
from logdrift.core.compare.matrix import MatrixCell, matrix_labels, matrix_metrics
from logdrift.core.compare.metric import Metric, metric
from logdrift.core.compare.scopes import SCOPES, Scope, default_scope
from logdrift.core.numbers import number
from logdrift.core.report.grade import STEPS, Grade, grade, largest_distance
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible

DEFAULT_METRIC = "errors.mae"
SIZES = (" ", "▂", "▄", "▆", "█")
"""Marks of the grades: their height says what the colour says."""
ROW = "▸"
COLUMN = "▾"
"""Marks of the row and the column of the pair that the explorer shows."""
NOISE = "≈"
VOID = "!!"
"""Marks of a number at or below the noise floor, and of a pair that is not
comparable.
"""

HEATS = 4
"""Steps of the quiet colour behind numbers that are nothing to worry about."""

CellRow = tuple[MatrixCell | None, ...]
_SCOPE_ORDER: tuple[Scope, ...] = ("completion", "prompt", "all")

assert len(SIZES) == STEPS + 1
assert set(_SCOPE_ORDER) == set(SCOPES)


@dataclass(frozen=True, slots=True)
class Spread:
    """The smallest and the largest distance from perfect agreement of all cells but
    those that agree perfectly.
    """

    low: float
    high: float

    def heat(self, distance: float) -> int:
        """The step of a distance; all are alike where they hardly differ."""
        width = self.high - self.low
        if width < _ALIKE * self.high:
            return 1
        above_low = distance - self.low
        share = above_low / width
        step = int(share * HEATS)
        step = max(0, step)
        return min(HEATS - 1, step)


_ALIKE = 0.1
"""Share of the largest distance below which the others are the same size."""


def spread_of(cells: Iterable[MatrixCell], path: str) -> Spread | None:
    """The spread of the comparable cells; None where it says nothing."""
    known = []
    for cell in cells:
        distance = _distance(cell, path)
        if distance and cell.comparable:
            known.append(distance)
    if not known:
        return None
    low = min(known)
    high = max(known)
    return Spread(low, high)


def _distance(cell: MatrixCell, path: str) -> float | None:
    """How far a number is from perfect agreement."""
    perfect = metric(path).perfect
    if perfect is None or cell.value is None:
        return None
    return abs(cell.value - perfect)


@dataclass
class MatrixTable:
    """Every capture of a session against every other: one metric over one scope.

    A row is None until it has been computed; its cell on the diagonal stays None.
    """

    session: Session
    labels: tuple[str, ...]
    metric: str
    scope: Scope
    rows: list[CellRow | None] = field(default_factory=list)
    largest: float = 0.0
    spread: Spread | None = None
    gates: dict[tuple[str, str], Gate] = field(default_factory=dict)

    @classmethod
    def of_session(cls, session: Session) -> MatrixTable:
        """The table of a session, with nothing computed."""
        labels = matrix_labels(session)
        return cls(
            session=session,
            labels=labels,
            metric=DEFAULT_METRIC,
            scope=default_scope(session.sequences),
            rows=[None] * len(labels),
        )

    @property
    def key(self) -> tuple[str, Scope]:
        """What the cells are of."""
        return self.metric, self.scope

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The paths of all that can be shown."""
        return matrix_metrics(self.session)

    @property
    def row_of_metric(self) -> Metric:
        """The metric that is shown."""
        return metric(self.metric)

    @property
    def computed(self) -> int:
        """How many rows are there."""
        not_computed = self.rows.count(None)
        return len(self.rows) - not_computed

    def cell(self, row: int, column: int) -> MatrixCell | None:
        """The cell of A in ``row`` and B in ``column``; None where not computed."""
        cells = self.rows[row]
        if cells is None:
            return None
        return cells[column]

    def cells(self) -> Iterator[MatrixCell]:
        """All that was computed."""
        for row in self.rows:
            for cell in row or ():
                if cell is not None:
                    yield cell

    def show(self, metric: str, scope: Scope) -> bool:
        """Another metric or scope, with nothing computed; False where it is the
        same.
        """
        if (metric, scope) == self.key:
            return False
        self.metric = metric
        self.scope = scope
        self.largest = 0.0
        self.spread = None
        count = len(self.labels)
        self.rows = [None] * count
        return True

    def next_metric(self, step: int) -> str:
        """The metric ``step`` rows further in the table of metrics, around its end."""
        paths = self.metrics
        row = paths.index(self.metric)
        row += step
        row %= len(paths)
        return paths[row]

    def next_scope(self) -> Scope:
        """The scope that comes after this one."""
        index = _SCOPE_ORDER.index(self.scope)
        index += 1
        index %= len(_SCOPE_ORDER)
        return _SCOPE_ORDER[index]

    def take_row(self, index: int, cells: CellRow) -> bool:
        """Keep a computed row; True where every other cell may have another grade
        now.
        """
        self.rows[index] = cells
        for cell in cells:
            if cell is not None:
                self._keep_gate(cell)
        computed = list(self.cells())
        before = (self.largest, self.spread)
        self.largest = largest_distance(computed, self.metric)
        self.spread = spread_of(computed, self.metric)
        return before != (self.largest, self.spread)

    def _keep_gate(self, cell: MatrixCell) -> None:
        # The verdict does not depend on the metric: the next one is computed without
        # asking the gate again.
        if cell.verdict is None:
            return
        reasons: tuple[Reason, ...] = ()
        if cell.reason:
            known = Reason("known", "info", cell.reason)
            reasons = (known,)
        gate = Gate(cell.verdict, reasons)
        self.gates[cell.a, cell.b] = gate

    def grade(self, cell: MatrixCell) -> Grade:
        """How large the number of a cell is."""
        captures = self.session.captures
        largest = self.largest
        return grade(cell, self.metric, captures, largest)

    def heat(self, cell: MatrixCell) -> int:
        """How large a number is among those that are here, 0 to `HEATS` - 1."""
        spread = self.spread
        distance = _distance(cell, self.metric)
        if spread is None or distance is None:
            return 0
        return spread.heat(distance)

    @property
    def title(self) -> str:
        """The number that is shown, in words: ``MAE, nats``."""
        metric = self.row_of_metric
        if metric.unit in ("", "none"):
            return metric.title
        return f"{metric.title}, {metric.unit}"

    def tab_separated(self) -> str:
        """The table with tabs between its cells, not comparable ones marked."""
        head = [f"{self.metric} ({self.scope})", *self.labels]
        rows = [head]
        columns = range(len(self.labels))
        for index, label in enumerate(self.labels):
            row = [label]
            for column in columns:
                cell = self.cell(index, column)
                row.append(_written(cell))
            rows.append(row)
        lines = map(_tab_separated, rows)
        return "\n".join(lines)


def mark_and_value(table: MatrixTable, cell: MatrixCell) -> tuple[str, str]:
    """The mark of a comparable cell, one character, and its number."""
    value = number(cell.value)
    size = table.grade(cell)
    if size.noise:
        return NOISE, value
    return SIZES[size.level], value


def legend() -> str:
    """What the marks mean."""
    sizes = "".join(SIZES[1:])
    return (
        f"{ROW}{COLUMN} the pair  {sizes} above usual  {NOISE} noise"
        f"  {VOID} not comparable  shaded: larger"
    )


def meaning(metric: Metric) -> str:
    """The metric in a sentence."""
    return f"{metric.path}: {metric.meaning}; good: {metric.good}"


def _written(cell: MatrixCell | None) -> str:
    """A cell as it is copied."""
    if cell is None or cell.value is None:
        return ""
    value = f"{cell.value:.6g}"
    if cell.comparable:
        return value
    return VOID + value


def _tab_separated(row: Sequence[str]) -> str:
    cells = map(visible, row)
    return "\t".join(cells)
