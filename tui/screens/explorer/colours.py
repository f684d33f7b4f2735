"""What tokens are coloured by: the mode and its threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.numbers import number, percent
from logdrift.tui.glyphs import fit
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.modes import MODES
from logdrift.tui.models.state import THRESHOLDS
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.listing import SequenceOrder
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
        order: SequenceOrder,
    ) -> None:
        self._explorer = explorer
        self._panes = panes
        self._dialogue = dialogue
        self._order = order

    # ---- the mode

    def next_mode(self) -> None:
        """Colour by the next number."""
        self.colour_by(self._explorer.next_mode())

    def colour_by(self, name: str) -> None:
        """Colour tokens by another number."""
        if self._explorer.set_mode(name):
            self._panes.show_passage()
        levels = self._explorer.levels
        words = levels.missing or levels.mode.words
        self._dialogue.say(
            f"{levels.mode.title}: {words}", warn=levels.missing is not None
        )

    def choose_mode(self) -> None:
        """List the modes; the text is coloured by the one that is selected."""
        from logdrift.tui.screens.texts import Picker

        p = self._dialogue.palette
        before = MODES.index(self._explorer.mode)

        def row(index: int, width: int) -> Row:
            mode = MODES[index]
            return [
                (f" {fit(mode.title, 14)}", p.strong),
                (fit(mode.words, max(1, width - 15)), p.muted),
            ]

        def colour(index: int | None) -> None:
            self.colour_by(MODES[before if index is None else index].name)

        self._dialogue.choose(
            Picker("Colour tokens by", "", len(MODES), row, before, colour), colour
        )

    # ---- the threshold

    def set_threshold(self, threshold: float) -> None:
        """What counts as divergent, in the unit of the mode."""
        if not self._explorer.set_threshold(threshold):
            return
        if not self._explorer.mode.thresholds:
            self._order.threshold_changed()
        self._panes.show_passage()

    def next_threshold(self, step: int) -> None:
        """The next higher threshold (``step`` -1: lower), and how many are beyond it."""
        explorer = self._explorer
        self.set_threshold(explorer.next_threshold(step))
        levels = explorer.levels
        if explorer.pair is None or levels.count is None:
            return
        scored = levels.mode.tokens(explorer.pair)
        share = percent(levels.count, scored)
        self._dialogue.say(
            f"threshold {levels.text}: {levels.count:,} of {scored:,} tokens beyond"
            f" ({share})"
        )

    def choose_threshold(self) -> None:
        """List thresholds with the tokens beyond each; the text is coloured by the one
        that is selected.
        """
        from logdrift.tui.screens.texts import Picker

        explorer = self._explorer
        if explorer.pair is None:
            self._dialogue.say("there is no pair to compare yet", warn=True)
            return
        mode = explorer.mode
        before = explorer.levels.threshold
        choices = mode.thresholds or THRESHOLDS
        ratio_head = "" if mode.thresholds else "   ratio"
        counts: dict[int, str] = {}

        def row(index: int, width: int) -> Row:
            if index not in counts:
                counts[index] = self._count_text(choices[index])
            threshold = f" {mode.step(choices[index]):>8} "
            ratio = "" if mode.thresholds else _ratio(choices[index])
            text = f"{threshold}{ratio} {counts[index]}"
            return [(text, self._dialogue.palette.text)]

        def colour(index: int | None) -> None:
            self.set_threshold(before if index is None else choices[index])

        picker = Picker(
            f"Threshold: {mode.title}",
            f" {mode.head:>8} {ratio_head} {'beyond':>11} {'of all':>8}",
            len(choices),
            row,
            _nearest(choices, before),
            colour,
            aside=True,
        )
        self._dialogue.choose(picker, colour)

    def _count_text(self, threshold: float) -> str:
        """How many tokens are beyond a threshold, and their share."""
        explorer = self._explorer
        if explorer.pair is None:
            return ""
        scored = explorer.mode.tokens(explorer.pair)
        count = len(explorer.levels.beyond_threshold(threshold))
        return f"{count:>11,} {percent(count, scored):>8}"


def _ratio(nats: float) -> str:
    """A threshold in nats as a ratio of probabilities."""
    return f"{number(float(np.exp(nats)), 3):>8}"


def _nearest(choices: tuple[float, ...], threshold: float) -> int:
    """The index of the choice that is nearest on a logarithmic scale."""
    distances = [abs(np.log(choice / threshold)) for choice in choices]
    return int(np.argmin(distances))
