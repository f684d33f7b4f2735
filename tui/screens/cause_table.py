"""The table of causes as help: every cause in the order of checking, with its
signature, size and knobs.
"""

from __future__ import annotations

from textual import events

from logdrift.core.diagnose.causes import CAUSES
from logdrift.core.report.causes import cause_blocks
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import styled_lines
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.tones import painted
from logdrift.tui.widgets.reading import Line


class CauseTable(TextScreen):
    """Opens at the cause ``code``."""

    SAVED_AS = "causes.txt"

    def __init__(self, code: str = "") -> None:
        super().__init__("Causes, in the order of checking", [])
        self._code = code

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._lay_out)

    def _lay_out(self) -> None:
        """Laid out by the report, so that what belongs to a name stands below it."""
        reading = self.reading
        width = max(40, reading.text_width)
        canvas = Canvas(width)
        lines: list[Line] = []
        first = 0
        for cause in CAUSES:
            if lines:
                lines.append("")
            if cause.code == self._code:
                first = len(lines)
            cause_lines = styled_lines(cause_blocks(cause), canvas)
            lines += painted(cause_lines, reading.palette)
        reading.put(self.title_text, lines)
        reading.scroll_top(first)
