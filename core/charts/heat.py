"""All sequences at once: rows are sequences, columns positions, shades the mean |delta|
of a cell.
"""

from __future__ import annotations

import numpy as np

from logdrift.core.charts.base import Array, Chart, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.marks import (
    QUIET,
    SHADES,
    Area,
    Axes,
    Cells,
    ChartAxis,
    Picture,
)
from logdrift.core.charts.places import CellPlaces, middles
from logdrift.core.charts.reduce import (
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
        if not self.data.pair.scored.any():
            raise NothingToDraw("no token is scored on both sides")
        self.sequences = len(offsets) - 1
        self.longest = int(np.diff(offsets).max())

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
        return min(area.lines, self.sequences), min(area.columns, self.longest)

    def cells(self, rows: int, columns: int) -> tuple[Array, Array]:
        """The cell of each token i32[N], and the mean |delta| of the cells, f64[rows,
        columns]: NaN without a score.
        """
        bins = sequence_bins(self.data.offsets, rows, columns, self.longest)
        mean = mean_bins(bins, self.data.size, rows * columns)
        return bins, mean.reshape(rows, columns)

    def _least(self, area: Area) -> float:
        _, mean = self.cells(*self.size_in(area))
        return float(shade_steps(mean)[0]) / 2

    def _scored(self, bins: Array) -> Array:
        """The cells again, -1 for tokens without a score: the cursor may stand on such,
        but is never sent there.
        """
        return np.where(np.isnan(self.data.size), np.int32(-1), bins)

    def axes(self, width: int) -> Axes:
        last = max(1, self.sequences - 1)
        if self.sequences > 1:
            rows = {0, last // 2, last}
        else:
            rows = {0}
        columns = {round(i * (self.longest - 1) / 4) for i in range(5)}
        # The y axis counts down: sequence 0 is on top, as in the list.
        return Axes(
            ChartAxis(
                "position in the sequence",
                low=0,
                high=max(1, self.longest - 1),
                ticks=[(column, str(column)) for column in sorted(columns)],
            ),
            ChartAxis(
                "sequence",
                low=-last,
                high=0,
                ticks=[(-row, str(row)) for row in sorted(rows)],
                unsigned=True,
            ),
        )

    def picture(self, area: Area) -> Picture:
        rows, columns = self.size_in(area)
        bins, mean = self.cells(rows, columns)
        steps = shade_steps(mean)
        targets = largest_bins(self._scored(bins), self.data.size, rows * columns)
        place = CellPlaces(
            bins=bins,
            targets=targets,
            columns=middles(columns, area.columns),
            rows=middles(rows, area.lines),
            rowwise=True,
        )
        cells = Cells(mean, steps, least=float(steps[0]) / 2)
        return Picture((cells,), self._legend(rows, steps), place)

    def _legend(self, rows: int, steps: Array) -> tuple[str, ...]:
        scale = " ".join(
            f"{shade} {short(float(step))}"
            for shade, step in zip(SHADES[1:], steps, strict=True)
        )
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
        cells = np.flatnonzero(~np.isnan(mean))
        row = cells // columns
        column = cells % columns
        tokens = count_bins(self._scored(bins), rows * columns)
        return {
            "first_sequence": -(-row * self.sequences // rows),
            "first_position": -(-column * self.longest // columns),
            "tokens": tokens[cells],
            "mean_abs_delta": mean.ravel()[cells],
        }
