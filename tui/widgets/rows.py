"""A list of rows with one selected: any number of them, only those seen are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip

from logdrift.tui.bindings import bindings
from logdrift.tui.widgets.lines import Lines, Run, strip_of


class Rows(Lines, inherit_bindings=False):
    """Subclasses say how many rows there are and what stands in one."""

    BINDINGS = bindings("list")

    @dataclass(eq=False, repr=False)
    class Moved(Message):
        """Another row was selected."""

        rows: Rows
        index: int

        @property
        def control(self) -> Rows:
            return self.rows

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Rows.Moved)

    @dataclass(eq=False, repr=False)
    class Chosen(Message):
        """The selected row was taken (enter, or a click on it)."""

        rows: Rows
        index: int

        @property
        def control(self) -> Rows:
            return self.rows

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.selected = 0

    def runs(self, index: int, width: int) -> Sequence[Run]:
        """The texts of a row and their styles."""
        raise NotImplementedError

    def line(self, index: int, width: int) -> Strip:
        strip = strip_of(self.runs(index, width), width)
        if index != self.selected:
            return strip
        if self.has_focus:
            style = self.palette.selected
        else:
            style = self.palette.selected_idle
        return Strip(
            [Segment(text, (run or style) + style) for text, run, _ in strip], width
        )

    def select(self, index: int, *, tell: bool = False) -> None:
        """Select a row and show it; ``tell``: say so with `Moved`."""
        index = max(0, min(index, self.line_count - 1))
        if index == self.selected:
            return
        self.refresh_line(self.selected)
        self.selected = index
        self.refresh_line(index)
        self.reveal(index)
        if tell:
            self.post_message(self.Moved(self, index))

    def rows_changed(self) -> None:
        """Other rows, or another number of them."""
        self.selected = max(0, min(self.selected, self.line_count - 1))
        self.top = max(0, min(self.top, self.line_count - self.page))
        self.reveal(self.selected)
        self.refresh()

    def on_focus(self, event: events.Focus) -> None:
        self.refresh_line(self.selected)

    def on_blur(self, event: events.Blur) -> None:
        self.refresh_line(self.selected)

    def on_resize(self, event: events.Resize) -> None:
        if self.line_count:
            self.reveal(self.selected)

    def on_click(self, event: events.Click) -> None:
        index = self.top + event.y - self.fixed
        if event.y >= self.fixed and index < self.line_count:
            again = index == self.selected
            self.select(index, tell=True)
            if again or event.chain > 1:
                self.action_choose()

    def action_row_up(self) -> None:
        self.select(self.selected - 1, tell=True)

    def action_row_down(self) -> None:
        self.select(self.selected + 1, tell=True)

    def action_rows_up(self) -> None:
        self.select(self.selected - self.page, tell=True)

    def action_rows_down(self) -> None:
        self.select(self.selected + self.page, tell=True)

    def action_row_first(self) -> None:
        self.select(0, tell=True)

    def action_row_last(self) -> None:
        self.select(self.line_count - 1, tell=True)

    def action_choose(self) -> None:
        if self.line_count:
            self.post_message(self.Chosen(self, self.selected))
