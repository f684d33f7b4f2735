"""Where tokens lie in a plot area, and which token is next in a direction: along an
axis, or in the cells of a grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.chart_data import largest_bins
from logdrift.tui.widgets.charts.base import FAR

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Along:
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
        return (
            sequence
            if sequence < len(self.stops) and self.only in (None, sequence)
            else None
        )

    def column(self, index: int) -> int:
        """The column of position ``index``: where plotext draws it."""
        return math.floor(index * (self.columns - 1) / max(1, self.count - 1) + 0.5)

    def cell(self, position: int) -> tuple[int, int | None] | None:
        sequence = self._sequence(position)
        index = -1 if sequence is None else position - int(self.starts[sequence])
        return (self.column(index), None) if 0 <= index < self.count else None

    def step(self, position: int, columns: int, rows: int) -> int | None:
        sequence = self._sequence(position)
        if sequence is None or columns == 0:
            return None
        start = int(self.starts[sequence])
        last = min(self.count, int(self.stops[sequence]) - start) - 1
        index = position - start
        if last < 0 or index == (last if columns > 0 else 0):
            return None
        if abs(columns) >= FAR:
            wanted = last if columns > 0 else 0
        elif self.count <= self.columns or index < 0:
            wanted = min(last, max(0, index + columns))
        else:
            wanted = self._worst(start, last, self.column(index) + columns)
        return start + wanted

    def _worst(self, start: int, last: int, column: int) -> int:
        """The index with the largest |delta| in a column."""
        wide = (self.count - 1) / max(1, self.columns - 1)
        low = math.ceil((column - 0.5) * wide)
        high = math.ceil((column + 0.5) * wide) - 1
        if low >= last or high <= 0:
            return last if low >= last else 0
        low, high = max(0, low), min(last, high)
        part = self.size[start + low : start + high + 1]
        return low + int(np.argmax(np.where(np.isnan(part), -1, part)))


@dataclass(frozen=True, eq=False)
class Grid:
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

    def _cell(self, position: int) -> tuple[int, int] | None:
        index = position - self.start
        cell = int(self.bins[index]) if 0 <= index < len(self.bins) else -1
        return (
            None if cell < 0 else (cell % len(self.columns), cell // len(self.columns))
        )

    def cell(self, position: int) -> tuple[int, int | None] | None:
        found = self._cell(position)
        if found is None:
            return None
        return int(self.columns[found[0]]), (
            None if self.flat else int(self.rows[found[1]])
        )

    def step(self, position: int, columns: int, rows: int) -> int | None:
        """To the next column (or row) that has any token, there to the nearest cell
        with one.
        """
        filled = (self.targets >= 0).reshape(len(self.rows), len(self.columns))
        steps = rows or columns
        found = self._cell(position)
        if self.rowwise and columns and found is not None and filled[found[1]].any():
            filled &= (np.arange(len(self.rows)) == found[1])[:, None]
        if rows:
            filled = filled.T
        lines = np.flatnonzero(filled.any(axis=0))
        if not len(lines) or not steps:
            return None
        if found is None:
            # From nowhere: Home and one on enter at the start, End and one back at the
            # end.
            first = 0 < steps < FAR or steps <= -FAR
            line, beside = int(lines[0 if first else -1]), filled.shape[0] // 2
        else:
            here, beside = (found[1], found[0]) if rows else found
            line = self._line(lines, here, steps)
            if line == here:
                return None
        cells = np.flatnonzero(filled[:, line])
        other = int(cells[np.argmin(np.abs(cells - beside))])
        row, column = (line, other) if rows else (other, line)
        return self.start + int(self.targets[row * len(self.columns) + column])

    @staticmethod
    def _line(lines: Array, here: int, steps: int) -> int:
        """The filled line that many cells on, at least one line further where there is
        one.
        """
        if steps > 0:
            at = max(
                np.searchsorted(lines, here + steps),
                np.searchsorted(lines, here, "right"),
            )
        else:
            at = min(
                np.searchsorted(lines, here + steps, "right") - 1,
                np.searchsorted(lines, here) - 1,
            )
        return int(lines[min(max(0, int(at)), len(lines) - 1)])


def grid(
    bins: Array,
    size: Array,
    columns: Array,
    rows: Array,
    start: int = 0,
    *,
    flat: bool = False,
) -> Grid:
    """A `Grid` whose cursor goes to the largest ``size`` f[n] of each cell."""
    return Grid(
        bins,
        largest_bins(bins, size, len(columns) * len(rows)),
        columns,
        rows,
        start,
        flat,
    )


def middles(bins: int, cells: int) -> Array:
    """The middle cell of each of ``bins`` equal stretches of ``cells`` cells,
    i64[bins].
    """
    return ((np.arange(bins) + 0.5) * cells / bins).astype(np.int64)
