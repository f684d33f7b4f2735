"""The text of one sequence, its tokens coloured by a mode, with a cursor."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from rich.segment import Segment
from textual import events
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

if TYPE_CHECKING:
    pass

_CACHED_LINES = 256
_LETTERS = "asdfghjklqwertyuiopzxcvbnm"


class Tokens(Lines, inherit_bindings=False):
    """Natural text flow. Only the lines that the cursor leaves and enters are repainted
    when it moves.
    """

    BINDINGS = bindings("move")
    fixed = 2

    @dataclass(eq=False, repr=False)
    class CursorMoved(Message):
        """The cursor stands on another token (index within the sequence)."""

        index: int

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Tokens.CursorMoved)

    @dataclass(eq=False, repr=False)
    class Left(Message):
        """The cursor was moved over the end (+1) or the start (-1) of the sequence."""

        step: int

    @dataclass(eq=False, repr=False)
    class Labelled(Message):
        """A label was typed: the token it stands on, or None where it was given up."""

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
        """Show a sequence (or the same one with other colours) with the cursor on a
        token.
        """
        other = self.passage is None or self.passage.sequence != passage.sequence
        self.passage = passage
        self.labels = {}
        self._column = None
        self._cache.clear()
        self.cursor = max(0, min(cursor, len(passage.ids) - 1))
        if other:
            self.top = 0
        self._reveal_cursor()
        self.refresh()

    def move_to(self, cursor: int) -> None:
        """Put the cursor on another token of this sequence without telling anybody."""
        self._column = None
        self._set_cursor(cursor, tell=False)

    @property
    def flow(self) -> Flow:
        """The layout at the present width."""
        passage = self.passage
        width = self.inner_width
        if self._flow is None or self._flow_key != (passage, width):
            assert passage is not None
            self._gutter = len(str(max(1, len(passage.ids) - 1))) + 2
            marked = HAS_MARK[passage.levels + STEPS]
            room = max(1, width - self._gutter)
            self._flow = flow(
                passage.ids, marked, passage.prompt, passage.fragments, room
            )
            self._flow_key = (passage, width)
        return self._flow

    @property
    def line_count(self) -> int:
        if self.passage is not None:
            return self.flow.height
        return 0

    def fixed_line(self, y: int, width: int) -> Strip:
        passage = self.passage
        if y == 0:
            if passage is None:
                return self.title_line("no sequence yet", width)
            return self.title_line(passage.title, width, passage.aside)
        if passage is None or passage.legend is None:
            return Strip.blank(width)
        return strip_of(
            legend_runs(passage.legend, passage.greyed, width, self.palette), width
        )

    def show_legend(self, legend: Legend) -> None:
        """Another count: only the line is repainted."""
        if self.passage is not None and self.passage.legend != legend:
            self.passage = replace(self.passage, legend=legend)
            self._flow_key = (self.passage, self._flow_key[1])
            self.refresh(Region(0, 1, self.size.width, 1))

    def line(self, index: int, width: int) -> Strip:
        layout = self.flow
        first, last = layout.tokens_of(index)
        # Everything that changes pixels; another passage empties the cache.
        if first <= self.cursor <= last:
            cursor = self.cursor
        else:
            cursor = -1
        key = (width, index, cursor, self.palette.depth, self.palette.dark)
        strip = self._cache.get(key)
        if strip is None:
            strip = self._cache[key] = self._draw(layout, index, width, cursor)
            if len(self._cache) > _CACHED_LINES:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(key)
        return strip

    def _draw(self, layout: Flow, index: int, width: int, cursor: int) -> Strip:
        passage = self.passage
        palette = self.palette
        assert passage is not None
        in_prompt = layout.tokens_of(index)[0] < passage.prompt
        plain = palette.muted if in_prompt else palette.text
        styles = styles_of(passage, palette, plain)
        gutter = self._gutter_text(passage, layout, index)
        segments = [Segment(gutter, palette.muted)]
        text = ""
        style = plain
        for token, piece in pieces_of(passage, layout, index, self.labels):
            token_style = palette.cursor if token == cursor else styles(token)
            if token_style is not style:
                segments.append(Segment(text, style))
                text = ""
                style = token_style
            text += piece
        segments.append(Segment(text, style))
        return Strip([s for s in segments if s.text]).adjust_cell_length(width)

    def _gutter_text(self, passage: Passage, layout: Flow, index: int) -> str:
        """The number of the line's first token, and whether the reader marked one."""
        first, last = layout.tokens_of(index)
        bar = PROMPT_BAR if first < passage.prompt else COMPLETION_BAR
        noted = any(first <= token <= last for token in passage.notes)
        return f"{first:>{self._gutter - 2}}{bar}{'*' if noted else ' '}"

    # ---- labels: one key or two to any marked token that is seen

    def start_labels(self) -> int:
        """Put a label on every token with a level that is seen; how many there are."""
        self.end_labels()
        if self.passage is None or not self.line_count:
            return 0
        tokens = self._seen_with_level(self.passage)
        size = 1 if len(tokens) <= len(_LETTERS) else 2
        wide_enough = [token for token in tokens if self.flow.cells_of(token) >= size]
        names = map("".join, itertools.product(_LETTERS, repeat=size))
        self.labels = dict(zip(wide_enough, names, strict=False))
        self._labels_changed(list(self.labels))
        return len(self.labels)

    def _seen_with_level(self, passage: Passage) -> list[int]:
        """The tokens with a level whose start is seen, but for the cursor's."""
        layout = self.flow
        last_line = min(self.top + self.page, layout.height) - 1
        first = layout.tokens_of(self.top)[0]
        last = layout.tokens_of(last_line)[1]
        tokens = np.flatnonzero(passage.levels[first : last + 1]) + first
        return [
            token
            for token in tokens.tolist()
            if token != self.cursor and layout.line_of(token) >= self.top
        ]

    def end_labels(self) -> None:
        """Take the labels away."""
        shown = list(self.labels)
        self.labels = {}
        self._typed = ""
        self._labels_changed(shown)

    def _labels_changed(self, tokens: list[int]) -> None:
        if tokens:
            self._cache.clear()
            for line in {self.flow.line_of(token) for token in tokens}:
                self.refresh_line(line)

    def on_key(self, event: events.Key) -> None:
        if not self.labels:
            return
        event.stop()
        event.prevent_default()
        self._typed += (
            event.character if event.character and event.character in _LETTERS else "?"
        )
        fitting = [
            token
            for token, label in self.labels.items()
            if label.startswith(self._typed)
        ]
        if not fitting:
            self.end_labels()
            self.post_message(self.Labelled(None))
        elif self.labels[fitting[0]] == self._typed:
            self.end_labels()
            self.post_message(self.Labelled(fitting[0]))

    def on_blur(self, event: events.Blur) -> None:
        self.end_labels()

    def on_resize(self, event: events.Resize) -> None:
        if self.passage is not None:
            self._reveal_cursor()

    def on_click(self, event: events.Click) -> None:
        self.end_labels()
        line = self.top + event.y - self.fixed
        if (
            self.passage is not None
            and event.y >= self.fixed
            and line < self.line_count
        ):
            self._column = None
            self._set_cursor(self.flow.token_at(line, event.x - self._gutter))

    def _reveal_cursor(self) -> None:
        if not self.size.height or self.passage is None or not len(self.passage.ids):
            return
        layout = self.flow
        self.top = max(0, min(self.top, layout.height - self.page))
        self.reveal(layout.last_line_of(self.cursor), 1)
        self.reveal(layout.line_of(self.cursor), 1)

    def _set_cursor(self, cursor: int, *, tell: bool = True) -> None:
        if self.passage is None or not len(self.passage.ids):
            return
        cursor = max(0, min(cursor, len(self.passage.ids) - 1))
        if cursor == self.cursor:
            return
        for token in (self.cursor, cursor):
            self._refresh_token(token)
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
        elif 0 <= first - self.top < self.page:
            x = self._gutter + layout.column_of(token)
            cells = layout.cells_of(token)
            self.refresh(Region(x, first - self.top + self.fixed, cells, 1))

    def _move_lines(self, lines: int) -> None:
        if self.passage is None or not len(self.passage.ids):
            return
        layout = self.flow
        if self._column is None:
            self._column = layout.column_of(self.cursor)
        line_of = layout.line_of if lines < 0 else layout.last_line_of
        target = line_of(self.cursor) + lines
        if abs(lines) == 1 and not 0 <= target < layout.height:
            return
        target = max(0, min(target, layout.height - 1))
        if abs(lines) > 1:
            # The window moves with the cursor, so that a page is a page.
            self.scroll_top(self.top + lines)
        self._set_cursor(layout.token_at(target, self._column))

    def action_token_left(self) -> None:
        self._column = None
        if self.cursor == 0:
            self.post_message(self.Left(-1))
        self._set_cursor(self.cursor - 1)

    def action_token_right(self) -> None:
        self._column = None
        if self.passage is not None and self.cursor == len(self.passage.ids) - 1:
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
            self._set_cursor(self.flow.tokens_of(self.flow.line_of(self.cursor))[0])

    def action_line_end(self) -> None:
        self._column = None
        if self.line_count:
            self._set_cursor(self.flow.tokens_of(self.flow.line_of(self.cursor))[1])

    def action_first(self) -> None:
        self._column = None
        self._set_cursor(0)

    def action_last(self) -> None:
        self._column = None
        if self.passage is not None:
            self._set_cursor(len(self.passage.ids) - 1)
