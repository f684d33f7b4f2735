"""One line that is typed in, without a widget: what keys make of a text, and how it is
drawn.

A form of many lines draws them all itself, and what comes from a file is made visible,
which Textual's input does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events

from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run

_WORD = re.compile(r"\S*\s*$")
EDITING = (
    "left",
    "right",
    "home",
    "end",
    "ctrl+a",
    "ctrl+e",
    "backspace",
    "delete",
    "ctrl+w",
    "ctrl+u",
    "ctrl+k",
)


@dataclass(frozen=True, slots=True)
class Line:
    """A text and where typing goes on, counted in code points."""

    text: str = ""
    at: int = 0

    @classmethod
    def of(cls, text: str) -> Line:
        """A text with the cursor behind it."""
        return cls(text, len(text))

    def insert(self, text: str) -> Line:
        return Line(
            self.text[: self.at] + text + self.text[self.at :], self.at + len(text)
        )

    def key(self, key: str) -> Line:
        """What an editing key makes of it."""
        text, at = self.text, self.at
        if key in ("left", "right"):
            return Line(
                text, max(0, min(len(text), at + (1 if key == "right" else -1)))
            )
        if key in ("home", "ctrl+a"):
            return Line(text, 0)
        if key in ("end", "ctrl+e"):
            return Line(text, len(text))
        if key == "delete":
            return Line(text[:at] + text[at + 1 :], at)
        if key == "ctrl+k":
            return Line(text[:at], at)
        start = {"backspace": max(0, at - 1), "ctrl+u": 0}.get(key, at)
        if key == "ctrl+w":
            found = _WORD.search(text[:at].rstrip())
            start = found.start() if found else 0
        return Line(text[:start] + text[at:], start)


def typed(line: Line, event: events.Key) -> Line | None:
    """The line after a key press; None where the key is none of writing."""
    if event.key in EDITING:
        return line.key(event.key)
    if event.is_printable and event.character is not None:
        return line.insert(event.character)
    return None


def line_runs(line: Line, width: int, palette: Palette, *, cursor: bool) -> list[Run]:
    """The text in ``width`` cells, scrolled so that the cursor is seen; it is inverted
    where ``cursor``.
    """
    if not cursor:
        return [(fit(visible(line.text), width), palette.text)]
    parts = [visible(char) for char in line.text] + [" "]
    first, used = line.at, 0
    while first >= 0 and used + cell_len(parts[first]) <= max(
        width, cell_len(parts[line.at])
    ):
        used += cell_len(parts[first])
        first -= 1
    before = "".join(parts[first + 1 : line.at])
    here = fit(parts[line.at], min(width, cell_len(parts[line.at])))
    rest = max(0, width - cell_len(before) - cell_len(here))
    after = fit("".join(parts[line.at + 1 : -1]), rest) if rest else ""
    return [(before, palette.text), (here, palette.cursor), (after, palette.text)]
