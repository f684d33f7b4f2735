"""What goes to the terminal: only the cells that differ from what it shows.

Textual draws a new screen three or four times until its layout has settled, and the one
below it twice when it comes back, each time in full: 50 to 80 KB at 200x60, half a
second of a slow line. The terminal's cells are known here, so what is drawn again as it
was costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from rich.cells import cell_len, get_character_cell_size
from rich.color import Color, ColorSystem
from rich.console import Console
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Size
from textual.strip import Strip

_GAP = 8
"""So many equal cells between two that differ are sent as well: a jump to another place
costs about as many bytes.
"""
_ATTRIBUTES = {
    "bold": "1",
    "dim": "2",
    "italic": "3",
    "underline": "4",
    "blink": "5",
    "reverse": "7",
    "strike": "9",
}
"""Each attribute of a style that is drawn, and its parameter in a sequence."""
Cell = tuple[str, Style | None]
"""A character and its style, as far as it shows; of a wide one the second cell holds no
character.
"""


_UNKNOWN: Cell = ("", None)


class CellPiece(NamedTuple):
    """Cells in one line of the screen, from column ``x`` on."""

    x: int
    y: int
    strip: Strip


class CellRange(NamedTuple):
    """Cells from ``start`` to before ``stop``."""

    start: int
    stop: int


class ChangedCells(CompositorUpdate):
    """Pieces of lines that are sent."""

    def __init__(self, pieces: list[CellPiece]) -> None:
        self.pieces = pieces

    def __rich_console__(self, console: Console, options: Any) -> Iterator[Any]:
        for piece in self.pieces:
            yield from piece.strip

    def render_segments(self, console: Console) -> str:
        """The bytes: each piece is a place, then text with what changes of its style.

        A style holds on from one piece to the next; the last one is taken back.
        """
        system = console._color_system or ColorSystem.TRUECOLOR
        parts = []
        pen = _NO_STYLE
        for x, y, strip in self.pieces:
            parts.append(f"\x1b[{y + 1};{x + 1}H")
            for text, style, _ in strip:
                wanted = _sent_style(style, system)
                if not text.strip(" ") and not wanted.attributes | pen.attributes:
                    # On a blank only the background shows.
                    wanted = wanted._replace(text=pen.text)
                parts.append(_change(pen, wanted))
                parts.append(text)
                pen = wanted
        parts.append(_change(pen, _NO_STYLE))
        return "".join(parts)


class _SentStyle(NamedTuple):
    """The parameters of a style's sequence: of its attributes, its text's colour and
    its background; "" for what is as the terminal's own.
    """

    attributes: frozenset[str]
    text: str
    back: str


_NO_STYLE = _SentStyle(frozenset(), "", "")


@lru_cache(maxsize=1024)
def _sent_style(style: Style | None, system: ColorSystem) -> _SentStyle:
    if style is None:
        return _NO_STYLE
    attributes = frozenset(
        parameter for name, parameter in _ATTRIBUTES.items() if getattr(style, name)
    )
    text = _parameters(style.color, system, foreground=True)
    back = _parameters(style.bgcolor, system, foreground=False)
    return _SentStyle(attributes, text, back)


def _parameters(color: Color | None, system: ColorSystem, *, foreground: bool) -> str:
    if color is None:
        return ""
    codes = color.downgrade(system).get_ansi_codes(foreground=foreground)
    return ";".join(codes)


@lru_cache(maxsize=4096)
def _change(old: _SentStyle, new: _SentStyle) -> str:
    """The sequence that makes one style of another, "" for equal ones."""
    if old == new:
        return ""
    parameters = []
    lacks_colour = (old.text and not new.text) or (old.back and not new.back)
    if lacks_colour or old.attributes - new.attributes:
        # A terminal has no short way to take back one of them that all understand.
        parameters.append("0")
        old = _NO_STYLE
    parameters += sorted(new.attributes - old.attributes)
    if new.text != old.text:
        parameters.append(new.text)
    if new.back != old.back:
        parameters.append(new.back)
    joined = ";".join(parameters)
    return f"\x1b[{joined}m"


class Wire:
    """Knows what the terminal shows once it has been sent something."""

    def __init__(self) -> None:
        self._size = Size()
        self._lines: list[list[Cell] | None] = []

    def forget(self) -> None:
        """The terminal may show anything: what comes next is sent in full."""
        self._size = Size()

    def changes(self, update: CompositorUpdate, size: Size) -> CompositorUpdate | None:
        """What to send of an update to a terminal of ``size``; None for nothing."""
        if not isinstance(update, (LayoutUpdate, ChopsUpdate)):
            self.forget()
            return update
        if size != self._size:
            self._size = size
            self._lines = [None] * size.height
        changed: list[CellPiece] = []
        for piece in _pieces(update):
            changed += self._differing(piece)
        if changed:
            return ChangedCells(changed)
        return None

    def _differing(self, piece: CellPiece) -> Iterator[CellPiece]:
        """The parts of a piece that the terminal does not show yet."""
        x, y, strip = piece
        if y not in range(len(self._lines)):
            return
        width = self._size.width
        room = max(0, width - x)
        new = _cells(strip)[:room]
        line = self._lines[y]
        if line is None:
            if len(new) == width:
                # A whole line of which nothing is known: there is nothing to compare.
                self._lines[y] = new
                yield CellPiece(x, y, _at_most(strip, width))
                return
            line = [_UNKNOWN] * width
            self._lines[y] = line
        end = x + len(new)
        old = line[x:end]
        if old == new:
            return
        line[x:end] = new
        for start, stop in _stretches(old, new):
            part = strip.crop(start, stop)
            yield CellPiece(x + start, y, part)


def _at_most(strip: Strip, width: int) -> Strip:
    if strip.cell_length > width:
        return strip.crop(0, width)
    return strip


def _pieces(update: LayoutUpdate | ChopsUpdate) -> Iterator[CellPiece]:
    """What Textual would send."""
    if isinstance(update, LayoutUpdate):
        region = update.region
        for y, strips in enumerate(update.strips, region.y):
            yield CellPiece(region.x, y, Strip.join(strips))
        return
    for y, first, last in update.spans:
        chops = update.chops[y].items()
        ends = update.chop_ends[y]
        for end, (x, strip) in zip(ends, chops, strict=False):
            if strip is None or x > last or end <= first:
                continue
            is_inside = first <= x < last and end <= last
            if not is_inside:
                width = min(end, last) - x
                strip = strip.crop(0, width)
            yield CellPiece(x, y, strip)


def _cells(strip: Strip) -> list[Cell]:
    """Every cell of a strip."""
    cells: list[Cell] = []
    for text, style, _ in strip:
        blank = (" ", _blank(style))
        if not text.strip(" "):
            cells += [blank] * len(text)
        elif text.isascii() or cell_len(text) == len(text):
            cells += [blank if char == " " else (char, style) for char in text]
        else:
            _add_wide_text(cells, text, style)
    return cells


def _add_wide_text(cells: list[Cell], text: str, style: Style | None) -> None:
    """Append characters of two cells as two, and those of none to the one before."""
    blank = (" ", _blank(style))
    rest_of_wide = ("", style)
    for char in text:
        size = get_character_cell_size(char)
        if char == " ":
            cells.append(blank)
        elif size:
            cells.append((char, style))
            cells += [rest_of_wide] * (size - 1)
        elif cells:
            base, base_style = cells[-1]
            cells[-1] = (base + char, base_style)


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


def _stretches(old: list[Cell], new: list[Cell]) -> Iterator[CellRange]:
    """Where two lines differ, in whole characters; what lies close together is one
    stretch.
    """
    start = stop = -1
    pairs = zip(old, new, strict=True)
    for at, (before, after) in enumerate(pairs):
        if before == after:
            continue
        is_far = at - stop > _GAP
        if start >= 0 and is_far:
            yield _whole_characters(start, stop, new)
            start = -1
        if start < 0:
            start = at
        stop = at + 1
    if start >= 0:
        yield _whole_characters(start, stop, new)


def _whole_characters(start: int, stop: int, cells: list[Cell]) -> CellRange:
    """Widened so that no character of two cells is cut."""
    while start and _continues(cells[start]):
        start -= 1
    end = len(cells)
    while stop < end and _continues(cells[stop]):
        stop += 1
    return CellRange(start, stop)


def _continues(cell: Cell) -> bool:
    """Whether it is the second cell of a character of two."""
    character, _ = cell
    return not character
