"""Where tokens lie between the axes, and which token is next in a direction: along an
axis, or in the cells of a grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from logdrift.core.charts.marks import Area, TokenCell
from logdrift.core.charts.reduce import bin_middles, largest_bins
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
        """The sequence of a flat position, None where it is not shown."""
        ended_before = np.searchsorted(self.stops, position, "right")
        sequence = int(ended_before)
        exists = sequence < len(self.stops)
        is_shown = self.only in (None, sequence)
        if exists and is_shown:
            return sequence
        return None

    def column(self, index: int) -> int:
        """The column of position ``index``: where plotext draws it."""
        last_column = self.columns - 1
        last_index = max(1, self.count - 1)
        place = index * last_column / last_index
        return math.floor(place + 0.5)

    def cell(self, position: int) -> TokenCell | None:
        """The column of a flat position: the whole of it is its place."""
        sequence = self._sequence(position)
        if sequence is None:
            return None
        start = int(self.starts[sequence])
        index = position - start
        is_shown = 0 <= index < self.count
        if not is_shown:
            return None
        column = self.column(index)
        return TokenCell(column, None)

    def step(self, position: int, columns: int, rows: int) -> int | None:
        """The flat position that many columns on, within the sequence."""
        sequence = self._sequence(position)
        if sequence is None or columns == 0:
            return None
        start = int(self.starts[sequence])
        stop = int(self.stops[sequence])
        length = stop - start
        count = min(self.count, length)
        last = count - 1
        index = position - start
        end = last if columns > 0 else 0
        if last < 0 or index == end:
            return None
        if abs(columns) >= FAR:
            return start + end
        has_column_each = self.count <= self.columns
        if has_column_each or index < 0:
            not_before = max(0, index + columns)
            next_index = min(last, not_before)
            return start + next_index
        own_column = self.column(index)
        next_column = own_column + columns
        worst = self._worst(start, last, next_column)
        return start + worst

    def _worst(self, start: int, last: int, column: int) -> int:
        """The index with the largest |delta| in a column."""
        columns_apart = max(1, self.columns - 1)
        last_index = self.count - 1
        width = last_index / columns_apart
        left_border = (column - 0.5) * width
        right_border = (column + 0.5) * width
        low = math.ceil(left_border)
        stop = math.ceil(right_border)
        if low >= last:
            return last
        if stop <= 1:
            return 0
        low = max(0, low)
        stop = min(last + 1, stop)
        first = start + low
        end = start + stop
        size = self.size[first:end]
        unscored = np.isnan(size)
        comparable = np.where(unscored, -1, size)
        largest = comparable.argmax()
        return low + int(largest)


@dataclass(frozen=True, eq=False)
class CellPlaces:
    """Tokens in ``len(rows)`` x ``len(columns)`` cells; ``rows`` and ``columns`` say
    where in the area each lies.

    ``bins`` i32[n] is the cell (row * width + column) of the tokens from flat position
    ``start`` on, -1: in none. ``targets`` i64[cells] is where the cursor goes, -1 for
    an empty cell. ``whole_columns``: a cell is one. ``rowwise``: a step to the side
    stays in its row.
    """

    bins: Array
    targets: Array
    columns: Array
    rows: Array
    start: int = 0
    whole_columns: bool = False
    rowwise: bool = False

    def _grid_cell(self, position: int) -> _GridCell | None:
        """The cell that holds a flat position, None where it is in none."""
        index = position - self.start
        is_drawn = 0 <= index < len(self.bins)
        if not is_drawn:
            return None
        bin_of = int(self.bins[index])
        if bin_of < 0:
            return None
        in_a_row = len(self.columns)
        row, column = divmod(bin_of, in_a_row)
        return _GridCell(row, column)

    def cell(self, position: int) -> TokenCell | None:
        """Column and row of the cell that holds a flat position."""
        at = self._grid_cell(position)
        if at is None:
            return None
        column = int(self.columns[at.column])
        if self.whole_columns:
            return TokenCell(column, None)
        row = int(self.rows[at.row])
        return TokenCell(column, row)

    def step(self, position: int, columns: int, rows: int) -> int | None:
        """To the next column (or row) that has any token, there to the nearest cell
        with one.
        """
        at = self._grid_cell(position)
        filled = self._filled()
        if rows:
            cell = _step_down(filled, at, rows)
            return self._target(cell)
        if at is not None and self.rowwise:
            filled = _only_row(filled, at.row)
        cell = _step_right(filled, at, columns)
        return self._target(cell)

    def _filled(self) -> Array:
        """Which cells hold a token, bool[rows, columns]."""
        rows = len(self.rows)
        has_token = self.targets >= 0
        return has_token.reshape(rows, -1)

    def _target(self, at: _GridCell | None) -> int | None:
        """The flat position that the cursor goes to in a cell."""
        if at is None:
            return None
        before_row = at.row * len(self.columns)
        cell = before_row + at.column
        target = int(self.targets[cell])
        return self.start + target


def _only_row(filled: Array, row: int) -> Array:
    """The filled cells of one row; of all rows if it has none."""
    cells = filled[row]
    if not cells.any():
        return filled
    own_row = np.zeros_like(filled)
    own_row[row] = cells
    return own_row


class _GridCell(NamedTuple):
    """A cell of `CellPlaces`, counted from 0."""

    row: int
    column: int


def _step_down(filled: Array, at: _GridCell | None, steps: int) -> _GridCell | None:
    """The filled cell so many rows further down; None: stay."""
    if steps == 0:
        return None
    has_filled = filled.any(axis=1)
    filled_rows = np.flatnonzero(has_filled)
    if not len(filled_rows):
        return None
    if at is None:
        # From nowhere: Home and one on enter at the start, End and one back at the end.
        is_one_on = 0 < steps < FAR
        is_home = steps <= -FAR
        index = 0 if is_one_on or is_home else -1
        row = int(filled_rows[index])
        beside = filled.shape[1] // 2
    else:
        row = _row_after(filled_rows, at.row, steps)
        beside = at.column
        if row == at.row:
            return None
    columns = np.flatnonzero(filled[row])
    distance = np.abs(columns - beside)
    column = columns[distance.argmin()]
    return _GridCell(row, int(column))


def _step_right(filled: Array, at: _GridCell | None, steps: int) -> _GridCell | None:
    """As `_step_down`, with rows and columns in each other's place."""
    turned_at = None
    if at is not None:
        turned_at = _GridCell(row=at.column, column=at.row)
    turned = _step_down(filled.T, turned_at, steps)
    if turned is None:
        return None
    return _GridCell(row=turned.column, column=turned.row)


