"""The heat map: rows are sequences, columns positions, shades the mean |delta|."""

from __future__ import annotations

import numpy as np

from logdrift.core.charts.base import Array, Chart, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.marks import (
    QUIET,
    Area,
    Axes,
    Cells,
    ChartAxis,
    Picture,
    index_ticks,
    shade_scale,
)
from logdrift.core.charts.places import CellPlaces, middles
from logdrift.core.charts.reduce import (
    NO_BIN,
    count_bins,
    largest_bins,
    mean_bins,
    sequence_bins,
    shade_steps,
)
from logdrift.core.numbers import short

_TABLE = Area(200, 1000)


class HeatChart(Chart):
    """The heat map of the session."""

    detail = Area(110, 60)

    def prepare(self) -> None:
        offsets = self.data.offsets
        scored = self.data.pair.scored
        if not scored.any():
            raise NothingToDraw("no token is scored on both sides")
        self.sequences = len(offsets) - 1
        lengths = np.diff(offsets)
        self.longest = int(lengths.max())

    @property
    def heading(self) -> str:
        return "|Δ| of all sequences over the position"

    @property
    def description(self) -> str:
        return (
            "Stronger colour: larger mean |delta| of the cell (log scale), from"
            f" {short(self._least(self.detail))} nats on."
        )

    def size_in(self, area: Area) -> tuple[int, int]:
        """Rows and columns of the map: no more than sequences and positions."""
        rows = min(area.lines, self.sequences)
        columns = min(area.columns, self.longest)
        return rows, columns

    def cells(self, rows: int, columns: int) -> tuple[Array, Array]:
        """The cell of each token i32[N], and the mean |delta| of the cells, f64[rows,
        columns]: NaN without a score.
        """
        data = self.data
        bins = sequence_bins(data.offsets, rows, columns, self.longest)
        count = rows * columns
        mean = mean_bins(bins, data.size, count)
        return bins, mean.reshape(rows, columns)

    def _least(self, area: Area) -> float:
        rows, columns = self.size_in(area)
        _, mean = self.cells(rows, columns)
        return _least_dotted(shade_steps(mean))

    def _scored(self, bins: Array) -> Array:
        """The cells again, -1 for tokens without a score: the cursor may stand on such
        a token, but is never sent to it.
        """
        unscored = np.isnan(self.data.size)
        return np.where(unscored, NO_BIN, bins)

    def axes(self, width: int) -> Axes:
        across = self._position_axis()
        up = self._sequence_axis()
        return Axes(across, up)

    def _position_axis(self) -> ChartAxis:
        last = self.longest - 1
        return ChartAxis(
            "position in the sequence",
            low=0,
            high=max(1, last),
            ticks=index_ticks(last, 4),
        )

    def _sequence_axis(self) -> ChartAxis:
        """It counts down: sequence 0 is on top, as in the list."""
        last = self.sequences - 1
        middle = last // 2
        sequences = sorted({0, middle, last})
        return ChartAxis(
            "sequence",
            low=-max(1, last),
            high=0,
            ticks=[(-sequence, str(sequence)) for sequence in sequences],
            unsigned=True,
        )

    def picture(self, area: Area) -> Picture:
        rows, columns = self.size_in(area)
        bins, mean = self.cells(rows, columns)
        steps = shade_steps(mean)
        scored_bins = self._scored(bins)
        count = rows * columns
        targets = largest_bins(scored_bins, self.data.size, count)
        place = CellPlaces(
            bins=bins,
            targets=targets,
            columns=middles(columns, area.columns),
            rows=middles(rows, area.lines),
            rowwise=True,
        )
        least = _least_dotted(steps)
        cells = Cells(mean, steps, least)
        legend = self._legend(rows, steps)
        return Picture((cells,), legend, place)

    def _legend(self, rows: int, steps: Array) -> tuple[str, ...]:
        scale = shade_scale(steps, short)
        in_a_row = "one sequence"
        if rows < self.sequences:
            in_a_row = f"about {self.sequences / rows:.3g} sequences"
        return (
            f"mean |Δ| of a cell, nats, from: {scale} ({QUIET} less)",
            f"↓ sequence, {in_a_row} a row; → position",
            "blank: no score",
        )

    def table(self) -> Table:
        rows, columns = self.size_in(_TABLE)
        bins, mean = self.cells(rows, columns)
        is_empty = np.isnan(mean)
        filled = np.flatnonzero(~is_empty)
        row, column = np.divmod(filled, columns)
        first_sequence = _first_of(row, rows, self.sequences)
        first_position = _first_of(column, columns, self.longest)
        scored_bins = self._scored(bins)
        tokens = count_bins(scored_bins, rows * columns)
        return {
            "first_sequence": first_sequence,
            "first_position": first_position,
            "tokens": tokens[filled],
            "mean_abs_delta": mean.ravel()[filled],
        }


def _least_dotted(steps: Array) -> float:
    """The value from which a cell below the first step still gets a dot."""
    return float(steps[0]) / 2


def _first_of(cell: Array, cells: int, values: int) -> Array:
    """The first of ``values`` values that lies in each cell, of ``cells`` equal ones:
    cell * values / cells, rounded up.
    """
    return -(-cell * values // cells)
