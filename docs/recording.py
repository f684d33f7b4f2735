"""The real program on a pty, as the rows of a picture."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

import pyte

from benchmarks.screen import Terminal
from logdrift.tui.picture import CellRun, Paper, most_frequent_background

BACKGROUND = "#121212"
"""That of the dark theme."""
FOREGROUND = "#d9d9d9"
SECONDS = 40
"""How long a text may take to come."""
_NAMED = {
    "black": "#000000",
    "red": "#cd3131",
    "green": "#0dbc79",
    "brown": "#e5e510",
    "blue": "#2472c8",
    "magenta": "#bc3fbc",
    "cyan": "#11a8cd",
    "white": "#e5e5e5",
}
"""pyte's names of the first eight colours."""


@dataclass(frozen=True, slots=True)
class _Look:
    colour: str
    background: str | None
    bold: bool
    italic: bool
    underline: bool
    strike: bool


class Recording:
    """A program on a pty of a given size, and what its screen shows."""

    def __init__(self, argv: list[str], columns: int, lines: int, **environment: str):
        self.columns = columns
        self.lines = lines
        # Truecolor: the picture has the colours that the program means.
        self._terminal = Terminal(
            argv, columns, lines, COLORTERM="truecolor", **environment
        )
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)

    def press(self, keys: bytes) -> None:
        """Send keys as a terminal does."""
        os.write(self._terminal.fd, keys)

    def wait_for(self, text: str) -> None:
        """Read until ``text`` is on the screen and nothing more comes.

        Raises SystemExit with the screen where it does not come.
        """
        self._read_until(lambda: text in "\n".join(self._screen.display), text)
        while data := self._terminal.read(0.4):
            self._stream.feed(data)

    def _read_until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + SECONDS
        while not holds():
            if time.monotonic() > end:
                shown = "\n".join(self._screen.display)
                raise SystemExit(f"{what!r} did not come:\n{shown}")
            self._stream.feed(self._terminal.read(0.5))

    def rows(self) -> list[list[CellRun]]:
        """The screen as it stands."""
        return [list(self._runs(line)) for line in range(self.lines)]

    def _runs(self, line: int) -> Iterator[CellRun]:
        cells = self._screen.buffer[line]
        columns = range(self.columns)
        for look, group in groupby(columns, lambda column: _look_of(cells[column])):
            chosen = list(group)
            yield CellRun(
                # The second cell of a wide character is empty.
                text="".join(cells[column].data for column in chosen),
                cells=len(chosen),
                colour=look.colour,
                background=look.background,
                bold=look.bold,
                italic=look.italic,
                underline=look.underline,
                strike=look.strike,
            )

    def close(self) -> None:
        """End the program."""
        self._terminal.close()

    def paper(self, title: str, *, extra_lines: int = 0) -> Paper:
        """What the screen is drawn on."""
        return Paper(
            columns=self.columns,
            lines=self.lines + extra_lines,
            background=most_frequent_background(self.rows(), BACKGROUND),
            foreground=FOREGROUND,
            title=title,
        )


@contextlib.contextmanager
def recording(
    argv: list[str], columns: int, lines: int, **environment: str
) -> Iterator[Recording]:
    """A recording whose program is ended with it."""
    made = Recording(argv, columns, lines, **environment)
    try:
        yield made
    finally:
        made.close()


def _look_of(cell: pyte.screens.Char) -> _Look:
    colour = _hex(cell.fg) or FOREGROUND
    background = _hex(cell.bg)
    if cell.reverse:
        colour, background = background or BACKGROUND, colour
    if background == BACKGROUND:
        background = None
    return _Look(
        colour=colour,
        background=background,
        bold=cell.bold,
        italic=cell.italics,
        underline=cell.underscore,
        strike=cell.strikethrough,
    )


def _hex(name: str) -> str | None:
    """A colour of pyte as ``#rrggbb``; None for the terminal's own."""
    if name == "default":
        return None
    return _NAMED.get(name, f"#{name}")
