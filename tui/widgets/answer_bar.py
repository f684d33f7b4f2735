"""The answer of the pair above the text: each part in its own colour, with the key that
leads to its screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.style import Style
from textual.events import Click
from textual.message import Message

from logdrift.tui.models.answer_lines import LINES, PlacedLine, set_parts
from logdrift.tui.models.answer_parts import AnswerPart, Tone
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run, Runs

_BETWEEN = " · "
_MARGIN = 1
"""Cells before the first part."""


class AnswerBar(Bar):
    """The parts of the answer in two lines; a click on a part does what its key
    does.
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.parts: Sequence[AnswerPart] = ()
        self._keys: Mapping[str, str] = {}
        self.placed: list[PlacedLine] = []

    class PartPicked(Message):
        """A part was clicked: ``action`` is the command that it leads to."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def show(self, parts: Sequence[AnswerPart], keys: Mapping[str, str]) -> None:
        """Show other parts; ``keys`` are those of the commands, by action."""
        same_parts = parts == self.parts
        same_keys = keys == self._keys
        if same_parts and same_keys:
            return
        self.parts = parts
        self._keys = keys
        self.draw()

    def draw(self) -> None:
        if not self.size.width:
            return
        palette = self.palette
        room = self.inner_width - 2
        self.placed = set_parts(self.parts, self._keys, room)
        rows = [_row(line, palette) for line in self.placed]
        blank = ("", palette.text)
        while len(rows) < LINES:
            rows.append([blank])
        self.put(rows)

    def on_click(self, event: Click) -> None:
        if event.y >= len(self.placed):
            return
        line = self.placed[event.y]
        part = _part_at(line, event.x)
        if part is not None and part.action:
            picked = self.PartPicked(part.action)
            self.post_message(picked)


def _part_at(line: PlacedLine, x: int) -> AnswerPart | None:
    """The part at a column of the line, or between the part before and it."""
    end = _MARGIN
    for entry in line:
        end += entry.cells
        if x < end:
            return entry.part
        end += len(_BETWEEN)
    return None


def _row(line: PlacedLine, palette: Palette) -> Runs:
    """One line of parts."""
    margin = " " * _MARGIN
    between: Run = (_BETWEEN, palette.muted)
    runs: Runs = [(margin, palette.text)]
    for index, entry in enumerate(line):
        if index:
            runs.append(between)
        style = tone_style(entry.part.tone, palette)
        run = (entry.text, style)
        runs.append(run)
        if entry.key:
            key_run = (f" {entry.key}", palette.accent)
            runs.append(key_run)
    return runs


def tone_style(tone: Tone, palette: Palette) -> Style:
    """The colour of what a part means."""
    styles = {
        "good": palette.good,
        "warn": palette.warn,
        "bad": palette.bad,
        "plain": palette.text,
        "muted": palette.muted,
    }
    return styles[tone]
