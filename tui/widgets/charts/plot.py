"""The only module that knows plotext, which draws on one global figure: every call
holds a lock.

Plotext makes frame, ticks and lines. Bars, shades and guide lines are cells that are
put into its plot area.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logdrift.tui.widgets.charts.base import Drawing, Place

if TYPE_CHECKING:
    import numpy.typing as npt

_LOCK = threading.Lock()
Tick = tuple[float, str]
H_LINE, V_LINE = "╌", "┆"
_EIGHTHS = " ▁▂▃▄▅▆▇█"
SHADES = " ░▒▓█"


@dataclass(frozen=True)
class Axes:
    """Ranges and ticks of both axes."""

    x: tuple[float, float]
    y: tuple[float, float]
    x_ticks: Sequence[Tick] = ()
    y_ticks: Sequence[Tick] = ()


@dataclass(frozen=True, eq=False)
class Curve:
    """Points in braille dots, ``joined`` by lines or not."""

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    joined: bool = True


class Canvas:
    """A frame with its plot area: ``columns`` x ``lines`` cells from (``left``,
    ``top``).
    """

    def __init__(
        self, axes: Axes, width: int, height: int, curves: Iterable[Curve] = ()
    ) -> None:
        self.axes = axes
        self.cells = [
            list(row.ljust(width)) for row in _plotext(axes, width, height, curves)
        ]
        first = next(y for y, row in enumerate(self.cells) if "┌" in row)
        last = next(y for y, row in enumerate(self.cells) if "└" in row)
        self.left, self.top = self.cells[first].index("┌") + 1, first + 1
        self.columns, self.lines = (
            self.cells[first].index("┐") - self.left,
            last - first - 1,
        )

    def column(self, x: float) -> int:
        """The column of a value, as plotext places it; outside of 0 to ``columns`` - 1
        where it is not seen.
        """
        low, high = self.axes.x
        return math.floor((x - low) / (high - low) * (self.columns - 1) + 0.5)

    def row(self, y: float) -> int:
        low, high = self.axes.y
        return self.lines - 1 - round((y - low) / (high - low) * (self.lines - 1))

    def put(self, column: int, row: int, char: str, *, over: bool = True) -> None:
        """Put a character into the area; not ``over`` what is there."""
        if 0 <= column < self.columns and 0 <= row < self.lines:
            line = self.cells[self.top + row]
            if over or line[self.left + column] == " ":
                line[self.left + column] = char

    def h_line(self, y: float) -> None:
        """A guide line across, below all else."""
        for column in range(self.columns):
            self.put(column, self.row(y), H_LINE, over=False)

    def v_line(self, x: float, letter: str = "") -> None:
        """A guide line up, below all else; its letter stands in the frame above it."""
        column = self.column(x)
        for row in range(self.lines):
            self.put(column, row, V_LINE, over=False)
        if letter and 0 <= column < self.columns:
            self.cells[self.top - 1][self.left + column] = letter

    def bar(self, column: int, share: float, *, over: bool = True) -> None:
        """A bar of ``share`` (0 to 1) of the height in one column; what is not nothing
        has at least an eighth.
        """
        eighths = max(1, round(share * self.lines * 8)) if share > 0 else 0
        for row in range(self.lines):
            part = min(8, eighths - 8 * (self.lines - 1 - row))
            if part > 0:
                self.put(column, row, _EIGHTHS[part], over=over)

    def write(self, column: int, row: int, text: str) -> None:
        """Text from a cell on."""
        for offset, char in enumerate(text):
            self.put(column + offset, row, char)

    def drawing(
        self, legend: Iterable[str], place: Place | None = None, *, shaded: bool = False
    ) -> Drawing:
        rows = tuple("".join(row).rstrip() for row in self.cells)
        return Drawing(
            rows,
            self.left,
            self.top,
            self.columns,
            self.lines,
            tuple(legend),
            place,
            shaded,
        )


def _plotext(axes: Axes, width: int, height: int, curves: Iterable[Curve]) -> list[str]:
    import plotext

    plt: Any = plotext
    with _LOCK:
        plt.clear_figure()
        plt.theme("clear")
        plt.limit_size(
            False, False
        )  # else cut to the size of stdout's terminal, which need not be ours
        plt.plotsize(width, height)
        plt.xlim(*axes.x)
        plt.ylim(*axes.y)
        drawn = False
        for curve in curves:
            if len(curve.x):
                draw = plt.plot if curve.joined else plt.scatter
                draw(curve.x.tolist(), curve.y.tolist(), marker="braille")
                drawn = True
        if not drawn:
            plt.scatter(
                [axes.x[0]], [axes.y[0]], marker=" "
            )  # without data plotext draws no ticks
        plt.xticks([at for at, _ in axes.x_ticks], [text for _, text in axes.x_ticks])
        plt.yticks([at for at, _ in axes.y_ticks], [text for _, text in axes.y_ticks])
        text = plt.uncolorize(plt.build())
        plt.clear_figure()
    return str(text).rstrip("\n").split("\n")
