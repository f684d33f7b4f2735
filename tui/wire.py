"""What goes to the terminal: only the cells that differ from what it shows.

Textual draws a new screen three or four times until its layout has settled, and the one
below it twice when it comes back, each time in full: 50 to 80 KB at 200x60, half a
second of a slow line. The terminal's cells are known here, so what is drawn again as it
was costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from rich.cells import cell_len, get_character_cell_size
from rich.console import Console
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Size
from textual.strip import Strip

_GAP = 16
"""Equal cells between two that differ which are sent as well: another place and style
cost about as many bytes.
"""
Cell = tuple[str, Style | None]
"""A character and its style, as far as it shows; of a wide one the second cell holds no
character.
"""


class ChangedCells(CompositorUpdate):
    """Pieces of lines that are sent: (x, y, cells)."""

    def __init__(self, pieces: list[tuple[int, int, Strip]]) -> None:
        self.pieces = pieces

    def __rich_console__(self, console: Console, options: Any) -> Iterator[Any]:
        for _, _, strip in self.pieces:
            yield from strip

    def render_segments(self, console: Console) -> str:
        """The bytes: a place, then text in its styles."""
        return "".join(
            f"\x1b[{y + 1};{x + 1}H{strip.render(console)}"
            for x, y, strip in self.pieces
        )


class Wire:
    """Knows what the terminal shows once it has been sent something."""

    def __init__(self) -> None:
        self._size = Size()
        self._lines: list[list[Cell] | None] = []

    def forget(self) -> None:
        """The terminal may show anything: what comes next is sent in full."""
        self._size = Size()

    def changes(self, update: CompositorUpdate, size: Size) -> CompositorUpdate | None:
        """What is to be sent of an update to a terminal of ``size``; None for
        nothing.
        """
        if not isinstance(update, (LayoutUpdate, ChopsUpdate)):
            self.forget()
            return update
        if size != self._size:
            self._size = size
            self._lines = [None] * size.height
        found = [
            piece
            for x, y, strip in _pieces(update)
            for piece in self._differing(x, y, strip)
        ]
        if found:
            return ChangedCells(found)
        return None

    def _differing(
        self, x: int, y: int, strip: Strip
    ) -> Iterator[tuple[int, int, Strip]]:
        if not 0 <= y < len(self._lines):
            return
        new = _cells(strip)[: max(0, self._size.width - x)]
        line = self._lines[y]
        if line is None:
            line = self._lines[y] = [("", None)] * self._size.width
            if len(new) == len(
                line
            ):  # the first screen: nothing of it is known, so nothing is compared
                line[:] = new
                yield (
                    x,
                    y,
                    (
                        strip.crop(0, len(line))
                        if strip.cell_length > len(line)
                        else strip
                    ),
                )
                return
        old = line[x : x + len(new)]
        if old == new:
            return
        line[x : x + len(new)] = new
        for start, stop in _stretches(old, new):
            yield x + start, y, strip.crop(start, stop)


def _pieces(update: LayoutUpdate | ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    """(x, y, cells) of what Textual would send."""
    if isinstance(update, LayoutUpdate):
        for y, strips in enumerate(update.strips, update.region.y):
            yield update.region.x, y, Strip.join(strips)
        return
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(
            update.chop_ends[y], update.chops[y].items(), strict=False
        ):
            if strip is not None and x <= x2 and end > x1:
                yield (
                    x,
                    y,
                    (
                        strip
                        if x1 <= x < x2 and end <= x2
                        else strip.crop(0, min(end, x2) - x)
                    ),
                )


def _cells(strip: Strip) -> list[Cell]:
    out: list[Cell] = []
    for text, style, _ in strip:
        blank = (" ", _blank(style))
        if not text.strip(" "):
            out += [blank] * len(text)
            continue
        if text.isascii() or cell_len(text) == len(text):
            out += [blank if char == " " else (char, style) for char in text]
            continue
        for char in text:
            size = get_character_cell_size(char)
            if size:
                out.append(blank if char == " " else (char, style))
                out += [("", style)] * (size - 1)
            elif out:
                out[-1] = (out[-1][0] + char, style)
    return out


@lru_cache(maxsize=1024)
def _blank(style: Style | None) -> Style | None:
    """What of a style shows on a space: its background, unless a line is drawn or
    colours are swapped.
    """
    if (
        style is None
        or style.underline
        or style.reverse
        or style.strike
        or style.overline
        or style.underline2
    ):
        return style
    if style.bgcolor is not None:
        return Style(bgcolor=style.bgcolor)
    return None


def _stretches(old: list[Cell], new: list[Cell]) -> Iterator[tuple[int, int]]:
    """Where they differ, from and to, whole characters; what lies close together is
    one.
    """
    start = stop = -1
    for at, (before, after) in enumerate(zip(old, new, strict=True)):
        if before == after:
            continue
        if start >= 0 and at - stop > _GAP:
            yield _whole(start, stop, new)
            start = -1
        if start < 0:
            start = at
        stop = at + 1
    if start >= 0:
        yield _whole(start, stop, new)


def _whole(start: int, stop: int, cells: list[Cell]) -> tuple[int, int]:
    while start and not cells[start][0]:
        start -= 1
    while stop < len(cells) and not cells[stop][0]:
        stop += 1
    return start, stop
