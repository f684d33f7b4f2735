"""A trend as blocks: the answer of each line first, then what it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from logdrift.core.charts.data import NothingToDraw
from logdrift.core.numbers import counted
from logdrift.core.report.document import (
    Block,
    Blocks,
    ChartBlock,
    FoldedBlock,
    Gap,
    GroupBlock,
    HeadBlock,
    HeadingBlock,
    LineBlock,
    SentenceBlock,
    Span,
    TableBlock,
    TableCell,
    TableColumn,
    TableRow,
    Tone,
)
from logdrift.core.report.page_parts import heading
from logdrift.core.report.table_parts import number_column
from logdrift.core.trend.answered import AnsweredLine, TrendReport
from logdrift.core.trend.change import LineAnswer, TrendChange
from logdrift.core.trend.chart import TrendChart
from logdrift.core.trend.column import (
    GAP,
    ColumnTexts,
    TrendLayout,
    known_columns,
    trend_layout,
)
from logdrift.core.trend.line import Problems, Trend, TrendLine, minute
from logdrift.core.trend.number import NUMBERS

_SHOWN_PROBLEMS = 10
_AROUND = 4
"""Rows that a comment shows on either side of a change, and at both ends."""
_WHOLE = 40
"""Rows up to which a comment shows all of them."""
_KINDS: Mapping[Tone, str] = {
    "good": "comparable",
    "warn": "caution",
    "bad": "not_comparable",
}
"""The verdict whose colour a page gives to an answer of each tone."""
NOTHING = "No session with two captures to compare."


# ---- a terminal


def trend_document(report: TrendReport, width: int) -> list[Block]:
    """What `logdrift trend` prints in so many cells."""
    blocks: list[Block] = []
    for line in report.lines:
        blocks += _line_blocks(line, width)
        blocks.append(Gap())
    if not report.lines:
        blocks.append(SentenceBlock(NOTHING, "warn"))
    blocks += _left_out(report.trend)
    while blocks and isinstance(blocks[-1], Gap):
        blocks.pop()
    return blocks


def answer_blocks(line: AnsweredLine) -> Blocks:
    """The answer of a line, and what speaks for it."""
    answer = line.answer
    yield SentenceBlock(answer.text, answer.tone)
    yield from evidence_blocks(line.change)


def _line_blocks(line: AnsweredLine, width: int) -> Blocks:
    yield from answer_blocks(line)
    yield SentenceBlock(_about(line.line), "dim")
    yield Gap()
    yield from _change_table(line.change)
    yield from _all_rows(line, width)


def _about(line: TrendLine) -> str:
    rows = counted(len(line.rows), "row")
    words = f"{line.name} of {line.model}: {rows} {line.source_words}."
    if line.scope_words:
        words += f" {line.scope_words}"
    void = []
    endless = []
    for index, row in enumerate(line.rows):
        if row.void:
            void.append(index)
        elif row.mae is not None and not math.isfinite(row.mae):
            endless.append(index)
    words += _no_part("Not comparable", line, void)
    return words + _no_part("Without a finite MAE", line, endless)


def _no_part(why: str, line: TrendLine, indices: Sequence[int]) -> str:
    if not indices:
        return ""
    count = counted(len(indices), "row")
    first = line.place(indices[0])
    return f" {why}, and no part of this: {count}, the first at {first}."


def evidence_blocks(change: TrendChange | None) -> Blocks:
    """What speaks for the causes of a change, an item each."""
    if change is None:
        return
    for evidence in change.evidence:
        yield SentenceBlock(evidence.sentence, indent=2)


def _change_table(change: TrendChange | None) -> Blocks:
    """Medians of the numbers before and after the change."""
    if change is None:
        return
    yield change_table(change)
    yield Gap()


def change_table(change: TrendChange) -> TableBlock:
    """Medians of the numbers before and after the change."""
    rows = []
    for side in change.sides:
        number = side.number
        cells = (
            number.title,
            number.text(side.before),
            number.text(side.after),
            number.meaning,
        )
        rows.append(TableRow(cells))
    columns = (
        TableColumn("median", 8),
        number_column("before", 10),
        number_column("after", 10),
        TableColumn("", 48, gap=2),
    )
    return TableBlock(columns, tuple(rows), cut=True)


def rows_table(
    line: AnsweredLine, indices: Sequence[int], layout: TrendLayout
) -> TableBlock:
    """Some rows of a line for a terminal; the first that is not as before stands
    out.
    """
    columns = []
    for known in layout.shown:
        column = known.column
        columns.append(
            TableColumn(column.name, known.cells, right=column.right, gap=GAP)
        )
    rows = _table_rows(line, layout.shown, indices)
    return TableBlock(tuple(columns), rows, cut=True)


def _all_rows(line: AnsweredLine, width: int) -> Blocks:
    """Every row of a line, and which columns a terminal lacks the room for."""
    layout = trend_layout(line.line, width, has_long=False)
    yield rows_table(line, range(len(line.line.rows)), layout)
    names = [known.column.name for known in layout.left_out]
    if names:
        yield SentenceBlock(f"No room here for: {', '.join(names)}.", "dim")


def _table_rows(
    line: AnsweredLine, shown: Sequence[ColumnTexts], indices: Iterable[int]
) -> tuple[TableRow, ...]:
    rows = []
    for index in indices:
        cells = [_cell(line, known, index) for known in shown]
        rows.append(TableRow(tuple(cells), _row_tone(line, index)))
    return tuple(rows)


def _cell(line: AnsweredLine, known: ColumnTexts, index: int) -> TableCell:
    text = known.texts[index]
    if known.column.name != "verdict":
        return text
    tone: Tone = line.line.rows[index].meaning
    return Span(text, tone)


def _row_tone(line: AnsweredLine, index: int) -> Tone:
    row = line.line.rows[index]
    if row.void or not row.measured:
        return "dim"
    change = line.change
    if change is not None and change.shift.start == index:
        return "bold"
    return ""


def left_out_blocks(
    problems: Problems, notes: Iterable[str], most: int = _SHOWN_PROBLEMS
) -> Blocks:
    """What is not in the lines, and why: nothing is dropped in silence. ``most``
    problems stand in full.
    """
    for note in notes:
        yield SentenceBlock(f"{note}.", "warn")
    count = len(problems)
    if not count:
        return
    yield LineBlock(f"{counted(count, 'session')} not measured", "warn")
    for session, problem in problems[:most]:
        yield SentenceBlock(f"{session}: {problem}", indent=2)
    left = count - most
    if left > 0:
        yield SentenceBlock(f"and {left:,} more: --json lists them all", indent=2)


def _left_out(trend: Trend) -> Blocks:
    return left_out_blocks(trend.problems, trend.notes)


def every_left_out(trend: Trend) -> Blocks:
    """All of it, for where there is room."""
    return left_out_blocks(trend.problems, trend.notes, len(trend.problems))


# ---- a comment


def trend_comment(report: TrendReport) -> list[Block]:
    """The same for an issue or a pull request; of many rows those around the change,
    the others folded away.
    """
    title = Span(report.title)
    blocks: list[Block] = [HeadingBlock(2, (Span("logdrift trend: "), title))]
    for line in report.lines:
        blocks += _comment_of(line)
    if not report.lines:
        blocks.append(SentenceBlock(NOTHING, "warn"))
    blocks += _left_out(report.trend)
    return blocks


def _comment_of(line: AnsweredLine) -> Blocks:
    yield from answer_blocks(line)
    yield SentenceBlock(_about(line.line))
    if line.change is not None:
        yield change_table(line.change)
    count = len(line.line.rows)
    if count <= _WHOLE:
        yield wide_table(line, range(count))
        return
    yield wide_table(line, _chosen_rows(line))
    summary = Span(f"all {counted(count, 'row')}")
    yield FoldedBlock((summary,), (wide_table(line, range(count)),))


def _chosen_rows(line: AnsweredLine) -> list[int]:
    """The first and last rows, and those around the change."""
    count = len(line.line.rows)
    places = [*range(_AROUND), *range(count - _AROUND, count)]
    if line.change is not None:
        start = line.change.shift.start
        places += range(start - _AROUND, start + _AROUND)
    return sorted({place for place in places if 0 <= place < count})


def wide_table(line: AnsweredLine, indices: Iterable[int]) -> TableBlock:
    """Some rows with all that is said of them."""
    shown = list(known_columns(line.line.rows))
    columns = []
    for known in shown:
        column = known.column
        columns.append(TableColumn(column.name, right=column.right))
    return TableBlock(tuple(columns), _table_rows(line, shown, indices))


# ---- a page


def trend_page(report: TrendReport) -> list[Block]:
    """The same as a page, with a chart for each number."""
    answers = [line.answer for line in report.lines]
    first = LineAnswer(NOTHING, "warn")
    if answers:
        first = answers[0]
    head = HeadBlock(
        brand="logdrift trend",
        title=report.title,
        facts=tuple(_facts(report)),
        warning=first.text,
        kind=_KINDS.get(first.tone, "unknown"),
        links=(),
    )
    blocks: list[Block] = [head]
    for line in report.lines:
        blocks += _page_of(line)
    left_out = tuple(_left_out(report.trend))
    if left_out:
        blocks.append(GroupBlock("panel", left_out))
    return blocks


def _facts(report: TrendReport) -> Iterator[str]:
    yield counted(report.trend.rows, "row")
    times = [row.created for line in report.trend.lines for row in line.rows]
    known = sorted(filter(None, times))
    if known:
        yield f"{minute(known[0])} to {minute(known[-1])}"


def _page_of(line: AnsweredLine) -> Blocks:
    yield heading(line.line.name)
    about: list[Block] = [
        *answer_blocks(line),
        SentenceBlock(_about(line.line)),
    ]
    if line.change is not None:
        about.append(change_table(line.change))
    yield GroupBlock("panel", tuple(about))
    yield GroupBlock("grid", tuple(chart_blocks(line)))
    yield GroupBlock("panel", (wide_table(line, range(len(line.line.rows))),))


def chart_blocks(line: AnsweredLine) -> Iterator[ChartBlock]:
    """A chart for each number that a row has."""
    for number in NUMBERS:
        try:
            chart = TrendChart(line.line, number, line.change)
        except NothingToDraw:
            continue
        yield ChartBlock("registered", chart.heading, chart.description, (chart,))
