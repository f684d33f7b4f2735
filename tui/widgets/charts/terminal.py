"""Paints a chart of `logdrift.core.charts` in the cells of a terminal: one function for
each kind of mark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.charts import marks as m
from logdrift.core.charts.base import Chart
from logdrift.core.charts.reduce import shade_levels
from logdrift.core.numbers import short
from logdrift.tui.widgets.charts.plot import Plot

Array = npt.NDArray[Any]

_BRAILLE = 0x2800
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bits of the braille dots, by row and column of a cell."""
_STEM, _STEM_END = "│", "●"


@dataclass(frozen=True, eq=False)
class Drawing:
    """A painted chart: rows of text, and where the area between the axes lies, so that
    the cursor can be shown in it.

    ``legend`` are phrases, the most needed first. ``shaded``: `marks.SHADES` in the
    area are steps of one scale.
    """

    rows: tuple[str, ...]
    left: int
    top: int
    columns: int
    lines: int
    legend: tuple[str, ...]
    place: m.TokenPlaces | None = None
    shaded: bool = False


def draw(chart: Chart, width: int, height: int) -> Drawing:
    """The chart in ``width`` x ``height`` cells, axes included."""
    axes = chart.axes(width)
    empty = Plot(axes, width, height)
    picture = chart.picture(empty.area)
    plot = paint(axes, picture.marks, width, height, empty)
    return Drawing(
        rows=plot.rows,
        left=plot.left,
        top=plot.top,
        columns=plot.area.columns,
        lines=plot.area.lines,
        legend=picture.legend,
        place=picture.place,
        shaded=any(isinstance(mark, m.Cells) for mark in picture.marks),
    )


def paint(
    axes: m.Axes,
    marks: Sequence[m.Mark],
    width: int,
    height: int,
    empty: Plot | None = None,
) -> Plot:
    """The marks between the axes. ``empty``: the plot without marks, if it was made
    already.
    """
    curves = [curve for mark in marks for curve in _curves(mark)]
    plot = empty
    if curves or plot is None:
        plot = Plot(axes, width, height, curves)
    for mark in marks:
        painter = _PAINTERS.get(type(mark))
        if painter is not None:
            painter(plot, mark)
    return plot


def _curves(mark: m.Mark) -> list[m.Curve]:
    """The lines of a mark, which plotext draws."""
    if isinstance(mark, m.Curve):
        return [mark]
    if isinstance(mark, m.Histogram) and not mark.one:
        middles = np.sqrt(mark.edges[:-1] * mark.edges[1:])
        return [m.Curve(middles, mark.below)]
    return []


def _level(plot: Plot, mark: m.Level) -> None:
    plot.level(mark.y)


def _upright(plot: Plot, mark: m.Upright) -> None:
    plot.upright(mark.x, mark.letter)


def _diagonal(plot: Plot, mark: m.Diagonal) -> None:
    axis, last = plot.axes.x, max(1, plot.area.columns - 1)
    for column in range(plot.area.columns):
        value = axis.low + (axis.high - axis.low) * column / last
        plot.put(column, plot.row(value), m.QUIET, over=False)


def _band(plot: Plot, mark: m.Range) -> None:
    """Below what is drawn already; a column between two bins shows the nearer one."""
    nearest = _stretched(len(mark.x), plot.area.columns)
    for column, i in enumerate(nearest.tolist()):
        low, high = float(mark.low[i]), float(mark.high[i])
        if math.isnan(low):
            continue
        for row in range(plot.row(high), plot.row(low) + 1):
            plot.put(column, row, m.BAND, over=False)


def _stems(plot: Plot, mark: m.Stems) -> None:
    zero = plot.row(0)
    for x, y in zip(mark.x.tolist(), mark.y.tolist(), strict=True):
        column, row = plot.column(x), plot.row(y)
        if row == zero:
            row += -1 if y > 0 else 1
        for between in range(min(row, zero + 1), max(row, zero - 1) + 1):
            plot.put(column, between, _STEM)
        plot.put(column, row, _STEM_END)


def _histogram(plot: Plot, mark: m.Histogram) -> None:
    counts = mark.above + mark.below if mark.one else mark.above
    bins = _stretched(len(counts), plot.area.columns)
    for column, count in enumerate(counts[bins].tolist()):
        plot.bar(column, plot.height(count), over=mark.one)


def _cells(plot: Plot, mark: m.Cells) -> None:
    levels = shade_levels(mark.values, mark.steps)
    rows = _stretched(levels.shape[0], plot.area.lines)
    columns = _stretched(levels.shape[1], plot.area.columns)
    filled = ~np.isnan(mark.values)[np.ix_(rows, columns)]
    shades = levels[np.ix_(rows, columns)]
    for row, column in np.argwhere(filled).tolist():
        level = shades[row, column]
        plot.put(column, row, m.SHADES[level] if level else m.QUIET)


def _dots(plot: Plot, mark: m.Dots) -> None:
    area = plot.area
    shape = (area.lines, m.DOT_ROWS, area.columns, m.DOT_COLUMNS)
    dots = mark.counts.reshape(shape) > 0
    codes = (dots * _DOTS[None, :, None, :]).sum(axis=(1, 3))
    for row, column in np.argwhere(codes).tolist():
        plot.put(column, row, chr(_BRAILLE + int(codes[row, column])))


def _bars(plot: Plot, mark: m.LabelledBars) -> None:
    """A bar as high as the highest dot fills the height."""
    edges = np.arange(len(mark.bars) + 1) * plot.area.columns // len(mark.bars)
    highest = max(bar.dot or 0.0 for bar in mark.bars) or 1.0
    for bar, left, right in zip(mark.bars, edges[:-1], edges[1:], strict=True):
        if bar.value is not None and bar.dot is not None:
            height, dot_row = bar.value / highest, plot.row(bar.dot)
            _bar(plot, height, dot_row, short(bar.value), (int(left), int(right)))


def _bar(
    plot: Plot, height: float, dot_row: int, text: str, ends: tuple[int, int]
) -> None:
    """A bar with a dot, and its value above it where there is room; ``ends`` are its
    columns.
    """
    left, right = ends
    for column in range(left, max(left + 1, right - 1)):
        plot.bar(column, height)
    plot.put((left + right) // 2, dot_row, m.DOT)
    above = plot.area.lines - 1 - math.ceil(height * plot.area.lines)
    if len(text) < right - left and above >= 0 and dot_row != above:
        plot.write(left + (right - left - len(text)) // 2, above, text)


def _stretched(bins: int, cells: int) -> Array:
    """The bin that each of ``cells`` cells shows, i64[cells]."""
    return np.arange(cells) * bins // cells


_PAINTERS: dict[type, Callable[[Plot, Any], None]] = {
    m.Level: _level,
    m.Upright: _upright,
    m.Diagonal: _diagonal,
    m.Range: _band,
    m.Stems: _stems,
    m.Histogram: _histogram,
    m.Cells: _cells,
    m.Dots: _dots,
    m.LabelledBars: _bars,
}
"""By kind of mark; curves are drawn by plotext."""
