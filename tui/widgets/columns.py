"""Blocks of lines side by side, in as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.style import Style

from logdrift.tui.widgets.lines import Row, Run
from logdrift.tui.widgets.reading import Hanging, hanging

Block = Sequence[Row]
"""Rows that stay together, one below the other."""
COLUMN = 56
"""The fewest cells of a column, where there are several."""
_GAP = 2


def in_columns(blocks: Sequence[Block], width: int, blank: Style) -> Iterator[Row]:
    """The rows of all blocks in ``width`` cells, read down one column after the other.

    An empty row stands below each block but the last of a column.
    """
    count = max(1, width // COLUMN)
    column_width = width // count
    room = column_width - _GAP
    drawn = [list(_drawn(block, room)) for block in blocks]
    columns = _balanced(drawn, count)
    texts = [list(_below_each_other(column)) for column in columns]
    for rows in zip_longest(*texts, fillvalue=()):
        line: list[Run] = []
        for row in rows:
            line += row
            line.append(_padding(row, column_width, blank))
        yield line


def _drawn(block: Block, width: int) -> Iterator[Row]:
    for row in block:
        if isinstance(row, Hanging):
            yield from hanging(row, width)
        else:
            yield row


def _balanced(blocks: Sequence[Block], count: int) -> list[list[Block]]:
    """The blocks in at most ``count`` columns, the longest as short as it can be."""
    heights = [len(block) + 1 for block in blocks]
    lowest = max(heights, default=1)
    for height in range(lowest, sum(heights) + 1):
        columns = _filled(blocks, height)
        if len(columns) <= count:
            return columns
    return [list(blocks)]


def _filled(blocks: Sequence[Block], height: int) -> list[list[Block]]:
    """Columns of at most ``height`` rows, the blocks in their order."""
    columns: list[list[Block]] = [[]]
    used = 0
    for block in blocks:
        needed = len(block) + 1
        if used and used + needed > height:
            columns.append([])
            used = 0
        columns[-1].append(block)
        used += needed
    return columns


def _below_each_other(column: Sequence[Block]) -> Iterator[Row]:
    for number, block in enumerate(column):
        if number:
            yield ()
        yield from block


def _padding(row: Row, width: int, blank: Style) -> Run:
    used = sum(cell_len(text) for text, _ in row)
    return (" " * max(0, width - used), blank)
