"""A sentence in a bar: wrapped, one blank from the border."""

from __future__ import annotations

from rich.style import Style

from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Runs
from logdrift.tui.widgets.reading import wrap_at_most


def paragraph(
    words: str, style: Style, palette: Palette, *, width: int, most: int
) -> list[Runs]:
    """``words`` in at most ``most`` rows of ``width`` cells."""
    margin = (" ", palette.text)
    paragraph: list[Runs] = []
    for row in wrap_at_most(words, width, most):
        run = (row, style)
        paragraph.append([margin, run])
    return paragraph
