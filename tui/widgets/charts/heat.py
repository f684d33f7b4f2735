"""All sequences at once: rows are sequences, columns positions, shades the mean |delta|
of a cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.chart_data import (
    count_bins,
    largest_bins,
    mean_bins,
    sequence_bins,
    shade_levels,
    shade_steps,
)
from logdrift.core.numbers import short
from logdrift.core.report import svg
from logdrift.tui.widgets.charts.base import Chart, Drawing, NothingToDraw
from logdrift.tui.widgets.charts.places import Grid, middles
from logdrift.tui.widgets.charts.plot import SHADES, Axes, Canvas

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.tui.widgets.charts.base import Table

    Array = npt.NDArray[Any]

_SVG = (60, 110)
"""Rows and columns at most."""
_TABLE = (1000, 200)
_QUIET = "·"


class HeatChart(Chart):
    """The heat map of the session."""

    title = "heat map"

    def prepare(self) -> None:
        offsets = self.data.offsets
        if not self.data.pair.scored.any():
            raise NothingToDraw("no token is scored on both sides")
        self.sequences = len(offsets) - 1
        self.longest = int(np.diff(offsets).max())

    def _cells(self, rows: int, columns: int) -> tuple[Array, Array]:
        """The cell of each token i32[N], and the mean |delta| of the cells, f64[rows,
        columns]: NaN without a score.
        """
        bins = sequence_bins(self.data.offsets, rows, columns, self.longest)
        return bins, mean_bins(bins, self.data.size, rows * columns).reshape(
            rows, columns
        )

    def _scored(self, bins: Array) -> Array:
        """The cells again, -1 for tokens without a score: the cursor may stand on such,
        but is never sent there.
        """
        return np.where(np.isnan(self.data.size), np.int32(-1), bins)

    def draw(self, width: int, height: int) -> Drawing:
        last = max(1, self.sequences - 1)
        ys = sorted({0, last // 2, last} if self.sequences > 1 else {0})
        xs = sorted({round(i * (self.longest - 1) / 4) for i in range(5)})
        # The y axis counts down: sequence 0 is on top, as in the list.
        axes = Axes(
            (0, max(1, self.longest - 1)),
            (-last, 0),
            [(x, str(x)) for x in xs],
            [(-y, f"{y}") for y in ys],
        )
        canvas = Canvas(axes, width, height)
        rows, columns = (
            min(canvas.lines, self.sequences),
            min(canvas.columns, self.longest),
        )
        bins, mean = self._cells(rows, columns)
        steps = shade_steps(mean)
        levels = shade_levels(mean, steps)
        for line in range(canvas.lines):
            row = line * rows // canvas.lines
            for column in range(canvas.columns):
                at = column * columns // canvas.columns
                if not np.isnan(mean[row, at]):
                    canvas.put(
                        column,
                        line,
                        SHADES[levels[row, at]] if levels[row, at] else _QUIET,
                    )
        targets = largest_bins(self._scored(bins), self.data.size, rows * columns)
        place = Grid(
            bins,
            targets,
            middles(columns, canvas.columns),
            middles(rows, canvas.lines),
            rowwise=True,
        )
        scale = " ".join(
            f"{SHADES[i + 1]} {short(float(step))}" for i, step in enumerate(steps)
        )
        each = (
            "one sequence"
            if rows == self.sequences
            else f"about {self.sequences / rows:.3g} sequences"
        )
        legend = [
            f"mean |Δ| of a cell, nats, from: {scale} ({_QUIET} less)",
            f"↓ sequence, {each} a row; → position",
            "blank: no score",
        ]
        return canvas.drawing(legend, place, shaded=True)

    def table(self) -> Table:
        rows, columns = min(_TABLE[0], self.sequences), min(_TABLE[1], self.longest)
        bins, mean = self._cells(rows, columns)
        cells = np.flatnonzero(~np.isnan(mean))
        row, column = cells // columns, cells % columns
        tokens = count_bins(self._scored(bins), rows * columns)[cells]
        return {
            "first_sequence": -(-row * self.sequences // rows),
            "first_position": -(-column * self.longest // columns),
            "tokens": tokens,
            "mean_abs_delta": mean.ravel()[cells],
        }

    def svg(self) -> str:
        rows, columns = min(_SVG[0], self.sequences), min(_SVG[1], self.longest)
        _, mean = self._cells(rows, columns)
        # Whole multiples of the smallest step, which `svg.heat` shades by their
        # logarithm.
        least = float(shade_steps(mean)[0]) / 2
        counts = np.nan_to_num(np.minimum(mean / least, 1e9)).astype(np.int64)[::-1]
        return svg.heat(
            counts,
            svg.Axis("position in the sequence", 0.0, float(max(1, self.longest))),
            _Downwards("sequence", -float(self.sequences), 0.0),
            title="|Δ| of all sequences over the position",
            description=(
                "Stronger colour: larger mean |delta| of the cell (log scale), from"
                f" {short(least)} nats on."
            ),
        )


class _Downwards(svg.Axis):
    """An axis whose values are written without their sign: 0 is on top."""

    __slots__ = ()

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        return [
            (value, text.removeprefix("-"))
            for value, text in svg.Axis.ticks(self, count)
        ]
