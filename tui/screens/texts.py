"""Windows over a screen: a text to read and copy, and a list that asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.strip import Strip

from core.session.visible import visible
from tui.actions import bindings
from tui.flow import fragments_of
from tui.glyphs import fit
from tui.widgets.bars import Hints
from tui.widgets.lines import Run, Text, strip_of
from tui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.app import LogdriftApp

Row = Sequence[Run]


class TextScreen(ModalScreen[None], inherit_bindings=False):
    """A title and lines, scrolled by key; ``c`` copies all of it."""

    BINDINGS = bindings("picker", "app")
    AUTO_FOCUS = "#text"

    def __init__(self, title: str, lines: Sequence[str | Row], *, bad: bool = False, at_end: bool = False) -> None:
        super().__init__()
        self.title_text, self.source, self.bad, self.at_end = title, lines, bad, at_end

    def compose(self) -> ComposeResult:
        with Vertical(id="window", classes="bad" if self.bad else ""):
            yield _Reading(self.title_text, self.source, self.at_end, id="text")
            yield Hints(id="window-hints")

    def on_mount(self) -> None:
        self.query_one(Hints).show([("c", "copy"), ("↑↓", "scroll"), ("Esc", "leave")])

    def action_cancel(self) -> None:
        self.dismiss()

    def action_copy_text(self) -> None:
        text = "\n".join(line if isinstance(line, str) else "".join(run for run, _ in line) for line in self.source)
        self.query_one(Hints).say(cast("LogdriftApp", self.app).copy_text(text))


class _Reading(Text):
    fixed = 1

    def __init__(self, title: str, source: Sequence[str | Row], at_end: bool, *, id: str) -> None:
        super().__init__(id=id)
        self._title, self._source, self._at_end = title, source, at_end

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line(self._title, width)

    def on_resize(self, event: events.Resize) -> None:
        width, style = self.inner_width, self.palette.text
        rows: list[Row] = []
        for line in self._source:
            rows += [[(part, style)] for part in wrap(visible(line), width)] if isinstance(line, str) else [line]
        self.set_lines([strip_of(row, width) for row in rows])
        if self._at_end:
            self.scroll_top(len(rows))


def wrap(line: str, width: int) -> list[str]:
    """A line cut into rows of at most ``width`` cells, between words where that is near."""
    rows, row, room = [], "", width
    for word in line.replace(" ", "\0 ").split("\0"):
        for fragment in fragments_of(word) if word else ():
            if fragment.cells > room:
                rows.append(row)
                row, room = "", width
            row += fragment.text
            room -= fragment.cells
    return [*rows, row]


class Picker(ModalScreen[int | None], inherit_bindings=False):
    """Asks for one row of a list: its index, or None. ``moved`` is called while looking around; ``aside``
    leaves the left of the screen to be seen meanwhile. ``known`` is the caller's, for what comes in later."""

    BINDINGS = bindings("picker", "app")
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
        super().__init__(classes="-aside" if aside else "")
        self.known: dict[int, Any] = {}
        self.title_text, self.head, self.count, self.row = title, head, count, row
        self.start, self.moved = selected, moved

    def compose(self) -> ComposeResult:
        with Vertical(id="window"):
            yield _Choices(self, id="choices")
            yield Hints(id="window-hints")

    def on_mount(self) -> None:
        self.query_one(Hints).show([("↑↓", "move"), ("Enter", "choose"), ("Esc", "leave")])
        window = self.query_one("#window")
        window.styles.height = min(self.count + 5, max(8, self.app.size.height - 2))
        self.query_one(_Choices).selected = self.start

    def update(self) -> None:
        """The rows have something new to say."""
        self.query_one(_Choices).refresh()

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
        width = self.query_one(_Choices).inner_width
        rows = ["".join(text for text, _ in self.row(i, width)).rstrip() for i in range(self.count)]
        self.query_one(Hints).say(cast("LogdriftApp", self.app).copy_text("\n".join([self.head, *rows])))


class _Choices(Rows):
    fixed = 2

    def __init__(self, picker: Picker, *, id: str) -> None:
        super().__init__(id=id)
        self._picker = picker

    @property
    def line_count(self) -> int:
        return self._picker.count

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self.title_line(self._picker.title_text, width)
        return strip_of([(fit(self._picker.head, width), self.palette.muted)], width)

    def runs(self, index: int, width: int) -> Row:
        return self._picker.row(index, width)
