"""The lines of a trend: rows of one pair and model in the order of the training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from logdrift.core.numbers import counted
from logdrift.core.trend.row import TrendRow
from logdrift.core.trend.shift import NoisyPoints, Shift, first_shift
from logdrift.core.trend.step import SOURCE_WORDS, without_step

Order = Literal["step", "version", "time"]
LineAxis = Literal["step", "version", "row"]
"""What the rows of a line stand at in a chart."""
ORDER_WORDS: dict[Order, str] = {
    "step": "in the order of the steps",
    "version": "in the order of the versions of the weights: no step is known",
    "time": "in the order in which they were made: no step is known",
}
Problems = tuple[tuple[str, str], ...]
"""Sessions that could not be measured, each with why."""
FEWEST_ROWS = 12
"""Steps below which a jump cannot be told from chance: of 11, none of 60 drawn jumps in
their middle was found however large, since too many orders of so few explain as much;
of 12, all were.
"""
NORMAL = 1.959963984540054
"""Half the width of a 95% interval over its standard error."""


_SCOPE_WORDS = {
    ("prompt",): (
        "Tokens of the prompts count, which are not sampled: k3 is no estimate of"
        " KL(B || A)."
    ),
    ("all",): "Tokens of prompts and completions count.",
    ("all", "completion"): (
        "Tokens of the completions count, and all tokens of sessions without any."
    ),
}
"""What is said of scopes other than the usual one."""


class LineKey(NamedTuple):
    """What the rows of a line have in common, and no two lines of a trend."""

    model: str
    a: str
    b: str
    has_step: bool


@dataclass(frozen=True, eq=False)
class TrendLine:
    """Rows of one pair of one model; ``model`` is without its step."""

    model: str
    a: str
    b: str
    order: Order
    rows: tuple[TrendRow, ...]

    @property
    def key(self) -> LineKey:
        """What it stays when rows are added."""
        return LineKey(self.model, self.a, self.b, self.order == "step")

    @property
    def name(self) -> str:
        """``A → B``."""
        return f"{self.a} → {self.b}"

    @property
    def source_words(self) -> str:
        """What told the order."""
        words = ORDER_WORDS[self.order]
        if self.order != "step":
            return words
        sources = dict.fromkeys(row.step_source for row in self.rows)
        told = [SOURCE_WORDS[source] for source in sources if source is not None]
        return f"{words}, as {_joined(told)} says"

    @property
    def scope_words(self) -> str:
        """Which tokens count, where these are not those of the completions alone."""
        return _SCOPE_WORDS.get(self.scopes, "")

    @cached_property
    def scopes(self) -> tuple[str, ...]:
        """Which tokens count: one scope, unless some sessions have no completion."""
        scopes = {row.scope for row in self.rows if row.scope}
        return tuple(sorted(scopes))

    def span(self, start: int, end: int | None) -> str:
        """What rows are called that begin at ``start`` and end before ``end``: ``from
        step 20 to step 28``; those to the last one ``from step 20 on``.
        """
        if end is None:
            return f"from {self.place(start)} on"
        return f"from {self.place(start)} to {self.place(end - 1)}"

    def place(self, index: int) -> str:
        """What a row is called: ``step 40``, ``version 12``, or its time."""
        row = self.rows[index]
        if self.order == "step":
            return f"step {row.step}"
        if self.order == "version":
            return f"version {row.version}"
        return f"{row.session} ({self.time(index)})"

    def time(self, index: int) -> str:
        """When the session of a row was made, to the minute."""
        return minute(self.rows[index].created)

    @property
    def places(self) -> tuple[float, ...]:
        """Where each row stands along the line: at its step or version; at its number
        where these are not known, or one occurs twice.
        """
        if self._numbers:
            return self._numbers
        return tuple(float(index + 1) for index in range(len(self.rows)))

    @property
    def axis(self) -> LineAxis:
        """What `places` are."""
        if self.order == "time" or not self._numbers:
            return "row"
        return self.order

    @cached_property
    def _numbers(self) -> tuple[float, ...]:
        """The steps or versions of the rows; empty where one is not known, or occurs
        twice.
        """
        numbers = [self._number(row) for row in self.rows]
        known = [number for number in numbers if number is not None]
        ascends = all(a < b for a, b in itertools.pairwise(known))
        if len(known) < len(numbers) or not ascends:
            return ()
        return tuple(map(float, known))

    def _number(self, row: TrendRow) -> int | None:
        if self.order == "step":
            return row.step
        if self.order == "version":
            return row.version_number
        return None

    @cached_property
    def counted_rows(self) -> tuple[int, ...]:
        """The rows whose MAE means something."""
        rows = enumerate(self.rows)
        return tuple(index for index, row in rows if _counts(row))

    @property
    def measured(self) -> bool:
        """Whether every row has its numbers."""
        return all(row.measured for row in self.rows)

    @cached_property
    def shift(self) -> Shift | None:
        """The first change of the MAE, by the indices of `rows`; None where there is
        none, or too few rows.
        """
        indices = self.counted_rows
        if len(indices) < FEWEST_ROWS:
            return None
        found = first_shift(self._points(indices))
        if found is None:
            return None
        stop = end = None
        if found.stop is not None:
            stop = indices[found.stop]
        if found.end is not None:
            end = indices[found.end]
        return Shift(indices[found.start], stop, found.p, end)

    def _points(self, indices: Sequence[int]) -> NoisyPoints:
        """The logarithm of the MAE: a gap that doubles is one change, large or
        small.
        """
        rows = [self.rows[index] for index in indices]
        values = [_log(row.mae) for row in rows]
        errors = [log_error(row) for row in rows]
        places = [self.places[index] for index in indices]
        return NoisyPoints(
            values=np.array(values, np.float64),
            errors=np.array(errors, np.float64),
            places=np.array(places, np.float64),
        )


def _counts(row: TrendRow) -> bool:
    if row.void or not row.measured:
        return False
    return row.mae is not None and math.isfinite(row.mae)


def minute(created: str) -> str:
    """A time of a manifest, to the minute."""
    return created[:16].replace("T", " ")


def _log(mae: float | None) -> float:
    if not mae:
        return -math.inf
    return math.log(mae)


def log_error(row: TrendRow) -> float:
    """The standard error of the logarithm of the MAE, from its interval."""
    if row.mae_interval is None:
        return math.nan
    low, high = row.mae_interval
    if low <= 0 or not math.isfinite(high):
        return math.nan
    return (math.log(high) - math.log(low)) / (2 * NORMAL)


@dataclass(frozen=True, eq=False)
class Trend:
    """All lines of a folder, the longest first. ``problems`` are sessions that could
    not be measured, each with why; ``notes`` are sentences of what was left out.
    """

    folder: Path
    lines: tuple[TrendLine, ...]
    problems: Problems = ()
    notes: tuple[str, ...] = ()

    @property
    def contents(self) -> object:
        """All that it says: of two looks that found the same, these are equal."""
        rows = tuple(line.rows for line in self.lines)
        return rows, self.problems, self.notes

    @property
    def rows(self) -> int:
        return sum(len(line.rows) for line in self.lines)


def lines_of(rows: Iterable[TrendRow]) -> tuple[TrendLine, ...]:
    """The lines of rows: one for each pair and model, those without a step beside
    others that have one in a line of their own.
    """
    groups: dict[LineKey, list[TrendRow]] = {}
    for row in _without_steps_of_one_model(rows):
        key = _key_of(row)
        groups.setdefault(key, []).append(row)
    lines = [_line(key, group) for key, group in groups.items()]
    lines.sort(key=_longest_first)
    return tuple(lines)


def _without_steps_of_one_model(rows: Iterable[TrendRow]) -> Iterator[TrendRow]:
    """Rows whose step the name of their model tells have none where all of them are of
    one model: its name has a number in it, as ``zephyr-iter3`` has.
    """
    rows = list(rows)
    names: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.step_source == "model":
            names.setdefault(_pair_of(row), []).append(row.model)
    for row in rows:
        models = names.get(_pair_of(row), [])
        is_name = len(models) > 1 and len(set(models)) == 1
        if row.step_source == "model" and is_name:
            row = replace(row, step=None, step_source=None)
        yield row


def _pair_of(row: TrendRow) -> tuple[str, str, str]:
    return without_step(row.model), row.a, row.b


def _key_of(row: TrendRow) -> LineKey:
    if row.step is None:
        return LineKey(row.model, row.a, row.b, has_step=False)
    return LineKey(*_pair_of(row), has_step=True)


def _longest_first(line: TrendLine) -> tuple[int, str, str]:
    return -len(line.rows), line.name, line.model


def _line(key: LineKey, rows: Sequence[TrendRow]) -> TrendLine:
    order = _order(key, rows)

    def place(row: TrendRow) -> tuple[int, str, str]:
        number = 0
        if order == "step":
            number = row.step or 0
        elif order == "version":
            number = row.version_number or 0
        return number, row.created, row.session

    in_order = sorted(rows, key=place)
    return TrendLine(
        model=key.model, a=key.a, b=key.b, order=order, rows=tuple(in_order)
    )


def _order(key: LineKey, rows: Sequence[TrendRow]) -> Order:
    """By versions only where each row has its own: weights that stay as they are say
    nothing of the order.
    """
    if key.has_step:
        return "step"
    versions = [row.version_number for row in rows]
    different = set(versions)
    if None not in different and len(different) == len(versions) > 1:
        return "version"
    return "time"


def repeated_steps(line: TrendLine) -> Iterator[str]:
    """What is said of steps that several sessions have."""
    if line.order != "step":
        return
    steps = [row.step for row in line.rows]
    repeated = len(steps) - len(set(steps))
    if repeated:
        yield (
            f"{counted(repeated, 'row')} of {line.name} repeat a step: rows of one"
            " step are in the order in which they were made"
        )


def _joined(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    *first, last = words
    return f"{', '.join(first)} or {last}"
