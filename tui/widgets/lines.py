"""The base of all panes: lines drawn one by one, scrolled without a layout, and
repainted only where they changed.
"""

from __future__ import annotations

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
    """Runs as one line of exactly ``width`` cells; neighbours of one style become one,
    which is fewer bytes to send.
    """
    merged: list[Run] = []
    for text, style in runs:
        if merged and merged[-1][1] is style:
            merged[-1] = (merged[-1][0] + text, style)
        elif text:
            merged.append((text, style))
    return Strip([Segment(text, style) for text, style in merged]).adjust_cell_length(
        width
    )


def merge_blanks(strip: Strip) -> Strip:
    """The same cells in fewer runs: blanks take the colour of the text beside them,
    which nobody sees and saves a third of the bytes of a repaint.
    """
    out: list[Segment] = []
    for segment in strip:
        merged = _merged(out[-1], segment) if out else None
        if merged is None:
            out.append(segment)
        else:
            out[-1] = merged
    return Strip(out, strip.cell_length)


def _merged(before: Segment, after: Segment) -> Segment | None:
    """Two neighbours as one, None where they do not look alike."""
    text = before.text + after.text
    style = before.style
    if style is after.style:
        return Segment(text, style)
    if style is None or after.style is None or not _same_blank(style, after.style):
        return None
    if not after.text.strip(" "):
        return Segment(text, style)
    if before.text.strip(" "):
        return None
    return Segment(text, after.style)


def _same_blank(one: Style, other: Style) -> bool:
    """Whether a blank looks alike in both styles: it shows nothing but its
    background.
    """
    return one.bgcolor == other.bgcolor and _bare(one) and _bare(other)


def _bare(style: Style) -> bool:
    return not (style.underline or style.reverse)


class Lines(Safe, Widget, can_focus=True, inherit_bindings=False):
    """Rows `fixed` to stay on top, below them a window on `line_count` lines, and a
    scroll bar one cell wide.

    Scrolling moves `top` and repaints this pane. Textual's own scrolling goes through a
    layout of the whole screen.
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
        """Lines that are seen at a time."""
        return max(1, self.size.height - self.fixed)

    @property
    def inner_width(self) -> int:
        """Cells of a line beside the scroll bar."""
        return max(1, self.size.width - 1)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        back = self.palette.back
        below = self.top + y - self.fixed >= self.line_count
        if y >= self.fixed and below:
            # Where there is no bar either: much of a first screen.
            return Strip.blank(width, back)
        try:
            return merge_blanks(self._content(y, width).apply_style(back))
        except Exception as error:
            # One number that cannot be written must not take the screen with it.
            words = fit(f" {visible(words_of(error))}", width)
            return strip_of([(words, self.palette.bad)], width)

    def _content(self, y: int, width: int) -> Strip:
        if y < self.fixed:
            return self.fixed_line(y, width)
        strip = self.line(self.top + y - self.fixed, self.inner_width)
        if self.inner_width == width:
            return strip
        return Strip.join([strip, self._bar(y - self.fixed)])

    def _bar(self, y: int) -> Strip:
        """The cell of the scroll bar in a row."""
        total = self.line_count
        page = self.page
        if total <= page:
            return Strip([Segment(" ")], 1)
        size = max(1, page * page // total)
        start = round(self.top * (page - size) / max(1, total - page))
        if start <= y < start + size:
            return Strip([Segment("┃", self.palette.accent)], 1)
        return Strip([Segment("│", self.palette.muted)], 1)

    def scroll_top(self, top: int) -> None:
        """Show lines from ``top`` on, as far as there are lines."""
        top = max(0, min(top, self.line_count - self.page))
        if top != self.top:
            self.top = top
            self.refresh(Region(0, self.fixed, self.size.width, self.page))

    def reveal(self, index: int, margin: int = 0) -> None:
        """Scroll as little as needed to show a line and ``margin`` lines around it."""
        margin = min(margin, (self.page - 1) // 2)
        if index - margin < self.top:
            self.scroll_top(index - margin)
        elif index + margin >= self.top + self.page:
            self.scroll_top(index + margin - self.page + 1)

    def refresh_line(self, index: int) -> None:
        """Repaint one line, if it is seen."""
        y = index - self.top
        if 0 <= y < self.page:
            self.refresh(Region(0, y + self.fixed, self.inner_width, 1))

    def refresh_fixed(self) -> None:
        self.refresh(Region(0, 0, self.size.width, self.fixed))

    def recolour(self, styles: Mapping[Style, Style]) -> None:
        """Other colours: ``styles`` maps those that are drawn to what stands for them
        now. Who keeps strips drops them.
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
        """A pane's title, bright while it has the focus, with ``aside`` at the right
        where there is room.
        """
        p = self.palette
        style = self._head_style()
        head = f" {title} "
        room = width - cell_len(head) - 1
        if room < 0:
            return strip_of([(fit(head, width), style)], width)
        tail = aside if cell_len(aside) <= room else ""
        return strip_of([(head, style), (fit(tail, room, right=True), p.muted)], width)

    def _head_style(self) -> Style:
        p = self.palette
        if not self.has_focus:
            return p.muted
        # Without colours only swapped ones show where the focus is.
        reverse = True if p.depth == "none" else None
        return p.accent + Style(bold=True, reverse=reverse)


