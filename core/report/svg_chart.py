"""Paints a chart of `logdrift.core.charts` as SVG, for files and for the HTML
report.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from logdrift.core.charts import marks as m
from logdrift.core.charts.base import Chart
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


def chart_svg(chart: Chart) -> str:
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
    guides = [_guide(mark) for mark in marks if isinstance(mark, m.Upright)]
    for mark in marks:
        if isinstance(mark, m.LabelledBars):
            return _bars(mark, axes, title, description)
        if isinstance(mark, m.Histogram):
            return _histogram(mark, guides, axes, title, description)
        if isinstance(mark, m.Cells):
            below = uprights(_axis(axes.x), guides)
            diagonals = [
                svg.diagonal(_axis(axes.x), _axis(axes.y))
                for other in marks
                if isinstance(other, m.Diagonal)
            ]
            return _cells(mark, [*diagonals, *below], axes, title, description)
    return _lines(marks, guides, axes, title, description)


def _guide(mark: m.Upright) -> AxisMark:
    return mark.x, mark.name


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


def _lines(
    marks: Sequence[m.Mark],
    guides: Sequence[AxisMark],
    axes: m.Axes,
    title: str,
    description: str,
) -> str:
    """Bands and levels, then lines, dots and stems, then guides and names."""
    x = _axis(axes.x)
    y = _axis(axes.y)
    bands = []
    levels: list[m.Level] = []
    curves: list[str] = []
    for mark in marks:
        if isinstance(mark, m.Range):
            bands.append(_band(mark, x, y))
        elif isinstance(mark, m.Level):
            levels.append(mark)
        elif isinstance(mark, m.Diagonal):
            curves.append(svg.diagonal(x, y))
        elif isinstance(mark, m.Dots):
            curves += _dots(mark, x, y)
        elif isinstance(mark, m.Curve):
            path = line_path(x, y, mark.x, mark.y)
            curves.append(f'<path class="cx-line" d="{path}"/>')
        elif isinstance(mark, m.Stems):
            curves += _stems(mark, x, y)
    upright_lines = uprights(x, guides)
    lines = [_level(level, y) for level in levels]
    names = _level_names(levels, y)
    body = [*bands, *lines, *curves, *upright_lines, *names]
    shapes = "".join(body)
    return frame(x, y, shapes, title, description)


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
        is_near = any(at - place < _NAME_HEIGHT for place in above)
        words_y = at + _NAME_HEIGHT if is_near else at - 4
        names.append(text(LEFT + 4, words_y, level.name, "cx-name cx-small"))
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
        shapes.append(_ink("cx-stem", level, "".join(lines)))
        shapes.append(_ink("cx-point", level, "".join(dots)))
    return shapes


def _dots(mark: m.Dots, x: Axis, y: Axis) -> list[str]:
    """A point in the middle of each place with tokens."""
    rows, columns = mark.counts.shape
    across = _middles(columns, LEFT, WIDTH - RIGHT)
    down = _middles(rows, TOP, HEIGHT - BOTTOM)
    shapes = []
    for level in _painted_levels(mark.levels):
        is_of_level = (mark.levels == level) & (mark.counts > 0)
        places = np.argwhere(is_of_level).tolist()
        points = [f"M{across[column]:.1f} {down[row]:.1f}h0" for row, column in places]
        shapes.append(_ink("cx-point", level, "".join(points)))
    return shapes


def _middles(cells: int, start: float, stop: float) -> list[float]:
    """The middles of so many equal cells between two pixels."""
    width = (stop - start) / cells
    return [start + (cell + 0.5) * width for cell in range(cells)]


def _painted_levels(levels: m.Array) -> list[int]:
    """The levels that occur, the largest ones last, on top of the others."""
    return sorted(set(levels.ravel().tolist()), key=abs)


def _ink(shape: str, level: int, path: str) -> str:
    """A path in the colour of a level: stronger for a larger one."""
    if not path:
        return ""
    side = "cx-within"
    if level > 0:
        side = "cx-a"
    elif level < 0:
        side = "cx-b"
    opacity = 0.6 + 0.1 * abs(level)
    return f'<path class="{shape} {side}" stroke-opacity="{opacity:.1f}" d="{path}"/>'


def _bars(mark: m.LabelledBars, axes: m.Axes, title: str, description: str) -> str:
    rows = [_bar(bar) for bar in mark.bars if bar.value is not None]
    return svg.bars(
        rows,
        title=title,
        description=description,
        label=axes.y.label,
    )


def _bar(bar: m.LabelledBar) -> svg.SvgBar:
    return svg.SvgBar(bar.name, bar.value, bar.note, bar.dot)


def _histogram(
    mark: m.Histogram,
    guides: Sequence[AxisMark],
    axes: m.Axes,
    title: str,
    description: str,
) -> str:
    return svg.histogram(
        mark.edges,
        mark.above.astype(np.float64),
        mark.below.astype(np.float64),
        title=title,
        description=description,
        x_label=axes.x.label,
        y_label=axes.y.label,
        names=mark.names,
        marks=guides,
    )


def _cells(
    mark: m.Cells,
    below: Sequence[str],
    axes: m.Axes,
    title: str,
    description: str,
) -> str:
    # Whole multiples of the least value, which `svg.heat` shades by their logarithm.
    multiples = mark.values / mark.least
    drawable = np.minimum(multiples, _FAINTEST)
    counts = _from_bottom(np.nan_to_num(drawable))
    x = _axis(axes.x)
    y = _axis(axes.y)
    shapes = "".join(below)
    return svg.heat(counts, x, y, title=title, description=description, below=shapes)
