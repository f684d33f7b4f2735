"""A drawn chart as lines of a pane: axis muted, curve bright, the cursor marked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.style import Style
from textual.strip import Strip

from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run, strip_of

if TYPE_CHECKING:
    from logdrift.tui.widgets.charts.terminal import Drawing

_BRIGHT = frozenset("▁▂▃▄▅▆▇█●")
_FREE = frozenset(" ·░╌┆")
"""What the line of the cursor is drawn over."""


class Painter:
    """Draws one chart in ``width`` cells again and again, the cursor somewhere else."""

    def __init__(self, chart: Drawing, width: int, palette: Palette) -> None:
        self.chart, self.width, self.palette = chart, width, palette
        styles = _Styles(chart, palette)
        inside = range(chart.top, chart.top + chart.lines)
        self._runs = [
            _runs(text.ljust(chart.left + chart.columns), y in inside, chart, styles)
            for y, text in enumerate(chart.rows)
        ]
        self._plain = [strip_of(runs, width) for runs in self._runs]

    @property
    def paints(self) -> tuple[Drawing, int, Palette]:
        """What this is made of."""
        return self.chart, self.width, self.palette

    def lines(self, position: int) -> Iterator[Strip]:
        """The rows with the cursor: a line through its column, marked in the frame, or
        its cell alone.
        """
        chart = self.chart
        cell = None if chart.place is None else chart.place.cell(position)
        if cell is None:
            yield from self._plain
            return
        column = chart.left + cell[0]
        row = None if cell[1] is None else chart.top + cell[1]
        for y, runs in enumerate(self._runs):
            marked = _marked(runs, y, (column, row), chart, self.palette)
            yield self._plain[y] if marked is runs else strip_of(marked, self.width)


class _Styles:
    """Style of each character of the area. Shades have one colour, or each cell would
    cost twenty bytes of a slow line: the glyph tells the step.
    """

    def __init__(self, chart: Drawing, palette: Palette) -> None:
        self.palette, self.shaded = palette, chart.shaded
        colour = palette.steps[0][-1].bgcolor
        coloured = colour is not None and palette.dark
        self.shade = Style(color=colour) if coloured else palette.text

    def of(self, char: str) -> Style:
        if self.shaded:
            return self.shade
        bright = char in _BRIGHT or "⠀" < char <= "⣿"
        return self.palette.text if bright else self.palette.muted


def _runs(text: str, inside: bool, chart: Drawing, styles: _Styles) -> list[Run]:
    area = range(chart.left, chart.left + chart.columns) if inside else range(0)
    runs: list[Run] = []
    for x, char in enumerate(text):
        style = styles.of(char) if x in area else styles.palette.muted
        if runs and runs[-1][1] is style:
            runs[-1] = (runs[-1][0] + char, style)
        else:
            runs.append((char, style))
    return runs


def _marked(
    runs: list[Run],
    y: int,
    cell: tuple[int, int | None],
    chart: Drawing,
    palette: Palette,
) -> list[Run]:
    """Row ``y`` with the cursor in it: its column, and its row unless the whole column
    is its place. The same runs where the cursor is not in it.
    """
    column, row = cell
    if y == chart.top - 1:
        return _replace(runs, column, "▼", palette.accent)
    if y == chart.top + chart.lines:
        return _replace(runs, column, "▲", palette.accent)
    outside = not chart.top <= y < chart.top + chart.lines
    if outside or row not in (None, y):
        return runs
    under = _char_at(runs, column)
    if row is None and under in _FREE:
        return _replace(runs, column, "┊", palette.accent)
    marked = _replace(runs, column, under, palette.cursor)
    if row is None:
        return marked
    return _replace(marked, chart.left - 1, "▸", palette.accent)


def _char_at(runs: list[Run], column: int) -> str:
    return "".join(text for text, _ in runs)[column]


def _replace(runs: list[Run], column: int, char: str, style: Style) -> list[Run]:
    """The runs with one cell (every character here is one cell wide) replaced."""
    out: list[Run] = []
    at = 0
    for text, old in runs:
        offset = column - at
        if 0 <= offset < len(text):
            out += [(text[:offset], old), (char, style), (text[offset + 1 :], old)]
        else:
            out.append((text, old))
        at += len(text)
    return out
