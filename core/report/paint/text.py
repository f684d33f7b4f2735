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
StyledLines = Iterator[StyledLine]
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
            merged = _merged(line)
            lines.append(merged)
    return lines


def _merged(line: StyledLine) -> StyledLine:
    runs: list[Span] = []
    for run in line:
        tone_before = runs[-1].tone if runs else None
        if run.tone == tone_before:
            before = runs.pop()
            text = before.text + run.text
            whole = Span(text, run.tone)
            runs.append(whole)
        elif run.text:
            runs.append(run)
    return tuple(runs)


def _written(line: StyledLine, canvas: Canvas) -> str:
    runs = [canvas.paint(run.text, run.tone) for run in line]
    return "".join(runs)


def _one_run(text: str, tone: Tone) -> StyledLine:
    run = Span(text, tone)
    return (run,)


def _lines(block: Block, canvas: Canvas) -> StyledLines:
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


def _sentence(block: SentenceBlock, canvas: Canvas) -> StyledLines:
    mark = canvas.text(block.mark)
    indent = block.indent
    first, *rest = canvas.wrap(block.text, indent, mark)
    mark_tone = block.mark_tone or block.tone
    marked = Span(first[:indent], mark_tone)
    after = Span(first[indent:], block.tone)
    yield marked, after
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
    left_run = Span(padded, block.tone)
    right_run = Span(right, right_tone)
    return left_run, right_run


def _series(block: SeriesBlock, canvas: Canvas) -> StyledLines:
    room = canvas.width - block.indent
    columns = max(1, room // block.width)
    indent = " " * block.indent
    first_row = block.rows[0]
    count = len(first_row)
    for start in range(0, count, columns):
        end = start + columns
        for row in block.rows:
            texts = row[start:end]
            cells = [pad(text, block.width, right=True) for text in texts]
            line = indent + "".join(cells)
            yield _one_run(line, block.tone)


# Tables whose columns share the line.


def _fitted_table(block: TableBlock, canvas: Canvas) -> StyledLines:
    columns = block.columns
    right = [at for at, column in enumerate(columns) if column.right]
    titles = [column.title for column in columns]
    cells = [_plain_cells(row) for row in block.rows]
    head, *lines = table(canvas, titles, cells, block.shrink, right)
    yield _one_run(head, block.title_tone)
    rows = zip(lines, block.rows, strict=True)
    for line, row in rows:
        yield _one_run(line, row.tone)


def _plain_cells(row: TableRow) -> list[str]:
    return [_plain(cell) for cell in row.cells]


def _plain(cell: TableCell) -> str:
    match cell:
        case str():
            return cell
        case Span():
            return cell.text
        case ContextCell():
            return cell.before + cell.piece + cell.after
    kind = type(cell).__name__
    raise TypeError(f"a text has no {kind}")


# Tables of columns of a fixed width.


def _fixed_table(block: TableBlock, canvas: Canvas) -> StyledLines:
    titles = [column.title for column in block.columns]
    if any(titles):
        cells = tuple(titles)
        head = TableRow(cells, block.title_tone)
        yield from _row(head, block, canvas)
    for row in block.rows:
        yield from _row(row, block, canvas)


def _row(row: TableRow, block: TableBlock, canvas: Canvas) -> StyledLines:
    """One row: its line, and more where its last column is broken into several."""
    line: list[Span] = []
    more: list[str] = []
    start = 0
    columns = zip(row.cells, block.columns, strict=True)
    for cell, column in columns:
        blanks = " " * column.gap
        gap = Span(blanks, row.tone)
        line.append(gap)
        start += column.gap
        if isinstance(cell, ContextCell):
            room = _room(line, canvas)
            line += _context(cell, canvas, room, row.tone)
            start += column.width or 0
            continue
        plain = _plain(cell)
        if column.wraps:
            first, *more = canvas.wrap(plain, start)
            text = first[start:]
        else:
            text = canvas.text(plain)
            text = _padded(text, column, canvas)
        tone = _tone(cell, row.tone)
        run = Span(text, tone)
        line.append(run)
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


def _context(cell: ContextCell, canvas: Canvas, room: int, tone: Tone) -> StyledLine:
    """The token between marks, in the middle of as much text as fits."""
    left = canvas.text("»")
    right = canvas.text("«")
    marks = len(left) + len(right)
    inside = room - marks
    most = max(1, inside - _LEAST_CONTEXT)
    piece = canvas.text(cell.piece)
    piece = canvas.cut(piece, most)
    rest = inside - cell_len(piece)
    text_before = canvas.text(cell.before)
    half = rest // 2
    before = canvas.cut_left(text_before, half)
    rest -= cell_len(before)
    text_after = canvas.text(cell.after)
    after = canvas.cut(text_after, rest)
    marked = left + piece + right
    marked_tone = cell.tone or tone
    return (
        Span(before, tone),
        Span(marked, marked_tone),
        Span(after, tone),
    )
