"""Two sessions against each other: the text of `logdrift diff`, and the chart of it in
the explorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.glyphs import ARROW
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.lines import Run


class DiffScreen(TextScreen, inherit_bindings=False):
    """What a change made of the default pair."""

    BINDINGS = bindings("picker", "reading", "diff", "app")

    def __init__(self, old: Path, new: Path, lines: Sequence[Sequence[Run]]) -> None:
        super().__init__(f"{visible(old.name)} {ARROW} {visible(new.name)}", lines)
        self.old = old
        self.new = new

    def hints(self) -> list[tuple[str, str]]:
        return [("v", "chart"), *super().hints()]

    def action_change_chart(self) -> None:
        """Open the new session with the chart of the change."""
        self.dismiss()
        self.app.call_later(self.logdrift.open_folder, self.new, self.old)
