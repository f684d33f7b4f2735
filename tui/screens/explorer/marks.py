"""The reader's marks: a note on a token, and the list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.numbers import NOTHING, signed
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.places import write_place
from logdrift.tui.models.state import MAX_NOTE, Mark
from logdrift.tui.models.token_text import token_text
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
        """Ask for a note and mark the token; an empty note removes a mark."""
        sequences = self._explorer.session.sequences
        if not sequences.tokens:
            return
        position = self._explorer.position
        place = write_place(sequences, position)
        words = "a note, or nothing"
        note = ""
        mark = self._explorer.mark_at(position)
        if mark is not None:
            words = "an empty note removes the mark"
            note = mark.note

        def taken(typed: str) -> None:
            self._mark(position, typed)

        self._dialogue.ask_line(f"Mark {place}", words, note, taken, limit=MAX_NOTE)

    def toggle(self) -> None:
        """Mark the token without a note, or remove its mark."""
        if not self._explorer.session.sequences.tokens:
            return
        position = self._explorer.position
        mark = self._explorer.mark_at(position)
        self._mark(position, "")
        if mark is not None and mark.note:
            note = visible(mark.note)
            self._dialogue.say(f"mark removed, its note was: {note}")

    def _mark(self, position: int, note: str) -> None:
        marked = self._explorer.mark(position, note)
        self._panes.show_passage()
        if marked:
            count = len(self._explorer.state.marks)
            self._dialogue.say(f"marked; there are {count} (B lists them)")
        else:
            self._dialogue.say("mark removed")

    def choose(self) -> None:
        """List the marks, and go to the one that is chosen."""
        from logdrift.tui.screens.texts import Picker

        marks = self._explorer.state.marks
        if not marks:
            self._dialogue.say("no token is marked (b marks the one under the cursor)")
            return
        count = len(marks)
        positions = [mark.position for mark in marks]
        position = self._explorer.position
        following = int(np.searchsorted(positions, position))
        start = min(following, count - 1)
        head = f"   {'seq:pos':<12}{'token':<18}{'Δ':>9}  note"

        def row(index: int, width: int) -> Row:
            return self._row(marks[index], width)

        def chosen(index: int) -> None:
            self._go_to(marks[index])

        picker = Picker("Marks", head, count, row, start)
        self._dialogue.choose(picker, chosen)

    def _go_to(self, mark: Mark) -> None:
        sequences = self._explorer.session.sequences
        if mark.position >= sequences.tokens:
            self._dialogue.warn("this token is not captured yet")
        else:
            self._moves.jump(mark.position)

    def _row(self, mark: Mark, width: int) -> Row:
        palette = self._dialogue.palette
        session = self._explorer.session
        sequences = session.sequences
        position = mark.position
        note = visible(mark.note)
        if position >= sequences.tokens:
            return [(f"   not captured yet   {note}", palette.muted)]
        place = write_place(sequences, position)
        text = token_text(session, position)
        with_dots = text.replace(" ", "·")
        piece = fit(with_dots, 16)
        delta = self._delta(position)
        room = max(1, width - 43)
        return [
            (f"   {place:<12}", palette.muted),
            (piece, palette.strong),
            (f"{delta:>11}  ", palette.text),
            (fit(note, room), palette.text),
        ]

    def _delta(self, position: int) -> str:
        pair = self._explorer.pair
        if pair is None or position >= pair.tokens:
            return NOTHING
        delta = float(pair.delta[position])
        return signed(delta)
