"""Making a chart and its picture, off the event loop: what is asked for, and what came
of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from logdrift.core.charts.registry import CHARTS
from logdrift.core.errors import words_of

if TYPE_CHECKING:
    from logdrift.core.charts.base import Chart
    from logdrift.core.charts.data import ChartSource, Reach
    from logdrift.core.charts.window import Window
    from logdrift.tui.widgets.charts.terminal import Drawing


@dataclass(frozen=True, eq=False)
class BuiltChart:
    """A chart that was made, or the line that says why not; and its picture."""

    chart: Chart | None
    drawing: Drawing | None
    problem: str = ""


@dataclass(frozen=True)
class ChartKey:
    """What a chart is made of: it is made again when one of these changes.

    ``data``, ``change`` and ``order`` are identities of objects. None: the chart does
    not depend on it.
    """

    kind: int
    reach: Reach
    data: int
    change: int | None = None
    order: int | None = None
    sequence: int | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class PictureKey:
    """A chart, or a part of it, in so many columns and rows."""

    chart: ChartKey
    size: tuple[int, int]
    window: Window | None = None


def chart_key(source: ChartSource, kind: int, reach: Reach) -> ChartKey:
    """What this chart of the source depends on."""
    entry = CHARTS[kind]
    key = ChartKey(kind, reach, id(source.data))
    if entry.of_change:
        key = replace(key, change=id(source.change))
    if entry.of_order:
        key = replace(key, order=id(source.order))
    if entry.of_threshold:
        key = replace(key, threshold=source.threshold)
    if reach == "one":
        key = replace(key, sequence=source.sequence)
    return key


def build(
    source: ChartSource,
    key: PictureKey,
    made: Chart | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> BuiltChart | None:
    """Reduce (unless ``made``) and draw one chart. Not for the event loop.

    None where ``cancelled`` returned True before the picture was drawn.
    """
    from logdrift.core.charts.data import NothingToDraw
    from logdrift.tui.widgets.charts.terminal import draw

    wanted = key.chart
    try:
        chart = made
        if chart is None:
            chart_class = CHARTS[wanted.kind].load()
            chart = chart_class(source, wanted.reach)
        if cancelled():
            return None
        part = part_of(chart, key.window)
        drawing = draw(part, *key.size)
        return BuiltChart(chart, drawing)
    except NothingToDraw as nothing:
        return BuiltChart(None, None, str(nothing))
    except Exception as error:
        words = f"no chart: {words_of(error)}"
        return BuiltChart(None, None, words)


def part_of(chart: Chart, window: Window | None) -> Chart:
    """The part of a chart that is looked at; all of one that has no parts."""
    from logdrift.core.charts.window import ZoomChart

    if window is not None and isinstance(chart, ZoomChart):
        return chart.within(window)
    return chart
