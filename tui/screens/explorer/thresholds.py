"""What counts as divergent: the threshold of the mode that colours the tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.numbers import counted, number, percent
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.listing import SequenceOrder
from logdrift.tui.screens.explorer.panes import PaneGroup

if TYPE_CHECKING:
    from logdrift.tui.models.thresholds import ThresholdChoice
    from logdrift.tui.widgets.reading import Row


class Threshold:
    """The commands that change the threshold."""

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

    def set(self, threshold: float) -> None:
        """Set what counts as divergent, in the unit of the mode."""
        if not self._explorer.set_threshold(threshold):
            return
        if not self._explorer.mode.thresholds:
            self._order.threshold_changed()
        self._panes.show_passage()

    def step(self, step: int) -> None:
        """Take the next higher threshold (``step`` -1: lower) and say what is
        beyond.
        """
        threshold = self._explorer.next_threshold(step)
        self.set(threshold)
        self._say_beyond()

    def take_typed(self, text: str) -> None:
        """Take a threshold as it is typed. InputError where it is none."""
        threshold = self.parse(text)
        self.set(threshold)
        self._say_beyond()

    def parse(self, text: str) -> float:
        """The threshold that is typed. InputError where it is none."""
        from logdrift.tui.models.thresholds import parse_threshold

        if self._explorer.pair is None:
            raise InputError("there is no pair to compare yet")
        return parse_threshold(text, self._explorer.levels)

    def _say_beyond(self) -> None:
        explorer = self._explorer
        levels = explorer.levels
        if explorer.pair is None or levels.count is None:
            return
        scored = levels.mode.tokens(explorer.pair)
        share = percent(levels.count, scored)
        self._dialogue.say(
            f"threshold {levels.text}: {levels.count:,} of"
            f" {counted(scored, 'token')} beyond ({share})"
        )

    # ---- the list

    def choose(self) -> None:
        """List thresholds with the tokens beyond each, or take one that is typed.

        The text is coloured by the one that is looked at.
        """
        from logdrift.tui.models.thresholds import threshold_choices
        from logdrift.tui.screens.threshold_picker import ThresholdPicker

        explorer = self._explorer
        if explorer.pair is None:
            self._dialogue.warn("there is no pair to compare yet")
            return
        levels = explorer.levels
        choices = threshold_choices(levels)
        before = levels.threshold
        texts: dict[int, str] = {}

        def row(index: int, width: int) -> Row:
            text = texts.get(index)
            if text is None:
                text = self._text_of(choices[index])
                texts[index] = text
            return [(text, self._dialogue.palette.text)]

        def chosen(index: int | None) -> None:
            if picker.own is not None:
                self.set(picker.own)
                self._say_beyond()
            elif index is None:
                self.set(before)
            else:
                self.set(choices[index].value)

        picker = ThresholdPicker(
            levels,
            choices,
            row,
            head=self._head(),
            start=_nearest(choices, before),
            colour=self.set,
        )
        self._dialogue.choose_or_restore(picker, chosen)

    def _head(self) -> str:
        """The heads of the list of thresholds."""
        mode = self._explorer.mode
        ratio = "   ratio"
        if mode.thresholds:
            ratio = ""
        return f" {mode.head:>8} {ratio} {'beyond':>11} {'of all':>8}"

    def _text_of(self, choice: ThresholdChoice) -> str:
        """A threshold, for nats also as a ratio, and how many tokens are beyond it."""
        explorer = self._explorer
        mode = explorer.mode
        bound = mode.bound_text(choice.value)
        ratio = ""
        if not mode.thresholds:
            ratio = _ratio(choice.value)
        if explorer.pair is None:
            return f" {bound:>8} {ratio}"
        beyond = explorer.levels.beyond_threshold(choice.value)
        count = len(beyond)
        share = percent(count, mode.tokens(explorer.pair))
        mark = "" if choice.share is None else " ◂"
        return f" {bound:>8} {ratio} {count:>11,} {share:>8}{mark}"


def _ratio(nats: float) -> str:
    """A threshold in nats as a ratio of probabilities."""
    ratio = float(np.exp(nats))
    text = number(ratio, 3)
    return f"{text:>8}"


def _nearest(choices: list[ThresholdChoice], threshold: float) -> int:
    """The index of the choice that is nearest to a threshold, on a logarithmic
    scale.
    """
    values = np.array([choice.value for choice in choices])
    distances = np.abs(np.log(values / threshold))
    return int(np.argmin(distances))
