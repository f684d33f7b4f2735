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
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    AxisMark,
    band_path,
    frame,
    line_path,
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
            return _cells(mark, axes, title, description)
        if isinstance(mark, m.Dots):
            counts = _from_bottom(mark.counts)
            return _heat(counts, axes, title, description)
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
    """Bands, then levels and guides, then lines and stems."""
    x = _axis(axes.x)
    y = _axis(axes.y)
    bands = []
    levels = []
    curves: list[str] = []
    for mark in marks:
        if isinstance(mark, m.Range):
            bands.append(_band(mark, x, y))
        elif isinstance(mark, m.Level):
            levels.append(_level(mark, y))
        elif isinstance(mark, m.Curve):
            path = line_path(x, y, mark.x, mark.y)
            curves.append(f'<path class="cx-line" d="{path}"/>')
        elif isinstance(mark, m.Stems):
            curves += _stems(mark, x, y)
    upright_lines = uprights(x, guides)
    body = [*bands, *levels, *upright_lines, *curves]
    shapes = "".join(body)
    return frame(x, y, shapes, title, description)


def _band(mark: m.Range, x: Axis, y: Axis) -> str:
    path = band_path(x, y, mark.x, mark.low, mark.high)
    return f'<path class="cx-band" d="{path}"/>'


def _level(mark: m.Level, y: Axis) -> str:
    at = y.up(mark.y)
    right = WIDTH - RIGHT
    style = "cx-mark" if mark.y else "cx-axis"
    line = f'<path class="{style}" d="M{LEFT} {at:.1f}H{right}"/>'
    if not mark.name:
        return line
    name_x = right - 4
    name = text(name_x, at - 4, mark.name, "cx-name cx-small", "end")
    return line + name


def _stems(mark: m.Stems, x: Axis, y: Axis) -> list[str]:
    zero = y.up(0.0)
    path = []
    dots = []
    positions = mark.x.tolist()
    values = mark.y.tolist()
    places = zip(positions, values, strict=True)
    for at, value in places:
        across = x.across(at)
        up = y.up(value)
        path.append(f"M{across:.1f} {zero:.1f}V{up:.1f}")
        dots.append(f'<circle class="cx-dot" cx="{across:.1f}" cy="{up:.1f}" r="2"/>')
    return [f'<path class="cx-line" d="{"".join(path)}"/>', *dots]


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


def _cells(mark: m.Cells, axes: m.Axes, title: str, description: str) -> str:
    # Whole multiples of the least value, which `svg.heat` shades by their logarithm.
    multiples = mark.values / mark.least
    drawable = np.minimum(multiples, _FAINTEST)
    counts = _from_bottom(np.nan_to_num(drawable))
    return _heat(counts, axes, title, description)


def _heat(counts: svg.Counts, axes: m.Axes, title: str, description: str) -> str:
    x = _axis(axes.x)
    y = _axis(axes.y)
    return svg.heat(counts, x, y, title=title, description=description)
