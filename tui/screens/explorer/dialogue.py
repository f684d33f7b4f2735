"""How the parts of a screen talk to the reader: a line of words, a line to type, a list
to choose from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from logdrift.tui.palette import Palette
from logdrift.tui.screens.base import BaseScreen

if TYPE_CHECKING:
    # Windows are imported when the first one opens.
    from logdrift.tui.screens.prompt import LinePrompt
    from logdrift.tui.screens.texts import Picker


class Dialogue:
    """What is said and asked on one screen."""

    def __init__(self, screen: BaseScreen) -> None:
        self._screen = screen
        self._prompt: LinePrompt | None = None

    @property
    def palette(self) -> Palette:
        return self._screen.palette

    def say(self, text: str, *, warn: bool = False) -> None:
        """Put a message on the line of keys until the next one; "" takes it away."""
        self._screen.say(text, warn=warn)

    def show_error(self, text: str) -> None:
        """Show an error in a window, where it can be copied."""
        self._screen.logdrift.show_error(text)

    def copy(self, text: str) -> None:
        """Copy to the clipboard and say so."""
        self.say(self._screen.logdrift.copy_text(text))

    def open(self, screen: Screen[Any]) -> None:
        """Open another screen over this one."""
        self.say("")
        self._screen.app.push_screen(screen)

    def choose(self, picker: Picker, answered: Callable[[int | None], None]) -> None:
        """Ask for a row of a list; ``answered`` gets None where it was left."""
        self.say("")
        self._screen.app.push_screen(picker, answered)

    def ask_line(
        self,
        title: str,
        words: str,
        value: str,
        taken: Callable[[str], None],
        *,
        problem: Callable[[str], str] | None = None,
        typed: Callable[[str], object] | None = None,
        limit: int = 1000,
    ) -> None:
        """Ask for a line at the foot of the screen, as `LinePrompt` does.

        ``taken`` gets what was typed, unless the line was left.
        """
        from logdrift.tui.screens.prompt import LinePrompt

        self.say("")
        self._prompt = LinePrompt(
            title, words, value, problem=problem, typed=typed, limit=limit
        )
        self._screen.app.push_screen(
            self._prompt, lambda text: None if text is None else taken(text)
        )

    def note(self, typed: str, words: str) -> None:
        """Say something below the line that is asked for, if it still is ``typed``."""
        prompt = self._prompt
        if prompt is not None and prompt.is_attached and prompt.text == typed:
            prompt.note(words)
