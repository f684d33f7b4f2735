"""The first change of a line in words: when, by how much, and from what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import median
from typing import NamedTuple

from logdrift.core.numbers import counted, figure, short
from logdrift.core.report.document import Tone
from logdrift.core.report.strict_json import Json, list_json
from logdrift.core.trend.cause import TrendEvidence, evidence_of
from logdrift.core.trend.line import FEWEST_ROWS, TrendLine
from logdrift.core.trend.number import NUMBERS, TrendNumber
from logdrift.core.trend.row import TrendRow
from logdrift.core.trend.shift import Shift

_UNKNOWN_CAUSE = "what changed there is not recorded"


@dataclass(frozen=True, slots=True)
class SideOfChange:
    """The median of a number before and after a change; None where it is not known."""

    number: TrendNumber
    before: float | None
    after: float | None

    def to_json(self) -> Json:
        return {
            "number": self.number.name,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True, eq=False)
class TrendChange:
    """The first change of the MAE of a line, with what speaks for its causes."""

    line: TrendLine
    shift: Shift
    evidence: tuple[TrendEvidence, ...]

    @property
    def row(self) -> TrendRow:
        """The first one that is not as before."""
        return self.line.rows[self.shift.start]

    @property
    def place(self) -> str:
        return self.line.place(self.shift.start)

    @property
    def rises(self) -> bool:
        side = self.side(NUMBERS[0])
        return (side.after or 0.0) >= (side.before or 0.0)

    @property
    def cause(self) -> TrendEvidence | None:
        """The most telling evidence."""
        if self.evidence:
            return self.evidence[0]
        return None

    @property
    def cause_words(self) -> str:
        """The likely cause, as it ends a sentence."""
        cause = self.cause
        if cause is None:
            return _UNKNOWN_CAUSE
        others = {
            other.title for other in self.evidence[1:] if other.code == cause.code
        }
        if cause.code == "setting" and others:
            count = len(others | {cause.title})
            return f"{cause.sureness}: {counted(count, 'setting')} changed"
        return f"{cause.sureness}: {cause.title}"

    @property
    def words(self) -> str:
        """What happens, and since when: ``MAE grows since step 40``."""
        end = self.shift.end
        if end is None:
            return self._start_words
        return f"{self._start_words}, until {self.line.place(end - 1)}"

    @property
    def _start_words(self) -> str:
        shift = self.shift
        if shift.is_jump:
            verb = "jumps" if self.rises else "drops"
            return f"MAE {verb} at {self.place}"
        verb = "grows" if self.rises else "falls"
        if shift.stop is None:
            return f"MAE {verb} since {self.place}"
        stop = self.line.place(shift.stop)
        return f"MAE {verb} from {self.place} to {stop}"

    @property
    def size_words(self) -> str:
        """From which MAE to which, and how many times that is."""
        side = self.side(NUMBERS[0])
        place = self._last
        last = self.line.rows[place].mae
        after = side.after
        to = f"{figure(after)} after"
        if self.shift.end is not None:
            to = f"{figure(after)} in these steps"
        if self.shift.stop is None and last is not None and not self.shift.is_jump:
            after = last
            to = f"{figure(last)} at {self.line.place(place)}"
        words = f"{figure(side.before)} before, {to}"
        if side.before and after:
            words += f" ({short(after / side.before)} times)"
        return words

    @property
    def _last(self) -> int:
        """The last row with an MAE that is as the change left it."""
        places = self.line.counted_rows
        end = self.shift.end
        if end is not None:
            places = places[: places.index(end)]
        return places[-1]

    def side(self, number: TrendNumber) -> SideOfChange:
        """Medians of a number; of a growth that reaches a level, at that level."""
        rows = self.line.rows
        return SideOfChange(
            number,
            before=_median(rows[self.shift.before], number),
            after=_median(rows[self.shift.settled], number),
        )

    @property
    def sides(self) -> Iterator[SideOfChange]:
        """The numbers that are known on both sides."""
        for number in NUMBERS:
            side = self.side(number)
            if side.before is not None and side.after is not None:
                yield side

    def to_json(self) -> Json:
        shift = self.shift
        stop = end = None
        if shift.stop is not None:
            stop = self.line.rows[shift.stop].step
        if shift.end is not None:
            end = self.line.rows[shift.end].step
        return {
            "row": shift.start,
            "step": self.row.step,
            "session": self.row.session,
            "kind": "jump" if shift.is_jump else "growth",
            "rises": self.rises,
            "until_row": shift.stop,
            "until_step": stop,
            "end_row": shift.end,
            "end_step": end,
            "p": shift.p,
            "cause": self.cause_words,
            "evidence": list_json(self.evidence),
            "numbers": list_json(list(self.sides)),
        }


def _median(rows: Sequence[TrendRow], number: TrendNumber) -> float | None:
    values = [number.value(row) for row in rows if not row.void]
    known = [value for value in values if value is not None and not isnan(value)]
    if not known:
        return None
    return median(known)


def change_of(folder: Path, line: TrendLine) -> TrendChange | None:
    """The first change of a line; None where there is none beyond noise. A tenth of a
    second for 200 steps.
    """
    shift = line.shift
    if shift is None:
        return None
    evidence = evidence_of(folder, line, shift)
    return TrendChange(line, shift, tuple(evidence))


class LineAnswer(NamedTuple):
    """What a line comes to, in a sentence and its tone."""

    text: str
    tone: Tone


def line_answer(line: TrendLine, change: TrendChange | None) -> LineAnswer:
    """The answer of a line in one sentence."""
    if change is not None:
        text = f"{change.words}: {change.size_words}; {change.cause_words}."
        tone: Tone = "bad" if change.rises else "good"
        return LineAnswer(text, tone)
    known = len(line.counted_rows)
    if known < FEWEST_ROWS:
        words = counted(known, "step")
        return LineAnswer(
            f"Too few to tell a change from chance: {words} with an MAE, {FEWEST_ROWS}"
            " are needed.",
            "warn",
        )
    rows = [line.rows[index] for index in line.counted_rows]
    sizes = [row.mae for row in rows if row.mae is not None]
    middle = figure(median(sizes))
    ends = f"{figure(min(sizes))} to {figure(max(sizes))}"
    return LineAnswer(
        f"No change beyond noise over {known:,} steps: MAE {middle} in the middle,"
        f" {ends}.",
        "good",
    )