class Text(Lines, inherit_bindings=False):
    """Given lines. A new set repaints only the cells that differ, so a cursor that
    moves costs few bytes.
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
        top = max(0, min(self.top, len(lines) - self.page))
        if top != self.top:
            self.top = top
            self.refresh()
            return
        self._refresh_changed(old)
        if self._bar_changed(len(old), len(lines)):
            self.refresh(Region(self.inner_width, self.fixed, 1, self.page))

    def _refresh_changed(self, old: Sequence[Strip]) -> None:
        """Repaint the cells that are seen and differ from the old lines."""
        for y in range(self.page):
            index = self.top + y
            before = old[index] if index < len(old) else None
            if index < len(self._lines):
                after = self._lines[index]
            else:
                after = None
            start, stop = _changed(before, after, self.inner_width)
            if start < stop:
                self.refresh(Region(start, y + self.fixed, stop - start, 1))

    def _bar_changed(self, before: int, after: int) -> bool:
        """Whether the scroll bar of so many lines looks different."""
        return before != after and max(before, after) > self.page

    def recolour(self, styles: Mapping[Style, Style]) -> None:
        """The lines as they stand, in other colours."""
        self._lines = [_recoloured(strip, styles) for strip in self._lines]
        self.refresh()

    def action_scroll_lines(self, lines: int) -> None:
        """Scroll by a number of lines."""
        self.scroll_top(self.top + lines)


def _recoloured(strip: Strip, styles: Mapping[Style, Style]) -> Strip:
    return Strip(
        [
            Segment(text, styles.get(style, style) if style else style)
            for text, style, _ in strip
        ]
    )


def _changed(before: Strip | None, after: Strip | None, width: int) -> tuple[int, int]:
    """Cells from the first to behind the last difference of two lines; (0, 0) for
    none.
    """
    if before is after:
        return 0, 0
    if before is None or after is None:
        return 0, width
    a = _cells(before, width)
    b = _cells(after, width)
    if a == b:
        return 0, 0
    size = max(len(a), len(b))
    a += [None] * (size - len(a))
    b += [None] * (size - len(b))
    differs = [i for i in range(size) if a[i] != b[i]]
    return differs[0], min(width, differs[-1] + 1)


def _cells(strip: Strip, width: int) -> list[tuple[str, Style | None] | None]:
    out: list[tuple[str, Style | None] | None] = []
    for text, style, _ in strip.adjust_cell_length(width):
        for char in text:
            out.append((char, style))
            out.extend([("", style)] * (cell_len(char) - 1))
    return out
