"""Charts. The only module that knows plotext, which draws on one global figure: every call holds a lock.

A chart is reduced in NumPy to at most two points for each column, built in a thread, and handed over as text.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.style import Style
from textual.strip import Strip

from tui.glyphs import number, percent
from tui.palette import Palette
from tui.widgets.lines import Run, Text, strip_of

if TYPE_CHECKING:
    import numpy.typing as npt

_LOCK = threading.Lock()
_MIN_WIDTH, _MIN_HEIGHT = 24, 5


@dataclass(frozen=True, eq=False)
class DeltaSeries:
    """What the chart of one sequence is made from. ``delta`` f32[n], NaN where unscored."""

    sequence: int
    delta: npt.NDArray[np.float32]
    prompt: int
    threshold: float
    beyond: int
    scored: int


@dataclass(frozen=True, eq=False)
class Chart:
    """A drawn chart: rows of text, and where its plot area lies, so that the cursor can be shown in it.

    ``left`` is the first column of the area, ``columns`` its width; tokens 0 to ``count`` - 1 lie across it.
    """

    rows: tuple[str, ...]
    left: int
    columns: int
    count: int
    legend: str

    def column_of(self, index: int) -> int:
        """The column of a token."""
        return self.left + round(index * (self.columns - 1) / max(1, self.count - 1))


def envelope(values: npt.NDArray[np.float32], columns: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Index and value of the lowest and the highest of each of ``columns`` stretches, in order, NaN left out.

    At most 2 * ``columns`` points whatever the length, and no peak is lost.
    """
    at = np.flatnonzero(np.isfinite(values))
    kept = values[at]
    if len(at) <= 2 * columns:
        return at, kept
    edges = (np.arange(columns + 1) * len(at) // columns).tolist()
    chosen: set[int] = set()
    for low, high in itertools.pairwise(edges):
        chosen |= {low + int(np.argmin(kept[low:high])), low + int(np.argmax(kept[low:high]))}
    order = np.array(sorted(chosen))
    return at[order], kept[order]


def draw_delta(series: DeltaSeries, width: int, height: int) -> Chart:
    """Delta over position, with the lines of the threshold and of the prompt's end."""
    import plotext

    plt: Any = plotext
    count = len(series.delta)
    at, values = envelope(series.delta, max(8, width - 10))
    top = float(np.max(np.abs(values))) if len(values) else 0.0
    top = max(top, series.threshold * 1.2) * 1.05
    with _LOCK:
        plt.clear_figure()
        plt.theme("clear")
        plt.limit_size(False, False)  # else cut to the size of stdout's terminal, which need not be ours
        plt.plotsize(width, height)
        plt.xlim(0, max(1, count - 1))
        plt.ylim(-top, top)
        plt.hline(series.threshold)
        plt.hline(-series.threshold)
        if 0 < series.prompt < count:
            plt.vline(series.prompt)
        if len(values):
            plt.plot(at.tolist(), values.tolist(), marker="braille")
        ticks = [-top / 1.05, 0.0, top / 1.05]
        plt.yticks(ticks, [number(tick, 2) for tick in ticks])
        positions = sorted({round(i * max(1, count - 1) / 4) for i in range(5)})
        plt.xticks(positions, [str(p) for p in positions])
        text = plt.uncolorize(plt.build())
        plt.clear_figure()
    rows = tuple(text.rstrip("\n").split("\n"))
    left, columns = _area(rows)
    hidden = int(np.isinf(series.delta).sum())
    legend = (
        f"Δ = log p A − log p B, nats · lines: ±{number(series.threshold, 3)} and the prompt's end · "
        f"{series.beyond} of {series.scored} beyond ({percent(series.beyond, series.scored)})"
        + (f" · {hidden} infinite, not drawn" if hidden else "")
    )
    return Chart(rows, left, columns, count, legend)


def _area(rows: tuple[str, ...]) -> tuple[int, int]:
    """First column and width of the plot area, read off the frame."""
    top = next((row for row in rows if "┌" in row and "┐" in row), "")
    left = top.find("┌")
    return (left + 1, top.rfind("┐") - left - 1) if left >= 0 else (0, len(rows[0]) if rows else 1)


class ChartPane(Text, can_focus=True):
    """Shows a drawn chart with the cursor in it."""

    fixed = 1

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chart: Chart | None = None
        self._index = 0
        self._title = "Δ by position"

    @property
    def plot_size(self) -> tuple[int, int] | None:
        """Cells for a chart, None where it would not fit."""
        width, height = self.inner_width, self.size.height - self.fixed
        return (width, height) if width >= _MIN_WIDTH and height >= _MIN_HEIGHT else None

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line(self._title, width, self.chart.legend if self.chart else "")

    def show(self, chart: Chart | None, title: str, index: int) -> None:
        self.chart, self._title, self._index = chart, title, index
        self.refresh_fixed()
        self._draw()

    def set_cursor(self, index: int) -> None:
        """Mark another token."""
        self._index = index
        self._draw()

    def _draw(self) -> None:
        if self.chart is None:
            hint = "" if self.plot_size else "too small for a chart"
            self.set_lines([strip_of([(hint, self.palette.muted)], self.inner_width)])
            return
        self.set_lines(list(chart_lines(self.chart, self._index, self.inner_width, self.palette)))


def chart_lines(chart: Chart, index: int, width: int, palette: Palette) -> list[Strip]:
    """The chart with a line through the column of token ``index``: marks on the frame, dots where nothing is drawn."""
    column = chart.column_of(index)
    out = []
    for row in chart.rows:
        padded = row.ljust(column + 1)
        under = padded[column]
        framed = "┌" in row or "└" in row
        curve = "⠀" < under <= "⣿"
        mark = ("▼" if "┌" in row else "▲") if framed else under if curve else "┊"
        inside = framed or ("│" in row or "┤" in row)
        runs: list[Run] = list(_row_runs(padded[:column], chart, 0, palette))
        if inside:
            runs.append((mark, palette.cursor if curve and not framed else palette.accent))
        else:
            runs.append((under, palette.muted))
        runs += _row_runs(padded[column + 1 :], chart, column + 1, palette)
        out.append(strip_of(runs, width))
    return out


def _row_runs(text: str, chart: Chart, start: int, palette: Palette) -> list[Run]:
    """Axis muted, curve bright."""
    runs: list[Run] = []
    for offset, char in enumerate(text):
        curve = chart.left <= start + offset < chart.left + chart.columns and "⠀" < char <= "⣿"
        style: Style = palette.text if curve else palette.muted
        if runs and runs[-1][1] is style:
            runs[-1] = (runs[-1][0] + char, style)
        else:
            runs.append((char, style))
    return runs
