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
_H_LINE, _V_LINE = "╌", "┆"
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
        first = next(y for y, row in enumerate(self.cells) if "┌" in row)
        last = next(y for y, row in enumerate(self.cells) if "└" in row)
        self.left, self.top = self.cells[first].index("┌") + 1, first + 1
        columns = self.cells[first].index("┐") - self.left
        self.area = Area(columns, last - first - 1)

    @property
    def rows(self) -> tuple[str, ...]:
        """The cells as text, without blanks at the end of a row."""
        return tuple("".join(row).rstrip() for row in self.cells)

    def column(self, x: float) -> int:
        """The column of a value, as plotext places it; outside of the area where it is
        not seen.
        """
        share = _share(self.axes.x, x)
        return math.floor(share * (self.area.columns - 1) + 0.5)

    def row(self, y: float) -> int:
        """The row of a value, from the top."""
        last = self.area.lines - 1
        return last - round(_share(self.axes.y, y) * last)

    def height(self, y: float) -> float:
        """A bar to a value as a share of the height, 0 to 1."""
        return min(1.0, max(0.0, _share(self.axes.y, y)))

    def put(self, column: int, row: int, char: str, *, over: bool = True) -> None:
        """Put a character between the axes; not ``over`` what is there."""
        if 0 <= column < self.area.columns and 0 <= row < self.area.lines:
            line = self.cells[self.top + row]
            if over or line[self.left + column] == " ":
                line[self.left + column] = char

    def write(self, column: int, row: int, text: str) -> None:
        """Text from a cell on."""
        for offset, char in enumerate(text):
            self.put(column + offset, row, char)

    def level(self, y: float) -> None:
        """A guide line across, below all else."""
        for column in range(self.area.columns):
            self.put(column, self.row(y), _H_LINE, over=False)

    def upright(self, x: float, letter: str = "") -> None:
        """A guide line up, below all else; its letter stands in the frame above it."""
        column = self.column(x)
        for row in range(self.area.lines):
            self.put(column, row, _V_LINE, over=False)
        if letter and 0 <= column < self.area.columns:
            self.cells[self.top - 1][self.left + column] = letter

    def bar(self, column: int, height: float, *, over: bool = True) -> None:
        """A bar of a `height` in one column; what is not nothing has at least an
        eighth of a cell.
        """
        lines = self.area.lines
        eighths = max(1, round(height * lines * 8)) if height > 0 else 0
        for row in range(lines):
            filled = min(8, eighths - 8 * (lines - 1 - row))
            if filled > 0:
                self.put(column, row, _EIGHTHS[filled], over=over)


def _share(axis: ChartAxis, value: float) -> float:
    low, high = axis.ends
    return (axis.at(value) - low) / (high - low)


def _plotext(axes: Axes, width: int, height: int, curves: Sequence[Curve]) -> list[str]:
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
        drawn = [curve for curve in curves if len(curve.x)]
        for curve in drawn:
            x = [axes.x.at(value) for value in curve.x.tolist()]
            y = [axes.y.at(value) for value in curve.y.tolist()]
            plt.plot(x, y, marker="braille")
        if not drawn:
            # Without data plotext draws no ticks.
            plt.scatter([axes.x.ends[0]], [axes.y.ends[0]], marker=" ")
        plt.xticks(*_places_and_texts(axes.x))
        plt.yticks(*_places_and_texts(axes.y))
        text = plt.uncolorize(plt.build())
        plt.clear_figure()
    return str(text).rstrip("\n").split("\n")


def _places_and_texts(axis: ChartAxis) -> tuple[list[float], list[str]]:
    values = [axis.at(value) for value, _ in axis.ticks]
    return values, [text for _, text in axis.ticks]
