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

from logdrift.core.charts.marks import DOT_ROWS, Area, Array, Axes, ChartAxis, Curve

QUIET_TONE = 5
"""The tone of what stands behind the rest; -4 to 4 are `reduce.sign_levels`."""
_LOCK = threading.Lock()
_ZERO_LINE = "─"
_H_LINE = "╌"
_V_LINE = "┆"
_EIGHTHS = " ▁▂▃▄▅▆▇█"


CellPlace = tuple[int, int]
"""Row and column of a cell between the axes, counted from the upper left corner."""


class Plot:
    """A frame of ``width`` x ``height`` cells; between its axes ``area`` cells from
    (``left``, ``top``) on.

    ``tones`` are the steps of colour of cells that have one, `QUIET_TONE` among them.
    """

    def __init__(
        self, axes: Axes, width: int, height: int, curves: Sequence[Curve] = ()
    ) -> None:
        self.axes = axes
        rows = _plotext(axes, width, height, curves)
        self.cells: list[list[str]] = []
        for row in rows:
            padded = row.ljust(width)
            characters = list(padded)
            self.cells.append(characters)
        self.tones: dict[CellPlace, int] = {}
        frame_top = _row_with("┌", self.cells)
        frame_bottom = _row_with("└", self.cells)
        corners = self.cells[frame_top]
        frame_left = corners.index("┌")
        frame_right = corners.index("┐")
        self.left = frame_left + 1
        self.top = frame_top + 1
        self.area = Area(
            columns=frame_right - self.left,
            lines=frame_bottom - self.top,
        )

    @property
    def rows(self) -> tuple[str, ...]:
        """The cells as text, without blanks at the end of a row."""
        rows = []
        for cells in self.cells:
            row = "".join(cells)
            rows.append(row.rstrip())
        return tuple(rows)

    def column(self, x: float) -> int:
        """The column of a value, as plotext places it; outside of the area for a value
        outside of the axis.
        """
        axis = self.axes.x
        share = axis.share(x)
        last = self.area.columns - 1
        place = share * last
        return _nearest(place)

    def row(self, y: float) -> int:
        """The row of a value, from the top."""
        axis = self.axes.y
        return axis.row(y, self.area.lines)

    def height_in_dots(self, y: float) -> int:
        """The place of a value in dots of braille, from the top: four a row, so that
        0 on an axis with 0 in its middle lies between the dots of a row.
        """
        axis = self.axes.y
        share = axis.share(y)
        last = self.area.lines - 1
        share_above = 1 - share
        from_top = share_above * last + 0.5
        dots_from_top = from_top * DOT_ROWS
        return _nearest(dots_from_top)

    def height(self, y: float) -> float:
        """The height of a bar to a value, as a share of the area: 0 to 1."""
        axis = self.axes.y
        share = axis.share(y)
        at_least_none = max(0.0, share)
        return min(1.0, at_least_none)

    def put(self, column: int, row: int, char: str, tone: int = 0) -> None:
        """Put a character between the axes, over what is there."""
        if not self._has_cell(column, row):
            return
        line = self._line(row)
        place = self.left + column
        line[place] = char
        cell = (row, column)
        if tone:
            self.tones[cell] = tone
        else:
            self.tones.pop(cell, None)

    def put_below(self, column: int, row: int, char: str) -> None:
        """Put a character between the axes, where the cell is still empty."""
        under = self._char_at(column, row)
        if under == " ":
            self.put(column, row, char)

    def _char_at(self, column: int, row: int) -> str:
        """The character of a cell, "" outside of the area."""
        if not self._has_cell(column, row):
            return ""
        line = self._line(row)
        place = self.left + column
        return line[place]

    def _line(self, row: int) -> list[str]:
        """All cells, the frame included, of a row of the area."""
        y = self.top + row
        return self.cells[y]

    def _has_cell(self, column: int, row: int) -> bool:
        has_column = self._has_column(column)
        return has_column and self._has_row(row)

    def _has_row(self, row: int) -> bool:
        return 0 <= row < self.area.lines

    def _has_column(self, column: int) -> bool:
        return 0 <= column < self.area.columns

    def write(self, column: int, row: int, text: str) -> None:
        """Text from a cell on."""
        for char in text:
            self.put(column, row, char)
            column += 1

    def level(self, y: float, letter: str = "") -> None:
        """A guide line across, below all else; its letter stands in the frame at the
        right.
        """
        glyph = _H_LINE if y else _ZERO_LINE
        row = self.row(y)
        columns = self.area.columns
        for column in range(columns):
            self.put_below(column, row, glyph)
        if letter and self._has_row(row):
            line = self._line(row)
            frame = self.left + columns
            line[frame] = letter

    def upright(self, x: float, letter: str = "") -> None:
        """A guide line up, below all else; its letter stands in the frame above it."""
        column = self.column(x)
        lines = self.area.lines
        for row in range(lines):
            self.put_below(column, row, _V_LINE)
        if letter and self._has_column(column):
            frame = self._line(-1)
            place = self.left + column
            frame[place] = letter

    def bar(self, column: int, height: float, tone: int = 0) -> None:
        """A bar of a `height` in one column, at least an eighth of a cell high; none
        for a height of 0.
        """
        if height <= 0:
            return
        lines = self.area.lines
        height_in_lines = height * lines
        eighths = round(height_in_lines * 8)
        eighths = max(1, eighths)
        row = lines - 1
        while eighths > 0 and row >= 0:
            filled = min(8, eighths)
            glyph = _EIGHTHS[filled]
            self.put(column, row, glyph, tone)
            eighths -= filled
            row -= 1


