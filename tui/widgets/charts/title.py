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
    chosen = palette.strong
    if focused:
        chosen = palette.selected
    titles = names()
    widths = [cell_len(title) for title in titles]
    room = width - _ENDS
    keys = _keys(kind, reach, room, widths)
    room -= cell_len(keys)
    first, stop = seen_names(widths, kind, room)
    left_arrow = " "
    right_arrow = " "
    if first > 0:
        left_arrow = "‹"
    if stop < len(titles):
        right_arrow = "›"
    runs: Runs = [(left_arrow, muted)]
    for index in range(first, stop):
        style = muted
        if index == kind:
            style = chosen
        title = titles[index]
        runs.append((title, style))
    runs.append((right_arrow, muted))
    seen = widths[first:stop]
    used = _ENDS + sum(seen)
    spare = max(0, width - used)
    rest = fit(keys, spare, right=True)
    runs.append((rest, muted))
    return runs


def _keys(kind: int, reach: Reach, room: int, widths: Sequence[int]) -> str:
    """Which sequences are shown, and the keys in as many words as there is room for."""
    which = "all sequences"
    if reach == "one":
        which = "this sequence"
    long_turn = ""
    short_turn = ""
    reaches = CHARTS[kind].reaches
    if len(reaches) > 1:
        long_turn = "a this/all · "
        short_turn = "a "
    all_names = sum(widths)
    long = f" {which} · {long_turn}v V next · C list · z zoom · x export "
    if cell_len(long) + all_names <= room:
        return long
    one_name = widths[kind]
    short = f" {which} · {short_turn}v V C z x "
    if cell_len(short) + one_name <= room:
        return short
    return ""


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


def name_at(line: str, x: int) -> int | None:
    """The chart whose name stands at column ``x`` of the line."""
    for index, name in enumerate(names()):
        start = line.find(name)
        if start < 0:
            continue
        stop = start + len(name)
        if start <= x < stop:
            return index
    return None
