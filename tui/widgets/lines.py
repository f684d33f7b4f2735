"""The base of all panes: lines that scroll without a layout and repaint what
changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.events import Blur, Focus, MouseScrollDown, MouseScrollUp, Resize
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
Runs = list[Run]
"""A line, or a part of it."""
Row = Sequence[Run]
"""A line as it is drawn."""
Styles = Mapping[Style, Style]
"""Old styles and the new ones."""
_WHEEL_LINES = 3


def strip_of(runs: Iterable[Run], width: int) -> Strip:
    """Runs as one line of exactly ``width`` cells.

    Neighbours of the same style become one segment, which is fewer bytes to send.
    """
    segments: list[Segment] = []
    style_before = None
    for text, style in runs:
        if segments and style_before is style:
            before = segments[-1]
            text = before.text + text
            segments[-1] = Segment(text, style)
        elif text:
            segments.append(Segment(text, style))
            style_before = style
    strip = Strip(segments)
    return strip.adjust_cell_length(width)


def merge_blanks(strip: Strip) -> Strip:
    """The same cells in fewer segments: blanks take the style of the text beside them.

    It looks the same, and a repaint sends a third fewer bytes.
    """
    segments: list[Segment] = []
    for segment in strip:
        common = None
        if segments:
            before = segments[-1]
            common = _common_style(before, segment)
        if common is None:
            segments.append(segment)
            continue
        text = before.text + segment.text
        segments[-1] = Segment(text, common)
    return Strip(segments, strip.cell_length)


def _common_style(before: Segment, after: Segment) -> Style | None:
    """A style in which both segments look as they do now, None where there is none."""
    style_before = before.style
    style_after = after.style
    if style_before is style_after:
        return style_before
    if style_before is None:
        return None
    if style_after is None:
        return None
    if not _same_blank(style_before, style_after):
        return None
    if _is_blank(after.text):
        return style_before
    if _is_blank(before.text):
        return style_after
    return None


def _is_blank(text: str) -> bool:
    return not text.strip(" ")


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
    top = 0

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

    def below(self, row: int, width: int) -> Strip:
        """Row ``row`` behind the last line."""
        return Strip.blank(width)

    @property
    def page(self) -> int:
        """How many lines are seen at a time."""
        height = self.size.height
        rows = height - self.fixed
        return max(1, rows)

    @property
    def inner_width(self) -> int:
        """Cells of a line beside the scroll bar."""
        width = self.size.width - 1
        return max(1, width)

    def render_line(self, y: int) -> Strip:
        palette = self.palette
        width = self.size.width
        try:
            strip = self._content(y, width)
            on_back = strip.apply_style(palette.back)
            return merge_blanks(on_back)
        except Exception as error:
            # One number that cannot be written must not take the screen with it.
            message = visible(words_of(error))
            text = fit(f" {message}", width)
            run = (text, palette.bad)
            return strip_of([run], width)

    def line_at(self, y: int) -> int | None:
        """The line in a row of the pane, None where that shows none."""
        row = y - self.fixed
        if row < 0:
            return None
        index = self.top + row
        if index < self.line_count:
            return index
        return None

    def _content(self, y: int, width: int) -> Strip:
        row = y - self.fixed
        if row < 0:
            return self.fixed_line(y, width)
        index = self.top + row
        below = index - self.line_count
        if below >= 0:
            # Below the last line there is no scroll bar either.
            return self.below(below, width)
        inner_width = self.inner_width
        strip = self.line(index, inner_width)
        if inner_width == width:
            return strip
        bar = self._bar(row)
        return Strip.join([strip, bar])

    def _bar(self, row: int) -> Strip:
        """The cell of the scroll bar in a row of the window."""
        palette = self.palette
        total = self.line_count
        page = self.page
        hidden = total - page
        if hidden <= 0:
            blank = Segment(" ")
            return Strip([blank], 1)
        thumb_rows = page * page // total
        thumb_rows = max(1, thumb_rows)
        free_rows = page - thumb_rows
        rows_above = self.top * free_rows / hidden
        first = round(rows_above)
        stop = first + thumb_rows
        if first <= row < stop:
            cell = Segment("┃", palette.accent)
        else:
            cell = Segment("│", palette.muted)
        return Strip([cell], 1)

    def scroll_top(self, top: int) -> None:
        """Show lines from ``top`` on, as far as there are lines."""
        top = self.top_within(top)
        if top == self.top:
            return
        self.top = top
        width = self.size.width
        page = self.page
        window = Region(0, self.fixed, width, page)
        self.refresh(window)

    def top_within(self, top: int) -> int:
        """The first line of a window that begins at ``top``, or where the lines end."""
        last = self.line_count - self.page
        top = min(top, last)
        return max(0, top)

    def reveal(self, index: int, margin: int = 0) -> None:
        """Scroll as little as needed to show a line and ``margin`` lines around it."""
        page = self.page
        half_page = (page - 1) // 2
        margin = min(margin, half_page)
        first = index - margin
        last = index + margin
        stop = self.top + page
        if first < self.top:
            self.scroll_top(first)
        elif last >= stop:
            top = last - page + 1
            self.scroll_top(top)

    def refresh_line(self, index: int) -> None:
        """Repaint one line, if it is seen."""
        row = index - self.top
        if 0 <= row < self.page:
            y = row + self.fixed
            line = Region(0, y, self.inner_width, 1)
            self.refresh(line)

    def refresh_fixed(self) -> None:
        width = self.size.width
        heads = Region(0, 0, width, self.fixed)
        self.refresh(heads)

    def recolour(self, styles: Styles) -> None:
        """The palette has changed: ``styles`` maps each old style to the new one.

        A widget that keeps drawn strips drops or recolours them.
        """
        self.refresh()

    def on_resize(self, event: Resize) -> None:
        self.scroll_top(self.top)

    def on_focus(self, event: Focus) -> None:
        self.refresh_fixed()

    def on_blur(self, event: Blur) -> None:
        self.refresh_fixed()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        event.stop()
        top = self.top + _WHEEL_LINES
        self.scroll_top(top)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        event.stop()
        top = self.top - _WHEEL_LINES
        self.scroll_top(top)

    def title_line(self, title: str, width: int, aside: str = "") -> Strip:
        """A pane's title, bright while it has the focus.

        ``aside`` stands at the right where there is room.
        """
        style = self._head_style()
        title = f" {title} "
        room = width - cell_len(title) - 1
        if room < 0:
            cut = fit(title, width)
            run = (cut, style)
            return strip_of([run], width)
        if cell_len(aside) > room:
            aside = ""
        head = (title, style)
        aside = fit(aside, room, right=True)
        muted = self.palette.muted
        tail = (aside, muted)
        return strip_of([head, tail], width)

    def _head_style(self) -> Style:
        palette = self.palette
        if not self.has_focus:
            return palette.muted
        bold = Style(bold=True)
        style = palette.accent + bold
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
        strip = self._lines[index]
        return strip.adjust_cell_length(width)

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
        count_before = len(old)
        if self._bar_changed(count_before):
            x = self.inner_width
            height = self.page
            bar = Region(x, self.fixed, 1, height)
            self.refresh(bar)

    def _refresh_changed(self, old: Sequence[Strip]) -> None:
        """Repaint the cells that are seen and differ from the old lines."""
        width = self.inner_width
        stop_line = self.top + self.page
        old_seen = old[self.top : stop_line]
        new_seen = self._lines[self.top : stop_line]
        pairs = itertools.zip_longest(old_seen, new_seen)
        for y, (before, after) in enumerate(pairs, self.fixed):
            start, stop = _changed(before, after, width)
            cells = stop - start
            if cells > 0:
                changed = Region(start, y, cells, 1)
                self.refresh(changed)

    def _bar_changed(self, before: int) -> bool:
        """Whether the scroll bar is another one than with ``before`` lines."""
        after = len(self._lines)
        most = max(before, after)
        return before != after and most > self.page

    def recolour(self, styles: Styles) -> None:
        """Show the same lines in other colours."""
        old = self._lines
        self._lines = [_recoloured(strip, styles) for strip in old]
        self.refresh()

    def action_scroll_lines(self, lines: int) -> None:
        """Scroll by a number of lines."""
        top = self.top + lines
        self.scroll_top(top)


def _recoloured(strip: Strip, styles: Styles) -> Strip:
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
    old_cells = _cells(before, width)
    new_cells = _cells(after, width)
    pairs = itertools.zip_longest(old_cells, new_cells)
    differing: list[int] = []
    for index, (old, new) in enumerate(pairs):
        if old != new:
            differing.append(index)
    if not differing:
        return 0, 0
    first = differing[0]
    last = differing[-1]
    stop = last + 1
    return first, min(width, stop)


def _cells(strip: Strip, width: int) -> list[tuple[str, Style | None]]:
    """The character of each cell with its style, "" for half of a wide character."""
    cells: list[tuple[str, Style | None]] = []
    whole = strip.adjust_cell_length(width)
    for text, style, _ in whole:
        half = ("", style)
        for char in text:
            cells.append((char, style))
            further_cells = cell_len(char) - 1
            cells.extend([half] * further_cells)
    return cells
