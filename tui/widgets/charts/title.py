"""The first line of the chart pane: names of charts around the one that is shown, and
at the right what is shown of it and its keys.

A number stands before a name only while the pane has the focus: then it is a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from logdrift.core.charts.registry import CHARTS
from logdrift.tui.actions import Keymap, commands, first_key
from logdrift.tui.glyphs import fit
from logdrift.tui.widgets.lines import Runs

if TYPE_CHECKING:
    from rich.style import Style

    from logdrift.core.charts.data import Reach
    from logdrift.tui.palette import Palette

_ENDS = 2
"""Cells of the arrows before the first and behind the last name."""
_KEY_WORDS = {
    "next_chart": "next",
    "charts": "list",
    "zoom": "whole screen",
    "export_chart": "save",
}
"""Commands at the right of the line, the most needed first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartTitle:
    """What the line says: chart ``kind`` is shown, ``reach`` of it."""

    kind: int
    reach: Reach
    focused: bool
    keymap: Keymap

    def names(self) -> list[str]:
        """The charts as the line names them, equally long with and without the focus:
        a press of the mouse that brings the focus must not move what it hits.
        """
        keys = self._digits()
        names = []
        for number, entry in enumerate(CHARTS):
            key = keys.get(number, "")
            before = f"{key} " if key else ""
            if not self.focused:
                before = " " * len(before)
            names.append(f" {before}{entry.title} ")
        return names

    def _digits(self) -> dict[int, str]:
        """The key of each chart that has one."""
        keys = {}
        for command in commands("chart"):
            if command.action == "chart":
                names = command.key_names(self.keymap)
                number = int(command.arguments[0])
                keys[number] = next(iter(names), "")
        return keys

    def runs(self, width: int, palette: Palette) -> Runs:
        """The line in ``width`` cells, the chart that is shown marked."""
        muted = palette.muted
        titles = self.names()
        widths = [cell_len(title) for title in titles]
        room = width - _ENDS
        keys = self._keys(room, widths)
        first, stop = seen_names(widths, self.kind, room - cell_len(keys))
        left_arrow = " "
        right_arrow = " "
        if first > 0:
            left_arrow = "‹"
        if stop < len(titles):
            right_arrow = "›"
        runs: Runs = [(left_arrow, muted)]
        for index in range(first, stop):
            style = self._style(index, palette)
            runs.append((titles[index], style))
        runs.append((right_arrow, muted))
        used = _ENDS + sum(widths[first:stop])
        spare = max(0, width - used)
        rest = fit(keys, spare, right=True)
        runs.append((rest, muted))
        return runs

    def _style(self, index: int, palette: Palette) -> Style:
        if index != self.kind:
            return palette.muted
        if self.focused:
            return palette.selected
        return palette.strong

    def _keys(self, room: int, widths: Sequence[int]) -> str:
        """Which sequences are shown, and the keys in as many words as there is room
        for beside the names.
        """
        which = "all sequences"
        if self.reach == "one":
            which = "this sequence"
        phrases = [which]
        if len(CHARTS[self.kind].reaches) > 1:
            key = self._key("chart_reach")
            other = "all"
            if self.reach == "all":
                other = "this"
            phrases.append(f"{key} {other}")
        shortest = _joined(phrases)
        phrases += [f"{self._key(name)} {word}" for name, word in _KEY_WORDS.items()]
        longest = _joined(phrases)
        for words, names in ((longest, sum(widths)), (shortest, widths[self.kind])):
            if cell_len(words) + names <= room:
                return words
        return ""

    def _key(self, name: str) -> str:
        return first_key("charts", name, self.keymap)

    def name_at(self, x: int, width: int, palette: Palette) -> int | None:
        """The chart whose name stands at column ``x`` of the line."""
        start = 0
        titles = self.names()
        for text, _ in self.runs(width, palette):
            stop = start + cell_len(text)
            if start <= x < stop and text in titles:
                return titles.index(text)
            start = stop
        return None


def _joined(phrases: Sequence[str]) -> str:
    words = " · ".join(phrases)
    return f" {words} "


def seen_names(widths: Sequence[int], chosen: int, room: int) -> tuple[int, int]:
    """(first, stop) of the names to show: the chosen one, then as many as fit after it,
    then before it.
    """
    count = len(widths)
    first = chosen
    stop = chosen + 1
    left = room - widths[chosen]
    while stop < count and widths[stop] <= left:
        left -= widths[stop]
        stop += 1
    while first > 0 and widths[first - 1] <= left:
        first -= 1
        left -= widths[first]
    return first, stop
