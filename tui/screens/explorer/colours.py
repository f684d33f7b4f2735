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

    # ---- the threshold

    def set_threshold(self, threshold: float) -> None:
        """Set what counts as divergent, in the unit of the mode."""
        if not self._explorer.set_threshold(threshold):
            return
        if not self._explorer.mode.thresholds:
            self._order.threshold_changed()
        self._panes.show_passage()

    def next_threshold(self, step: int) -> None:
        """Take the next higher threshold (``step`` -1: lower) and say what is
        beyond.
        """
        explorer = self._explorer
        threshold = explorer.next_threshold(step)
        self.set_threshold(threshold)
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
        """List thresholds with the tokens beyond each.

        The text is coloured by the one that is selected.
        """
        if self._explorer.pair is None:
            self._dialogue.warn("there is no pair to compare yet")
            return
        choices = self._explorer.mode.thresholds or THRESHOLDS
        self._ask_threshold(choices)

    def _ask_threshold(self, choices: tuple[float, ...]) -> None:
        from logdrift.tui.screens.texts import Picker

        before = self._explorer.levels.threshold
        texts: dict[int, str] = {}

        def row(index: int, width: int) -> Row:
            text = texts.get(index)
            if text is None:
                text = self._threshold_text(choices[index])
                texts[index] = text
            return [(text, self._dialogue.palette.text)]

        def colour(index: int | None) -> None:
            threshold = before
            if index is not None:
                threshold = choices[index]
            self.set_threshold(threshold)

        picker = Picker(
            f"Threshold: {self._explorer.mode.title}",
            self._threshold_head(),
            len(choices),
            row,
            selected=_nearest(choices, before),
            moved=colour,
            aside=True,
        )
        self._dialogue.choose_or_restore(picker, colour)

    def _threshold_head(self) -> str:
        """The heads of the list of thresholds."""
        mode = self._explorer.mode
        ratio = "   ratio"
        if mode.thresholds:
            ratio = ""
        return f" {mode.head:>8} {ratio} {'beyond':>11} {'of all':>8}"

    def _threshold_text(self, threshold: float) -> str:
        """A threshold, for nats also as a ratio, and how many tokens are beyond it."""
        explorer = self._explorer
        mode = explorer.mode
        bound = mode.step(threshold)
        ratio = ""
        if not mode.thresholds:
            ratio = _ratio(threshold)
        if explorer.pair is None:
            return f" {bound:>8} {ratio}"
        beyond = explorer.levels.beyond_threshold(threshold)
        count = len(beyond)
        share = percent(count, mode.tokens(explorer.pair))
        return f" {bound:>8} {ratio} {count:>11,} {share:>8}"


def _ratio(nats: float) -> str:
    """A threshold in nats as a ratio of probabilities."""
    ratio = float(np.exp(nats))
    text = number(ratio, 3)
    return f"{text:>8}"


def _nearest(choices: tuple[float, ...], threshold: float) -> int:
    """The index of the choice that is nearest to a threshold, on a logarithmic
    scale.
    """
    ratios = np.array(choices) / threshold
    distances = np.abs(np.log(ratios))
    return int(np.argmin(distances))
