"""The text of one sequence, its tokens coloured by a mode, with a cursor."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from rich.segment import Segment
from textual.events import Blur, Click, Key, Resize
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from logdrift.tui.bindings import bindings
from logdrift.tui.glyphs import JOINT
from logdrift.tui.models.flow import Flow, every_other, flow
from logdrift.tui.models.modes import Legend
from logdrift.tui.models.passage import Passage
from logdrift.tui.palette import ROLE_INSIDE
from logdrift.tui.widgets.lines import Lines, strip_of
from logdrift.tui.widgets.token_paint import (
    BelowLine,
    TextBelow,
    gutter_text,
    have_mark,
    labelled,
    labels_of,
    legend_runs,
    marks_joints,
    pieces_of,
    styles_of,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Flags = npt.NDArray[np.bool_]

_CACHED_LINES = 256


class Tokens(Lines, inherit_bindings=False):
    """The text of a `Passage` with a cursor.

    When the cursor moves, only the tokens that it leaves and enters are repainted.
    """

    BINDINGS = bindings("move")
    fixed = 2

    class CursorMoved(Message):
        """The reader put the cursor on another token: its index in the sequence."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Tokens.CursorMoved)

    class EdgePassed(Message):
        """The cursor was moved past the end (+1) or the start (-1) of the sequence."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    class Labelled(Message):
        """A label was typed: the index of its token; None where another key was
        typed.
        """

        def __init__(self, index: int | None) -> None:
            super().__init__()
            self.index = index

    class WholeWanted(Message):
        """Everything about the token under the cursor is asked for."""

    class MarkWanted(Message):
        """The token under the cursor is to be marked, or its mark to be removed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.passage: Passage | None = None
        self.labels: dict[int, str] = {}
        self._typed = ""
        self.cursor = 0
        self._column: int | None = None
        self._flow: Flow | None = None
        self._flow_key: tuple[Passage | None, int] = (None, 0)
        self._shaded: Flags | None = None
        self._gutter = 4
        self._cache: OrderedDict[object, Strip] = OrderedDict()
        self._below = TextBelow()

    def show(self, passage: Passage, cursor: int) -> None:
        """Show a sequence, or the same one in other colours, with the cursor on a
        token.
        """
        before = self.passage
        self.passage = passage
        self.labels = {}
        self._column = None
        self._cache.clear()
        self.cursor = self._within(cursor)
        sequence = passage.sequence
        if before is None or before.sequence != sequence:
            self.top = 0
        self._reveal_cursor()
        self.refresh()

    def move_to(self, cursor: int) -> None:
        """Put the cursor on another token of this sequence, without a message."""
        self._column = None
        self._set_cursor(cursor, tell=False)

    @property
    def flow(self) -> Flow:
        """The layout at the present width."""
        key = (self.passage, self.inner_width)
        if self._flow is None or self._flow_key != key:
            self._flow = self._lay_out()
            self._flow_key = key
            self._shaded = None
            if self.passage is not None and self.passage.boundaries:
                self._shaded = every_other(self._flow.joints)
        return self._flow

    def _lay_out(self) -> Flow:
        """Set the gutter's width and lay out the passage beside it."""
        passage = self.passage
        assert passage is not None
        last = len(passage.ids) - 1
        last = max(1, last)
        digits = len(str(last))
        self._gutter = digits + 2
        width = self.inner_width - self._gutter
        return flow(
            passage.ids,
            marked=have_mark(passage),
            prompt=passage.prompt,
            cache=passage.fragments,
            width=max(1, width),
            joints_marked=marks_joints(passage, self.palette),
        )

    @property
    def line_count(self) -> int:
        if self.passage is None:
            return 0
        return self.flow.height

    @property
    def token_count(self) -> int:
        """The number of tokens of the sequence, 0 without one."""
        if self.passage is None:
            return 0
        return len(self.passage.ids)

    def _within(self, index: int) -> int:
        """The token ``index``, else the first or last one."""
        last = self.token_count - 1
        return max(0, min(index, last))

    def fixed_line(self, y: int, width: int) -> Strip:
        passage = self.passage
        if y == 0:
            if passage is None:
                return self.title_line("no sequence yet", width)
            return self.title_line(passage.title, width, passage.aside)
        if passage is None or passage.legend is None:
            return Strip.blank(width)
        legend = passage.legend
        palette = self.palette
        runs = legend_runs(legend, passage.greyed, width, palette)
        return strip_of(runs, width)

    def show_legend(self, legend: Legend) -> None:
        """Show another legend of the same passage; only its line is repainted."""
        passage = self.passage
        if passage is None or passage.legend == legend:
            return
        self.passage = replace(passage, legend=legend)
        # A layout of this passage is one of it with another legend, too. Where the
        # pane has no room the layout is of an earlier passage, or none.
        laid_out, layout_width = self._flow_key
        if laid_out is passage:
            self._flow_key = (self.passage, layout_width)
        width = self.size.width
        legend_line = Region(0, 1, width, 1)
        self.refresh(legend_line)

    def line(self, index: int, width: int) -> Strip:
        layout = self.flow
        palette = self.palette
        first, last = layout.tokens_of(index)
        cursor = -1
        if first <= self.cursor <= last:
            cursor = self.cursor
        # All that a line looks different for; another passage empties the cache.
        colours = (palette.depth, palette.dark)
        key = (width, index, cursor, colours)
        cache = self._cache
        strip = cache.get(key)
        if strip is not None:
            cache.move_to_end(key)
            return strip
        strip = self._draw(index, width, cursor)
        cache[key] = strip
        if len(cache) > _CACHED_LINES:
            cache.popitem(last=False)
        return strip

    def below(self, row: int, width: int) -> Strip:
        """The sequences that follow, below a short one."""
        lines = self._lines_below(width)
        if row < len(lines):
            return strip_of(lines[row].runs, width)
        return super().below(row, width)

    def _lines_below(self, width: int) -> Sequence[BelowLine]:
        rows = self.page - self.line_count
        return self._below.lines(self.passage, width, rows, self.palette)

    def show_below(self) -> None:
        """Other sequences follow: the list has changed."""
        self._below = TextBelow()
        rows = self.page - self.line_count
        if rows > 0:
            first = self.fixed + self.line_count
            self.refresh(Region(0, first, self.size.width, rows))

    def _draw(self, index: int, width: int, cursor: int) -> Strip:
        layout = self.flow
        passage = self.passage
        palette = self.palette
        assert passage is not None
        first, _ = layout.tokens_of(index)
        plain = palette.text
        if first < passage.prompt:
            plain = palette.muted
        style_of = styles_of(passage, palette, plain, self._shaded)
        joint = ""
        if marks_joints(passage, palette):
            joint = JOINT
        gutter = gutter_text(passage, layout, index, self._gutter)
        gutter_segment = Segment(gutter, palette.muted)
        segments = [gutter_segment]
        text = ""
        style = plain
        pieces = pieces_of(passage, layout, index, self.labels, joint=joint)
        for token, piece in pieces:
            if token == cursor:
                token_style = palette.cursor
            else:
                token_style = style_of(token)
            label = self.labels.get(token)
            for part, part_style in labelled(label, piece, token_style, palette):
                if part_style is not style:
                    segments.append(Segment(text, style))
                    text = ""
                    style = part_style
                text += part
        segments.append(Segment(text, style))
        filled = [part for part in segments if part.text]
        strip = Strip(filled)
        return strip.adjust_cell_length(width)

    def action_whole(self) -> None:
        self.post_message(self.WholeWanted())

    def action_mark(self) -> None:
        self.post_message(self.MarkWanted())

    # ---- labels: one or two letters that jump to a coloured token that is seen

    def start_labels(self) -> int:
        """Put a label on the tokens with a level that are seen; returns how many."""
        self.end_labels()
        if self.passage is None or not self.line_count:
            return 0
        layout = self.flow
        tokens = self._seen_with_level(self.passage)
        self.labels = labels_of(tokens, layout)
        labelled = list(self.labels)
        self._labels_changed(labelled)
        return len(labelled)

    def _seen_with_level(self, passage: Passage) -> list[int]:
        """The tokens with a level whose start is seen, without the one at the
        cursor.
        """
        layout = self.flow
        stop_line = self.top + self.page
        stop_line = min(stop_line, layout.height)
        first, _ = layout.tokens_of(self.top)
        last_line = stop_line - 1
        _, last = layout.tokens_of(last_line)
        stop = last + 1
        levels = passage.levels[first:stop]
        stands_out = (levels != 0) & (levels <= ROLE_INSIDE)
        with_level = np.flatnonzero(stands_out) + first
        seen: list[int] = []
        for token in with_level.tolist():
            if token == self.cursor:
                continue
            if layout.line_of(token) >= self.top:
                seen.append(token)
        return seen

    def end_labels(self) -> None:
        """Remove the labels."""
        labelled = list(self.labels)
        self.labels = {}
        self._typed = ""
        self._labels_changed(labelled)

    def _labels_changed(self, tokens: list[int]) -> None:
        """Repaint the lines of tokens that have got or lost a label."""
        if not tokens:
            return
        self._cache.clear()
        line_of = self.flow.line_of
        lines = set(map(line_of, tokens))
        for line in lines:
            self.refresh_line(line)

    def on_key(self, event: Key) -> None:
        if not self.labels:
            return
        event.stop()
        event.prevent_default()
        self._typed += event.character or "?"
        typed = self._typed
        fitting: dict[str, int] = {}
        for token, label in self.labels.items():
            if label.startswith(typed):
                fitting[label] = token
        token_typed = fitting.get(typed)
        if fitting and token_typed is None:
            return  # its second letter is still to come
        self.end_labels()
        labelled = self.Labelled(token_typed)
        self.post_message(labelled)

    def on_blur(self, event: Blur) -> None:
        self.end_labels()

    def on_resize(self, event: Resize) -> None:
        if self.passage is not None:
            self._reveal_cursor()

    def on_click(self, event: Click) -> None:
        self.end_labels()
        y = event.y - self.fixed
        line = self.top + y
        if self.passage is None or y < 0:
            return
        below = line - self.line_count
        if below >= 0:
            self._go_below(below)
            return
        self._column = None
        x = event.x - self._gutter
        token = self.flow.token_at(line, x)
        self._set_cursor(token)

    def _go_below(self, row: int) -> None:
        """To the sequence that is clicked on, of those that follow."""
        lines = self._lines_below(self.size.width)
        if row < len(lines):
            past_end = self.EdgePassed(lines[row].steps)
            self.post_message(past_end)

    def _reveal_cursor(self) -> None:
        has_room = self.size.height > 0
        if not has_room or not self.token_count:
            return
        layout = self.flow
        first = layout.line_of(self.cursor)
        last = layout.last_line_of(self.cursor)
        self.top = self.top_within(self.top)
        self.reveal(last, margin=1)
        self.reveal(first, margin=1)

    def _set_cursor(self, cursor: int, *, tell: bool = True) -> None:
        if not self.token_count:
            return
        cursor = self._within(cursor)
        if cursor == self.cursor:
            return
        self._refresh_token(self.cursor)
        self._refresh_token(cursor)
        self.cursor = cursor
        self._reveal_cursor()
        if tell:
            moved = self.CursorMoved(cursor)
            self.post_message(moved)

    def _refresh_token(self, token: int) -> None:
        """Repaint the cells of one token."""
        layout = self.flow
        first = layout.line_of(token)
        last = layout.last_line_of(token)
        if first != last:
            for line in range(first, last + 1):
                self.refresh_line(line)
            return
        row = first - self.top
        if 0 <= row < self.page:
            column = layout.column_of(token)
            x = self._gutter + column
            y = self.fixed + row
            width = layout.cells_of(token)
            cells = Region(x, y, width, 1)
            self.refresh(cells)

    def _move_lines(self, lines: int) -> None:
        """Move the cursor up or down, as far as there are lines, in its column."""
        if not self.token_count:
            return
        layout = self.flow
        if self._column is None:
            self._column = layout.column_of(self.cursor)
        if lines < 0:
            line = layout.line_of(self.cursor)
        else:
            line = layout.last_line_of(self.cursor)
        target = line + lines
        last_line = layout.height - 1
        line_there = min(target, last_line)
        line_there = max(0, line_there)
        is_page = abs(lines) > 1
        if is_page:
            # The window moves with the cursor, so that all of a page is another text.
            self.scroll_top(self.top + lines)
        elif line_there != target:
            return
        token = layout.token_at(line_there, self._column)
        self._set_cursor(token)

    def action_token_left(self) -> None:
        self._column = None
        token = self.cursor - 1
        if token < 0:
            past_start = self.EdgePassed(-1)
            self.post_message(past_start)
        self._set_cursor(token)

    def action_token_right(self) -> None:
        self._column = None
        token = self.cursor + 1
        count = self.token_count
        if count and token == count:
            past_end = self.EdgePassed(1)
            self.post_message(past_end)
        self._set_cursor(token)

    def action_line_up(self) -> None:
        self._move_lines(-1)

    def action_line_down(self) -> None:
        self._move_lines(1)

    def action_page_up(self) -> None:
        lines = self.page - 1
        lines = max(1, lines)
        self._move_lines(-lines)

    def action_page_down(self) -> None:
        lines = self.page - 1
        lines = max(1, lines)
        self._move_lines(lines)

    def action_line_start(self) -> None:
        self._column = None
        if self.line_count:
            first, _ = self._line_of_cursor()
            self._set_cursor(first)

    def action_line_end(self) -> None:
        self._column = None
        if self.line_count:
            _, last = self._line_of_cursor()
            self._set_cursor(last)

    def _line_of_cursor(self) -> tuple[int, int]:
        """First and last token of the line on which the cursor's token starts."""
        layout = self.flow
        line = layout.line_of(self.cursor)
        return layout.tokens_of(line)

    def action_first(self) -> None:
        self._column = None
        self._set_cursor(0)

    def action_last(self) -> None:
        self._column = None
        last = self.token_count - 1
        self._set_cursor(last)
