"""A list of rows, one of them selected; only the rows that are seen are drawn."""

from __future__ import annotations

from rich.segment import Segment
from textual.events import Blur, Click, Focus, Resize
from textual.message import Message
from textual.strip import Strip

from logdrift.tui.bindings import bindings
from logdrift.tui.widgets.lines import Lines, Row, strip_of


class Rows(Lines, inherit_bindings=False):
    """The base of lists: a subclass has `line_count` and gives the `runs` of a row."""

    BINDINGS = bindings("list")

    class Moved(Message):
        """Another row was selected."""

        def __init__(self, rows: Rows, index: int) -> None:
            super().__init__()
            self.rows = rows
            self.index = index

        @property
        def control(self) -> Rows:
            return self.rows

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Rows.Moved)

    class Chosen(Message):
        """The selected row was chosen: by Enter, or by a click on it."""

        def __init__(self, rows: Rows, index: int) -> None:
            super().__init__()
            self.rows = rows
            self.index = index

        @property
        def control(self) -> Rows:
            return self.rows

    selected = 0

    def runs(self, index: int, width: int) -> Row:
        """The texts of a row and their styles."""
        raise NotImplementedError

    def line(self, index: int, width: int) -> Strip:
        runs = self.runs(index, width)
        strip = strip_of(runs, width)
        if not self.is_selected(index):
            return strip
        palette = self.palette
        style = palette.selected_idle
        if self.has_focus:
            style = palette.selected
        segments: list[Segment] = []
        for text, run_style, _ in strip:
            under = run_style or style
            segment = Segment(text, under + style)
            segments.append(segment)
        return Strip(segments, width)

    def is_selected(self, index: int) -> bool:
        """Whether a row is drawn as the selected one."""
        return index == self.selected

    def select(self, index: int, *, tell: bool = False) -> None:
        """Select a row and show it; ``tell``: post `Moved`."""
        index = self._row_within(index)
        if index == self.selected:
            return
        self.refresh_line(self.selected)
        self.selected = index
        self.refresh_line(index)
        self.reveal(index)
        if tell:
            moved = self.Moved(self, index)
            self.post_message(moved)

    def rows_changed(self) -> None:
        """Show other rows, or another number of them."""
        self.selected = self._row_within(self.selected)
        self.top = self.top_within(self.top)
        self.reveal(self.selected)
        self.refresh()

    def _row_within(self, index: int) -> int:
        """The row ``index``, or the first or last one where there is no such row."""
        last = self.line_count - 1
        return max(0, min(index, last))

    def on_focus(self, event: Focus) -> None:
        self.refresh_line(self.selected)

    def on_blur(self, event: Blur) -> None:
        self.refresh_line(self.selected)

    def on_resize(self, event: Resize) -> None:
        if self.line_count:
            self.reveal(self.selected)

    def on_click(self, event: Click) -> None:
        index = self.line_at(event.y)
        if index is None:
            return
        was_selected = index == self.selected
        self._move(index)
        if was_selected or event.chain > 1:
            self.action_choose()

    def _move(self, index: int) -> None:
        """Select a row for the user."""
        self.select(index, tell=True)

    def action_row_up(self) -> None:
        self._move(self.selected - 1)

    def action_row_down(self) -> None:
        self._move(self.selected + 1)

    def action_rows_up(self) -> None:
        index = self.selected - self.page
        self._move(index)

    def action_rows_down(self) -> None:
        index = self.selected + self.page
        self._move(index)

    def action_row_first(self) -> None:
        self._move(0)

    def action_row_last(self) -> None:
        last = self.line_count - 1
        self._move(last)

    def action_choose(self) -> None:
        if self.line_count:
            chosen = self.Chosen(self, self.selected)
            self.post_message(chosen)
