"""A window that asks yes or no."""

from __future__ import annotations

from rich.style import Style

from logdrift.tui.actions import Hint, key_hints
from logdrift.tui.bindings import bindings
from logdrift.tui.palette import Palette
from logdrift.tui.screens.texts import Picker
from logdrift.tui.widgets.reading import Row


def _warning(palette: Palette) -> Style:
    """Without colours what is bad is reversed, as the chosen row is: here only that one
    may look chosen.
    """
    if palette.depth == "none":
        return Style(bold=True)
    return palette.bad


class Confirm(Picker):
    """Asks yes or no: answers 1 for yes. No is the row that Enter takes at first, and
    whatever else leaves is no.
    """

    BINDINGS = bindings("confirm")

    def __init__(self, title: str, yes: str, no: str = "No, leave it as it is") -> None:
        def row(index: int, width: int) -> Row:
            palette = self.logdrift.palette
            if index:
                return [(f" {yes}", _warning(palette))]
            return [(f" {no}", palette.text)]

        super().__init__(title, "", 2, row)

    def hints(self) -> list[Hint]:
        return [*super().hints(), *key_hints("confirm", keymap=self.logdrift.keymap)]

    def action_yes(self) -> None:
        self.dismiss(1)
