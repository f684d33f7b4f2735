"""Searching in a long text: what windows and screens with one have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from logdrift.tui.widgets.bars import Hints
from logdrift.tui.widgets.reading import Reading

if TYPE_CHECKING:
    _Base = Screen[Any]
else:
    _Base = object


class Searching(_Base):
    """The keys of ``reading``; the screen has one `Reading` and a line of keys."""

    _wanted = ""

    @property
    def reading(self) -> Reading:
        return self.query_one(Reading)

    def tell(self, text: str) -> None:
        """Say something on the line of keys."""
        self.query_one(Hints).say(text)

    def action_search(self) -> None:
        """Ask what to search for."""
        from logdrift.tui.screens.prompt import Prompt

        self.app.push_screen(
            Prompt("Search", "in any case, n and N go on", self._wanted), self._search
        )

    def _search(self, text: str | None) -> None:
        if text is None:
            return
        self._wanted = text
        found = self.reading.search(text)
        lines = f"{found:,} line{'' if found == 1 else 's'}"
        self.tell(
            f"{lines} with {text!r}"
            if found
            else f"no line has {text!r}"
            if text
            else ""
        )

    def action_search_next(self) -> None:
        self._step(1)

    def action_search_previous(self) -> None:
        self._step(-1)

    def _step(self, step: int) -> None:
        if not self.reading.step(step):
            self.tell(
                f"no line has {self._wanted!r}"
                if self._wanted
                else "nothing was searched for yet: / searches"
            )

    def action_next_text(self) -> None:
        self.turn(1)

    def action_previous_text(self) -> None:
        self.turn(-1)

    def turn(self, step: int) -> None:
        """Show the next of several texts."""
        self.tell("there is only this text")
