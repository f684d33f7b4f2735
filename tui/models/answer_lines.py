"""The parts of an answer set in two lines: as much of each as there is room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
_FIRST_WHOLE = ("size", "cause", "worst", "share", "floor", "verdict")
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


def set_parts(
    parts: Sequence[AnswerPart], keys: Mapping[str, str], room: int
) -> list[PlacedLine]:
    """The parts in at most `LINES` lines of ``room`` cells. ``keys`` by action.

    The cause stays whatever happens. First come the short texts, then the range that
    the size is judged by, the keys, and the whole texts of the others.
    """
    placed = _short(parts, room)
    placed = _whole(placed, "size", room)
    for name in _FIRST_KEYS:
        placed = _with_key(placed, name, keys, room)
    for name in _FIRST_WHOLE[1:]:
        placed = _whole(placed, name, room)
    flowed = _flow(placed, room)
    if len(flowed) == 1:
        flowed = _halves(flowed[0])
    return [_stretched(line, room) for line in flowed]


def _halves(line: PlacedLine) -> list[PlacedLine]:
    """What would fit in one line: what the pair is, and below it what it has."""
    above = [entry for entry in line if entry.part.name in _ABOVE]
    below = [entry for entry in line if entry.part.name not in _ABOVE]
    return [above, below]


def _short(parts: Sequence[AnswerPart], room: int) -> PlacedLine:
    """The short texts of as many parts as fit; what is still too long is cut."""
    placed = [PlacedPart(part, part.short) for part in parts]
    for name in _FIRST_DROPPED:
        if _fits(placed, room):
            return placed
        placed = [entry for entry in placed if entry.part.name != name]
    return [entry._replace(text=_cut(entry.text, room)) for entry in placed]


def _whole(placed: PlacedLine, name: str, room: int) -> PlacedLine:
    """With the whole text of a part, where there is room for it."""
    longer = [
        entry._replace(text=entry.part.text) if entry.part.name == name else entry
        for entry in placed
    ]
    return longer if _fits(longer, room) else placed


def _with_key(
    placed: PlacedLine, name: str, keys: Mapping[str, str], room: int
) -> PlacedLine:
    """With the key of a part, where there is room for it."""
    longer = [
        entry._replace(key=keys.get(entry.part.action, ""))
        if entry.part.name == name
        else entry
        for entry in placed
    ]
    return longer if _fits(longer, room) else placed


def _fits(placed: PlacedLine, room: int) -> bool:
    flowed = _flow(placed, room)
    return len(flowed) <= LINES and all(_cells(line) <= room for line in flowed)


def _flow(placed: PlacedLine, room: int) -> list[PlacedLine]:
    """The parts line by line, in their order."""
    flowed: list[PlacedLine] = [[]]
    for entry in placed:
        line = flowed[-1]
        ends = bool(line) and line[-1].part.ends_line
        if line and (ends or _cells([*line, entry]) > room):
            flowed.append([])
        flowed[-1].append(entry)
    return flowed


def _cells(line: PlacedLine) -> int:
    gaps = _GAP * max(0, len(line) - 1)
    return gaps + sum(entry.cells for entry in line)


def _stretched(line: PlacedLine, room: int) -> PlacedLine:
    """The line with more of a reason or cause that was shortened, as far as there is
    room.
    """
    spare = room - _cells(line)
    if spare < _WORTH_CUTTING:
        return line
    for index, entry in enumerate(line):
        is_shortened = entry.text != entry.part.text
        if is_shortened and entry.part.name in _SENTENCES:
            most = cell_len(entry.text) + spare
            longer = entry._replace(text=_cut(entry.part.text, most))
            return [*line[:index], longer, *line[index + 1 :]]
    return line


def _cut(text: str, most: int) -> str:
    """A text in at most ``most`` cells."""
    return fit(text, min(cell_len(text), most))
