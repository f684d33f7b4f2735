"""Where tokens lie between the axes, and which token is next in a direction: along an
axis, or in the cells of a grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.charts.reduce import largest_bins
from logdrift.core.charts.registry import FAR

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class PositionPlaces:
    """Positions 0 to ``count`` - 1 of a sequence lie across ``columns`` cells.

    ``starts`` i64[S] are the flat positions of every sequence's position 0, ``stops``
    i64[S] where it ends, ``size`` f32[N] is |delta|: of the tokens of a column the
    largest is gone to. ``only``: the one sequence that is shown.
    """

    starts: Array
    stops: Array
    size: Array
    count: int
    columns: int
    only: int | None = None

    def _sequence(self, position: int) -> int | None:
        sequence = int(np.searchsorted(self.stops, position, "right"))
        inside = sequence < len(self.stops)
        return sequence if inside and self.only in (None, sequence) else None

    def column(self, index: int) -> int:
        """The column of position ``index``: where plotext draws it."""
        return math.floor(index * (self.columns - 1) / max(1, self.count - 1) + 0.5)

    def cell(self, position: int) -> tuple[int, int | None] | None:
        """The column of a flat position: the whole of it is its place."""
        sequence = self._sequence(position)
        if sequence is None:
            return None
        index = position - int(self.starts[sequence])
        return (self.column(index), None) if 0 <= index < self.count else None

    def step(self, position: int, columns: int, rows: int) -> int | None:
        """The flat position that many columns on, within the sequence."""
        sequence = self._sequence(position)
        if sequence is None or columns == 0:
            return None
        start = int(self.starts[sequence])
        last = min(self.count, int(self.stops[sequence]) - start) - 1
        index = position - start
        end = last if columns > 0 else 0
        if last < 0 or index == end:
            return None
        if abs(columns) >= FAR:
            return start + end
        if self.count <= self.columns or index < 0:
            return start + min(last, max(0, index + columns))
        return start + self._worst(start, last, self.column(index) + columns)

    def _worst(self, start: int, last: int, column: int) -> int:
        """The index with the largest |delta| in a column."""
        width = (self.count - 1) / max(1, self.columns - 1)
        low = math.ceil((column - 0.5) * width)
        high = math.ceil((column + 0.5) * width) - 1
        if low >= last:
            return last
        if high <= 0:
            return 0
        low, high = max(0, low), min(last, high)
        size = self.size[start + low : start + high + 1]
        return low + int(np.argmax(np.where(np.isnan(size), -1, size)))


@dataclass(frozen=True, eq=False)
class CellPlaces:
    """Tokens in ``len(rows)`` x ``len(columns)`` cells; ``rows`` and ``columns`` say
    where in the area each lies.

    ``bins`` i32[n] is the cell (row * width + column) of the tokens from flat position
    ``start`` on, -1: in none. ``targets`` i64[cells] is where the cursor goes, -1 for
    an empty cell. ``flat``: a cell is a whole column. ``rowwise``: a step to the side
    stays in its row.
    """

    bins: Array
    targets: Array
    columns: Array
    rows: Array
    start: int = 0
    flat: bool = False
    rowwise: bool = False

    def _row_and_column(self, position: int) -> tuple[int, int] | None:
        index = position - self.start
        if not 0 <= index < len(self.bins):
            return None
        bin_of = int(self.bins[index])
        return None if bin_of < 0 else divmod(bin_of, len(self.columns))

    def cell(self, position: int) -> tuple[int, int | None] | None:
        """Column and row of the cell that holds a flat position."""
        at = self._row_and_column(position)
        if at is None:
            return None
        row, column = at
        return int(self.columns[column]), None if self.flat else int(self.rows[row])

    def step(self, position: int, columns: int, rows: int) -> int | None:
        """To the next column (or row) that has any token, there to the nearest cell
        with one.
        """
        steps = rows or columns
        filled = (self.targets >= 0).reshape(len(self.rows), len(self.columns))
        at = self._row_and_column(position)
        if at is not None and self.rowwise and columns and filled[at[0]].any():
            filled &= (np.arange(len(self.rows)) == at[0])[:, None]
        if rows:
            return self._target(_step_across(filled, at, steps))
        across = _step_across(filled.T, None if at is None else at[::-1], steps)
        return self._target(None if across is None else across[::-1])

    def _target(self, at: tuple[int, int] | None) -> int | None:
        if at is None:
            return None
        row, column = at
        return self.start + int(self.targets[row * len(self.columns) + column])


def _step_across(
    filled: Array, at: tuple[int, int] | None, steps: int
) -> tuple[int, int] | None:
    """From ``at``, (line, place in it), so many lines of ``filled`` bool[lines,
    places] on: the line, and its filled place that is nearest. None: stay.
    """
    lines = np.flatnonzero(filled.any(axis=1))
    if not len(lines) or not steps:
        return None
    if at is None:
        # From nowhere: Home and one on enter at the start, End and one back at the end.
        from_start = 0 < steps < FAR or steps <= -FAR
        line, beside = int(lines[0 if from_start else -1]), filled.shape[1] // 2
    else:
        line, beside = _line_after(lines, at[0], steps), at[1]
        if line == at[0]:
            return None
    places = np.flatnonzero(filled[line])
    return line, int(places[np.argmin(np.abs(places - beside))])


def _line_after(lines: Array, line: int, steps: int) -> int:
    """The filled line that many on, at least one line further where there is one."""
    if steps > 0:
        next_one = np.searchsorted(lines, line, "right")
        at = max(np.searchsorted(lines, line + steps), next_one)
    else:
        one_before = np.searchsorted(lines, line) - 1
        at = min(np.searchsorted(lines, line + steps, "right") - 1, one_before)
    return int(lines[min(max(0, int(at)), len(lines) - 1)])


def places_of_bins(
    bins: Array,
    size: Array,
    columns: Array,
    rows: Array,
    start: int = 0,
    *,
    flat: bool = False,
) -> CellPlaces:
    """`CellPlaces` whose cursor goes to the largest ``size`` f[n] of each cell."""
    targets = largest_bins(bins, size, len(columns) * len(rows))
    return CellPlaces(bins, targets, columns, rows, start, flat)


def middles(bins: int, cells: int) -> Array:
    """The middle cell of each of ``bins`` equal stretches of ``cells`` cells,
    i64[bins].
    """
    return ((np.arange(bins) + 0.5) * cells / bins).astype(np.int64)
