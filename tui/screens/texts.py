"""Windows over a screen: a text to read and copy, and a list that asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.strip import Strip

from logdrift.tui.actions import Hint, key_hints
from logdrift.tui.actions.hints import MOVE, SCROLL
from logdrift.tui.bindings import bindings
from logdrift.tui.glyphs import fit
from logdrift.tui.screens.base import WINDOW_STYLES, SafeScreen
from logdrift.tui.screens.saving import save
from logdrift.tui.screens.searching import SearchKeys, TextSearch
from logdrift.tui.widgets.bars import Hints
from logdrift.tui.widgets.lines import strip_of
from logdrift.tui.widgets.reading import Reading, Row
from logdrift.tui.widgets.rows import Rows


class TextScreen(
    SearchKeys, ModalScreen[None], SafeScreen[None], inherit_bindings=False
):
    """A title and lines, scrolled by key; ``c`` copies all of it, ``Ctrl+S`` saves it,
    ``/`` searches.
    """

    BINDINGS = bindings("picker", "reading", "app")
    CSS_PATH = WINDOW_STYLES
    AUTO_FOCUS = "#text"
    SAVED_AS = "logdrift.txt"
    """The name that is offered."""
    session_folder: Path | None = None
    """Of the session that the text is about: nothing is written into it."""

    def __init__(
        self,
        title: str,
        lines: Sequence[str | Row],
        *,
        bad: bool = False,
        at_end: bool = False,
    ) -> None:
        super().__init__()
        self.title_text = title
        self.source = lines
        self.bad = bad
        self.at_end = at_end
        self.search = TextSearch(self, self.tell)

    def compose(self) -> ComposeResult:
        classes = "bad" if self.bad else ""
        with Vertical(id="window", classes=classes):
            yield self.reading_of(self.title_text)
            yield Hints(id="window-hints")

    def on_mount(self) -> None:
        line = self.query_one(Hints)
        hints = self.hints()
        line.show(hints)

    def hints(self) -> list[Hint]:
        """The keys that matter here."""
        keymap = self.logdrift.keymap
        own = key_hints("picker", "reading", "app", keymap=keymap)
        return [SCROLL, *own]

    def action_cancel(self) -> None:
        self.dismiss()

    def reading_of(self, title: str) -> Reading:
        """The pane with the text."""
        return Reading(title, self.source, self.at_end, id="text")

    @property
    def reading(self) -> Reading:
        """The text."""
        return self.query_one(Reading)

    def tell(self, text: str) -> None:
        """Say something on the line of keys."""
        hints = self.query_one(Hints)
        hints.say(text)

    def text_to_save(self) -> str:
        """What is shown, as it is copied."""
        return self.reading.plain

    def action_save(self) -> None:
        folder = self.session_folder
        save(self, self.SAVED_AS, self.text_to_save, session=folder)

    def action_copy_text(self) -> None:
        text = self.text_to_save()
        outcome = self.logdrift.copy_text(text)
        self.tell(outcome)


class Picker(ModalScreen[int | None], SafeScreen[int | None], inherit_bindings=False):
    """Asks for one row of a list: its index, or None. ``moved`` is called while looking
    around; ``aside`` leaves the left of the screen to be seen meanwhile.
    """

    BINDINGS = bindings("picker", "app")
    CSS_PATH = WINDOW_STYLES
    AUTO_FOCUS = "#choices"

    def __init__(
        self,
        title: str,
        head: str,
        count: int,
        row: Callable[[int, int], Row],
        selected: int = 0,
        moved: Callable[[int], None] | None = None,
        aside: bool = False,
    ) -> None:
        classes = "-aside" if aside else ""
        super().__init__(classes=classes)
        self.title_text = title
        self.head = head
        self.count = count
        self.row = row
        self.start = selected
        self.moved = moved
        self._choices = _Choices(self, id="choices")

    def compose(self) -> ComposeResult:
        with Vertical(id="window"):
            yield self._choices
            yield Hints(id="window-hints")

    def on_mount(self) -> None:
        line = self.query_one(Hints)
        hints = self.hints()
        line.show(hints)
        window = self.query_one("#window")
        height = self.app.size.height
        room = height - 2
        room = max(8, room)
        needed = self.count + 5
        window.styles.height = min(needed, room)
        self._choices.selected = self.start

    def hints(self) -> list[Hint]:
        """The keys that matter here."""
        keymap = self.logdrift.keymap
        own = key_hints("picker", panes=("list",), keymap=keymap)
        return [MOVE, *own]

    def update(self) -> None:
        """The rows have something new to say."""
        self._choices.refresh()

    @on(Rows.Moved)
    def _on_moved(self, message: Rows.Moved) -> None:
        message.stop()
        if self.moved is not None:
            self.moved(message.index)

    @on(Rows.Chosen)
    def _on_chosen(self, message: Rows.Chosen) -> None:
        message.stop()
        self.dismiss(message.index)

    def action_cancel(self) -> None:
        self.dismiss(None)

    def action_copy_text(self) -> None:
        """Copy the list."""
        width = self._choices.inner_width
        lines = [self.head]
        for index in range(self.count):
            row = self.row(index, width)
            texts = [text for text, _ in row]
            line = "".join(texts)
            line = line.rstrip()
            lines.append(line)
        whole_list = "\n".join(lines)
        outcome = self.logdrift.copy_text(whole_list)
        hints = self.query_one(Hints)
        hints.say(outcome)


class _Choices(Rows):
    fixed = 2

    def __init__(self, picker: Picker, *, id: str) -> None:
        super().__init__(id=id)
        self._picker = picker

    @property
    def line_count(self) -> int:
        return self._picker.count

    def fixed_line(self, y: int, width: int) -> Strip:
        picker = self._picker
        if y == 0:
            return self.title_line(picker.title_text, width)
        head = fit(picker.head, width)
        run = (head, self.palette.muted)
        return strip_of([run], width)

    def runs(self, index: int, width: int) -> Row:
        return self._picker.row(index, width)
