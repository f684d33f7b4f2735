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


def number_column(title: str) -> TableColumn:
    """A column of numbers, aligned at the right."""
    return TableColumn(title, right=True)


def columns_of(names: Iterable[str], numbers: Iterable[str]) -> tuple[TableColumn, ...]:
    """Columns of ``names``, then columns of ``numbers``."""
    return (*map(TableColumn, names), *map(number_column, numbers))


def table_of(
    columns: tuple[TableColumn, ...], rows: Iterable[Iterable[TableCell]]
) -> TableBlock:
    """A table of rows of cells."""
    return TableBlock(columns, tuple(TableRow(tuple(cells)) for cells in rows))


def error_cells(
    mean: float | None, *sizes: float | None, void: bool
) -> Iterator[NumberCell]:
    """The signed mean of deltas, then their ``sizes``; all in nats."""
    yield NumberCell(figure(mean, sign=True), void=void)
    for size in sizes:
        yield NumberCell(figure(size), void=void)
