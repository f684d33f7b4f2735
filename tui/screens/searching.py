"""Searching in a long text, and the keys for it."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen

from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.widgets.reading import Reading


class TextSearch:
    """Searches the one `Reading` of a screen for what is typed; ``say`` puts what came
    of it on the line of keys.
    """

    def __init__(self, screen: Screen[None], say: Callable[[str], None]) -> None:
        self._screen = screen
        self.say = say
        self._words = ""

    @property
    def _reading(self) -> Reading:
        return self._screen.query_one(Reading)

    def ask(self) -> None:
        """Ask what to search for."""
        prompt = LinePrompt(
            "Search", "in any case, n and N go on", self._words, history="text"
        )
        self._screen.app.push_screen(prompt, self._answered)

    def _answered(self, words: str | None) -> None:
        if words is None:
            return
        self._words = words
        count = self._reading.search(words)
        outcome = ""
        if words:
            outcome = _result(count, words)
        self.say(outcome)

    def step(self, step: int) -> None:
        """To the next line with the words (or the one before, for -1)."""
        if self._reading.step(step):
            return
        outcome = "nothing was searched for yet: / searches"
        if self._words:
            outcome = _result(0, self._words)
        self.say(outcome)


class SearchKeys:
    """The keys of a screen whose text can be searched."""

    search: TextSearch

    def action_search(self) -> None:
        self.search.ask()

    def action_search_next(self) -> None:
        self.search.step(1)

    def action_search_previous(self) -> None:
        self.search.step(-1)

    def action_next_text(self) -> None:
        self.turn(1)

    def action_previous_text(self) -> None:
        self.turn(-1)

    def turn(self, step: int) -> None:
        """Show the next of several texts."""
        self.search.say("there is only this text")


def _result(count: int, words: str) -> str:
    if not count:
        return f"no line has {words!r}"
    noun = "line" if count == 1 else "lines"
    return f"{count:,} {noun} with {words!r}"
