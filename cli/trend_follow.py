"""`logdrift trend --follow`: a line for each step that is added."""

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
from logdrift.core.trend.answered import AnsweredLine, TrendReport
from logdrift.core.trend.document import answer_blocks, rows_table
from logdrift.core.trend.reader import TrendLook, TrendReader
from logdrift.core.trend.row import TrendRow

_POLL_SECONDS = 1.0
_LineName = tuple[str, str, str]
_RowName = tuple[str, int | None]


@dataclass
class _Told:
    """What was told already: the rows of each line, and its answer."""

    rows: dict[_LineName, dict[_RowName, TrendRow]] = field(default_factory=dict)
    answers: dict[_LineName, str] = field(default_factory=dict)

    def new_rows(self, line: AnsweredLine) -> list[int]:
        """The rows that are new or have other numbers, by their places."""
        known = self.rows.setdefault(_name_of(line), {})
        places = []
        for place, row in enumerate(line.line.rows):
            name = (row.session, row.step)
            if row.measured and known.get(name) != row:
                known[name] = row
                places.append(place)
        return places

    def new_answer(self, line: AnsweredLine) -> bool:
        """Whether a line has another answer than was told."""
        name = _name_of(line)
        text = line.answer.text
        is_new = self.answers.get(name) != text
        self.answers[name] = text
        return is_new


def _name_of(line: AnsweredLine) -> _LineName:
    return line.line.model, line.line.a, line.line.b


def follow(reader: TrendReader, look: TrendLook, form: str, output: Path | None) -> int:
    """Tell what is there and what is added, until Ctrl-C. A file is written again each
    time.
    """
    told = _Told()
    while True:
        report = TrendReport.of(look.trend)
        if output is not None:
            _write_again(told, report, form, output)
        elif form == "json":
            _print(_json_lines(told, report))
        else:
            _print(_text_lines(told, report))
        time.sleep(_POLL_SECONDS)
        look = measured(reader)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write_again(told: _Told, report: TrendReport, form: str, output: Path) -> None:
    """Where anything is new."""
    new = [bool(told.new_rows(line)) for line in report.lines]
    if any(new):
        write(report, form, output)
        rows = report.trend.rows
        print(f"wrote {output}: {rows:,} rows", file=sys.stderr)


def _json_lines(told: _Told, report: TrendReport) -> Iterator[str]:
    """An object a line: a row, or the answer of a line once it is another one."""
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


def _compact(value: dict[str, object]) -> str:
    return json.dumps(strict(value), allow_nan=False)


def _text_lines(told: _Told, report: TrendReport) -> Iterator[str]:
    canvas = canvas_of(sys.stdout)
    for line in report.lines:
        is_first = _name_of(line) not in told.rows
        places = told.new_rows(line)
        if places:
            head, *rows = _painted_rows(line, places, canvas)
            if is_first or len(report.lines) > 1:
                yield line.line.name
                yield head
            yield from rows
        if told.new_answer(line):
            yield paint_text(answer_blocks(line), canvas).rstrip("\n")


def _painted_rows(line: AnsweredLine, places: list[int], canvas: Canvas) -> list[str]:
    table = rows_table(line, places)
    return paint_text([table], canvas).splitlines()