def _row_after(filled_rows: Array, row: int, steps: int) -> int:
    """The filled row that many on, at least one row further where there is one."""
    if steps > 0:
        goal = row + steps
        one_further = np.searchsorted(filled_rows, row, "right")
        at_goal = np.searchsorted(filled_rows, goal)
        index = max(at_goal, one_further)
    else:
        one_before = np.searchsorted(filled_rows, row) - 1
        goal = row + steps
        one_beyond = np.searchsorted(filled_rows, goal, "right")
        at_goal = one_beyond - 1
        index = min(at_goal, one_before)
    last = len(filled_rows) - 1
    not_before = max(0, int(index))
    nearest = min(not_before, last)
    return int(filled_rows[nearest])


def cell_places(bins: Array, size: Array, area: Area, start: int) -> CellPlaces:
    """Places in every cell of an area; the cursor goes to the largest ``size`` f[n] of
    a cell.
    """
    cells = area.columns * area.lines
    return CellPlaces(
        bins=bins,
        targets=largest_bins(bins, size, cells),
        columns=np.arange(area.columns),
        rows=np.arange(area.lines),
        start=start,
    )


def column_places(
    bins: Array, size: Array, columns: Array, start: int = 0
) -> CellPlaces:
    """Places in whole columns, bin i in ``columns[i]``; the cursor goes to the largest
    ``size`` f[n] of a column.
    """
    count = len(columns)
    return CellPlaces(
        bins=bins,
        targets=largest_bins(bins, size, count),
        columns=columns,
        rows=np.arange(1),
        start=start,
        whole_columns=True,
    )


def middles(bins: int, cells: int) -> Array:
    """The middle cell of each of ``bins`` equal stretches of ``cells`` cells,
    i64[bins].
    """
    middle = bin_middles(cells, bins)
    return middle.astype(np.int64)
