"""The first line of the chart pane: names of charts around the one that is shown, and
at the right what is shown of it and its keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from logdrift.core.charts.registry import CHARTS
from logdrift.tui.glyphs import fit
from logdrift.tui.widgets.lines import Runs

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
) -> Runs:
    """The line in ``width`` cells, chart ``kind`` marked."""
    muted = palette.muted
    chosen = palette.selected if focused else palette.strong
    widths = [cell_len(name) for name in names()]
    keys = _keys(kind, reach, width - _ENDS, widths)
    room = width - cell_len(keys) - _ENDS
    first, stop = seen_names(widths, kind, room)
    left_arrow = "‹" if first > 0 else " "
    right_arrow = "›" if stop < len(widths) else " "
    runs: Runs = [(left_arrow, muted)]
    for index in range(first, stop):
        style = chosen if index == kind else muted
        runs.append((names()[index], style))
    runs.append((right_arrow, muted))
    used = sum(cell_len(text) for text, _ in runs)
    rest = fit(keys, max(0, width - used), right=True)
    return [*runs, (rest, muted)]


def _keys(kind: int, reach: Reach, room: int, widths: Sequence[int]) -> str:
    """Which sequences are shown, and the keys in as many words as there is room for."""
    shown = "this sequence" if reach == "one" else "all sequences"
    long_turn = ""
    short_turn = ""
    if len(CHARTS[kind].reaches) > 1:
        long_turn = "a this/all · "
        short_turn = "a "
    long = f" {shown} · {long_turn}v V next · C list · z zoom · x export "
    if cell_len(long) + sum(widths) <= room:
        return long
    short = f" {shown} · {short_turn}v V C z x "
    if cell_len(short) + widths[kind] <= room:
        return short
    return ""


def seen_names(widths: Sequence[int], chosen: int, room: int) -> tuple[int, int]:
    """(first, stop) of the names to show: the chosen one, then as many as fit after it,
    then before it.
    """
    left = room - widths[chosen]
    stop = chosen + 1
    while stop < len(widths) and widths[stop] <= left:
        left -= widths[stop]
        stop += 1
    first = chosen
    while first > 0 and widths[first - 1] <= left:
        first -= 1
        left -= widths[first]
    return first, stop


def name_at(line: str, x: int) -> int | None:
    """The chart whose name stands at column ``x`` of the line."""
    for index, name in enumerate(names()):
        start = line.find(name)
        if 0 <= start <= x < start + len(name):
            return index
    return None
