"""Searching for text and ids, and going to a place that is typed."""

from __future__ import annotations

import re
from collections.abc import Callable

from logdrift.core.errors import InputError
from logdrift.core.session.visible import visible
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.places import parse_place, write_place
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.jobs import Jobs, Searched
from logdrift.tui.screens.explorer.moves import Moves, side
from logdrift.tui.screens.explorer.panes import PaneGroup

_PLACE = re.compile(r"\s*[#\d:]")
"""How a place begins, and no command."""


class Search:
    """The commands that ask where to go."""

    def __init__(
        self,
        explorer: Explorer,
        panes: PaneGroup,
        dialogue: Dialogue,
        moves: Moves,
        jobs: Jobs,
    ) -> None:
        self._explorer = explorer
        self._panes = panes
        self._dialogue = dialogue
        self._moves = moves
        self._jobs = jobs

    def ask(self) -> None:
        """Ask for text or ids; matches are counted while typing."""
        self._dialogue.ask_line(
            "Search",
            "text (↵ is a newline) · ids: #30010 · lower case finds upper case too",
            self._explorer.found.query,
            self.start,
            typed=self._count,
            history="search",
        )

    def _count(self, text: str) -> None:
        if text:
            self._jobs.search(text, entered=False)

    def start(self, text: str) -> None:
        """Search, and go to the nearest match; "" ends the search."""
        if text:
            self._jobs.search(text, entered=True)
        else:
            self.end()

    def ended(self, message: Searched) -> None:
        """Show how many matches there are while typing, or go to the nearest one."""
        count = len(message.matches)
        if not message.entered:
            self._dialogue.note(message.query, f"{count:,} found")
        elif not count:
            self.end()
            query = visible(message.query)
            self._dialogue.warn(f"nothing found of {query!r}")
        else:
            self._to_first_match(message)

    def _to_first_match(self, message: Searched) -> None:
        explorer = self._explorer
        explorer.found.keep(message.query, message.matches)
        position = explorer.found.first(explorer.position)
        assert position is not None
        self._moves.jump(position)
        self._panes.show_passage()
        self._say_match()

    def next_match(self, step: int) -> None:
        """To the next match; ``step`` -1: the one before."""
        position = self._explorer.found.next(self._explorer.position, step)
        if position is None:
            self._dialogue.say(f"no match {side(step)} this one (Esc ends the search)")
            return
        self._moves.jump(position)
        self._say_match()

    def _say_match(self) -> None:
        explorer = self._explorer
        found = explorer.found
        assert found.matches is not None
        count = len(found.matches)
        place = f"{found.number(explorer.position):,} of {count:,} found"
        query = visible(found.query)
        words = f"{place}: {query}  (n next, N back, Esc ends)"
        self._dialogue.say(words, stays=True)

    def end(self) -> None:
        """Forget the search."""
        if self._explorer.found.forget():
            self._panes.show_passage()

    # ---- places

    @property
    def place_words(self) -> str:
        """What can be typed as a place, and where the cursor is."""
        sequences = self._explorer.session.sequences
        words = "a command (Tab completes) · 120 · 3:120 · #30010"
        if not sequences.tokens:
            return words
        place = write_place(sequences, self._explorer.position)
        return f"{words} · here: {place}"

    def place(self, text: str) -> Callable[[], object] | None:
        """What goes to a typed place; None for a text that is none.

        InputError where there is no such place.
        """
        if not _PLACE.match(text):
            return None
        if _is_id(text):
            problem = id_problem(text)
            if problem:
                raise InputError(problem)
        else:
            self._position_of(text)
        return lambda: self._go_to_place(text)

    def _go_to_place(self, text: str) -> None:
        if _is_id(text):
            query = text.strip()
            self._jobs.search(query, entered=True)
        else:
            self._dialogue.say("")
            position = self._position_of(text)
            self._moves.jump(position)

    def _position_of(self, text: str) -> int:
        explorer = self._explorer
        sequences = explorer.session.sequences
        return parse_place(text, sequences, explorer.sequence)


def _is_id(text: str) -> bool:
    return text.lstrip().startswith("#")


def id_problem(text: str) -> str:
    """What is wrong with a typed id, "" where nothing is."""
    from logdrift.core.session.search import parse_ids

    if _is_id(text) and parse_ids(text) is None:
        return f"{text.strip()!r} is not an id: write #30010"
    return ""
