"""Paints a chart of `logdrift.core.charts` as SVG, for files and for the HTML report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from logdrift.core.charts import marks as m
from logdrift.core.charts.base import Chart
from logdrift.core.report import svg

_WIDTH = 110
"""Columns of a terminal that axes are asked for."""
_FAINTEST = 1e9
"""Multiples of the least value of a cell that are told apart at most."""


def chart_svg(chart: Chart) -> str:
    """The chart as an SVG element."""
    axes, picture = chart.axes(_WIDTH), chart.picture(chart.detail)
    return marks_svg(axes, picture.marks, chart.heading, chart.description)


def marks_svg(
    axes: m.Axes, marks: Sequence[m.Mark], title: str, description: str
) -> str:
    """The marks between the axes as an SVG element. Bars, histograms and maps fill a
    picture of their own, with the guides that belong to them.
    """
    guides = [(mark.x, mark.name) for mark in marks if isinstance(mark, m.Upright)]
    for mark in marks:
        if isinstance(mark, m.Bars):
            return _bars(mark, axes, title, description)
        if isinstance(mark, m.Histogram):
            return _histogram(mark, guides, axes, title, description)
        if isinstance(mark, m.Cells):
            return _cells(mark, axes, title, description)
        if isinstance(mark, m.Dots):
            counts = mark.counts.astype(np.int64)[::-1]
            return _heat(counts, axes, title, description)
    return svg.lines(_axis(axes.x), _axis(axes.y), marks, title, description)


def _axis(axis: m.ChartAxis) -> svg.Axis:
    log = axis.scale == "log"
    return svg.Axis(axis.label, axis.low, axis.high, log, unsigned=axis.unsigned)


def _bars(mark: m.Bars, axes: m.Axes, title: str, description: str) -> str:
    filled = [bar for bar in mark.bars if bar.value is not None]
    return svg.bars(
        [(bar.name, bar.value, bar.note) for bar in filled],
        title=title,
        description=description,
        label=axes.y.label,
        dots=[bar.dot for bar in filled],
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
    x, y = _axis(axes.x), _axis(axes.y)
    return svg.heat(counts, x, y, title=title, description=description)
