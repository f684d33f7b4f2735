"""What tokens are coloured by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logdrift.tui.glyphs import fit
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.modes import MODES
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.panes import PaneGroup

if TYPE_CHECKING:
    from logdrift.tui.widgets.reading import Row


class Colours:
    """The commands that change what tokens are coloured by."""

    def __init__(
        self,
        explorer: Explorer,
        panes: PaneGroup,
        dialogue: Dialogue,
    ) -> None:
        self._explorer = explorer
        self._panes = panes
        self._dialogue = dialogue

    # ---- the mode

    def next_mode(self) -> None:
        """Colour by the next number."""
        name = self._explorer.next_mode()
        self.colour_by(name)

    def colour_by(self, name: str) -> None:
        """Colour tokens by another number."""
        if self._explorer.set_mode(name):
            self._panes.show_passage()
        levels = self._explorer.levels
        mode = levels.mode
        if levels.missing is None:
            self._dialogue.say(f"{mode.title}: {mode.words}")
        else:
            self._dialogue.warn(f"{mode.title}: {levels.missing}")

    def switch_boundaries(self) -> None:
        """Tell the tokens within a word apart, or no more."""
        words = "tokens within a word look alike"
        if self._explorer.switch_boundaries():
            words = "tokens within a word are told apart"
        self._panes.show_passage()
        self._dialogue.say(words)

    def choose_mode(self) -> None:
        """List the modes; the text is coloured by the one that is selected."""
        from logdrift.tui.screens.texts import Picker

        palette = self._dialogue.palette
        before = MODES.index(self._explorer.mode)

        def row(index: int, width: int) -> Row:
            mode = MODES[index]
            title = fit(mode.title, 14)
            room = max(1, width - 15)
            words = fit(mode.words, room)
            return [(f" {title}", palette.strong), (words, palette.muted)]

        def colour(index: int | None) -> None:
            if index is None:
                index = before
            mode = MODES[index]
            self.colour_by(mode.name)

        picker = Picker(
            "Colour tokens by",
            "",
            len(MODES),
            row,
            selected=before,
            moved=colour,
        )
        self._dialogue.choose_or_restore(picker, colour)
