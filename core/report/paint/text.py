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
    lines = [_written(line, canvas) for line in styled_lines(blocks, canvas)]
    return "".join(f"{line}\n" for line in lines)


def styled_lines(blocks: Iterable[Block], canvas: Canvas) -> list[StyledLine]:
    """Blocks as lines in the width and the characters of ``canvas``; charts are left
    out. Neighbours of one tone are one run.
    """
    lines: list[StyledLine] = []
    for block in blocks:
        for line in _lines(block, canvas):
            lines.append(_merged(line))
    return lines


def _merged(line: StyledLine) -> StyledLine:
    runs: list[Span] = []
    for run in line:
        tone_before = runs[-1].tone if runs else None
        if run.tone == tone_before:
            before = runs.pop()
            whole = before.text + run.text
            runs.append(Span(whole, run.tone))
        elif run.text:
            runs.append(run)
    return tuple(runs)


def _written(line: StyledLine, canvas: Canvas) -> str:
    runs = [canvas.paint(run.text, run.tone) for run in line]
    return "".join(runs)


def _one_run(text: str, tone: Tone) -> StyledLine:
    return (Span(text, tone),)


def _lines(block: Block, canvas: Canvas) -> Iterator[StyledLine]:
    match block:
        case Gap():
            yield ()
        case LineBlock():
            text = canvas.text(block.text)
            text = canvas.cut(text, canvas.width)
            yield _one_run(text, block.tone)
        case SentenceBlock():
            yield from _sentence(block, canvas)
        case SplitBlock():
            yield _split(block, canvas)
        case TableBlock():
            widths = [column.width for column in block.columns]
            if None in widths:
                yield from _fitted_table(block, canvas)
            else:
                yield from _fixed_table(block, canvas)
        case SeriesBlock():
            yield from _series(block, canvas)


def _sentence(block: SentenceBlock, canvas: Canvas) -> Iterator[StyledLine]:
    mark = canvas.text(block.mark)
    first, *rest = canvas.wrap(block.text, block.indent, mark)
    before = first[: block.indent]
    after = first[block.indent :]
    mark_tone = block.mark_tone or block.tone
    yield Span(before, mark_tone), Span(after, block.tone)
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
    left = canvas.text(block.left)
    line = indent + canvas.cut(left, most)
    right_tone = block.right_tone or block.tone
    padded = pad(line, left_room)
    return (
        Span(padded, block.tone),
        Span(right, right_tone),
    )


def _series(block: SeriesBlock, canvas: Canvas) -> Iterator[StyledLine]:
    room = canvas.width - block.indent
    columns = max(1, room // block.width)
    indent = " " * block.indent
    count = len(block.rows[0])
    for start in range(0, count, columns):
        for row in block.rows:
            texts = row[start : start + columns]
            cells = [pad(text, block.width, right=True) for text in texts]
            line = indent + "".join(cells)
            yield _one_run(line, block.tone)


# Tables whose columns share the line.


def _fitted_table(block: TableBlock, canvas: Canvas) -> Iterator[StyledLine]:
    columns = block.columns
    right = [at for at, column in enumerate(columns) if column.right]
    titles = [column.title for column in columns]
    cells = [list(map(_plain, row.cells)) for row in block.rows]
    head, *lines = table(canvas, titles, cells, block.shrink, right)
    yield _one_run(head, block.title_tone)
    rows = zip(lines, block.rows, strict=True)
    for line, row in rows:
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
    titles = tuple(column.title for column in block.columns)
    if any(titles):
        head = TableRow(titles, block.title_tone)
        yield from _row(head, block, canvas)
    for row in block.rows:
        yield from _row(row, block, canvas)


def _row(row: TableRow, block: TableBlock, canvas: Canvas) -> Iterator[StyledLine]:
    """One row: its line, and more where its last column is broken into several."""
    line: list[Span] = []
    more: list[str] = []
    start = 0
    columns = zip(row.cells, block.columns, strict=True)
    for cell, column in columns:
        gap = " " * column.gap
        line.append(Span(gap, row.tone))
        start += column.gap
        if isinstance(cell, ContextCell):
            room = _room(line, canvas)
            line += _context(cell, canvas, room, row.tone)
            start += column.width or 0
            continue
        tone = _tone(cell, row.tone)
        plain = _plain(cell)
        if column.wraps:
            first, *more = canvas.wrap(plain, start)
            text = first[start:]
        else:
            text = canvas.text(plain)
            text = _padded(text, column, canvas)
        line.append(Span(text, tone))
        start += column.width or 0
    if block.cut:
        yield _cut(line, canvas)
    else:
        yield tuple(line)
    for text in more:
        yield _one_run(text, row.tone)


def _room(line: Sequence[Span], canvas: Canvas) -> int:
    """The cells that are left of a line."""
    widths = [cell_len(run.text) for run in line]
    return canvas.width - sum(widths)


def _tone(cell: TableCell, tone: Tone) -> Tone:
    if isinstance(cell, Span) and cell.tone:
        return cell.tone
    return tone


def _padded(text: str, column: TableColumn, canvas: Canvas) -> str:
    if column.most is not None:
        text = canvas.cut(text, column.most)
    width = column.width or 0
    return pad(text, width, right=column.right)


def _is_blank(run: Span) -> bool:
    return not run.text.strip()


def _cut(line: list[Span], canvas: Canvas) -> StyledLine:
    """The line without blanks at its end, its last run cut at the edge."""
    while line and _is_blank(line[-1]):
        line.pop()
    if not line:
        return ()
    *before, last = line
    room = _room(before, canvas)
    text = last.text.rstrip()
    text = canvas.cut(text, room)
    end = Span(text, last.tone)
    return (*before, end)


def _context(
    cell: ContextCell, canvas: Canvas, room: int, tone: Tone
) -> tuple[Span, ...]:
    """The token between marks, in the middle of as much text as fits."""
    left = canvas.text("»")
    right = canvas.text("«")
    inside = room - len(left) - len(right)
    most = max(1, inside - _LEAST_CONTEXT)
    piece = canvas.text(cell.piece)
    piece = canvas.cut(piece, most)
    rest = inside - cell_len(piece)
    text_before = canvas.text(cell.before)
    before = canvas.cut_left(text_before, rest // 2)
    rest -= cell_len(before)
    text_after = canvas.text(cell.after)
    after = canvas.cut(text_after, rest)
    marked = left + piece + right
    return (
        Span(before, tone),
        Span(marked, cell.tone or tone),
        Span(after, tone),
    )
