"""The first line of the chart pane: names of charts around the one that is shown, and at
the right what is shown of it and its keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from logdrift.core.charts.registry import CHARTS
from logdrift.tui.glyphs import fit
from logdrift.tui.widgets.lines import Run

if TYPE_CHECKING:
    from logdrift.core.charts.data import Reach
    from logdrift.tui.palette import Palette

_ENDS = 2
"""Cells of the arrows before the first and behind the last name."""


def names() -> list[str]:
    """The charts as the line names them."""
    return [f" {number} {entry.title} " for number, entry in enumerate(CHARTS, 1)]


def title_runs(
    kind: int, reach: Reach, width: int, palette: Palette, *, focused: bool
) -> list[Run]:
    """The line in ``width`` cells, chart ``kind`` marked."""
    widths = [cell_len(name) for name in names()]
    keys = _keys(kind, reach, width - _ENDS, widths)
    first, last = seen_names(widths, kind, width - cell_len(keys) - _ENDS)
    chosen = palette.selected if focused else palette.strong
    runs: list[Run] = [("‹" if first else " ", palette.muted)]
    for index, name in enumerate(names()[first:last], first):
        runs.append((name, chosen if index == kind else palette.muted))
    runs.append(("›" if last < len(widths) else " ", palette.muted))
    used = sum(cell_len(text) for text, _ in runs)
    rest = fit(keys, max(0, width - used), right=True)
    return [*runs, (rest, palette.muted)]


def _keys(kind: int, reach: Reach, room: int, widths: Sequence[int]) -> str:
    """What is shown, with as many words about the keys as there is room for."""
    shown = "this sequence" if reach == "one" else "all sequences"
    can_turn = len(CHARTS[kind].reaches) > 1
    turn = "a this/all · " if can_turn else ""
    long = f" {shown} · {turn}v V next · C list · z zoom · x export "
    if cell_len(long) + sum(widths) <= room:
        return long
    short = f" {shown} · {'a ' if can_turn else ''}v V C z x "
    return short if cell_len(short) + widths[kind] <= room else ""


def seen_names(widths: Sequence[int], chosen: int, room: int) -> tuple[int, int]:
    """(first, behind the last) of the names to show: the chosen one, then as many as
    fit before and behind it.
    """
    first, last, used = chosen, chosen + 1, widths[chosen]
    while True:
        if last < len(widths) and used + widths[last] <= room:
            used += widths[last]
            last += 1
        elif first > 0 and used + widths[first - 1] <= room:
            first -= 1
            used += widths[first]
        else:
            return first, last


def name_at(line: str, x: int) -> int | None:
    """The chart whose name stands at column ``x`` of the line."""
    for index, name in enumerate(names()):
        start = line.find(name)
        if 0 <= start <= x < start + len(name):
            return index
    return None
