"""A trend with the answers of its lines, and its JSON."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from logdrift.core.report.strict_json import Json, list_json
from logdrift.core.trend.line import Trend, TrendLine

if TYPE_CHECKING:
    from logdrift.core.trend.change import LineAnswer, TrendChange

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class AnsweredLine:
    """A line with its first change, which is looked for when first asked."""

    trend: Trend
    line: TrendLine

    @cached_property
    def change(self) -> TrendChange | None:
        # Imported here: rows are shown without it.
        from logdrift.core.trend.change import change_of

        return change_of(self.trend.folder, self.line)

    @cached_property
    def answer(self) -> LineAnswer:
        from logdrift.core.trend.change import line_answer

        return line_answer(self.line, self.change)

    def to_json(self) -> Json:
        line = self.line
        change = None
        if self.change is not None:
            change = self.change.to_json()
        return {
            "a": line.a,
            "b": line.b,
            "model": line.model,
            "order": line.order,
            "order_in_words": line.source_words,
            "answer": self.answer.text,
            "change": change,
            "rows": list_json(line.rows),
        }


@dataclass(frozen=True, eq=False)
class TrendReport:
    """A trend with the answers of its lines."""

    trend: Trend
    lines: tuple[AnsweredLine, ...]

    @classmethod
    def of(cls, trend: Trend) -> TrendReport:
        lines = [AnsweredLine(trend, line) for line in trend.lines]
        return cls(trend, tuple(lines))

    @property
    def title(self) -> str:
        return str(self.trend.folder)

    def to_json(self) -> Json:
        """Schema 1 of `logdrift trend --json`; floats may be non-finite
        (`logdrift.core.report.strict_json` makes them null).
        """
        problems = []
        for session, problem in self.trend.problems:
            problems.append({"session": session, "problem": problem})
        return {
            "schema": SCHEMA,
            "folder": str(self.trend.folder),
            "lines": list_json(self.lines),
            "not_measured": problems,
            "notes": list(self.trend.notes),
        }
