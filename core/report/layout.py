"""Plain-text layout in terminal cells: what the stream can show, tables that fit, and
colour where it is wanted.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len, set_cell_size

from logdrift.core.session.visible import visible

_PLAIN = {
    "→": "->",
    "…": "...",
    "·": "-",
    "Δ": "delta",
    "»": ">>",
    "«": "<<",
    "‹": "<",
    "↵": "\\n",
    "⇥": "\\t",
    "␍": "\\r",
    "✓": "+",
    "✗": "x",
    "²": "^2",
}
_CODES = {"bold": "1", "dim": "2", "good": "32", "warn": "33", "bad": "31;1"}


_LEAST_COLUMN = 8
"""Cells that a column keeps when it is cut."""
_LEAST_ROOM = 8
"""Cells of a wrapped line where the canvas has hardly any."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What the output can show: ``width`` cells, the characters of ``encoding``, ANSI
    colours or none.
    """

    width: int = 80
    encoding: str = "utf-8"
    colour: bool = False

    def text(self, text: str) -> str:
        """``text`` without controls, and with what the encoding lacks as ASCII (``->``)
        or as ``<U+4E2D>``.
        """
        safe = visible(text)
        if safe.isascii() or self._shows(safe):
            return safe
        characters = map(self._shown, safe)
        return "".join(characters)

    def _shown(self, char: str) -> str:
        """A character, or its substitute where the encoding lacks it."""
        if self._shows(char):
            return char
        code = f"<U+{ord(char):04X}>"
        return _PLAIN.get(char, code)

    def _shows(self, text: str) -> bool:
        try:
            text.encode(self.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def paint(self, text: str, style: str) -> str:
        """``text`` (already laid out) in a style of `_CODES`; unchanged without
        colour.
        """
        if self.colour and style:
            return f"\x1b[{_CODES[style]}m{text}\x1b[0m"
        return text

    def cut(self, text: str, width: int) -> str:
        """``text`` in at most ``width`` cells, an ellipsis at the end where it was
        longer.
        """
        if cell_len(text) <= width:
            return text
        mark = self.text("…")[:width]
        room = width - len(mark)
        start = set_cell_size(text, room)
        return start.rstrip() + mark

    def cut_left(self, text: str, width: int) -> str:
        """Like `cut`, keeping the end."""
        if cell_len(text) <= width:
            return text
        mark = self.text("…")[:width]
        room = width - len(mark)
        while text and cell_len(text) > room:
            text = text[1:]
        return mark + text

    def wrap(self, text: str, indent: int = 0, first: str = "") -> list[str]:
        """``text`` broken into lines of at most ``width`` cells, or as narrow as a word
        can be; ``first`` starts the first one, inside the indent.
        """
        room = max(_LEAST_ROOM, self.width - indent)
        safe = self.text(text)
        if cell_len(safe) != len(safe):
            # textwrap counts characters, and one of them has at most two cells.
            room //= 2
        pieces = textwrap.wrap(safe, room, break_on_hyphens=False)
        if not pieces:
            return [first.ljust(indent)]
        blanks = " " * indent
        head = first.ljust(indent) + pieces[0]
        rest = [blanks + piece for piece in pieces[1:]]
        return [head, *rest]


def canvas_of(stream: TextIO, environment: Mapping[str, str] | None = None) -> Canvas:
    """The canvas of an open stream: colour only on a terminal that is not dumb and
    without ``NO_COLOR``.
    """
    variables = os.environ if environment is None else environment
    colour = (
        stream.isatty()
        and not variables.get("NO_COLOR")
        and variables.get("TERM") != "dumb"
    )
    encoding = stream.encoding or "ascii"
    return Canvas(80, encoding, colour)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """``text`` filled up to ``width`` cells."""
    blanks = width - cell_len(text)
    space = " " * max(0, blanks)
    if right:
        return space + text
    return text + space


def table(
    canvas: Canvas,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    shrink: Sequence[int],
    right: Sequence[int] = (),
) -> list[str]:
    """Lines of a table, head first. Columns in ``shrink`` are cut in this order, down
    to 8 cells, until it fits.
    """
    rows = [head, *rows]
    cells = [list(map(canvas.text, row)) for row in rows]
    widths = _column_widths(cells, shrink, canvas.width)
    lines = []
    for row in cells:
        fitted = []
        for place, cell in enumerate(row):
            width = widths[place]
            cut = canvas.cut(cell, width)
            is_right = place in right
            fitted.append(pad(cut, width, right=is_right))
        line = " ".join(fitted).rstrip()
        line = canvas.cut(line, canvas.width)
        lines.append(line)
    return lines


def _column_widths(
    rows: Sequence[Sequence[str]], shrink: Sequence[int], room: int
) -> list[int]:
    """As wide as the widest cell; those in ``shrink`` narrower until all fit
    ``room``.
    """
    columns = zip(*rows, strict=True)
    widths = [max(map(cell_len, column)) for column in columns]
    for column in shrink:
        blanks = len(widths) - 1
        excess = sum(widths) + blanks - room
        if excess > 0:
            width = widths[column]
            narrower = width - excess
            least = min(width, _LEAST_COLUMN)
            widths[column] = max(least, narrower)
    return widths