def _nearest(place: float) -> int:
    """The nearest whole number, halves rounded up."""
    return math.floor(place + 0.5)


def _row_with(char: str, cells: Sequence[Sequence[str]]) -> int:
    """The first row that holds a character."""
    for y, row in enumerate(cells):
        if char in row:
            return y
    raise ValueError(f"no row of the plot has a {char}")


def _plotext(axes: Axes, width: int, height: int, curves: Sequence[Curve]) -> list[str]:
    """The rows of a plot with frame, ticks and curves."""
    import plotext

    plt: Any = plotext
    x = axes.x
    y = axes.y
    with _LOCK:
        plt.clear_figure()
        plt.theme("clear")
        # Else it is cut to the terminal of stdout, which need not be ours.
        plt.limit_size(False, False)
        plt.plotsize(width, height)
        plt.xlim(*x.ends)
        plt.ylim(*y.ends)
        _plot_curves(plt, axes, curves)
        x_places, x_texts = _ticks(x)
        y_places, y_texts = _ticks(y)
        plt.xticks(x_places, x_texts)
        plt.yticks(y_places, y_texts)
        coloured = plt.build()
        text = plt.uncolorize(coloured)
        plt.clear_figure()
    text = str(text)
    lines = text.rstrip("\n")
    return lines.split("\n")


def _plot_curves(plt: Any, axes: Axes, curves: Sequence[Curve]) -> None:
    drawn = []
    for curve in curves:
        if len(curve.x):
            drawn.append(curve)
    for curve in drawn:
        x = _places(axes.x, curve.x)
        y = _places(axes.y, curve.y)
        plt.plot(x, y, marker="braille")
    if not drawn:
        # Without data plotext draws no ticks.
        left, _ = axes.x.ends
        bottom, _ = axes.y.ends
        x = [left]
        y = [bottom]
        plt.scatter(x, y, marker=" ")


def _places(axis: ChartAxis, values: Array) -> list[float]:
    """Where values lie on an axis."""
    numbers = values.tolist()
    return list(map(axis.at, numbers))


def _ticks(axis: ChartAxis) -> tuple[list[float], list[str]]:
    """Places and texts of the ticks, as plotext takes them."""
    places = []
    texts = []
    for value, text in axis.ticks:
        place = axis.at(value)
        places.append(place)
        texts.append(text)
    return places, texts
