"""`logdrift trend --follow`: a line for each step that is added, and for what is left
out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from logdrift.cli.trend_output import measured, write
from logdrift.core.report.layout import Canvas, canvas_of
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.strict_json import strict
from logdrift.core.session.visible import visible
from logdrift.core.trend.answered import AnsweredLine, TrendReport
from logdrift.core.trend.column import trend_layout
from logdrift.core.trend.document import (
    NOTHING,
    answer_blocks,
    left_out_blocks,
    rows_table,
)
from logdrift.core.trend.line import LineKey, Problems, Trend
from logdrift.core.trend.reader import TrendLook, TrendReader
from logdrift.core.trend.row import RowName, TrendRow

_POLL_SECONDS = 1.0


@dataclass
class _Told:
    """What was told already: the rows of each line, its answer, the head that stands
    above the last row, and what was left out.
    """

    rows: dict[LineKey, dict[RowName, TrendRow]] = field(default_factory=dict)
    answers: dict[LineKey, str] = field(default_factory=dict)
    head: tuple[LineKey, str] | None = None
    problems: dict[str, str] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)

    def new_rows(self, line: AnsweredLine) -> list[int]:
        """The rows that are new or have other numbers, by their places."""
        known = self.rows.setdefault(line.line.key, {})
        places = []
        for place, row in enumerate(line.line.rows):
            if row.measured and known.get(row.name) != row:
                known[row.name] = row
                places.append(place)
        return places

    def new_head(self, line: AnsweredLine, head: str) -> bool:
        """Whether the rows that follow are of another line, or have other columns."""
        named = (line.line.key, head)
        is_new = self.head != named
        self.head = named
        return is_new

    def new_answer(self, line: AnsweredLine) -> bool:
        """Whether a line has another answer than was told."""
        name = line.line.key
        text = line.answer.text
        is_new = self.answers.get(name) != text
        self.answers[name] = text
        return is_new

    def new_problems(self, trend: Trend) -> Problems:
        """Sessions that could not be measured, where the reason was not told yet. That
        of one that is measured later is forgotten.
        """
        before = self.problems
        self.problems = dict(trend.problems)
        new = self.problems.items() - before.items()
        return tuple(sorted(new))

    def new_notes(self, trend: Trend) -> list[str]:
        """What is said of sessions and was not told."""
        new = [note for note in trend.notes if note not in self.notes]
        self.notes.update(new)
        return new


def follow(reader: TrendReader, look: TrendLook, form: str, output: Path | None) -> int:
    """Tell what is there and what is added, until Ctrl-C. A file is written again each
    time.
    """
    told = _Told()
    contents: object = None
    while True:
        # Looking for a change takes a tenth of a second, and opens sessions.
        if look.trend.contents != contents:
            contents = look.trend.contents
            _tell(told, TrendReport.of(look.trend), form, output)
        time.sleep(_POLL_SECONDS)
        look = measured(reader)


def _tell(told: _Told, report: TrendReport, form: str, output: Path | None) -> None:
    if output is not None:
        write(report, form, output)
        rows = report.trend.rows
        print(f"wrote {output}: {rows:,} rows", file=sys.stderr)
    elif form == "json":
        _print(_json_lines(told, report))
    else:
        _print(_text_lines(told, report))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _json_lines(told: _Told, report: TrendReport) -> Iterator[str]:
    """An object a line: a row, the answer of a line once it is another one, or what is
    left out.
    """
    for line in report.lines:
        names = {"a": line.line.a, "b": line.line.b, "model": line.line.model}
        for place in told.new_rows(line):
            row = line.line.rows[place].to_json()
            yield _compact({"kind": "row", **names, "row": row})
        if told.new_answer(line):
            change = None
            if line.change is not None:
                change = line.change.to_json()
            answer = {"answer": line.answer.text, "change": change}
            yield _compact({"kind": "answer", **names, **answer})
    for session, problem in told.new_problems(report.trend):
        left_out = {"session": session, "problem": problem}
        yield _compact({"kind": "not_measured", **left_out})
    for note in told.new_notes(report.trend):
        yield _compact({"kind": "note", "note": note})


def _compact(value: dict[str, object]) -> str:
    return json.dumps(strict(value), allow_nan=False)


def _text_lines(told: _Told, report: TrendReport) -> Iterator[str]:
    canvas = canvas_of(sys.stdout)
    if not report.lines:
        yield NOTHING
    for line in report.lines:
        places = told.new_rows(line)
        if places:
            head, *rows = _painted_rows(line, places, canvas)
            if told.new_head(line, head):
                yield visible(line.line.name)
                yield head
            yield from rows
        if told.new_answer(line):
            yield paint_text(answer_blocks(line), canvas).rstrip("\n")
    problems = told.new_problems(report.trend)
    notes = told.new_notes(report.trend)
    if problems or notes:
        left_out = left_out_blocks(problems, notes)
        yield paint_text(left_out, canvas).rstrip("\n")


def _painted_rows(line: AnsweredLine, places: list[int], canvas: Canvas) -> list[str]:
    layout = trend_layout(line.line, canvas.width, has_long=False)
    table = rows_table(line, places, layout)
    return paint_text([table], canvas).splitlines()
