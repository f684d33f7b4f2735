"""The base of all panes: lines that scroll without a layout and repaint what
changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from logdrift.core.errors import words_of
from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import Safe
from logdrift.tui.glyphs import fit
from logdrift.tui.palette import Palette
from logdrift.tui.services import services

Run = tuple[str, Style]
"""Text in one style."""
_WHEEL_LINES = 3


def strip_of(runs: Iterable[Run], width: int) -> Strip:
    """Runs as one line of exactly ``width`` cells.

    Neighbours of the same style become one segment, which is fewer bytes to send.
    """
    segments: list[Segment] = []
    for text, style in runs:
        if segments and segments[-1].style is style:
            segments[-1] = Segment(segments[-1].text + text, style)
        elif text:
            segments.append(Segment(text, style))
    return Strip(segments).adjust_cell_length(width)


def merge_blanks(strip: Strip) -> Strip:
    """The same cells in fewer segments: blanks take the style of the text beside them.

    It looks the same, and a repaint sends a third fewer bytes.
    """
    segments: list[Segment] = []
    for segment in strip:
        style = None
        if segments:
            before = segments[-1]
            style = _common_style(before, segment)
        if style is None:
            segments.append(segment)
        else:
            segments[-1] = Segment(before.text + segment.text, style)
    return Strip(segments, strip.cell_length)


def _common_style(before: Segment, after: Segment) -> Style | None:
    """A style in which both segments look as they do now, None where there is none."""
    if before.style is after.style:
        return before.style
    if before.style is None or after.style is None:
        return None
    if not _same_blank(before.style, after.style):
        return None
    if not after.text.strip(" "):
        return before.style
    if not before.text.strip(" "):
        return after.style
    return None


def _same_blank(one: Style, other: Style) -> bool:
    """Whether a blank looks the same in both styles: only its background is seen."""
    if one.bgcolor != other.bgcolor:
        return False
    return _blank_is_bare(one) and _blank_is_bare(other)


def _blank_is_bare(style: Style) -> bool:
    return not style.underline and not style.reverse


class Lines(Safe, Widget, can_focus=True, inherit_bindings=False):
    """A window on `line_count` lines, below `fixed` rows that do not scroll.

    A scroll bar of one cell stands at the right. Scrolling moves `top` and repaints
    this pane only; Textual's own scrolling would lay out the whole screen.
    """

    fixed = 0

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.top = 0

    @property
    def palette(self) -> Palette:
        return services(self).palette

    @property
    def line_count(self) -> int:
        raise NotImplementedError

    def line(self, index: int, width: int) -> Strip:
        """Line ``index`` in ``width`` cells."""
        raise NotImplementedError

    def fixed_line(self, y: int, width: int) -> Strip:
        return Strip.blank(width)

    @property
    def page(self) -> int:
        """How many lines are seen at a time."""
        rows = self.size.height - self.fixed
        return max(1, rows)

    @property
    def inner_width(self) -> int:
        """Cells of a line beside the scroll bar."""
        return max(1, self.size.width - 1)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        back = self.palette.back
        index = self.top + y - self.fixed
        if y >= self.fixed and index >= self.line_count:
            # Below the last line there is no scroll bar either.
            return Strip.blank(width, back)
        try:
            strip = self._content(y, width)
            return merge_blanks(strip.apply_style(back))
        except Exception as error:
            # One number that cannot be written must not take the screen with it.
            message = visible(words_of(error))
            text = fit(f" {message}", width)
            return strip_of([(text, self.palette.bad)], width)

    def _content(self, y: int, width: int) -> Strip:
        if y < self.fixed:
            return self.fixed_line(y, width)
        row = y - self.fixed
        strip = self.line(self.top + row, self.inner_width)
        if self.inner_width == width:
            return strip
        return Strip.join([strip, self._bar(row)])

    def _bar(self, row: int) -> Strip:
        """The cell of the scroll bar in a row of the window."""
        total = self.line_count
        page = self.page
        if total <= page:
            return Strip([Segment(" ")], 1)
        size = max(1, page * page // total)
        start = round(self.top * (page - size) / (total - page))
        if start <= row < start + size:
            return Strip([Segment("┃", self.palette.accent)], 1)
        return Strip([Segment("│", self.palette.muted)], 1)

    def scroll_top(self, top: int) -> None:
        """Show lines from ``top`` on, as far as there are lines."""
        top = self.top_within(top)
        if top != self.top:
            self.top = top
            self.refresh(Region(0, self.fixed, self.size.width, self.page))

    def top_within(self, top: int) -> int:
        """The first line of a window that begins at ``top``, or where the lines end."""
        last = self.line_count - self.page
        return max(0, min(top, last))

    def reveal(self, index: int, margin: int = 0) -> None:
        """Scroll as little as needed to show a line and ``margin`` lines around it."""
        margin = min(margin, (self.page - 1) // 2)
        first = index - margin
        last = index + margin
        if first < self.top:
            self.scroll_top(first)
        elif last >= self.top + self.page:
            self.scroll_top(last - self.page + 1)

    def refresh_line(self, index: int) -> None:
        """Repaint one line, if it is seen."""
        y = index - self.top
        if 0 <= y < self.page:
            self.refresh(Region(0, y + self.fixed, self.inner_width, 1))

    def refresh_fixed(self) -> None:
        self.refresh(Region(0, 0, self.size.width, self.fixed))

    def recolour(self, styles: Mapping[Style, Style]) -> None:
        """The palette has changed: ``styles`` maps each old style to the new one.

        A widget that keeps drawn strips drops or recolours them.
        """
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self.scroll_top(self.top)

    def on_focus(self, event: events.Focus) -> None:
        self.refresh_fixed()

    def on_blur(self, event: events.Blur) -> None:
        self.refresh_fixed()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_top(self.top + _WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_top(self.top - _WHEEL_LINES)

    def title_line(self, title: str, width: int, aside: str = "") -> Strip:
        """A pane's title, bright while it has the focus.

        ``aside`` stands at the right where there is room.
        """
        style = self._head_style()
        head = f" {title} "
        room = width - cell_len(head) - 1
        if room < 0:
            return strip_of([(fit(head, width), style)], width)
        if cell_len(aside) > room:
            aside = ""
        tail = fit(aside, room, right=True)
        return strip_of([(head, style), (tail, self.palette.muted)], width)

    def _head_style(self) -> Style:
        palette = self.palette
        if not self.has_focus:
            return palette.muted
        style = palette.accent + Style(bold=True)
        if palette.depth == "none":
            # Without colours only reverse video shows where the focus is.
            style += Style(reverse=True)
        return style


class Text(Lines, inherit_bindings=False):
    """Shows the lines of `set_lines`.

    New lines repaint only the cells that differ, so few bytes are sent when the cursor
    moves.
    """

    BINDINGS = bindings("pane")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[Strip] = []

    @property
    def line_count(self) -> int:
        return len(self._lines)

    def line(self, index: int, width: int) -> Strip:
        return self._lines[index].adjust_cell_length(width)

    def set_lines(self, lines: Sequence[Strip]) -> None:
        """Replace all lines."""
        old = self._lines
        self._lines = list(lines)
        top = self.top_within(self.top)
        if top != self.top:
            self.top = top
            self.refresh()
            return
        self._refresh_changed(old)
        if self._bar_changed(len(old), len(lines)):
            self.refresh(Region(self.inner_width, self.fixed, 1, self.page))

    def _refresh_changed(self, old: Sequence[Strip]) -> None:
        """Repaint the cells that are seen and differ from the old lines."""
        seen = slice(self.top, self.top + self.page)
        pairs = itertools.zip_longest(old[seen], self._lines[seen])
        for y, (before, after) in enumerate(pairs, self.fixed):
            start, stop = _changed(before, after, self.inner_width)
            if start < stop:
                self.refresh(Region(start, y, stop - start, 1))

    def _bar_changed(self, before: int, after: int) -> bool:
        """Whether another number of lines changes the scroll bar."""
        return before != after and max(before, after) > self.page

    def recolour(self, styles: Mapping[Style, Style]) -> None:
        """Show the same lines in other colours."""
        self._lines = [_recoloured(strip, styles) for strip in self._lines]
        self.refresh()

    def action_scroll_lines(self, lines: int) -> None:
        """Scroll by a number of lines."""
        self.scroll_top(self.top + lines)


def _recoloured(strip: Strip, styles: Mapping[Style, Style]) -> Strip:
    segments: list[Segment] = []
    for text, style, _ in strip:
        if style:
            style = styles.get(style, style)
        segments.append(Segment(text, style))
    return Strip(segments)


def _changed(before: Strip | None, after: Strip | None, width: int) -> tuple[int, int]:
    """The cells in which two lines differ: the first, and the one after the last.

    (0, 0) where they are equal.
    """
    if before is after:
        return 0, 0
    if before is None or after is None:
        return 0, width
    pairs = itertools.zip_longest(_cells(before, width), _cells(after, width))
    differing = [index for index, (old, new) in enumerate(pairs) if old != new]
    if not differing:
        return 0, 0
    return differing[0], min(width, differing[-1] + 1)


def _cells(strip: Strip, width: int) -> list[tuple[str, Style | None]]:
    """The character of each cell with its style, "" for half of a wide character."""
    cells: list[tuple[str, Style | None]] = []
    for text, style, _ in strip.adjust_cell_length(width):
        for char in text:
            cells.append((char, style))
            cells.extend([("", style)] * (cell_len(char) - 1))
    return cells
