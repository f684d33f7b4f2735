"""Paints a chart of `logdrift.core.charts` as SVG, for files and for the HTML
report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from logdrift.core.charts import marks as m
from logdrift.core.charts.base import Drawable
from logdrift.core.report import svg
from logdrift.core.report.svg_parts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    AxisMark,
    band_path,
    frame,
    line_path,
    point,
    text,
    uprights,
)

_WIDTH = 110
"""Columns of a terminal that axes are asked for."""
_FAINTEST = 1e9
"""Largest multiple of a cell's least value: beyond it, colours are the same."""


def chart_svg(chart: Drawable) -> str:
    """The chart as an SVG element."""
    axes = chart.axes(_WIDTH)
    picture = chart.picture(chart.detail)
    marks = picture.marks
    return marks_svg(axes, marks, chart.heading, chart.description)


def marks_svg(
    axes: m.Axes, marks: Sequence[m.Mark], title: str, description: str
) -> str:
    """The marks between the axes as an SVG element. Bars, histograms and maps fill a
    picture of their own, with the guides that belong to them.
    """
    figure = _Figure(axes, marks, title, description)
    for mark in marks:
        if isinstance(mark, m.LabelledBars):
            return _bars(mark, figure)
        if isinstance(mark, m.Histogram):
            return _histogram(mark, figure)
        if isinstance(mark, m.Cells):
            return _cells(mark, figure)
    return _lines(figure)


@dataclass(frozen=True, slots=True)
class _Figure:
    """All that is drawn: ``marks`` between the axes, and the words that name it."""

    axes: m.Axes
    marks: Sequence[m.Mark]
    title: str
    description: str

    @property
    def x(self) -> Axis:
        return _axis(self.axes.x)

    @property
    def y(self) -> Axis:
        return _axis(self.axes.y)

    def guides(self) -> list[AxisMark]:
        """The upright marks, with their names."""
        guides = []
        for mark in self.marks:
            if isinstance(mark, m.Upright):
                guides.append((mark.x, mark.name))
        return guides

    def upright_lines(self) -> list[str]:
        lines = uprights(self.x, self.guides())
        return list(lines)

    def diagonals(self) -> list[str]:
        diagonals = []
        for mark in self.marks:
            if isinstance(mark, m.Diagonal):
                diagonals.append(svg.diagonal(self.x, self.y))
        return diagonals


def _from_bottom(counts: m.Array) -> svg.Counts:
    """Whole counts of a grid, the lowest row first."""
    whole = counts.astype(np.int64)
    return whole[::-1]


def _axis(axis: m.ChartAxis) -> Axis:
    return Axis(
        label=axis.label,
        low=axis.low,
        high=axis.high,
        log=axis.scale == "log",
        unsigned=axis.unsigned,
    )


def _lines(figure: _Figure) -> str:
    """Bands and levels, then lines, dots and stems, then guides and names."""
    x = figure.x
    y = figure.y
    bands = []
    levels: list[m.Level] = []
    curves: list[str] = []
    for mark in figure.marks:
        if isinstance(mark, m.Range):
            bands.append(_band(mark, x, y))
        elif isinstance(mark, m.Level):
            levels.append(mark)
        elif isinstance(mark, m.Diagonal):
            curves.append(svg.diagonal(x, y))
        elif isinstance(mark, m.Dots):
            curves += _dots(mark, x, y)
        elif isinstance(mark, m.Curve):
            curves.append(_curve(mark, x, y))
        elif isinstance(mark, m.Stems):
            curves += _stems(mark, x, y)
    lines = [_level(level, y) for level in levels]
    names = _level_names(levels, y)
    below = bands + lines
    above = figure.upright_lines() + names
    shapes = "".join(below + curves + above)
    return frame(x, y, shapes, figure.title, figure.description)


def _curve(mark: m.Curve, x: Axis, y: Axis) -> str:
    path = line_path(x, y, mark.x, mark.y)
    return f'<path class="cx-line" d="{path}"/>'


def _band(mark: m.Range, x: Axis, y: Axis) -> str:
    path = band_path(x, y, mark.x, mark.low, mark.high)
    return f'<path class="cx-band" d="{path}"/>'


_NAME_HEIGHT = 12
"""Pixels that the name of a level takes."""


def _level(level: m.Level, y: Axis) -> str:
    """A line across."""
    at = y.up(level.y)
    right = WIDTH - RIGHT
    style = "cx-mark" if level.y else "cx-axis"
    return f'<path class="{style}" d="M{LEFT} {at:.1f}H{right}"/>'


