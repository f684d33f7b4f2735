"""The parts of an answer set in two lines: as much of each as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from logdrift.tui.glyphs import fit
from logdrift.tui.models.answer_parts import AnswerPart

LINES = 2
"""How many lines an answer takes: always as many, so that nothing moves."""
_GAP = 3
"""Cells between two parts."""
_ABOVE = ("verdict", "size", "cause")
_SENTENCES = ("verdict", "cause")
_FIRST_DROPPED = ("floor", "share", "worst", "size")
_FIRST_WHOLE = ("cause", "worst", "share", "floor", "verdict")
_FIRST_KEYS = ("cause", "worst", "verdict", "size", "share", "floor")
_WORTH_CUTTING = 8
"""Cells that are worth a longer text that is cut."""


class PlacedPart(NamedTuple):
    """A part as it is written: ``key`` leads to its screen, "" without room for it."""

    part: AnswerPart
    text: str
    key: str = ""

    @property
    def cells(self) -> int:
        """The cells that it takes, its key included."""
        cells = cell_len(self.text)
        if self.key:
            cells += 1 + cell_len(self.key)
        return cells


PlacedLine = list[PlacedPart]
Change = Callable[[PlacedPart], PlacedPart]


def set_parts(
    parts: Sequence[AnswerPart], keys: Mapping[str, str], room: int
) -> list[PlacedLine]:
    """The parts in at most `LINES` lines of ``room`` cells. ``keys`` by action.

    The cause stays whatever happens. First come the short texts, then the range that
    the size is judged by, the keys, and the whole texts of the others.
    """

    def with_key(entry: PlacedPart) -> PlacedPart:
        action = entry.part.action
        key = keys.get(action, "")
        return entry._replace(key=key)

    placed = _short(parts, room)
    placed = _changed(placed, "size", _whole, room)
    for name in _FIRST_KEYS:
        placed = _changed(placed, name, with_key, room)
    for name in _FIRST_WHOLE:
        placed = _changed(placed, name, _whole, room)
    flowed = _flow(placed, room)
    if len(flowed) == 1:
        only_line = flowed[0]
        flowed = _halves(only_line)
    return [_stretched(line, room) for line in flowed]


def _halves(line: PlacedLine) -> list[PlacedLine]:
    """What would fit in one line: what the pair is, and below it what it has."""
    above: PlacedLine = []
    below: PlacedLine = []
    for entry in line:
        half = below
        if entry.part.name in _ABOVE:
            half = above
        half.append(entry)
    return [above, below]


def _short(parts: Sequence[AnswerPart], room: int) -> PlacedLine:
    """The short texts of as many parts as fit; what is still too long is cut."""
    placed = [PlacedPart(part, part.short) for part in parts]
    for name in _FIRST_DROPPED:
        if _fits(placed, room):
            return placed
        placed = _without(placed, name)
    return [_cut_part(entry, room) for entry in placed]


def _without(placed: PlacedLine, name: str) -> PlacedLine:
    remaining: PlacedLine = []
    for entry in placed:
        if entry.part.name != name:
            remaining.append(entry)
    return remaining


def _cut_part(entry: PlacedPart, room: int) -> PlacedPart:
    text = _cut(entry.text, room)
    return entry._replace(text=text)


def _whole(entry: PlacedPart) -> PlacedPart:
    text = entry.part.text
    return entry._replace(text=text)


def _changed(placed: PlacedLine, name: str, change: Change, room: int) -> PlacedLine:
    """With the part of that name changed, where there is room for it."""
    longer: PlacedLine = []
    for entry in placed:
        if entry.part.name == name:
            entry = change(entry)
        longer.append(entry)
    if _fits(longer, room):
        return longer
    return placed


def _fits(placed: PlacedLine, room: int) -> bool:
    flowed = _flow(placed, room)
    if len(flowed) > LINES:
        return False
    widest = max(map(_cells, flowed))
    return widest <= room


def _flow(placed: PlacedLine, room: int) -> list[PlacedLine]:
    """The parts line by line, in their order."""
    flowed: list[PlacedLine] = [[]]
    for entry in placed:
        line = flowed[-1]
        if line and _begins_line(entry, line, room):
            line = []
            flowed.append(line)
        line.append(entry)
    return flowed


def _begins_line(entry: PlacedPart, line: PlacedLine, room: int) -> bool:
    """Whether a part does not go on with the line before it."""
    last = line[-1]
    longer = [*line, entry]
    return last.part.ends_line or _cells(longer) > room


def _cells(line: PlacedLine) -> int:
    gap_count = max(0, len(line) - 1)
    cells = gap_count * _GAP
    for entry in line:
        cells += entry.cells
    return cells


def _stretched(line: PlacedLine, room: int) -> PlacedLine:
    """The line with more of a reason or cause that was shortened, as far as there is
    room.
    """
    spare = room - _cells(line)
    if spare < _WORTH_CUTTING:
        return line
    for index, entry in enumerate(line):
        part = entry.part
        is_shortened = entry.text != part.text
        if is_shortened and part.name in _SENTENCES:
            most = cell_len(entry.text) + spare
            text = _cut(part.text, most)
            if part.short in part.text and part.short not in text:
                continue  # "comparable wit…" says less than "caution"
            stretched = line.copy()
            stretched[index] = entry._replace(text=text)
            return stretched
    return line


def _cut(text: str, most: int) -> str:
    """A text in at most ``most`` cells."""
    whole = cell_len(text)
    cells = min(whole, most)
    return fit(text, cells)
