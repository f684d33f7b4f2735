"""A number over the steps of a training: a line with its interval, and the first
change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logdrift.core.charts.along import with_room
from logdrift.core.charts.base import Drawable, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.marks import (
    BAND,
    Area,
    Axes,
    ChartAxis,
    Curve,
    Ends,
    Mark,
    Picture,
    Range,
    Tick,
    TokenCell,
    Upright,
    value_ticks,
)
from logdrift.core.numbers import counted
from logdrift.core.trend.change import TrendChange
from logdrift.core.trend.line import TrendLine
from logdrift.core.trend.number import TrendNumber
from logdrift.core.trend.row import Interval, TrendRow

Array = npt.NDArray[Any]

_LETTER = "c"
"""Marks the change in a terminal."""
_STEPS = 5
"""Ticks below a chart, about."""
_FLAT = 1e-6
"""Of a value: what differs by less is drawn as equal."""


class TrendChart(Drawable):
    """One number of the rows of a line. Raises `NothingToDraw` where none has it."""

    detail = Area(400, 100)

    def __init__(
        self, line: TrendLine, number: TrendNumber, change: TrendChange | None
    ) -> None:
        self.line = line
        self.number = number
        self.change = change
        values = [_value(number, row) for row in line.rows]
        bounds = [_bounds(number, row) for row in line.rows]
        self.x = np.array(line.places, np.float64)
        self.y = np.array(values, np.float64)
        self.low, self.high = np.array(bounds, np.float64).reshape(-1, 2).T
        self.known = np.isfinite(self.y)
        if number.is_log:
            self.known &= self.y > 0
        if not self.known.any():
            raise NothingToDraw(f"no step has {number.title}: {number.meaning}")

    @property
    def heading(self) -> str:
        return f"{self.number.title} over {self.line.axis}s"

    @property
    def description(self) -> str:
        words = f"{_capital(self.number.meaning)}, over {self.line.axis}s."
        if self.change is not None:
            words += f" {self.change.words}."
        return words

    # ---- axes

    def axes(self, width: int) -> Axes:
        x = ChartAxis(self.line.axis, *self._x_ends(), ticks=self._x_ticks())
        low, high = self._y_ends()
        scale: Literal["linear", "log"] = "linear"
        if self.number.is_log:
            scale = "log"
        ticks = self._y_ticks(low, high)
        y = ChartAxis(self.number.meaning, low, high, ticks=ticks, scale=scale)
        return Axes(x, y)

    def _x_ends(self) -> Ends:
        first = float(self.x[0])
        last = float(self.x[-1])
        if first == last:
            return first - 1, last + 1
        return first, last

    def _x_ticks(self) -> list[Tick]:
        """At steps that are there, about evenly."""
        low, high = self._x_ends()
        wanted = np.linspace(low, high, _STEPS)
        at = {int(np.abs(self.x - place).argmin()) for place in wanted.tolist()}
        places = [float(self.x[index]) for index in sorted(at)]
        return [(place, f"{place:.0f}") for place in places]

    def _y_ends(self) -> Ends:
        values = self.y[self.known]
        drawn = [values, *self._known_bounds()]
        every = np.concatenate(drawn)
        low = float(every.min())
        high = float(every.max())
        if not self.number.is_log:
            return _linear_ends(low, high)
        if high / low < 2:
            # A logarithmic axis of less than that has no tick.
            middle = float(np.sqrt(low * high))
            return middle / 2, middle * 2
        return low / 1.15, high * 1.15

    def _known_bounds(self) -> list[Array]:
        bounds = []
        for values in (self.low, self.high):
            is_drawn = self.known & np.isfinite(values)
            if self.number.is_log:
                is_drawn &= values > 0
            bounds.append(values[is_drawn])
        return bounds

    def _y_ticks(self, low: float, high: float) -> list[Tick]:
        if not self.number.is_log:
            values = self._linear_ticks(low, high)
            return [(value, self.number.text(value)) for value in values]
        return value_ticks(*_round_values(low, high))

    def _linear_ticks(self, low: float, high: float) -> list[float]:
        """The smallest and the largest value, and the one between them."""
        drawn = self.y[self.known]
        ends = {float(drawn.min()), float(drawn.max())}
        return sorted({*ends, (low + high) / 2})

    # ---- the picture

    def picture(self, area: Area) -> Picture:
        marks: list[Mark] = [*self._band(area), self._curve(), *self._upright()]
        return Picture(
            marks=tuple(marks),
            legend=tuple(self._legend()),
            place=RowPlaces(self.x, self._x_ends(), area.columns, self.known),
        )

    def _curve(self) -> Curve:
        return Curve(self.x[self.known], self.y[self.known])

    def _band(self, area: Area) -> list[Range]:
        """The interval, between the steps that have one, at each column."""
        has_band = self.known & np.isfinite(self.low) & np.isfinite(self.high)
        if self.number.is_log:
            has_band &= self.low > 0
        if np.count_nonzero(has_band) < 2:
            return []
        low, high = self._x_ends()
        columns = np.linspace(low, high, area.columns)
        x = self.x[has_band]
        ends = []
        for values in (self.low, self.high):
            end = np.interp(columns, x, values[has_band], left=np.nan, right=np.nan)
            ends.append(end)
        return [Range(columns, *ends)]

    def _upright(self) -> list[Upright]:
        if self.change is None:
            return []
        place = float(self.x[self.change.shift.start])
        return [Upright(place, _LETTER, f"change at {self.change.place}")]

    def _legend(self) -> list[str]:
        words = [self.number.meaning]
        if self.number.name == "mae":
            words.append(f"{BAND} 95% interval")
        if self.change is not None:
            words.append(f"{_LETTER}: {self.change.words}")
        void = sum(row.void for row in self.line.rows)
        if void:
            rows = counted(void, "row")
            words.append(f"not comparable, and not drawn: {rows}")
        return words

    def table(self) -> Table:
        return {
            self.line.axis: self.x,
            self.number.name: self.y,
            "low": self.low,
            "high": self.high,
        }


class RowPlaces:
    """Where the rows lie between the axes: a column each. ``x`` f64[n], ``ends`` of the
    axis, ``known`` bool[n].
    """

    def __init__(self, x: Array, ends: Ends, columns: int, known: Array) -> None:
        low, high = ends
        last = columns - 1
        shares = (x - low) / (high - low)
        self._columns = np.rint(shares * last).astype(np.int64)
        self._known = known

    def cell(self, position: int) -> TokenCell | None:
        """The column of a row."""
        if 0 <= position < len(self._columns):
            return TokenCell(int(self._columns[position]), None)
        return None

    def step(self, position: int, columns: int, rows: int) -> int | None:
        """The row so many rows on, within those there are."""
        last = len(self._columns) - 1
        return max(0, min(last, position + columns))


def _value(number: TrendNumber, row: TrendRow) -> float:
    """NaN where it is not known, or means nothing."""
    value = number.value(row)
    if value is None or row.void:
        return np.nan
    return value


def _bounds(number: TrendNumber, row: TrendRow) -> Interval:
    if number.name != "mae" or row.mae_interval is None or row.void:
        return np.nan, np.nan
    return row.mae_interval


def _linear_ends(low: float, high: float) -> Ends:
    """A little more than the range; of equal values, a tenth of them around."""
    if high - low > _FLAT * abs(high):
        return with_room(low, high)
    room = abs(high) / 10 or 1.0
    return low - room, high + room


def _round_values(low: float, high: float) -> Sequence[float]:
    """1, 2 and 5 times powers of ten between two values; powers alone over many
    decades.
    """
    first = int(np.floor(np.log10(low)))
    last = int(np.ceil(np.log10(high)))
    factors: Sequence[int] = (1, 2, 5)
    if last - first > 3:
        factors = (1,)
    values = []
    for power in range(first, last + 1):
        for factor in factors:
            value = float(f"{factor}e{power}")
            if low <= value <= high:
                values.append(value)
    return values


def _capital(words: str) -> str:
    """The first letter alone: ``capitalize`` makes the others small."""
    return words[:1].upper() + words[1:]
