"""One line that is typed in, without a widget: what keys make of a text, and how it is
drawn.

A form of many lines draws them all itself, and what comes from a file is made visible,
which Textual's input does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.cells import cell_len
from textual.events import Key

from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Runs


@dataclass(frozen=True, slots=True)
class TypedLine:
    """A text and where typing goes on (``at``), counted in code points."""

    text: str = ""
    at: int = 0

    @classmethod
    def of(cls, text: str) -> TypedLine:
        """A text with the cursor at its end."""
        end = len(text)
        return cls(text, end)

    @property
    def before(self) -> str:
        """The text before the cursor."""
        return self.text[: self.at]

    @property
    def after(self) -> str:
        """The text from the cursor on."""
        return self.text[self.at :]

    def insert(self, text: str) -> TypedLine:
        """The line with a text at the cursor."""
        before = self.before + text
        at = len(before)
        return TypedLine(before + self.after, at)

    def key(self, key: str) -> TypedLine:
        """What a key of `EDITING` makes of it."""
        if key in _MOVES:
            move = _MOVES[key]
            return TypedLine(self.text, move(self))
        if key == "ctrl+k":
            return TypedLine.of(self.before)
        before = self.before
        after = self.after
        if key == "delete":
            after = after[1:]
        else:
            delete = _DELETES[key]
            before = delete(before)
        at = len(before)
        return TypedLine(before + after, at)


def _without_last_word(text: str) -> str:
    ended = text.rstrip()
    return _LAST_WORD.sub("", ended, count=1)


def _one_left(line: TypedLine) -> int:
    at = line.at - 1
    return max(0, at)


def _one_right(line: TypedLine) -> int:
    end = len(line.text)
    return min(end, line.at + 1)


_LAST_WORD = re.compile(r"\S*\s*$")
_MOVES: Mapping[str, Callable[[TypedLine], int]] = {
    "left": _one_left,
    "right": _one_right,
    "home": lambda line: 0,
    "ctrl+a": lambda line: 0,
    "end": lambda line: len(line.text),
    "ctrl+e": lambda line: len(line.text),
}
"""Keys that move the cursor, and where to."""
_DELETES: Mapping[str, Callable[[str], str]] = {
    "backspace": lambda before: before[:-1],
    "ctrl+w": _without_last_word,
    "ctrl+u": lambda before: "",
}
"""Keys that delete before the cursor, and what they leave."""
EDITING = frozenset({*_MOVES, *_DELETES, "delete", "ctrl+k"})


def typed(line: TypedLine, event: Key) -> TypedLine | None:
    """The line after a key press; None for a key that neither types nor edits."""
    if event.key in EDITING:
        return line.key(event.key)
    char = event.character
    if event.is_printable and char is not None:
        return line.insert(char)
    return None


def line_runs(line: TypedLine, width: int, palette: Palette, *, cursor: bool) -> Runs:
    """The text in ``width`` cells, scrolled so that the cursor is seen; it is inverted
    where ``cursor``.
    """
    plain = palette.text
    if not cursor:
        whole = visible(line.text)
        text = fit(whole, width)
        return [(text, plain)]
    under = " "
    rest = ""
    if line.after:
        under = visible(line.after[0])
        # Letter by letter, as the cursor will meet them.
        following = map(visible, line.after[1:])
        rest = "".join(following)
    under_cells = min(width, cell_len(under))
    under = fit(under, under_cells)
    room = width - cell_len(under)
    before = _fitting_end(line.before, room)
    room -= cell_len(before)
    tail = ""
    if room > 0:
        tail = fit(rest, room)
    return [
        (before, plain),
        (under, palette.cursor),
        (tail, plain),
    ]


def _fitting_end(text: str, width: int) -> str:
    """As much of the end of a text, made visible, as ``width`` cells hold."""
    end = ""
    room = width
    for char in map(visible, reversed(text)):
        room -= cell_len(char)
        if room < 0:
            break
        end = char + end
    return end
