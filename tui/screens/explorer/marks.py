"""The reader's marks: a note on a token, and the list of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.numbers import NOTHING, signed
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.places import write_place
from logdrift.tui.models.state import MAX_NOTE, Mark
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.moves import Moves
from logdrift.tui.screens.explorer.panes import PaneGroup

if TYPE_CHECKING:
    from logdrift.tui.widgets.reading import Row


class Marks:
    """The commands that mark a token and go to a mark."""

    def __init__(
        self, explorer: Explorer, panes: PaneGroup, dialogue: Dialogue, moves: Moves
    ) -> None:
        self._explorer = explorer
        self._panes = panes
        self._dialogue = dialogue
        self._moves = moves

    def ask_note(self) -> None:
        """Ask for a note and mark the token; a mark whose note is emptied goes."""
        sequences = self._explorer.session.sequences
        if not sequences.tokens:
            return
        position = self._explorer.position
        mark = self._explorer.mark_at(position)
        self._dialogue.ask_line(
            f"Mark {write_place(sequences, position)}",
            "a note, or nothing" if mark is None else "an empty note removes the mark",
            mark.note if mark else "",
            self._mark(position),
            limit=MAX_NOTE,
        )

    def _mark(self, position: int) -> Callable[[str], None]:
        def mark(note: str) -> None:
            marked = self._explorer.mark(position, note)
            count = len(self._explorer.state.marks)
            self._panes.show_passage()
            self._dialogue.say(
                f"marked; there are {count} (B lists them)"
                if marked
                else "mark removed"
            )

        return mark

    def choose(self) -> None:
        """List the marks, and go to the one that is chosen."""
        from logdrift.tui.screens.texts import Picker

        marks = self._explorer.state.marks
        if not marks:
            self._dialogue.say("no token is marked (b marks the one under the cursor)")
            return
        positions = [mark.position for mark in marks]
        nearest = int(np.searchsorted(positions, self._explorer.position))
        picker = Picker(
            "Marks",
            f"   {'seq:pos':<12}{'token':<18}{'Δ':>9}  note",
            len(marks),
            lambda index, width: self._row(marks[index], width),
            min(nearest, len(marks) - 1),
        )
        self._dialogue.choose(
            picker, lambda index: None if index is None else self._go_to(marks[index])
        )

    def _go_to(self, mark: Mark) -> None:
        if mark.position >= self._explorer.session.sequences.tokens:
            self._dialogue.say("this token is not captured yet", warn=True)
        else:
            self._moves.jump(mark.position)

    def _row(self, mark: Mark, width: int) -> Row:
        p = self._dialogue.palette
        session = self._explorer.session
        if mark.position >= session.sequences.tokens:
            return [(f"   not captured yet   {visible(mark.note)}", p.muted)]
        token_id = int(session.sequences.token_ids[mark.position])
        piece = session.pieces.text(token_id).replace(" ", "·")
        return [
            (f"   {write_place(session.sequences, mark.position):<12}", p.muted),
            (fit(piece, 16), p.strong),
            (f"{self._delta(mark.position):>11}  ", p.text),
            (fit(visible(mark.note), max(1, width - 43)), p.text),
        ]

    def _delta(self, position: int) -> str:
        pair = self._explorer.pair
        if pair is None or position >= pair.tokens:
            return NOTHING
        return signed(float(pair.delta[position]))
