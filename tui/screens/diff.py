"""Two sessions compared: the text of `logdrift diff`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from logdrift.core.session.visible import visible
from logdrift.tui.actions import Hint, key_hints
from logdrift.tui.bindings import bindings
from logdrift.tui.glyphs import ARROW
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.reading import Row


class DiffScreen(TextScreen, inherit_bindings=False):
    """The default pair in an earlier and a later session."""

    BINDINGS = bindings("picker", "reading", "diff", "app")

    def __init__(self, earlier: Path, later: Path, lines: Sequence[Row]) -> None:
        earlier_name = visible(earlier.name)
        later_name = visible(later.name)
        super().__init__(f"{earlier_name} {ARROW} {later_name}", lines)
        self.earlier = earlier
        self.later = later

    def hints(self) -> list[Hint]:
        others = super().hints()
        return [*key_hints("diff", keymap=self.logdrift.keymap), *others]

    def action_change_chart(self) -> None:
        """Open the later session with the chart of the diff."""
        self.dismiss()
        open_folder = self.logdrift.open_folder
        self.app.call_later(open_folder, self.later, self.earlier)
