"""The table of causes as help: every cause in the order of checking, with its
signature, size and knobs.
"""

from __future__ import annotations

import re

from textual import events

from logdrift.core.diagnose.causes import CAUSES
from logdrift.core.report.layout import Canvas
from logdrift.core.report.why import render_causes
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.reading import Line

_TITLE = re.compile(r"^[ \d]\d ")


class CauseTable(TextScreen):
    """Opens at the cause ``code``."""

    SAVED_AS = "causes.txt"

    def __init__(self, code: str = "") -> None:
        super().__init__("Causes, in the order of checking", [])
        self._at = next(
            (
                f"{cause.number:2d} {cause.title}"
                for cause in CAUSES
                if cause.code == code
            ),
            "",
        )

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._lay_out)

    def _lay_out(self) -> None:
        """Laid out by the report, so that what belongs to a name stands below it."""
        p = self.reading.palette
        lines: list[Line] = []
        first = 0
        for text in render_causes(
            Canvas(width=max(40, self.reading.inner_width))
        ).splitlines():
            title = bool(_TITLE.match(text))
            if title and lines:
                lines.append("")
            if self._at and text.startswith(self._at[: len(text)]) and title:
                first = len(lines)
            lines.append([(text, p.strong)] if title else text)
        self.reading.put(self.title_text, lines)
        self.reading.scroll_top(first)