def _level_names(levels: Sequence[m.Level], y: Axis) -> list[str]:
    """At the left, each above its line; below it where another line is too near."""
    named = [level for level in levels if level.name]
    names = []
    for level in named:
        at = y.up(level.y)
        above = [y.up(other.y) for other in named if other.y > level.y]
        name_x = LEFT + 4
        name_y = at - 4
        is_near = [at - place < _NAME_HEIGHT for place in above]
        if any(is_near):
            name_y = at + _NAME_HEIGHT
        name = text(name_x, name_y, level.name, "cx-name cx-small")
        names.append(name)
    return names


def _stems(mark: m.Stems, x: Axis, y: Axis) -> list[str]:
    """A line from 0 to each value and a dot at its end, in the colour of its level."""
    zero = y.up(0.0)
    shapes = []
    for level in _painted_levels(mark.levels):
        is_of_level = mark.levels == level
        lines = []
        dots = []
        positions = mark.x[is_of_level].tolist()
        values = mark.y[is_of_level].tolist()
        for at, value in zip(positions, values, strict=True):
            place = point(x, y, at, value)
            across, _, up = place.partition(" ")
            lines.append(f"M{across} {zero:.1f}V{up}")
            dots.append(f"M{place}h0")
        stems = "".join(lines)
        points = "".join(dots)
        shapes.append(_ink("cx-stem", level, stems))
        shapes.append(_ink("cx-point", level, points))
    return shapes


def _dots(mark: m.Dots, x: Axis, y: Axis) -> list[str]:
    """A point in the middle of each place with tokens."""
    rows, columns = mark.counts.shape
    right = WIDTH - RIGHT
    bottom = HEIGHT - BOTTOM
    across = _middles(columns, LEFT, right)
    down = _middles(rows, TOP, bottom)
    shapes = []
    for level in _painted_levels(mark.levels):
        is_of_level = mark.levels == level
        has_tokens = mark.counts > 0
        places = np.argwhere(is_of_level & has_tokens)
        points = []
        for row, column in places.tolist():
            points.append(f"M{across[column]:.1f} {down[row]:.1f}h0")
        path = "".join(points)
        shapes.append(_ink("cx-point", level, path))
    return shapes


def _middles(cells: int, start: float, stop: float) -> list[float]:
    """The middles of so many equal cells between two pixels."""
    width = (stop - start) / cells
    middles = []
    for cell in range(cells):
        from_start = (cell + 0.5) * width
        middles.append(start + from_start)
    return middles


def _painted_levels(levels: m.Array) -> list[int]:
    """The levels that occur, the largest ones last, on top of the others."""
    in_places = levels.ravel().tolist()
    occurring = set(in_places)
    return sorted(occurring, key=abs)


def _ink(shape: str, level: int, path: str) -> str:
    """A path in the colour of a level: stronger for a larger one."""
    if not path:
        return ""
    side = "cx-within"
    if level > 0:
        side = "cx-a"
    elif level < 0:
        side = "cx-b"
    size = abs(level)
    opacity = 0.6 + 0.1 * size
    return f'<path class="{shape} {side}" stroke-opacity="{opacity:.1f}" d="{path}"/>'


def _bars(mark: m.LabelledBars, figure: _Figure) -> str:
    rows = [_bar(bar) for bar in mark.bars if bar.value is not None]
    return svg.bars(
        rows,
        title=figure.title,
        description=figure.description,
        label=figure.axes.y.label,
    )


def _bar(bar: m.LabelledBar) -> svg.SvgBar:
    return svg.SvgBar(bar.name, bar.value, bar.note, bar.dot)


def _histogram(mark: m.Histogram, figure: _Figure) -> str:
    above = mark.above.astype(np.float64)
    below = mark.below.astype(np.float64)
    return svg.histogram(
        mark.edges,
        above,
        below,
        title=figure.title,
        description=figure.description,
        x_label=figure.axes.x.label,
        y_label=figure.axes.y.label,
        names=mark.names,
        marks=figure.guides(),
    )


def _cells(mark: m.Cells, figure: _Figure) -> str:
    # Whole multiples of the least value, which `svg.heat` shades by their logarithm.
    multiples = mark.values / mark.least
    drawable = np.minimum(multiples, _FAINTEST)
    numbers = np.nan_to_num(drawable)
    counts = _from_bottom(numbers)
    lines = figure.diagonals() + figure.upright_lines()
    return svg.heat(
        counts,
        figure.x,
        figure.y,
        title=figure.title,
        description=figure.description,
        below="".join(lines),
    )
