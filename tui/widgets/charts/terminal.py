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
_STEM = "│"
_STEM_END = "●"


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
    axis = plot.axes.x
    width = axis.high - axis.low
    last = max(1, plot.area.columns - 1)
    for column in range(plot.area.columns):
        value = axis.low + width * column / last
        plot.put(column, plot.row(value), m.QUIET, over=False)


def _band(plot: Plot, mark: m.Range) -> None:
    """Below what is drawn already; a column between two bins shows the nearer one."""
    nearest = _stretched(len(mark.x), plot.area.columns)
    lows = mark.low[nearest].tolist()
    highs = mark.high[nearest].tolist()
    for column, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if math.isnan(low):
            continue
        top = plot.row(high)
        bottom = plot.row(low)
        for row in range(top, bottom + 1):
            plot.put(column, row, m.BAND, over=False)


def _stems(plot: Plot, mark: m.Stems) -> None:
    for x, y in zip(mark.x.tolist(), mark.y.tolist(), strict=True):
        _stem(plot, plot.column(x), y)


def _stem(plot: Plot, column: int, y: float) -> None:
    """A line from 0 to ``y`` with a dot at its end, at least a row away from 0."""
    zero = plot.row(0)
    end = plot.row(y)
    if y > 0:
        end = min(end, zero - 1)
        rows = range(end, zero)
    else:
        end = max(end, zero + 1)
        rows = range(zero + 1, end + 1)
    for row in rows:
        plot.put(column, row, _STEM)
    plot.put(column, end, _STEM_END)


def _histogram(plot: Plot, mark: m.Histogram) -> None:
    counts = mark.above + mark.below if mark.one else mark.above
    bins = _stretched(len(counts), plot.area.columns)
    for column, count in enumerate(counts[bins].tolist()):
        height = plot.height(count)
        plot.bar(column, height, over=mark.one)


def _cells(plot: Plot, mark: m.Cells) -> None:
    levels = shade_levels(mark.values, mark.steps)
    rows = _stretched(levels.shape[0], plot.area.lines)
    columns = _stretched(levels.shape[1], plot.area.columns)
    stretched = np.ix_(rows, columns)
    empty = np.isnan(mark.values)[stretched]
    shades = levels[stretched]
    glyphs = (m.QUIET, *m.SHADES[1:])
    for row, column in np.argwhere(~empty).tolist():
        level = shades[row, column]
        plot.put(column, row, glyphs[level])


def _dots(plot: Plot, mark: m.Dots) -> None:
    area = plot.area
    shape = (area.lines, m.DOT_ROWS, area.columns, m.DOT_COLUMNS)
    dots = mark.counts.reshape(shape) > 0
    bits = dots * _DOTS[None, :, None, :]
    codes = bits.sum(axis=(1, 3))
    for row, column in np.argwhere(codes).tolist():
        code = int(codes[row, column])
        plot.put(column, row, chr(_BRAILLE + code))


def _bars(plot: Plot, mark: m.LabelledBars) -> None:
    """A bar as high as the highest dot fills the height."""
    highest = max(bar.dot or 0.0 for bar in mark.bars) or 1.0
    columns = plot.area.columns
    count = len(mark.bars)
    for index, bar in enumerate(mark.bars):
        if bar.value is None or bar.dot is None:
            continue
        left = index * columns // count
        right = (index + 1) * columns // count
        height = bar.value / highest
        dot_row = plot.row(bar.dot)
        _bar(plot, range(left, right), height, dot_row)
        _bar_value(plot, range(left, right), height, dot_row, short(bar.value))


def _bar(plot: Plot, columns: range, height: float, dot_row: int) -> None:
    """A bar, a column narrower than its place where that has more than one, and a dot
    in its middle.
    """
    left = columns.start
    right = columns.stop
    for column in range(left, max(left + 1, right - 1)):
        plot.bar(column, height)
    plot.put((left + right) // 2, dot_row, m.DOT)


def _bar_value(
    plot: Plot, columns: range, height: float, dot_row: int, text: str
) -> None:
    """The value of a bar as text above it, where there is room."""
    lines = plot.area.lines
    above = lines - 1 - math.ceil(height * lines)
    room = len(columns) - len(text)
    if room > 0 and above >= 0 and dot_row != above:
        plot.write(columns.start + room // 2, above, text)


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
