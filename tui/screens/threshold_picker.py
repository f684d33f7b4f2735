"""The list of thresholds, which also takes one that is typed."""

from __future__ import annotations

from collections.abc import Callable

from textual.events import Key

from logdrift.core.errors import InputError
from logdrift.tui.actions.hints import Hint
from logdrift.tui.models.levels import Levels
from logdrift.tui.models.thresholds import ThresholdChoice, parse_threshold
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.texts import Picker
from logdrift.tui.widgets.reading import Row

_OWN = Hint("0-9", "own value")
_BEGINS_A_NUMBER = frozenset("0123456789.")


class ThresholdPicker(Picker):
    """Asks for one of ``choices``; ``own`` is what was typed instead, if anything.

    ``colour`` is called with each threshold that is looked at.
    """

    def __init__(
        self,
        levels: Levels,
        choices: list[ThresholdChoice],
        row: Callable[[int, int], Row],
        *,
        head: str,
        start: int,
        colour: Callable[[float], object],
    ) -> None:
        super().__init__(
            f"Threshold: {levels.mode.title}, ◂ by its share",
            head,
            len(choices),
            row,
            selected=start,
            moved=self._look_at,
            aside=True,
        )
        self.own: float | None = None
        self._asks = False
        self._levels = levels
        self._thresholds = choices
        self._colour = colour

    def hints(self) -> list[Hint]:
        """The keys that matter here."""
        _, *own = super().hints()
        return [_OWN, *own]

    def _look_at(self, index: int) -> None:
        self._colour(self._thresholds[index].value)

    def on_key(self, event: Key) -> None:
        """A digit begins a threshold of one's own."""
        character = event.character or ""
        if character not in _BEGINS_A_NUMBER or not character:
            return
        event.stop()
        if self._asks:
            # Typed before its line stood: it goes there.
            self.app.post_message(Key(event.key, event.character))
            return
        self._asks = True
        prompt = LinePrompt(
            "Threshold",
            "a number as the list shows them, or a share of the tokens: 0.25 · 1%",
            character,
            problem=self._problem,
            typed=self._typed,
        )
        self.app.push_screen(prompt, self._answered)

    def _problem(self, text: str) -> str:
        parse_threshold(text, self._levels)  # the prompt shows what it raises
        return ""

    def _typed(self, text: str) -> None:
        """Colour by what is typed, where it is a threshold already."""
        try:
            self._colour(parse_threshold(text, self._levels))
        except InputError:
            return

    def _answered(self, text: str | None) -> None:
        self._asks = False
        if text:
            self.own = parse_threshold(text, self._levels)
            self.dismiss(None)
        else:
            self._look_at(self._choices.selected)
