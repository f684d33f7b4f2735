"""One line to type, at the foot of the screen, which stays visible above it."""

from __future__ import annotations

from collections.abc import Callable

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.strip import Strip

from logdrift.core.errors import words_of
from logdrift.tui.actions import Hint, key_hints
from logdrift.tui.bindings import bindings
from logdrift.tui.models.typed_history import (
    HistoryKind,
    Recall,
    remember_typed,
    typed_before,
)
from logdrift.tui.screens.base import WINDOW_STYLES, SafeScreen
from logdrift.tui.widgets.bars import Hints
from logdrift.tui.widgets.line_edit import TypedLine, line_runs, typed
from logdrift.tui.widgets.lines import Lines, strip_of


class LinePrompt(
    ModalScreen[str | None], SafeScreen[str | None], inherit_bindings=False
):
    """Asks for a line: what was typed, or None. ``problem`` says what is wrong with a
    text, "" for nothing, or raises it, and keeps Enter from taking it; ``typed`` is
    called on every change and may answer with `note`. ``history`` names the texts that
    Up and Down bring back, "" for none; ``complete`` gives what Tab makes of a text.
    """

    BINDINGS = bindings("prompt")
    CSS_PATH = WINDOW_STYLES
    AUTO_FOCUS = "#typed"

    def __init__(
        self,
        title: str,
        words: str,
        value: str = "",
        *,
        problem: Callable[[str], str] | None = None,
        typed: Callable[[str], object] | None = None,
        limit: int = 1000,
        history: HistoryKind | None = None,
        complete: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__()
        self.title_text = title
        self.words = words
        self.value = value
        self.limit = limit
        self._problem = problem
        self._typed = typed
        self._history = history
        self._complete = complete
        self._recall: Recall | None = None
        # Made with the window: it may be asked for what is typed before it stands.
        self._box = LineBox(value, limit, id="typed")
        self._note = Hints(id="prompt-note")

    def compose(self) -> ComposeResult:
        with Vertical(id="prompt"):
            yield Hints(id="prompt-title")
            yield self._box
            yield self._note

    def on_mount(self) -> None:
        title_line = self.query_one("#prompt-title", Hints)
        keys = key_hints("prompt", keymap=self.logdrift.keymap)
        title = Hint("", self.title_text, stays=True)
        title_line.show([title, *self._own_hints(), *keys])
        self.note(self.words)

    def _own_hints(self) -> list[Hint]:
        """The keys that not every line has."""
        hints = []
        if self._history is not None:
            hints.append(Hint("↑↓", "earlier ones"))
        if self._complete is not None:
            hints.append(Hint("Tab", "complete"))
        return hints

    @property
    def text(self) -> str:
        """What is typed at this moment."""
        return self._box.edited.text

    def note(self, text: str) -> None:
        """Say something below the line."""
        self._note.say(text, stays=True)

    def on_line_box_changed(self, message: LineBox.Changed) -> None:
        message.stop()
        text = message.text
        wrong = ""
        if text:
            wrong = self._wrong(text)
        self.note(wrong or self.words)
        if self._typed is not None:
            self._typed(text)

    def _wrong(self, text: str) -> str:
        """What is wrong with a text, in one line; what its check raises is wrong with
        it too.
        """
        if self._problem is None:
            return ""
        try:
            return self._problem(text)
        except Exception as error:
            return words_of(error)

    def action_submit(self) -> None:
        """Take what is typed."""
        wrong = self._wrong(self.text)
        if wrong:
            self.note(wrong)
            return
        if self._history is not None:
            remember_typed(self._history, self.text)
        self.dismiss(self.text)

    def action_older(self) -> None:
        """What was typed before."""
        if self._history is None:
            return
        if self._recall is None:
            self._recall = Recall(typed_before(self._history))
        self._put(self._recall.older(self.text))

    def action_newer(self) -> None:
        """Back towards what is typed now."""
        if self._recall is not None:
            self._put(self._recall.newer())

    def action_complete(self) -> None:
        """What is typed, as far as there is only one way to go on."""
        if self._complete is not None:
            self._put(self._complete(self.text))

    def _put(self, text: str | None) -> None:
        if text is not None:
            self._box.put(TypedLine.of(text))

    def action_cancel(self) -> None:
        self.dismiss(None)


class LineBox(Lines):
    """The line itself; keys that are typed go to it alone."""

    class Changed(Message):
        """Another text is there."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, value: str, limit: int, *, id: str) -> None:
        super().__init__(id=id)
        self.edited = TypedLine.of(value)
        self._limit = limit

    @property
    def line_count(self) -> int:
        return 1

    def line(self, index: int, width: int) -> Strip:
        palette = self.palette
        sign = (" › ", palette.accent)
        room = max(1, width - 4)
        typed_runs = line_runs(self.edited, room, palette, cursor=True)
        return strip_of([sign, *typed_runs], width)

    def put(self, line: TypedLine) -> None:
        """Take another text, as far as there is room for it."""
        text = line.text[: self._limit]
        at = min(line.at, self._limit)
        line = TypedLine(text, at)
        before = self.edited
        if line == before:
            return
        self.edited = line
        self.refresh()
        if text != before.text:
            self.post_message(self.Changed(text))

    def on_key(self, event: events.Key) -> None:
        line = typed(self.edited, event)
        if line is not None:
            event.stop()
            event.prevent_default()
            self.put(line)

    @on(events.Paste)
    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        first_line, _, _ = event.text.partition("\n")
        pasted = first_line.rstrip("\r")
        line = self.edited.insert(pasted)
        self.put(line)
