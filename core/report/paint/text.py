"""Blocks as lines of a terminal or of the screen: runs of text, each in a tone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len

from logdrift.core.report.document import (
    Block,
    ContextCell,
    Gap,
    LineBlock,
    SentenceBlock,
    SeriesBlock,
    Span,
    SplitBlock,
    TableBlock,
    TableCell,
    TableColumn,
    TableRow,
    Tone,
)
from logdrift.core.report.layout import Canvas, pad, table

StyledLine = tuple[Span, ...]
"""One line: its runs from left to right."""
_LEAST_CONTEXT = 6
"""Cells that are kept for the text around a token, however long it is."""


def paint_text(blocks: Iterable[Block], canvas: Canvas) -> str:
    """Blocks as text, every line ended by a newline, in ANSI colours where the canvas
    has them.
    """
    lines = (_written(line, canvas) for line in styled_lines(blocks, canvas))
    return "".join(f"{line}\n" for line in lines)


def styled_lines(blocks: Iterable[Block], canvas: Canvas) -> list[StyledLine]:
    """Blocks as lines in the width and the characters of ``canvas``; charts are left
    out. Neighbours of one tone are one run.
    """
    lines: list[StyledLine] = []
    for block in blocks:
        lines += map(_merged, _lines(block, canvas))
    return lines


def _merged(line: StyledLine) -> StyledLine:
    runs: list[Span] = []
    for run in line:
        if runs and runs[-1].tone == run.tone:
            before = runs.pop()
            runs.append(Span(before.text + run.text, run.tone))
        elif run.text:
            runs.append(run)
    return tuple(runs)


def _written(line: StyledLine, canvas: Canvas) -> str:
    return "".join(canvas.paint(run.text, run.tone) for run in line)


def _one_run(text: str, tone: Tone) -> StyledLine:
    return (Span(text, tone),)


def _lines(block: Block, canvas: Canvas) -> Iterator[StyledLine]:
    match block:
        case Gap():
            yield ()
        case LineBlock():
            text = canvas.cut(canvas.text(block.text), canvas.width)
            yield _one_run(text, block.tone)
        case SentenceBlock():
            yield from _sentence(block, canvas)
        case SplitBlock():
            yield _split(block, canvas)
        case TableBlock():
            if any(column.width is None for column in block.columns):
                yield from _fitted_table(block, canvas)
            else:
                yield from _fixed_table(block, canvas)
        case SeriesBlock():
            yield from _series(block, canvas)


def _sentence(block: SentenceBlock, canvas: Canvas) -> Iterator[StyledLine]:
    mark = canvas.text(block.mark)
    first, *rest = canvas.wrap(block.text, block.indent, mark)
    indent = Span(first[: block.indent], block.mark_tone or block.tone)
    yield indent, Span(first[block.indent :], block.tone)
    for line in rest:
        yield _one_run(line, block.tone)


def _split(block: SplitBlock, canvas: Canvas) -> StyledLine:
    right = canvas.text(block.right)
    room = block.room
    if room is None:
        room = cell_len(right)
    left_room = canvas.width - room
    indent = " " * block.indent
    most = left_room - block.gap - block.indent
    left = indent + canvas.cut(canvas.text(block.left), most)
    return (
        Span(pad(left, left_room), block.tone),
        Span(right, block.right_tone or block.tone),
    )


def _series(block: SeriesBlock, canvas: Canvas) -> Iterator[StyledLine]:
    room = canvas.width - block.indent
    columns = max(1, room // block.width)
    indent = " " * block.indent
    count = len(block.rows[0])
    for start in range(0, count, columns):
        for row in block.rows:
            texts = row[start : start + columns]
            cells = (pad(text, block.width, right=True) for text in texts)
            yield _one_run(indent + "".join(cells), block.tone)


# Tables whose columns share the line.


def _fitted_table(block: TableBlock, canvas: Canvas) -> Iterator[StyledLine]:
    right = [at for at, column in enumerate(block.columns) if column.right]
    titles = [column.title for column in block.columns]
    cells = [[_plain(cell) for cell in row.cells] for row in block.rows]
    head, *lines = table(canvas, titles, cells, block.shrink, right)
    yield _one_run(head, block.title_tone)
    for line, row in zip(lines, block.rows, strict=True):
        yield _one_run(line, row.tone)


def _plain(cell: TableCell) -> str:
    match cell:
        case str():
            return cell
        case Span():
            return cell.text
        case ContextCell():
            return cell.before + cell.piece + cell.after
    raise TypeError(f"a text has no {type(cell).__name__}")


# Tables of columns of a fixed width.


def _fixed_table(block: TableBlock, canvas: Canvas) -> Iterator[StyledLine]:
    if any(column.title for column in block.columns):
        titles = tuple(column.title for column in block.columns)
        yield from _row(TableRow(titles, block.title_tone), block, canvas)
    for row in block.rows:
        yield from _row(row, block, canvas)


def _row(row: TableRow, block: TableBlock, canvas: Canvas) -> Iterator[StyledLine]:
    """One row: its line, and more where its last column is broken into several."""
    line: list[Span] = []
    more: list[str] = []
    start = 0
    for cell, column in zip(row.cells, block.columns, strict=True):
        line.append(Span(" " * column.gap, row.tone))
        start += column.gap
        if isinstance(cell, ContextCell):
            line += _context(cell, canvas, _room(line, canvas), row.tone)
        elif column.wraps:
            text, *more = canvas.wrap(_plain(cell), start)
            line.append(Span(text[start:], _tone(cell, row.tone)))
        else:
            text = _padded(canvas.text(_plain(cell)), column, canvas)
            line.append(Span(text, _tone(cell, row.tone)))
        start += column.width or 0
    if block.cut:
        yield _cut(line, canvas)
    else:
        yield tuple(line)
    for text in more:
        yield _one_run(text, row.tone)


def _room(line: Sequence[Span], canvas: Canvas) -> int:
    """The cells that are left of a line."""
    return canvas.width - sum(cell_len(run.text) for run in line)


def _tone(cell: TableCell, tone: Tone) -> Tone:
    if isinstance(cell, Span) and cell.tone:
        return cell.tone
    return tone


def _padded(text: str, column: TableColumn, canvas: Canvas) -> str:
    if column.most is not None:
        text = canvas.cut(text, column.most)
    return pad(text, column.width or 0, right=column.right)


def _cut(line: list[Span], canvas: Canvas) -> StyledLine:
    """The line without blanks at its end, its last run cut at the edge."""
    while line and not line[-1].text.strip():
        line.pop()
    if not line:
        return ()
    *before, last = line
    text = canvas.cut(last.text.rstrip(), _room(before, canvas))
    return (*before, Span(text, last.tone))


def _context(
    cell: ContextCell, canvas: Canvas, room: int, tone: Tone
) -> tuple[Span, ...]:
    """The token between marks, in the middle of as much text as fits."""
    left = canvas.text("»")
    right = canvas.text("«")
    inside = room - len(left) - len(right)
    most = max(1, inside - _LEAST_CONTEXT)
    piece = canvas.cut(canvas.text(cell.piece), most)
    rest = inside - cell_len(piece)
    before = canvas.cut_left(canvas.text(cell.before), rest // 2)
    after = canvas.cut(canvas.text(cell.after), rest - cell_len(before))
    return (
        Span(before, tone),
        Span(left + piece + right, cell.tone or tone),
        Span(after, tone),
    )
