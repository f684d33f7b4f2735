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
        if parts == self.parts and keys == self._keys:
            return
        self.parts = parts
        self._keys = keys
        self.draw()

    def draw(self) -> None:
        if not self.size.width:
            return
        self.placed = set_parts(self.parts, self._keys, self.inner_width - 2)
        rows = [_row(line, self.palette) for line in self.placed]
        blank: Runs = [("", self.palette.text)]
        rows += [blank] * (LINES - len(rows))
        self.put(rows)

    def on_click(self, event: Click) -> None:
        if event.y >= len(self.placed):
            return
        end = 1
        for entry in self.placed[event.y]:
            end += entry.cells
            if event.x < end:
                if entry.part.action:
                    self.post_message(self.PartPicked(entry.part.action))
                return
            end += len(_BETWEEN)


def _row(line: PlacedLine, palette: Palette) -> Runs:
    """One line of parts."""
    between: Run = (_BETWEEN, palette.muted)
    runs: Runs = [(" ", palette.text)]
    for index, entry in enumerate(line):
        if index:
            runs.append(between)
        runs.append((entry.text, tone_style(entry.part.tone, palette)))
        if entry.key:
            runs.append((f" {entry.key}", palette.accent))
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
