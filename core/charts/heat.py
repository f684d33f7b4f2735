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
        listed = len(self.order)
        if not scored.any():
            raise NothingToDraw("no token is scored on both sides")
        if not listed:
            raise NothingToDraw("no sequence is listed that both sides have captured")
        self.at = data.from_scope
        at_scored = self.at[scored]
        first = int(at_scored.min())
        last = int(at_scored.max())
        completions = max(1, last)
        leftmost = -completions // _PROMPT_SHARE
        start = max(first, leftmost)
        stop = last + 1
        leftmost_token = int(self.at.min())
        down = Extent(0, listed)
        across = Extent(start, stop)
        every_position = Extent(leftmost_token, stop)
        self.whole = Window(across, down)
        self.everything = Window(every_position, down)

    def _listed(self) -> Array:
        """The sequences of the rows, i64[n], from the top: as the list has them."""
        count = self.data.pair.count
        order = self.source.order
        if order is None:
            return np.arange(count)
        is_captured = order < count
        return order[is_captured]

    @cached_property
    def row_of(self) -> Array:
        """The row of each token's sequence, i32[N], -1: not listed."""
        data = self.data
        listed = len(self.order)
        rows = np.full(data.pair.count, NO_BIN)
        rows[self.order] = np.arange(listed)
        lengths = np.diff(data.offsets)
        return np.repeat(rows, lengths)

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
        column = self.at[position]
        listed_row = int(self.row_of[position])
        row = max(0, listed_row)
        return int(column), row

    def closer(self, position: int, area: Area) -> Window | None:
        x, y = self.place_on_map(position)
        seen = self.seen
        window = seen.closer(x, y, area.columns, area.lines)
        if window == seen:
            return None
        return window

    def wider(self, position: int) -> Window | None:
        x, y = self.place_on_map(position)
        whole = self.whole
        window = self.seen.wider(x, y, whole)
        if window == whole:
            return None
        return window

    def following(self, position: int) -> Window | None:
        if self.window is None:
            return None
        x, y = self.place_on_map(position)
        return self.window.following(x, y, self.everything)

    def beside(self, position: int, columns: int, rows: int) -> int | None:
        """The next token with a score: in its sequence, or at its place in the next
        sequence of the list.
        """
        x, row = self.place_on_map(position)
        if not rows:
            scored = self._scored_in_row(row)
            return _next_one(scored, position, columns)
        direction = 1 if rows > 0 else -1
        row += direction
        listed = self.whole.down
        if not listed.holds(row):
            return None
        scored = self._scored_in_row(row)
        if not len(scored):
            return None
        columns_of_scored = self.at[scored]
        apart = np.abs(columns_of_scored - x)
        nearest = apart.argmin()
        return int(scored[nearest])

    def _scored_in_row(self, row: int) -> Array:
        """The flat positions of the tokens of a row that have a score."""
        pair = self.data.pair
        sequence = int(self.order[row])
        start, stop = pair.sequences.bounds(sequence)
        is_scored = pair.scored[start:stop]
        from_start = np.flatnonzero(is_scored)
        return from_start + start

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
        across = self.seen.across
        columns = grid.columns
        column = stretch_bins(self.at, across.start, across.stop, columns)
        row = self._row_on(grid)
        bins = join_bins(row, column, columns)
        size = self.data.size
        mean = mean_bins(bins, size, grid.cells)
        return bins, mean.reshape(grid.lines, columns)

    def _row_on(self, grid: Area) -> Array:
        """The row of the map in which each token's sequence lies, i32[N], -1: none."""
        down = self.seen.down
        return stretch_bins(self.row_of, down.start, down.stop, grid.lines)

    def _least(self, area: Area) -> float:
        grid = self.size_in(area)
        _, mean = self.cells(grid)
        steps = shade_steps(mean)
        return _least_dotted(steps)

    def _scored(self, bins: Array) -> Array:
        """The cells again, -1 for tokens without a score: the cursor may stand on such
        a token, but is never sent to it.
        """
        size = self.data.size
        unscored = np.isnan(size)
        return np.where(unscored, NO_BIN, bins)

    def axes(self, width: int) -> Axes:
        x = self._position_axis()
        y = self._sequence_axis()
        return Axes(x, y)

    def _position_axis(self) -> ChartAxis:
        across = self.seen.across
        last = across.stop - 1
        start = across.start
        zero = max(0, start)
        length = last - zero
        places: set[int] = set()
        for step in range(_X_TICKS + 1):
            from_zero = step * length / _X_TICKS
            places.add(zero + round(from_zero))
        prompt = zero - start
        width_of_label = across.size / (2 * _X_TICKS)
        if prompt > width_of_label:
            places.add(start)
        ticks: list[Tick] = []
        for place in sorted(places):
            text = str(place)
            ticks.append((place, text))
        return ChartAxis(
            self._across_words,
            low=start,
            high=max(start + 1, last),
            ticks=ticks,
        )

    def _sequence_axis(self) -> ChartAxis:
        """It counts down: the first of the list is on top."""
        down = self.seen.down
        first = down.start
        last = down.stop - 1
        middle = (first + last) // 2
        rows = {first, middle, last}
        ticks: list[Tick] = []
        for row in sorted(rows):
            sequence = self.order[row]
            text = str(sequence)
            ticks.append((-row, text))
        label = "sequence"
        if self.source.order is not None:
            label = "row of the list"
        return ChartAxis(
            label,
            low=-max(first + 1, last),
            high=-first,
            ticks=ticks,
            unsigned=True,
        )

    def picture(self, area: Area) -> Picture:
        grid = self.size_in(area)
        bins, mean = self.cells(grid)
        steps = shade_steps(mean)
        least = _least_dotted(steps)
        cells = Cells(mean, steps, least)
        prompt_end = self._prompt_end()
        return Picture(
            marks=(*prompt_end, cells),
            legend=self._legend(grid.lines, steps),
            place=self._places(bins, grid, area),
        )

    def _places(self, bins: Array, grid: Area, area: Area) -> CellPlaces:
        """Where the cursor stands in the cells of the map, and where it goes."""
        scored_bins = self._scored(bins)
        size = self.data.size
        return CellPlaces(
            bins=self._reached(bins, grid),
            targets=largest_bins(scored_bins, size, grid.cells),
            columns=middles(grid.columns, area.columns),
            rows=middles(grid.lines, area.lines),
            rowwise=True,
        )

    def _reached(self, bins: Array, grid: Area) -> Array:
        """The cells, for the cursor: on a token left of the map it stands at its left
        edge.
        """
        left_edge = self.seen.across.start
        is_left = self.at < left_edge
        row = self._row_on(grid)
        has_row = row >= 0
        width = np.int32(grid.columns)
        first_of_row = row * width
        first = np.where(has_row, first_of_row, NO_BIN)
        return np.where(is_left, first, bins)

    def _prompt_end(self) -> tuple[Upright, ...]:
        across = self.seen.across
        if across.start < 0 < across.stop:
            prompt_end = Upright(0, "p", "end of the prompt")
            return (prompt_end,)
        return ()

    def _legend(self, rows: int, steps: Array) -> tuple[str, ...]:
        scale = shade_scale(steps, short)
        down = self.seen.down
        in_a_row = "one sequence"
        if rows < down.size:
            sequences_a_row = down.size / rows
            in_a_row = f"about {sequences_a_row:.3g} sequences"
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
            whole_map = self.within(self.everything)
            return whole_map.table()
        grid = self.size_in(_TABLE)
        bins, mean = self.cells(grid)
        mean_of_cell = mean.ravel()
        is_empty = np.isnan(mean_of_cell)
        filled = np.flatnonzero(~is_empty)
        row, column = np.divmod(filled, grid.columns)
        across, down = self.seen
        first_row = _first_of(row, grid.lines, down)
        first_position = _first_of(column, grid.columns, across)
        scored_bins = self._scored(bins)
        tokens = count_bins(scored_bins, grid.cells)
        return {
            "first_sequence": self.order[first_row],
            "first_position": first_position,
            "tokens": tokens[filled],
            "mean_abs_delta": mean_of_cell[filled],
        }


def _next_one(positions: Array, position: int, step: int) -> int | None:
    """The next of ascending positions in a direction, None after the last one."""
    if step > 0:
        is_after = positions > position
        further = positions[is_after]
        nearest_first = further
    else:
        is_before = positions < position
        further = positions[is_before]
        nearest_first = further[::-1]
    if not len(further):
        return None
    return int(nearest_first[0])


def _least_dotted(steps: Array) -> float:
    """The value from which a cell below the first step still gets a dot."""
    return float(steps[0]) / 2


def _first_of(cell: Array, cells: int, values: Extent) -> Array:
    """The first of the values that lies in each cell, of ``cells`` equal ones: cell *
    number of values / cells, rounded up, from the first value on.
    """
    values_before = cell * values.size
    rounded_up = -(-values_before // cells)
    return values.start + rounded_up
