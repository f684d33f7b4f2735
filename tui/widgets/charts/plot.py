"""The only module that knows plotext, which draws on one global figure: every call
holds a lock.

Plotext makes frame, ticks and lines. Bars, shades and guide lines are cells that are
put between its axes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

from logdrift.core.charts.marks import Area, Axes, ChartAxis, Curve

_LOCK = threading.Lock()
_H_LINE = "╌"
_V_LINE = "┆"
_EIGHTHS = " ▁▂▃▄▅▆▇█"


class Plot:
    """A frame of ``width`` x ``height`` cells; between its axes ``area`` cells from
    (``left``, ``top``) on.
    """

    def __init__(
        self, axes: Axes, width: int, height: int, curves: Sequence[Curve] = ()
    ) -> None:
        self.axes = axes
        rows = _plotext(axes, width, height, curves)
        self.cells = [list(row.ljust(width)) for row in rows]
        frame_top = _row_with("┌", self.cells)
        frame_bottom = _row_with("└", self.cells)
        corners = self.cells[frame_top]
        self.left = corners.index("┌") + 1
        self.top = frame_top + 1
        self.area = Area(
            columns=corners.index("┐") - self.left, lines=frame_bottom - self.top
        )

    @property
    def rows(self) -> tuple[str, ...]:
        """The cells as text, without blanks at the end of a row."""
        return tuple("".join(row).rstrip() for row in self.cells)

    def column(self, x: float) -> int:
        """The column of a value, as plotext places it; outside of the area for a value
        outside of the axis.
        """
        last = self.area.columns - 1
        return math.floor(_share(self.axes.x, x) * last + 0.5)

    def row(self, y: float) -> int:
        """The row of a value, from the top."""
        last = self.area.lines - 1
        from_bottom = round(_share(self.axes.y, y) * last)
        return last - from_bottom

    def height(self, y: float) -> float:
        """The height of a bar to a value, as a share of the area: 0 to 1."""
        share = _share(self.axes.y, y)
        return min(1.0, max(0.0, share))

    def put(self, column: int, row: int, char: str, *, over: bool = True) -> None:
        """Put a character between the axes; without ``over`` only into an empty
        cell.
        """
        if not self._has_column(column) or not 0 <= row < self.area.lines:
            return
        line = self.cells[self.top + row]
        x = self.left + column
        if over or line[x] == " ":
            line[x] = char

    def _has_column(self, column: int) -> bool:
        return 0 <= column < self.area.columns

    def write(self, column: int, row: int, text: str) -> None:
        """Text from a cell on."""
        for offset, char in enumerate(text):
            self.put(column + offset, row, char)

    def level(self, y: float) -> None:
        """A guide line across, below all else."""
        row = self.row(y)
        for column in range(self.area.columns):
            self.put(column, row, _H_LINE, over=False)

    def upright(self, x: float, letter: str = "") -> None:
        """A guide line up, below all else; its letter stands in the frame above it."""
        column = self.column(x)
        for row in range(self.area.lines):
            self.put(column, row, _V_LINE, over=False)
        if letter and self._has_column(column):
            frame = self.cells[self.top - 1]
            frame[self.left + column] = letter

    def bar(self, column: int, height: float, *, over: bool = True) -> None:
        """A bar of a `height` in one column, at least an eighth of a cell high; none
        for a height of 0.
        """
        if height <= 0:
            return
        lines = self.area.lines
        left = max(1, round(height * lines * 8))
        row = lines - 1
        while left > 0 and row >= 0:
            self.put(column, row, _EIGHTHS[min(8, left)], over=over)
            left -= 8
            row -= 1


def _row_with(char: str, cells: Sequence[Sequence[str]]) -> int:
    """The first row that holds a character."""
    return next(y for y, row in enumerate(cells) if char in row)


def _share(axis: ChartAxis, value: float) -> float:
    """How far along the axis a value lies: 0 at its low end, 1 at its high end."""
    low, high = axis.ends
    return (axis.at(value) - low) / (high - low)


def _plotext(axes: Axes, width: int, height: int, curves: Sequence[Curve]) -> list[str]:
    """The rows of a plot with frame, ticks and curves."""
    import plotext

    plt: Any = plotext
    with _LOCK:
        plt.clear_figure()
        plt.theme("clear")
        # Else it is cut to the terminal of stdout, which need not be ours.
        plt.limit_size(False, False)
        plt.plotsize(width, height)
        plt.xlim(*axes.x.ends)
        plt.ylim(*axes.y.ends)
        _plot_curves(plt, axes, curves)
        plt.xticks(_tick_places(axes.x), _tick_texts(axes.x))
        plt.yticks(_tick_places(axes.y), _tick_texts(axes.y))
        text = plt.uncolorize(plt.build())
        plt.clear_figure()
    return str(text).rstrip("\n").split("\n")


def _plot_curves(plt: Any, axes: Axes, curves: Sequence[Curve]) -> None:
    drawn = [curve for curve in curves if len(curve.x)]
    for curve in drawn:
        x = [axes.x.at(value) for value in curve.x.tolist()]
        y = [axes.y.at(value) for value in curve.y.tolist()]
        plt.plot(x, y, marker="braille")
    if not drawn:
        # Without data plotext draws no ticks.
        left, _ = axes.x.ends
        bottom, _ = axes.y.ends
        plt.scatter([left], [bottom], marker=" ")


def _tick_places(axis: ChartAxis) -> list[float]:
    return [axis.at(value) for value, _ in axis.ticks]


def _tick_texts(axis: ChartAxis) -> list[str]:
    return [text for _, text in axis.ticks]
