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
    return marks_svg(axes, picture.marks, chart.heading, chart.description)


def marks_svg(
    axes: m.Axes, marks: Sequence[m.Mark], title: str, description: str
) -> str:
    """The marks between the axes as an SVG element. Bars, histograms and maps fill a
    picture of their own, with the guides that belong to them.
    """
    guides = [(mark.x, mark.name) for mark in marks if isinstance(mark, m.Upright)]
    for mark in marks:
        if isinstance(mark, m.LabelledBars):
            return _bars(mark, axes, title, description)
        if isinstance(mark, m.Histogram):
            return _histogram(mark, guides, axes, title, description)
        if isinstance(mark, m.Cells):
            return _cells(mark, axes, title, description)
        if isinstance(mark, m.Dots):
            counts = mark.counts.astype(np.int64)[::-1]
            return _heat(counts, axes, title, description)
    return _lines(marks, guides, axes, title, description)


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
    guides: Sequence[tuple[float, str]],
    axes: m.Axes,
    title: str,
    description: str,
) -> str:
    """Bands, then levels and guides, then lines and stems."""
    x = _axis(axes.x)
    y = _axis(axes.y)
    bands = [_band(mark, x, y) for mark in marks if isinstance(mark, m.Range)]
    levels = [_level(mark, y) for mark in marks if isinstance(mark, m.Level)]
    body = [*bands, *levels, *uprights(x, guides)]
    for mark in marks:
        if isinstance(mark, m.Curve):
            path = line_path(x, y, mark.x, mark.y)
            body.append(f'<path class="cx-line" d="{path}"/>')
        elif isinstance(mark, m.Stems):
            body += _stems(mark, x, y)
    return frame(x, y, "".join(body), title, description)


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
    return line + text(right - 4, at - 4, mark.name, "cx-name cx-small", "end")


def _stems(mark: m.Stems, x: Axis, y: Axis) -> list[str]:
    zero = y.up(0.0)
    path = []
    dots = []
    for at, value in zip(mark.x.tolist(), mark.y.tolist(), strict=True):
        across = x.across(at)
        up = y.up(value)
        path.append(f"M{across:.1f} {zero:.1f}V{up:.1f}")
        dots.append(f'<circle class="cx-dot" cx="{across:.1f}" cy="{up:.1f}" r="2"/>')
    return [f'<path class="cx-line" d="{"".join(path)}"/>', *dots]


def _bars(mark: m.LabelledBars, axes: m.Axes, title: str, description: str) -> str:
    rows = [
        svg.SvgBar(bar.name, bar.value, bar.note, bar.dot)
        for bar in mark.bars
        if bar.value is not None
    ]
    return svg.bars(
        rows,
        title=title,
        description=description,
        label=axes.y.label,
    )


def _histogram(
    mark: m.Histogram,
    guides: Sequence[tuple[float, str]],
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
    multiples = np.minimum(mark.values / mark.least, _FAINTEST)
    counts = np.nan_to_num(multiples).astype(np.int64)[::-1]
    return _heat(counts, axes, title, description)


def _heat(counts: svg.Counts, axes: m.Axes, title: str, description: str) -> str:
    x = _axis(axes.x)
    y = _axis(axes.y)
    return svg.heat(counts, x, y, title=title, description=description)
