"""The heat map: rows are sequences, columns positions, shades the mean |delta|.

All completions begin in one column, so that one long prompt does not push the rest
aside.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Self

import numpy as np

from logdrift.core.charts.base import Array, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.marks import (
    QUIET,
    Area,
    Axes,
    Cells,
    ChartAxis,
    Picture,
    Tick,
    Upright,
    shade_scale,
)
from logdrift.core.charts.places import CellPlaces, middles
from logdrift.core.charts.reduce import (
    NO_BIN,
    count_bins,
    join_bins,
    largest_bins,
    mean_bins,
    shade_steps,
    stretch_bins,
)
from logdrift.core.charts.window import Extent, Window, ZoomChart
from logdrift.core.numbers import short

_TABLE = Area(200, 1000)
_X_TICKS = 4
_PROMPT_SHARE = 4
"""The prompts get at most this part of the length of the completions: what is further
left is looked at by moving the cursor there.
"""


class HeatChart(ZoomChart):
    """The heat map of the session, or of the ``window`` that is looked at."""

    detail = Area(110, 60)

    def prepare(self) -> None:
        data = self.data
        scored = data.pair.scored
        self.order = self._listed()
        if not scored.any():
            raise NothingToDraw("no token is scored on both sides")
        if not len(self.order):
            raise NothingToDraw("no sequence is listed that both sides have captured")
        self.at = data.from_scope
        at_scored = self.at[scored]
        first = int(at_scored.min())
        last = int(at_scored.max())
        leftmost = -max(1, last) // _PROMPT_SHARE
        start = max(first, leftmost)
        self.everything = Extent(int(self.at.min()), last + 1)
        self.whole = Window(Extent(start, last + 1), Extent(0, len(self.order)))

    def _listed(self) -> Array:
        """The sequences of the rows, i64[n], from the top: as the list has them."""
        count = self.data.pair.count
        order = self.source.order
        if order is None:
            return np.arange(count)
        return order[order < count]

    @cached_property
    def row_of(self) -> Array:
        """The row of each token's sequence, i32[N], -1: not listed."""
        rows = np.full(self.data.pair.count, NO_BIN)
        rows[self.order] = np.arange(len(self.order))
        return np.repeat(rows, np.diff(self.data.offsets))

    # ---- the part that is looked at

    def within(self, window: Window | None) -> Self:
        part = copy.copy(self)
        part.window = window
        return part

    @property
    def seen(self) -> Window:
        """The part that is shown."""
        return self.window or self.whole

    def place_on_map(self, position: int) -> tuple[int, int]:
        """Column and row of a token on the whole map; row 0 where it is not listed."""
        row = int(self.row_of[position])
        return int(self.at[position]), max(0, row)

    def closer(self, position: int, area: Area) -> Window | None:
        x, y = self.place_on_map(position)
        window = self.seen.closer(x, y, area.columns, area.lines)
        if window == self.seen:
            return None
        return window

    def wider(self, position: int) -> Window | None:
        x, y = self.place_on_map(position)
        window = self.seen.wider(x, y, self.whole)
        if window == self.whole:
            return None
        return window

    def following(self, position: int) -> Window | None:
        if self.window is None:
            return None
        x, y = self.place_on_map(position)
        everything = Window(self.everything, self.whole.down)
        return self.window.following(x, y, everything)

    def beside(self, position: int, columns: int, rows: int) -> int | None:
        """The next token with a score: in its sequence, or at its place in the next
        sequence of the list.
        """
        x, row = self.place_on_map(position)
        if not rows:
            scored = self._scored_in_row(row)
            return _next_one(scored, position, columns)
        row += 1 if rows > 0 else -1
        if not self.whole.down.holds(row):
            return None
        scored = self._scored_in_row(row)
        if not len(scored):
            return None
        apart = np.abs(self.at[scored] - x)
        return int(scored[apart.argmin()])

    def _scored_in_row(self, row: int) -> Array:
        """The flat positions of the tokens of a row that have a score."""
        sequence = int(self.order[row])
        start, stop = self.data.pair.sequences.bounds(sequence)
        scored = np.flatnonzero(self.data.pair.scored[start:stop])
        return scored + start

    # ---- the picture

    @property
    def heading(self) -> str:
        return f"|Δ| of all sequences over the {self._across_words}"

    @property
    def _across_words(self) -> str:
        if self.data.scope == "completion":
            return "position in the completion"
        return "position"

    @property
    def description(self) -> str:
        return (
            "Stronger colour: larger mean |delta| of the cell (log scale), from"
            f" {short(self._least(self.detail))} nats on."
        )

    def size_in(self, area: Area) -> Area:
        """Columns and rows of the map: no more than positions and sequences."""
        across, down = self.seen
        columns = min(area.columns, across.size)
        rows = min(area.lines, down.size)
        return Area(columns, rows)

    def cells(self, grid: Area) -> tuple[Array, Array]:
        """The cell of each token i32[N], -1 outside of the map, and the mean |delta| of
        the cells, f64[rows, columns]: NaN without a score.
        """
        across, down = self.seen
        column = stretch_bins(self.at, across.start, across.stop, grid.columns)
        row = stretch_bins(self.row_of, down.start, down.stop, grid.lines)
        bins = join_bins(row, column, grid.columns)
        mean = mean_bins(bins, self.data.size, grid.columns * grid.lines)
        return bins, mean.reshape(grid.lines, grid.columns)

    def _least(self, area: Area) -> float:
        _, mean = self.cells(self.size_in(area))
        return _least_dotted(shade_steps(mean))

    def _scored(self, bins: Array) -> Array:
        """The cells again, -1 for tokens without a score: the cursor may stand on such
        a token, but is never sent to it.
        """
        unscored = np.isnan(self.data.size)
        return np.where(unscored, NO_BIN, bins)

    def axes(self, width: int) -> Axes:
        return Axes(self._position_axis(), self._sequence_axis())

    def _position_axis(self) -> ChartAxis:
        across = self.seen.across
        last = across.stop - 1
        start = across.start
        zero = max(0, start)
        steps = range(_X_TICKS + 1)
        places = {zero + round(i * (last - zero) / _X_TICKS) for i in steps}
        if across.size < (zero - start) * 2 * _X_TICKS:
            places.add(start)
        return ChartAxis(
            self._across_words,
            low=start,
            high=max(start + 1, last),
            ticks=[(place, str(place)) for place in sorted(places)],
        )

    def _sequence_axis(self) -> ChartAxis:
        """It counts down: the first of the list is on top."""
        down = self.seen.down
        last = down.stop - 1
        middle = (down.start + last) // 2
        rows = sorted({down.start, middle, last})
        ticks: list[Tick] = [(-row, str(self.order[row])) for row in rows]
        label = "sequence"
        if self.source.order is not None:
            label = "row of the list"
        return ChartAxis(
            label,
            low=-max(down.start + 1, last),
            high=-down.start,
            ticks=ticks,
            unsigned=True,
        )

    def picture(self, area: Area) -> Picture:
        grid = self.size_in(area)
        bins, mean = self.cells(grid)
        steps = shade_steps(mean)
        scored_bins = self._scored(bins)
        targets = largest_bins(scored_bins, self.data.size, grid.columns * grid.lines)
        place = CellPlaces(
            bins=self._reached(bins, grid),
            targets=targets,
            columns=middles(grid.columns, area.columns),
            rows=middles(grid.lines, area.lines),
            rowwise=True,
        )
        cells = Cells(mean, steps, _least_dotted(steps))
        legend = self._legend(grid.lines, steps)
        return Picture((*self._prompt_end(), cells), legend, place)

    def _reached(self, bins: Array, grid: Area) -> Array:
        """The cells, for the cursor: on a token left of the map it stands at its left
        edge.
        """
        is_left = self.at < self.seen.across.start
        down = self.seen.down
        row = stretch_bins(self.row_of, down.start, down.stop, grid.lines)
        first = np.where(row >= 0, row * np.int32(grid.columns), NO_BIN)
        return np.where(is_left, first, bins)

    def _prompt_end(self) -> tuple[Upright, ...]:
        across = self.seen.across
        if across.start < 0 < across.stop:
            return (Upright(0, "p", "end of the prompt"),)
        return ()

    def _legend(self, rows: int, steps: Array) -> tuple[str, ...]:
        scale = shade_scale(steps, short)
        down = self.seen.down
        in_a_row = "one sequence"
        if rows < down.size:
            in_a_row = f"about {down.size / rows:.3g} sequences"
        across_words = f"→ {self._across_words}"
        if self._prompt_end():
            across_words += ", p: end of the prompt"
        listed = "sequence"
        if self.source.order is not None:
            listed = "sequences in the order of the list"
        return (
            f"mean |Δ| of a cell, nats, from: {scale} ({QUIET} less)",
            *self._part_words(),
            f"↓ {listed}, {in_a_row} a row; {across_words}",
            "blank: no score",
        )

    def _part_words(self) -> list[str]:
        """Which part of the map is shown, where it is a part."""
        if self.window is None:
            return []
        across, down = self.window
        positions = f"positions {across.start:,} to {across.stop - 1:,}"
        rows = f"rows {down.start + 1:,} to {down.stop:,} of {self.whole.down.size:,}"
        return [f"{positions}, {rows}"]

    def table(self) -> Table:
        """Of the part that is looked at, else of all tokens; positions count from the
        start of the completions.
        """
        if self.window is None:
            everything = Window(self.everything, self.whole.down)
            return self.within(everything).table()
        grid = self.size_in(_TABLE)
        bins, mean = self.cells(grid)
        is_empty = np.isnan(mean)
        filled = np.flatnonzero(~is_empty)
        row, column = np.divmod(filled, grid.columns)
        across, down = self.seen
        first_row = down.start + _first_of(row, grid.lines, down.size)
        first_position = across.start + _first_of(column, grid.columns, across.size)
        scored_bins = self._scored(bins)
        tokens = count_bins(scored_bins, grid.columns * grid.lines)
        return {
            "first_sequence": self.order[first_row],
            "first_position": first_position,
            "tokens": tokens[filled],
            "mean_abs_delta": mean.ravel()[filled],
        }


def _next_one(positions: Array, position: int, step: int) -> int | None:
    """The next of ascending positions in a direction, None after the last one."""
    if step > 0:
        further = positions[positions > position]
        return int(further[0]) if len(further) else None
    further = positions[positions < position]
    return int(further[-1]) if len(further) else None


def _least_dotted(steps: Array) -> float:
    """The value from which a cell below the first step still gets a dot."""
    return float(steps[0]) / 2


def _first_of(cell: Array, cells: int, values: int) -> Array:
    """The first of ``values`` values that lies in each cell, of ``cells`` equal ones:
    cell * values / cells, rounded up.
    """
    return -(-cell * values // cells)
