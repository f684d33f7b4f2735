"""How the explorer talks to the reader: messages, a line to type, lists to choose
from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from logdrift.tui.palette import Palette
from logdrift.tui.screens.base import BaseScreen

if TYPE_CHECKING:
    # Windows are imported when the first one opens.
    from logdrift.tui.models.typed_history import HistoryKind
    from logdrift.tui.screens.prompt import LinePrompt
    from logdrift.tui.screens.texts import Picker


class Dialogue:
    """The messages and questions of one screen."""

    def __init__(self, screen: BaseScreen) -> None:
        self._screen = screen
        self._prompt: LinePrompt | None = None

    @property
    def palette(self) -> Palette:
        return self._screen.palette

    def say(self, text: str, *, stays: bool = False) -> None:
        """Show a message in place of the keys until the next one; "" removes it."""
        self._screen.say(text, stays=stays)

    def warn(self, text: str) -> None:
        """Like `say`, for what is wrong or cannot be done."""
        self._screen.warn(text)

    def show_error(self, text: str) -> None:
        """Show an error in a window, where it can be copied."""
        self._screen.logdrift.show_error(text)

    def copy(self, text: str) -> None:
        """Copy to the clipboard and say so."""
        outcome = self._screen.logdrift.copy_text(text)
        self.say(outcome)

    def open(self, screen: Screen[Any]) -> None:
        """Open another screen over this one."""
        self.say("")
        self._screen.app.push_screen(screen)

    def choose(self, picker: Picker, chosen: Callable[[int], None]) -> None:
        """Ask for a row of a list; ``chosen`` is not called without an answer."""
        self.say("")
        self._screen.choose(picker, chosen)

    def choose_or_restore(
        self, picker: Picker, answered: Callable[[int | None], None]
    ) -> None:
        """Like `choose`, but ``answered`` gets None where there is no answer."""
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
        history: HistoryKind | None = None,
    ) -> None:
        """Ask for a line at the foot of the screen, as `LinePrompt` does.

        ``taken`` gets the accepted text; it is not called where the reader pressed Esc.
        """
        from logdrift.tui.screens.prompt import LinePrompt

        self.say("")
        prompt = LinePrompt(
            title,
            words,
            value,
            problem=problem,
            typed=typed,
            limit=limit,
            history=history,
        )
        self._prompt = prompt
        self._screen.ask(prompt, taken)

    def note(self, typed: str, words: str) -> None:
        """Show words below the line that is asked for, if its text is still
        ``typed``.
        """
        prompt = self._prompt
        if prompt is None or not prompt.is_attached:
            return
        if prompt.text == typed:
            prompt.note(words)
