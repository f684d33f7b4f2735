"""What stands on a terminal that is too small for anything else."""

from __future__ import annotations

from textual import events
from textual.geometry import Size

from logdrift.tui.widgets.lines import Text, strip_of


class TooSmall(Text, can_focus=False):
    """Says what is missing to ``least``."""

    def __init__(self, least: Size) -> None:
        super().__init__(id="toosmall")
        self._least = least

    def on_resize(self, event: events.Resize) -> None:
        width, height = self.app.size
        words = (
            f" {width}x{height} is too small:",
            f" logdrift needs {self._least.width}x{self._least.height}.",
        )
        strips = []
        for text in words:
            run = (text, self.palette.text)
            strips.append(strip_of([run], self.inner_width))
        self.set_lines(strips)
