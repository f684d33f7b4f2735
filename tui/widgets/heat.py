"""Quiet colours behind numbers, from small to large: nothing here is an alarm."""

from __future__ import annotations

from functools import cache

from rich.color import Color
from rich.style import Style

from logdrift.tui.palette import Palette

_DARK = ("", "1c1c1c", "303030", "444444")
_LIGHT = ("", "e4e4e4", "d0d0d0", "bcbcbc")
"""Greys of the 256 colours on which the text of the theme is read well."""


def heat_styles(palette: Palette) -> tuple[Style, ...]:
    """A style for each step; where the terminal has no quiet backgrounds, the larger
    numbers are bold and the smallest dim.
    """
    if palette.depth != "256" or palette.contrast:
        return (palette.muted, palette.text, palette.text, palette.strong)
    greys = _DARK if palette.dark else _LIGHT
    return tuple(_on(palette.text, grey) for grey in greys)


@cache
def _on(style: Style, grey: str) -> Style:
    if not grey:
        return style
    back = Color.parse(f"#{grey}")
    return style + Style(bgcolor=back)
