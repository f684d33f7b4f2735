"""A trend as blocks: the answer of each line first, then what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from logdrift.core.charts.data import NothingToDraw
from logdrift.core.numbers import UNKNOWN, counted
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
from logdrift.core.trend.line import Trend, TrendLine, minute
from logdrift.core.trend.number import NUMBERS, TrendNumber

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
_VERDICT = 16
_NOTHING = "No session with two captures to compare."


# ---- a terminal


def trend_document(report: TrendReport) -> list[Block]:
    """What `logdrift trend` prints."""
    blocks: list[Block] = []
    for line in report.lines:
        blocks += _line_blocks(line)
        blocks.append(Gap())
    if not report.lines:
        blocks.append(SentenceBlock(_NOTHING, "warn"))
    blocks += _left_out(report.trend)
    while blocks and isinstance(blocks[-1], Gap):
        blocks.pop()
    return blocks


def answer_blocks(line: AnsweredLine) -> Blocks:
    """The answer of a line, and what speaks for it."""
    answer = line.answer
    yield SentenceBlock(answer.text, answer.tone)
    yield from evidence_blocks(line.change)


def _line_blocks(line: AnsweredLine) -> Blocks:
    yield from answer_blocks(line)
    yield SentenceBlock(_about(line.line), "dim")
    yield Gap()
    yield from _change_table(line.change)
    yield rows_table(line, range(len(line.line.rows)))


def _about(line: TrendLine) -> str:
    rows = counted(len(line.rows), "row")
    words = f"{line.name} of {line.model}: {rows} {line.source_words}."
    void = [index for index, row in enumerate(line.rows) if row.void]
    if not void:
        return words
    count = counted(len(void), "row")
    return (
        f"{words} Not comparable, and no part of this: {count}, the first at"
        f" {line.place(void[0])}."
    )


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


@dataclass(frozen=True, slots=True)
class _RowColumn:
    """A column of the table of rows: its title, and the text of a row."""

    title: str
    text: Callable[[AnsweredLine, int], str]
    right: bool = True


def _step_text(line: AnsweredLine, index: int) -> str:
    row = line.line.rows[index]
    if row.step is not None:
        return str(row.step)
    return UNKNOWN


def _version_text(line: AnsweredLine, index: int) -> str:
    return line.line.rows[index].version or UNKNOWN


def _verdict_text(line: AnsweredLine, index: int) -> str:
    row = line.line.rows[index]
    if not row.measured and row.mae is None:
        return "…"
    return row.verdict_words


def _interval_text(line: AnsweredLine, index: int) -> str:
    row = line.line.rows[index]
    if row.mae_interval is None:
        return UNKNOWN
    return " ".join(map(_end, row.mae_interval))


def _end(value: float) -> str:
    return f"{value:.2g}"


def _number_column(number: TrendNumber) -> _RowColumn:
    def text(line: AnsweredLine, index: int) -> str:
        return number.text(number.value(line.line.rows[index]))

    return _RowColumn(number.title, text)


def _time_text(line: AnsweredLine, index: int) -> str:
    return line.line.time(index)


def _cause_text(line: AnsweredLine, index: int) -> str:
    row = line.line.rows[index]
    return row.reason or row.cause_words


def _session_text(line: AnsweredLine, index: int) -> str:
    return line.line.rows[index].session


_COLUMNS = (
    _RowColumn("step", _step_text),
    _RowColumn("version", _version_text),
    *map(_number_column, NUMBERS[:1]),
    _RowColumn("95%", _interval_text),
    *map(_number_column, NUMBERS[1:]),
)
_WIDE_COLUMNS = (
    *_COLUMNS,
    _RowColumn("verdict", _verdict_text, right=False),
    _RowColumn("cause", _cause_text, right=False),
    _RowColumn("time", _time_text, right=False),
    _RowColumn("session", _session_text, right=False),
)


def rows_table(line: AnsweredLine, indices: Sequence[int]) -> TableBlock:
    """Some rows of a line for a terminal; the first that is not as before stands
    out.
    """
    texts = {}
    for column in known_columns(line, _COLUMNS):
        places = range(len(line.line.rows))
        texts[column.title] = [column.text(line, place) for place in places]
    columns = []
    for title, cells in texts.items():
        width = max(map(len, [title, *cells]))
        columns.append(number_column(title, width, gap=1))
    columns.append(TableColumn("verdict", _VERDICT, gap=1))
    rows = []
    for index in indices:
        numbers = [cells[index] for cells in texts.values()]
        verdict = _verdict_cell(line, index)
        row = TableRow((*numbers, verdict), _row_tone(line, index))
        rows.append(row)
    return TableBlock(tuple(columns), tuple(rows), cut=True)


def known_columns(
    line: AnsweredLine, columns: Iterable[_RowColumn]
) -> Iterator[_RowColumn]:
    """The columns in which a row of the line has anything."""
    places = range(len(line.line.rows))
    for column in columns:
        texts = {column.text(line, index) for index in places}
        if texts != {UNKNOWN}:
            yield column


def _verdict_cell(line: AnsweredLine, index: int) -> Span:
    row = line.line.rows[index]
    tone: Tone = row.meaning
    return Span(_verdict_text(line, index), tone)


def _row_tone(line: AnsweredLine, index: int) -> Tone:
    row = line.line.rows[index]
    if row.void or not row.measured:
        return "dim"
    change = line.change
    if change is not None and change.shift.start == index:
        return "bold"
    return ""


def _left_out(trend: Trend) -> Blocks:
    """What is not in the lines, and why: nothing is dropped in silence."""
    for note in trend.notes:
        yield SentenceBlock(f"{note}.", "warn")
    count = len(trend.problems)
    if not count:
        return
    yield LineBlock(f"{counted(count, 'session')} not measured", "warn")
    for session, problem in trend.problems[:_SHOWN_PROBLEMS]:
        yield SentenceBlock(f"{session}: {problem}", indent=2)
    left = count - _SHOWN_PROBLEMS
    if left > 0:
        yield SentenceBlock(f"and {left:,} more: --json lists them all", indent=2)


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
        blocks.append(SentenceBlock(_NOTHING, "warn"))
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
    columns = []
    shown = list(known_columns(line, _WIDE_COLUMNS))
    for column in shown:
        columns.append(TableColumn(column.title, right=column.right))
    rows = []
    for index in indices:
        cells: list[TableCell] = []
        for column in shown:
            cells.append(column.text(line, index))
        rows.append(TableRow(tuple(cells), _row_tone(line, index)))
    return TableBlock(tuple(columns), tuple(rows))


# ---- a page


def trend_page(report: TrendReport) -> list[Block]:
    """The same as a page, with a chart for each number."""
    answers = [line.answer for line in report.lines]
    first = LineAnswer(_NOTHING, "warn")
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
