"""Two steps of a trend side by side: each number, and the settings that differ.

Completions of two steps are others, so tokens are not compared: `logdrift diff` does
that where two sessions have tokens in common.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from logdrift.core.compare.pair import make_pair
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import counted, short
from logdrift.core.report.document import (
    Block,
    Blocks,
    Gap,
    LineBlock,
    SentenceBlock,
    TableBlock,
    TableColumn,
    TableRow,
    Tone,
)
from logdrift.core.report.setting_changes import SettingChange, setting_changes
from logdrift.core.report.table_parts import number_column
from logdrift.core.session.reader import open_session
from logdrift.core.trend.line import NORMAL, TrendLine, log_error
from logdrift.core.trend.number import NUMBERS
from logdrift.core.trend.row import TrendRow

_SHOWN = 16
_SIDES = {"session": "session", "a": "A", "b": "B"}


@dataclass(frozen=True, slots=True)
class StepPair:
    """Two rows of a line by their places, the earlier first."""

    line: TrendLine
    earlier: int
    later: int

    @property
    def rows(self) -> tuple[TrendRow, TrendRow]:
        return self.line.rows[self.earlier], self.line.rows[self.later]

    @property
    def title(self) -> str:
        """``step 40 → step 60``."""
        return f"{self.line.place(self.earlier)} → {self.line.place(self.later)}"


def compared_steps(folder: Path, pair: StepPair) -> list[Block]:
    """The two rows as blocks, the answer first. Opens both sessions for their
    settings.
    """
    return [
        _answer(pair),
        Gap(),
        _numbers(pair),
        Gap(),
        *_settings(folder, pair),
    ]


def _answer(pair: StepPair) -> SentenceBlock:
    earlier, later = pair.rows
    if earlier.void or later.void:
        return SentenceBlock("One of the two is not comparable.", "bad")
    if not earlier.mae or not later.mae:
        return SentenceBlock("One of the two has no MAE above 0.", "warn")
    if not all(map(math.isfinite, (earlier.mae, later.mae))):
        return SentenceBlock("One of the two has no finite MAE.", "warn")
    change = math.log(later.mae / earlier.mae)
    times = f"MAE {short(later.mae / earlier.mae)} times that of before"
    error = math.hypot(log_error(earlier), log_error(later))
    if math.isnan(error):
        return SentenceBlock(f"{times}; too few tokens to tell it from noise.", "warn")
    if abs(change) <= NORMAL * error:
        return SentenceBlock(f"No change beyond noise: {times}.", "good")
    tone: Tone = "bad" if change > 0 else "good"
    return SentenceBlock(f"{times}, beyond noise.", tone)


def _numbers(pair: StepPair) -> TableBlock:
    earlier, later = pair.rows
    rows = [
        TableRow(("verdict", earlier.verdict_words, later.verdict_words, "")),
        TableRow(("version", earlier.version or "-", later.version or "-", "")),
    ]
    for number in NUMBERS:
        before = number.value(earlier)
        after = number.value(later)
        if before is None and after is None:
            continue
        texts = (number.text(before), number.text(after))
        rows.append(TableRow((number.title, *texts, number.meaning)))
    columns = (
        TableColumn("", 8),
        number_column(pair.line.place(pair.earlier)[:_SHOWN], 17),
        number_column(pair.line.place(pair.later)[:_SHOWN], 17),
        TableColumn("", 36, gap=2),
    )
    return TableBlock(columns, tuple(rows), cut=True)


def _settings(folder: Path, pair: StepPair) -> Blocks:
    earlier, later = pair.rows
    if earlier.session == later.session:
        yield SentenceBlock("Both are steps of one session, with the same settings.")
        return
    try:
        changes = list(_changes(folder, pair))
    except (LogdriftError, OSError) as error:
        yield SentenceBlock(f"The settings cannot be compared: {error}", "warn")
        return
    if not changes:
        yield SentenceBlock("No setting differs.")
        return
    yield LineBlock("Settings that differ")
    for change in changes[:_SHOWN]:
        values = f"{change.earlier_text} → {change.later_text}"
        name = f"{_SIDES[change.where]} {change.setting}"
        yield SentenceBlock(f"{name}: {values}", indent=2)
    left = len(changes) - _SHOWN
    if left > 0:
        yield SentenceBlock(f"and {counted(left, 'more setting')}", indent=2)


def _changes(folder: Path, pair: StepPair) -> Iterator[SettingChange]:
    earlier, later = pair.rows
    line = pair.line
    first = open_session(folder / earlier.session)
    second = open_session(folder / later.session)
    pairs = [make_pair(session, line.a, line.b) for session in (first, second)]
    yield from setting_changes(first, second, *pairs)
