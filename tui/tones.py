"""The screen as a painter of documents: their tones in the styles of a palette."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.style import Style

from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run

if TYPE_CHECKING:
    from logdrift.core.report.document import Tone
    from logdrift.core.report.paint.text import StyledLine


def tone_styles(palette: Palette) -> Mapping[Tone, Style]:
    """The style of each tone."""
    return {
        "": palette.text,
        "bold": palette.strong,
        "dim": palette.muted,
        "good": palette.good,
        "warn": palette.warn,
        "bad": palette.bad,
    }


def painted(lines: Iterable[StyledLine], palette: Palette) -> tuple[list[Run], ...]:
    """The lines of a document for a reading pane."""
    styles = tone_styles(palette)
    rows = []
    for line in lines:
        runs = [(run.text, styles[run.tone]) for run in line]
        rows.append(runs)
    return tuple(rows)
