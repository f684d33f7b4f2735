"""Both log-probabilities against each other: as dots, and as a density."""

from __future__ import annotations

import math

import numpy as np

from logdrift.core.charts.along import beyond_words
from logdrift.core.charts.base import Array, Table
from logdrift.core.charts.marks import (
    DOT_COLUMNS,
    DOT_ROWS,
    Area,
    Axes,
    Cells,
    ChartAxis,
    Diagonal,
    Dots,
    Mark,
    Picture,
    shade_scale,
    value_ticks,
)
from logdrift.core.charts.places import cell_places
from logdrift.core.charts.reduce import (
    count_bins,
    count_steps,
    join_bins,
    largest_bins,
    linear_bins,
    sign_levels,
)
from logdrift.core.charts.tokens import PossibleChart

_FINE = 72
"""Rows and columns of a table, and of an SVG."""


class LogprobChart(PossibleChart):
    """log p A to the right, log p B upwards, both from the same lowest value to 0."""

    def prepare(self) -> None:
        super().prepare()
        lowest_a = np.nanmin(self.a)
        lowest_b = np.nanmin(self.b)
        lowest = min(lowest_a, lowest_b, -0.1)
        self.low = float(lowest)

    @property
    def heading(self) -> str:
        return f"log p_A against log p_B, {self.what}"

    @property
    def description(self) -> str:
        return "A dot for each token. On the dashed diagonal both sides agree."

    def axes(self, width: int) -> Axes:
        low = self.low
        ticks = value_ticks(low, low / 2, 0.0)
        return Axes(
            ChartAxis("log p_A, nats", low, 0.0, ticks),
            ChartAxis("log p_B, nats", low, 0.0, ticks),
        )

    def bins(self, columns: int, rows: int) -> Array:
        """The cell of each token, from the upper left, i32[n]; -1 for none."""
        low = self.low
        across = linear_bins(self.a, low, 0.0, columns)
        up = linear_bins(self.b, low, 0.0, rows)
        from_top = rows - 1 - up
        inside = up >= 0
        down = np.where(inside, from_top, -1)
        row = down.astype(np.int32)
        return join_bins(row, across, columns)

    def counts(self, columns: int, rows: int) -> Array:
        """Tokens in each cell, i64[rows, columns], row 0 on top."""
        bins = self.bins(columns, rows)
        counts = count_bins(bins, columns * rows)
        return counts.reshape(rows, columns)

    def pictured(self, mark: Mark, legend: list[str], area: Area) -> Picture:
        """The mark, the diagonal, and where tokens lie."""
        legend = [*legend, *self.hidden_words]
        bins = self.bins(area.columns, area.lines)
        place = cell_places(bins, self.size, area, self.start)
        return Picture(
            marks=(mark, Diagonal()),
            legend=tuple(legend),
            place=place,
        )


class ScatterChart(LogprobChart):
    """One dot for each token."""

    detail = Area(_FINE // DOT_COLUMNS, _FINE // DOT_ROWS)

    def picture(self, area: Area) -> Picture:
        columns = area.columns * DOT_COLUMNS
        rows = area.lines * DOT_ROWS
        bins = self.bins(columns, rows)
        threshold = self.source.threshold
        dots = dots_of(bins, self.delta, threshold, Area(columns, rows))
        legend = [
            "→ log p A, ↑ log p B, nats; on the dotted diagonal both agree",
            beyond_words(self.delta, threshold),
            self.reach_words,
        ]
        return self.pictured(dots, legend, area)


class DensityChart(LogprobChart):
    """How many tokens lie in each cell."""

    detail = Area(_FINE, _FINE)

    @property
    def description(self) -> str:
        return (
            "Stronger colour: more tokens (log scale). On the dashed diagonal both"
            " sides agree."
        )

    def picture(self, area: Area) -> Picture:
        counts = self.counts(area.columns, area.lines)
        steps = count_steps(counts)
        scale = shade_scale(steps, _whole)
        legend = [
            "→ log p A, ↑ log p B, nats",
            f"tokens in a cell, from: {scale}",
            self.reach_words,
        ]
        filled = np.where(counts, counts, np.nan)
        cells = Cells(filled, steps, least=1.0)
        return self.pictured(cells, legend, area)

    def table(self) -> Table:
        """The counts of a grid, cells without tokens left out."""
        from_top = self.counts(_FINE, _FINE)
        counts = from_top[::-1]
        rows, columns = np.nonzero(counts)
        middles = np.arange(_FINE) + 0.5
        from_low = middles * self.low / _FINE
        middle = self.low - from_low
        return {
            "logprob_a": middle[columns],
            "logprob_b": middle[rows],
            "tokens": counts[rows, columns],
        }


def dots_of(bins: Array, delta: Array, threshold: float, area: Area) -> Dots:
    """Tokens in the places of an area, ``bins`` i32[n] from the upper left, each place
    in the step of its largest ``delta`` f[n].
    """
    places = area.columns * area.lines
    counts = count_bins(bins, places)
    largest = largest_bins(bins, np.abs(delta), places)
    levels = sign_levels(delta[largest], threshold)
    shown = np.where(largest >= 0, levels, 0)
    shape = (area.lines, area.columns)
    return Dots(counts.reshape(shape), shown.reshape(shape))


def _whole(count: float) -> str:
    """Rounded up: a cell holds whole tokens."""
    return f"{math.ceil(count):,}"
