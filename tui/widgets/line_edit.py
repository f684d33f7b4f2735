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
from textual import events

from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run


@dataclass(frozen=True, slots=True)
class TypedLine:
    """A text and where typing goes on (``at``), counted in code points."""

    text: str = ""
    at: int = 0

    @classmethod
    def of(cls, text: str) -> TypedLine:
        """A text with the cursor at its end."""
        return cls(text, len(text))

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
        return TypedLine(self.before + text + self.after, self.at + len(text))

    def key(self, key: str) -> TypedLine:
        """What a key of `EDITING` makes of it."""
        if key in _MOVES:
            return TypedLine(self.text, _MOVES[key](self))
        if key == "delete":
            return TypedLine(self.before + self.after[1:], self.at)
        if key == "ctrl+k":
            return TypedLine.of(self.before)
        kept = _DELETES[key](self.before)
        return TypedLine(kept + self.after, len(kept))


def _without_last_word(text: str) -> str:
    return _LAST_WORD.sub("", text.rstrip(), count=1)


_LAST_WORD = re.compile(r"\S*\s*$")
_MOVES: Mapping[str, Callable[[TypedLine], int]] = {
    "left": lambda line: max(0, line.at - 1),
    "right": lambda line: min(len(line.text), line.at + 1),
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


def typed(line: TypedLine, event: events.Key) -> TypedLine | None:
    """The line after a key press; None for a key that neither types nor edits."""
    if event.key in EDITING:
        return line.key(event.key)
    if event.is_printable and event.character is not None:
        return line.insert(event.character)
    return None


def line_runs(
    line: TypedLine, width: int, palette: Palette, *, cursor: bool
) -> list[Run]:
    """The text in ``width`` cells, scrolled so that the cursor is seen; it is inverted
    where ``cursor``.
    """
    if not cursor:
        return [(fit(visible(line.text), width), palette.text)]
    under, *after = [*map(visible, line.after), " "]
    under = fit(under, min(width, cell_len(under)))
    before = _fitting_end(line.before, width - cell_len(under))
    room = width - cell_len(before) - cell_len(under)
    if room > 0:
        tail = fit("".join(after[:-1]), room)
    else:
        tail = ""
    return [(before, palette.text), (under, palette.cursor), (tail, palette.text)]


def _fitting_end(text: str, width: int) -> str:
    """As much of the end of a text, made visible, as ``width`` cells hold."""
    end = ""
    for char in map(visible, reversed(text)):
        if cell_len(char) + cell_len(end) > width:
            break
        end = char + end
    return end
