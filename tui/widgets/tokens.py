"""The text of one sequence, its tokens coloured by a mode, with a cursor."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
from rich.segment import Segment
from textual.events import Blur, Click, Key, Resize
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from logdrift.tui.bindings import bindings
from logdrift.tui.glyphs import COMPLETION_BAR, PROMPT_BAR
from logdrift.tui.models.flow import Flow, flow
from logdrift.tui.models.modes import Legend
from logdrift.tui.models.passage import Passage
from logdrift.tui.palette import STEPS
from logdrift.tui.widgets.lines import Lines, strip_of
from logdrift.tui.widgets.token_paint import (
    HAS_MARK,
    legend_runs,
    pieces_of,
    styles_of,
)

_CACHED_LINES = 256
_LETTERS = "asdfghjklqwertyuiopzxcvbnm"


class Tokens(Lines, inherit_bindings=False):
    """The text of a `Passage` with a cursor.

    When the cursor moves, only the tokens that it leaves and enters are repainted.
    """

    BINDINGS = bindings("move")
    fixed = 2

    @dataclass(eq=False, repr=False)
    class CursorMoved(Message):
        """The reader put the cursor on another token: its index in the sequence."""

        index: int

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Tokens.CursorMoved)

    @dataclass(eq=False, repr=False)
    class Left(Message):
        """The cursor was moved past the end (+1) or the start (-1) of the sequence."""

        step: int

    @dataclass(eq=False, repr=False)
    class Labelled(Message):
        """A label was typed: the index of its token; None where another key was
        typed.
        """

        index: int | None

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.passage: Passage | None = None
        self.labels: dict[int, str] = {}
        self._typed = ""
        self.cursor = 0
        self._column: int | None = None
        self._flow: Flow | None = None
        self._flow_key: tuple[Passage | None, int] = (None, 0)
        self._gutter = 4
        self._cache: OrderedDict[object, Strip] = OrderedDict()

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
        if before is None or before.sequence != passage.sequence:
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
        passage = self.passage
        width = self.inner_width
        if self._flow is None or self._flow_key != (passage, width):
            assert passage is not None
            last = max(1, len(passage.ids) - 1)
            self._gutter = len(str(last)) + 2
            self._flow = flow(
                passage.ids,
                marked=HAS_MARK[passage.levels + STEPS],
                prompt=passage.prompt,
                cache=passage.fragments,
                width=max(1, width - self._gutter),
            )
            self._flow_key = (passage, width)
        return self._flow

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
        """The token ``index``, or the first or last one where there is no such
        token.
        """
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
        runs = legend_runs(passage.legend, passage.greyed, width, self.palette)
        return strip_of(runs, width)

    def show_legend(self, legend: Legend) -> None:
        """Show another legend of the same passage; only its line is repainted."""
        if self.passage is None or self.passage.legend == legend:
            return
        self.passage = replace(self.passage, legend=legend)
        # The layout is still the one of this passage.
        _, width = self._flow_key
        self._flow_key = (self.passage, width)
        self.refresh(Region(0, 1, self.size.width, 1))

    def line(self, index: int, width: int) -> Strip:
        layout = self.flow
        first, last = layout.tokens_of(index)
        if first <= self.cursor <= last:
            cursor = self.cursor
        else:
            cursor = -1
        # All that a line looks different for; another passage empties the cache.
        key = (width, index, cursor, self.palette.depth, self.palette.dark)
        strip = self._cache.get(key)
        if strip is not None:
            self._cache.move_to_end(key)
            return strip
        strip = self._draw(layout, index, width, cursor)
        self._cache[key] = strip
        if len(self._cache) > _CACHED_LINES:
            self._cache.popitem(last=False)
        return strip

    def _draw(self, layout: Flow, index: int, width: int, cursor: int) -> Strip:
        passage = self.passage
        palette = self.palette
        assert passage is not None
        first, _ = layout.tokens_of(index)
        if first < passage.prompt:
            plain = palette.muted
        else:
            plain = palette.text
        style_of = styles_of(passage, palette, plain)
        gutter = self._gutter_text(passage, layout, index)
        segments = [Segment(gutter, palette.muted)]
        text = ""
        style = plain
        for token, piece in pieces_of(passage, layout, index, self.labels):
            if token == cursor:
                token_style = palette.cursor
            else:
                token_style = style_of(token)
            if token_style is not style:
                segments.append(Segment(text, style))
                text = ""
                style = token_style
            text += piece
        segments.append(Segment(text, style))
        strip = Strip([segment for segment in segments if segment.text])
        return strip.adjust_cell_length(width)

    def _gutter_text(self, passage: Passage, layout: Flow, index: int) -> str:
        """The index of a line's first token, and * where the reader marked one in
        it.
        """
        first, last = layout.tokens_of(index)
        if first < passage.prompt:
            bar = PROMPT_BAR
        else:
            bar = COMPLETION_BAR
        star = " "
        if any(first <= token <= last for token in passage.notes):
            star = "*"
        digits = self._gutter - 2
        return f"{first:>{digits}}{bar}{star}"

    # ---- labels: one or two letters that jump to a coloured token that is seen

    def start_labels(self) -> int:
        """Put a label on the tokens with a level that are seen; returns how many."""
        self.end_labels()
        if self.passage is None or not self.line_count:
            return 0
        tokens = self._seen_with_level(self.passage)
        letters = 1
        if len(tokens) > len(_LETTERS):
            letters = 2
        cells_of = self.flow.cells_of
        wide_enough = [token for token in tokens if cells_of(token) >= letters]
        labels = map("".join, itertools.product(_LETTERS, repeat=letters))
        self.labels = dict(zip(wide_enough, labels, strict=False))
        self._labels_changed(list(self.labels))
        return len(self.labels)

    def _seen_with_level(self, passage: Passage) -> list[int]:
        """The tokens with a level whose start is seen, without the one at the
        cursor.
        """
        layout = self.flow
        last_line = min(self.top + self.page, layout.height) - 1
        first, _ = layout.tokens_of(self.top)
        _, last = layout.tokens_of(last_line)
        levels = passage.levels[first : last + 1]
        seen: list[int] = []
        for token in (np.flatnonzero(levels) + first).tolist():
            if token != self.cursor and layout.line_of(token) >= self.top:
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
        lines = {self.flow.line_of(token) for token in tokens}
        for line in lines:
            self.refresh_line(line)

    def on_key(self, event: Key) -> None:
        if not self.labels:
            return
        event.stop()
        event.prevent_default()
        self._typed += event.character or "?"
        fitting: dict[str, int] = {}
        for token, label in self.labels.items():
            if label.startswith(self._typed):
                fitting[label] = token
        if not fitting:
            self.end_labels()
            self.post_message(self.Labelled(None))
        elif self._typed in fitting:
            index = fitting[self._typed]
            self.end_labels()
            self.post_message(self.Labelled(index))

    def on_blur(self, event: Blur) -> None:
        self.end_labels()

    def on_resize(self, event: Resize) -> None:
        if self.passage is not None:
            self._reveal_cursor()

    def on_click(self, event: Click) -> None:
        self.end_labels()
        line = self.top + event.y - self.fixed
        if self.passage is None or event.y < self.fixed or line >= self.line_count:
            return
        self._column = None
        token = self.flow.token_at(line, event.x - self._gutter)
        self._set_cursor(token)

    def _reveal_cursor(self) -> None:
        if not self.size.height or not self.token_count:
            return
        layout = self.flow
        self.top = self.top_within(self.top)
        self.reveal(layout.last_line_of(self.cursor), margin=1)
        self.reveal(layout.line_of(self.cursor), margin=1)

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
            self.post_message(self.CursorMoved(cursor))

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
            x = self._gutter + layout.column_of(token)
            cells = layout.cells_of(token)
            self.refresh(Region(x, row + self.fixed, cells, 1))

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
        target = max(0, min(line + lines, layout.height - 1))
        if abs(lines) == 1:
            if target != line + lines:
                return
        else:
            # The window moves with the cursor, so that all of a page is another text.
            self.scroll_top(self.top + lines)
        token = layout.token_at(target, self._column)
        self._set_cursor(token)

    def action_token_left(self) -> None:
        self._column = None
        if self.cursor == 0:
            self.post_message(self.Left(-1))
        self._set_cursor(self.cursor - 1)

    def action_token_right(self) -> None:
        self._column = None
        last = self.token_count - 1
        if last >= 0 and self.cursor == last:
            self.post_message(self.Left(1))
        self._set_cursor(self.cursor + 1)

    def action_line_up(self) -> None:
        self._move_lines(-1)

    def action_line_down(self) -> None:
        self._move_lines(1)

    def action_page_up(self) -> None:
        self._move_lines(-max(1, self.page - 1))

    def action_page_down(self) -> None:
        self._move_lines(max(1, self.page - 1))

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
        self._set_cursor(self.token_count - 1)
