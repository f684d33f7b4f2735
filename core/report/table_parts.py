"""What tables of a report are made of: columns, rows, and the cells of errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from logdrift.core.numbers import (
    figure,
)
from logdrift.core.report.document import (
    NumberCell,
    TableBlock,
    TableCell,
    TableColumn,
    TableRow,
)

ERRORS = ("mean Δ", "MAE", "RMSE", "max |Δ|")


def number_column(title: str, width: int | None = None, gap: int = 0) -> TableColumn:
    """A column of numbers, aligned at the right; ``width`` and ``gap`` in cells."""
    return TableColumn(title, width, right=True, gap=gap)


def place_column(title: str) -> TableColumn:
    """A column of numbers that say where something is."""
    return TableColumn(title, right=True, kind="place")


def columns_of(names: Iterable[str], numbers: Iterable[str]) -> tuple[TableColumn, ...]:
    """Columns of ``names``, then columns of ``numbers``."""
    return (*map(TableColumn, names), *map(number_column, numbers))


def table_of(
    columns: tuple[TableColumn, ...], rows: Iterable[Iterable[TableCell]]
) -> TableBlock:
    """A table of rows of cells."""
    return TableBlock(columns, tuple(map(_row_of, rows)))


def _row_of(cells: Iterable[TableCell]) -> TableRow:
    return TableRow(tuple(cells))


def count_cell(count: int | None, anchor: str = "") -> NumberCell:
    """A whole number."""
    return NumberCell(figure(count, "tokens"), anchor=anchor)


def nats_cell(value: float | None, *, void: bool = False) -> NumberCell:
    """A size or a log-probability, nats."""
    return NumberCell(figure(value), void=void)


def signed_cell(value: float | None, *, void: bool = False) -> NumberCell:
    """A difference, nats."""
    return NumberCell(figure(value, sign=True), void=void)


def error_cells(
    mean: float | None, *sizes: float | None, void: bool
) -> Iterator[NumberCell]:
    """The signed mean of deltas, then their ``sizes``; all in nats."""
    yield signed_cell(mean, void=void)
    for size in sizes:
        yield nats_cell(size, void=void)
