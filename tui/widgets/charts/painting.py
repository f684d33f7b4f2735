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

    def lines(self, position: int) -> Iterator[Strip]:
        """The rows with the cursor: a line through its column, marked in the frame, or
        its cell alone.
        """
        chart = self.chart
        found = chart.place.cell(position) if chart.place is not None else None
        if found is None:
            yield from self._plain
            return
        column = chart.left + found[0]
        row = chart.top + found[1] if found[1] is not None else None
        for y, runs in enumerate(self._runs):
            marked = _marked(runs, y, column, row, chart, self.palette)
            yield self._plain[y] if marked is runs else strip_of(marked, self.width)


class _Styles:
    """Style of each character of the area. Shades have one colour, or each cell would
    cost twenty bytes of a slow line: the glyph tells the step.
    """

    def __init__(self, chart: Drawing, palette: Palette) -> None:
        self.palette, self.shaded = palette, chart.shaded
        colour = palette.steps[0][-1].bgcolor
        self.shade = (
            Style(color=colour) if colour is not None and palette.dark else palette.text
        )

    def of(self, char: str) -> Style:
        if self.shaded:
            return self.shade
        return (
            self.palette.text
            if char in _BRIGHT or "⠀" < char <= "⣿"
            else self.palette.muted
        )


def _runs(text: str, inside: bool, chart: Drawing, styles: _Styles) -> list[Run]:
    right = chart.left + chart.columns
    runs: list[Run] = []
    for x, char in enumerate(text):
        style = (
            styles.of(char)
            if inside and chart.left <= x < right
            else styles.palette.muted
        )
        if runs and runs[-1][1] is style:
            runs[-1] = (runs[-1][0] + char, style)
        else:
            runs.append((char, style))
    return runs


def _marked(
    runs: list[Run],
    y: int,
    column: int,
    row: int | None,
    chart: Drawing,
    palette: Palette,
) -> list[Run]:
    above, below = y == chart.top - 1, y == chart.top + chart.lines
    if above or below:
        return _replace(runs, column, "▼" if above else "▲", palette.accent)
    if not chart.top <= y < chart.top + chart.lines:
        return runs
    if row is None:
        under = _char_at(runs, column)
        if under in _FREE:
            return _replace(runs, column, "┊", palette.accent)
        return _replace(runs, column, under, palette.cursor)
    if y != row:
        return runs
    return _replace(
        _replace(runs, chart.left - 1, "▸", palette.accent),
        column,
        _char_at(runs, column),
        palette.cursor,
    )


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
