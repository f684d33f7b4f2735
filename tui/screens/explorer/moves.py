"""Moving the cursor: to divergences, rank flips, other sequences, labels, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.numbers import counted, number, ordinal
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.jobs import Jobs
from logdrift.tui.screens.explorer.panes import PaneGroup


class Moves:
    """The commands that move the cursor; a message where there is nowhere to go.

    ``to_tokens`` gives the keys to the text.
    """

    def __init__(
        self,
        explorer: Explorer,
        panes: PaneGroup,
        dialogue: Dialogue,
        jobs: Jobs,
        to_tokens: Callable[[], None],
    ) -> None:
        self._explorer = explorer
        self._panes = panes
        self._dialogue = dialogue
        self._jobs = jobs
        self._to_tokens = to_tokens
        self._flip_step = 0
        """The step to take once the rank flips are found; 0 while none is waiting."""

    # ---- jumps and their undoing

    def go_to(self, position: int) -> None:
        """Put the cursor on a token; `undo` does not go back."""
        self._explorer.place(position)
        self._panes.follow_cursor()

    def jump(self, position: int) -> None:
        """Put the cursor on a token; `undo` goes back."""
        self._explorer.jump(position)
        self._panes.follow_cursor()

    def undo(self) -> None:
        """Go back to where the last jump began."""
        moved = self._explorer.undo_jump()
        self._returned(moved, "no jump to undo")

    def redo(self) -> None:
        """Do the jump again that was undone last."""
        moved = self._explorer.redo_jump()
        self._returned(moved, "no jump to redo")

    def _returned(self, moved: bool, otherwise: str) -> None:
        if not moved:
            self._dialogue.say(otherwise)
            return
        self._dialogue.say("")
        self._panes.follow_cursor()

    # ---- divergences

    def next_divergence(self, step: int) -> None:
        """To the next token beyond the threshold; ``step`` -1: the one before."""
        problem = self._no_divergences()
        if problem:
            self._dialogue.warn(problem)
            return
        position = self._explorer.next_divergence(step)
        if position is None:
            threshold = self._explorer.levels.text
            self._dialogue.say(
                f"no token {side(step)} this one is beyond {threshold} (+ and − change"
                " it)"
            )
            return
        self._dialogue.say("")
        self.jump(position)

    def _no_divergences(self) -> str:
        """Why there is no divergence to go to, "" where there may be one."""
        if self._explorer.pair is None:
            return "there is no pair to compare yet"
        levels = self._explorer.levels
        if levels.missing:
            return f"{levels.mode.title}: {levels.missing}"
        return ""

    # ---- by size

    def next_by_size(self, step: int) -> None:
        """To the token with the next smaller |Δ|; ``step`` -1: the next larger one."""
        explorer = self._explorer
        if explorer.pair is None:
            self._dialogue.warn("there is no pair to compare yet")
            return
        position = explorer.next_by_size(step)
        if position is None:
            self._dialogue.say(self._no_size(step))
            return
        self.jump(position)
        self._dialogue.say(self._size_words(position))

    def _no_size(self, step: int) -> str:
        """Why there is no token to go to by size."""
        threshold = f"|Δ| {number(self._explorer.threshold, 2)}"
        count = len(self._explorer.sizes)
        if not count:
            return f"no token is beyond {threshold} (+ and − change it)"
        if step < 0:
            return f"this is the worst of {counted(count, 'token')} beyond {threshold}"
        return (
            f"this is the smallest of {count:,} beyond {threshold} (+ and − change it)"
        )

    def _size_words(self, position: int) -> str:
        """``3rd of 188 by |Δ|``."""
        from logdrift.tui.models.sizes import place_in  # not for the first screen

        positions = self._explorer.sizes
        place = place_in(positions, position)
        assert place is not None
        return f"{ordinal(place + 1)} of {len(positions):,} by |Δ|"

    # ---- rank flips

    def next_flip(self, step: int) -> None:
        """To the next rank flip; the first time a thread has to find them."""
        explorer = self._explorer
        if explorer.pair is None:
            self._dialogue.warn("there is no pair to compare yet")
        elif explorer.flips is not None:
            self._step_flip(explorer.flips, step)
        else:
            self._dialogue.say("looking for rank flips …", stays=True)
            is_first_step = not self._flip_step
            self._flip_step = step
            if is_first_step:
                self._find_flips(explorer.pair)

    def _find_flips(self, pair: Pair) -> None:
        """Find the flips, with what the chart knows of the pair, if it is shown."""
        data = None
        source = self._panes.chart.source
        if source is not None:
            data = source.data
        self._jobs.find_flips(pair, data)

    def _step_flip(self, flips: np.ndarray, step: int) -> None:
        count = len(flips)
        position = self._explorer.next_flip(step)
        if position is None:
            direction = side(step)
            words = f"no rank flip {direction} this token; there are {count:,}"
            self._dialogue.say(words)
            return
        self.jump(position)
        index = int(np.searchsorted(flips, position))
        self._dialogue.say(f"rank flip {index + 1:,} of {count:,}")

    def flips_found(self) -> None:
        """Take the step that was waiting for the flips."""
        step = self._flip_step
        self._flip_step = 0
        if step:
            self.next_flip(step)

    # ---- turns

    def next_turn(self, step: int) -> None:
        """To the next message of the assistant; ``step`` -1: to the start of this one,
        or of the one before.
        """
        explorer = self._explorer
        if explorer.sequence < 0:
            return
        position = explorer.next_turn(step)
        if position is None:
            self._dialogue.say(f"no turn {side(step)} this token")
            return
        self.jump(position)
        messages = explorer.messages
        turn = messages.turns[messages.at(position)]
        turns = messages.turns_of_sequence[explorer.sequence]
        where = f"turn {turn:,} of {turns:,} of sequence {explorer.sequence:,}"
        self._dialogue.say(where)

    # ---- sequences

    def next_sequence(self, step: int, *, at_end: bool = False) -> None:
        """To the next sequence of the list; ``at_end``: to its last token."""
        explorer = self._explorer
        nothing_listed = len(explorer.listing) == 0
        if explorer.sequence < 0 or nothing_listed:
            return
        position = explorer.next_sequence(step, at_end=at_end)
        if position is None:
            end = "last" if step > 0 else "first"
            self._dialogue.say(f"this is the {end} sequence")
            return
        self._dialogue.say("")
        self.jump(position)

    def to_listed(self, row: int) -> None:
        """To the first token of a listed sequence, unless the cursor is in it."""
        explorer = self._explorer
        order = explorer.listing.order
        sequence = int(order[row])
        if sequence != explorer.sequence:
            sequences = explorer.session.sequences
            start, _ = sequences.bounds(sequence)
            self.jump(start)

    # ---- labels

    def start_labels(self) -> None:
        """Put letters on the coloured tokens that are seen; typing them goes there."""
        self._to_tokens()
        # The text may have been hidden: what is seen is known once it is laid out.
        tokens = self._panes.tokens
        tokens.call_after_refresh(self._label)

    def _label(self) -> None:
        if self._panes.tokens.start_labels():
            words = "type the letters of a token (any other key leaves)"
            self._dialogue.say(words, stays=True)
        else:
            self._dialogue.say("no coloured token is seen here")

    def to_labelled(self, index: int | None) -> None:
        """To the token of the cursor's sequence whose label was typed, if any."""
        self._dialogue.say("")
        if index is not None:
            start, _ = self._explorer.bounds
            self.jump(start + index)


def side(step: int) -> str:
    """The direction of a step, in words."""
    if step > 0:
        return "after"
    return "before"
