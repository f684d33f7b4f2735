"""The screen as it stands as a picture: Textual's strips, painted by
`logdrift.tui.picture`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.cells import cell_len
from rich.color import Color, ColorType
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from textual.color import Color as MixedColour
from textual.screen import Screen
from textual.strip import Strip

from logdrift.tui.picture import (
    CellRun,
    Paper,
    Rows,
    most_frequent_background,
    still,
)

_DIM = 0.5
"""How much of the background a dim letter takes."""


def picture_of(screen: Screen[Any], title: str) -> str:
    """An SVG file of what the screen shows, windows over it included."""
    strips = screen._compositor.render_strips()
    theme = screen.app.ansi_theme
    variables = screen.app.theme_variables
    painter = _Painter(
        theme=theme,
        foreground=_own(variables, "foreground", theme.foreground_color.hex),
        background=_own(variables, "background", theme.background_color.hex),
    )
    rows = [list(painter.runs(strip)) for strip in strips]
    return still(rows, painter.paper(rows, screen.size.width, title))


def _own(variables: Mapping[str, str], name: str, terminals: str) -> str:
    """A colour of the theme; the terminal's where the theme leaves it to that."""
    value = variables.get(name, "")
    if value.startswith("#"):
        return MixedColour.parse(value).hex6.lower()
    return terminals


class _Painter:
    """Turns segments into runs, with the colours that a terminal would show."""

    def __init__(
        self, *, theme: TerminalTheme, foreground: str, background: str
    ) -> None:
        self._theme = theme
        self._foreground = foreground
        self._background = background

    def runs(self, strip: Strip) -> Iterator[CellRun]:
        """One line."""
        for segment in strip:
            if segment.control:
                continue
            yield self._run(segment.text, segment)

    def _run(self, text: str, segment: Segment) -> CellRun:
        style = segment.style or Style.null()
        colour = self._hex(style.color, self._foreground)
        background = self._hex(style.bgcolor, self._background)
        if style.reverse:
            colour, background = background, colour
        if style.dim:
            colour = _mixed(colour, background)
        return CellRun(
            text=text,
            cells=cell_len(text),
            colour=colour,
            background=background,
            bold=bool(style.bold),
            italic=bool(style.italic),
            underline=bool(style.underline),
            strike=bool(style.strike),
        )

    def _hex(self, colour: Color | None, default: str) -> str:
        """``#rrggbb``; the theme's own where a style has none."""
        if colour is None or colour.type is ColorType.DEFAULT:
            return default
        return colour.get_truecolor(self._theme).hex

    def paper(self, rows: Rows, columns: int, title: str) -> Paper:
        """What the runs are drawn on: the background that most cells have."""
        return Paper(
            columns=columns,
            lines=len(rows),
            background=most_frequent_background(rows, self._background),
            foreground=self._foreground,
            title=title,
        )


def _mixed(colour: str, background: str) -> str:
    letter = MixedColour.parse(colour)
    return letter.blend(MixedColour.parse(background), _DIM).hex6.lower()
