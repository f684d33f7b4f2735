"""The token under the cursor: every capture's number for it, and the alternatives side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.strip import Strip

from core.session.visible import visible
from tui.glyphs import DOWN, NOTHING, UP, fit, number, probability, signed
from tui.palette import Palette
from tui.views import CaptureRow, Cell, Inspection
from tui.widgets.lines import Run, Text, strip_of

_COLUMN = 15
"""Cells of one capture in the table of alternatives: a gap, rank 5, a gap, value 8."""
_ID = 7


class Inspector(Text):
    """Shows an `Inspection`; scrolls where it is longer than the pane."""

    fixed = 1

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[Inspection, int, bool] | None = None

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line("Token", width)

    def show(self, inspection: Inspection | None, level: int, greyed: bool) -> None:
        """``level`` as `tui.palette.levels`; ``greyed`` where the pair cannot be compared."""
        self._shown = None if inspection is None else (inspection, level, greyed)
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._shown is None:
            self.set_lines([])
        elif self.size.width:
            self.set_lines(inspector_lines(*self._shown, self.inner_width, self.palette))


class Summary(Text, can_focus=False):
    """Four lines about the token under the cursor, for screens with no room for the inspector."""

    def show(self, inspection: Inspection | None, level: int, greyed: bool) -> None:
        if inspection is None:
            self.set_lines([])
        else:
            self.set_lines(summary_lines(inspection, level, greyed, max(1, self.size.width), self.palette))


def inspector_lines(view: Inspection, level: int, greyed: bool, width: int, palette: Palette) -> list[Strip]:
    """All lines of the inspector in ``width`` cells."""
    value = palette.muted if greyed else palette.text
    rows: list[list[Run]] = [_head(view, width, palette), _bytes(view, palette), [("", palette.text)]]
    rows += _captures(view, level, width, value, palette)
    if view.columns:
        rows += [[("", palette.text)], *_alternatives(view, width, value, palette)]
    return [strip_of([(" ", palette.text), *row], width) for row in rows]


def summary_lines(view: Inspection, level: int, greyed: bool, width: int, palette: Palette) -> list[Strip]:
    """What one always wants to know of a token, in four lines."""
    value = palette.muted if greyed else palette.text
    rows: list[list[Run]] = [_head(view, width, palette)]
    for side in ("A", "B"):
        row = next((row for row in view.captures if row.side == side), None)
        if row is None:
            rows.append([(f"{side} no capture", palette.muted)])
            continue
        label = fit(row.label, max(8, min(28, width - 36)))
        numbers = (
            f" {fit(number(row.logprob), 9, right=True)}  p {probability(row.logprob):<6} rank {_rank(row.rank):<5}"
        )
        rows.append([(f"{side} ", palette.strong), (label, palette.text), (numbers, value), (row.note, palette.muted)])
    rows.append(_delta_line(view, level, value, palette))
    return [strip_of([(" ", palette.text), *row], width) for row in rows]


def _head(view: Inspection, width: int, palette: Palette) -> list[Run]:
    where = "prompt" if view.in_prompt else "completion"
    tail = f" id {view.token_id}  {where}{'  masked' if view.masked else ''}  seq {view.sequence}"
    position = f"[{view.index}] "
    room = max(4, width - len(position) - len(tail) - 3)
    shown = _quoted(view.text)
    return [
        (position, palette.muted),
        (fit(shown, room).rstrip() if cell_len(shown) > room else shown, palette.strong),
        (tail, palette.muted),
    ]


def _bytes(view: Inspection, palette: Palette) -> list[Run]:
    if view.raw is None:
        return [("bytes unknown: the session has no piece for this id", palette.warn)]
    shown = view.raw[:16].hex(" ") + (f" … {len(view.raw)} bytes" if len(view.raw) > 16 else "")
    return [("bytes ", palette.muted), (shown or "none", palette.text)]


def _delta_line(view: Inspection, level: int, value: Style, palette: Palette) -> list[Run]:
    if view.delta is None or math.isnan(view.delta):
        return [("Δ ", palette.strong), ("no score on both sides here", palette.muted)]
    if view.delta == 0:
        words = "both alike"
    elif math.isinf(view.delta):
        words = f"{'B' if view.delta > 0 else 'A'} calls it impossible"
    else:
        more = "more" if view.delta > 0 else "less"
        words = f"A {more} likely, ratio {number(math.exp(max(-99.0, min(99.0, view.delta))))}"
    return [("Δ ", palette.strong), *_delta_runs(view.delta, level, value, palette), (f"  {words}", palette.muted)]


def _delta_runs(delta: float | None, level: int, value: Style, palette: Palette) -> list[Run]:
    text = signed(delta)
    if not level:
        return [(text, value)]
    return [(f"{UP if level > 0 else DOWN}{text}", palette.level(level))]


def _captures(view: Inspection, level: int, width: int, value: Style, palette: Palette) -> Iterator[list[Run]]:
    label = max(8, min(max((cell_len(row.label) for row in view.captures), default=8), width - 3 - 30))
    yield [(f"  {fit('capture', label)} {'logprob':>8} {'p':>6} {'rank':>4} {'Δ A−':>8}", palette.muted)]
    for row in view.captures:
        yield [
            (f"{row.side or ' '} ", palette.strong),
            (fit(visible(row.label), label), palette.text if row.side else palette.muted),
            *_capture_values(row, level, value, palette),
        ]


def _capture_values(row: CaptureRow, level: int, value: Style, palette: Palette) -> list[Run]:
    if row.logprob is None:
        return [(f" {row.note or NOTHING}", palette.muted)]
    numbers = f" {number(row.logprob):>8} {probability(row.logprob):>6} {_rank(row.rank):>4} "
    if row.side == "A":
        return [(numbers, value)]
    delta = signed(row.delta)
    if row.side == "B" and level:
        marked = (UP if level > 0 else DOWN) + delta
        return [(numbers, value), (" " * (8 - len(marked)), value), (marked, palette.level(level))]
    return [(numbers, value), (f"{delta:>8}", value)]


def _alternatives(view: Inspection, width: int, value: Style, palette: Palette) -> Iterator[list[Run]]:
    """The union of the top-k lists: as many captures as the width holds, A and B in any case."""
    count = min(len(view.columns), max(2, (width - 1 - 2 - 8 - _ID) // _COLUMN))
    text = max(4, min(24, width - 1 - 2 - _ID - count * _COLUMN))
    names = [_short(name, view) for name in view.columns[:count]]
    ks = sorted(set(view.k[:count]))
    size = f"{ks[0]}" if len(ks) == 1 else f"{ks[0]}-{ks[-1]}"
    yield [(f"  {fit(f'top {size}', text)}{'id':>{_ID}}", palette.muted)] + [
        (fit(name, _COLUMN, right=True), palette.muted) for name in names
    ]
    for row in view.top:
        style = palette.strong if row.target else value
        yield [
            ("▸ " if row.target else "  ", palette.accent),
            (fit(_quoted(row.text), text), style),
            (f"{row.token_id:>{_ID}}", palette.muted),
            *(_cell_run(cell, style, palette) for cell in row.cells[:count]),
        ]
    rest = [fit(NOTHING if p is None else f"p {number(p, 3)}", _COLUMN, right=True) for p in view.rest[:count]]
    yield [(f"  {fit('all other ids', text + _ID)}", palette.muted)] + [(cell, value) for cell in rest]


def _cell_run(cell: Cell, style: Style, palette: Palette) -> Run:
    if cell.logprob is None:
        below = NOTHING if cell.below is None else f"< {number(cell.below)}"
        return fit(below, _COLUMN, right=True), palette.muted
    return fit(f"{_rank(cell.rank):>5} {number(cell.logprob):>8}", _COLUMN, right=True), style


def _short(label: str, view: Inspection) -> str:
    side = next((row.side for row in view.captures if row.label == label), "")
    name = label if cell_len(label) <= _COLUMN - 3 else label.partition("/")[0]
    return f"{side} {visible(name)}".strip()


def _quoted(text: str) -> str:
    """A piece with its blanks made countable."""
    return f'"{text.replace(" ", "·")}"'


def _rank(rank: int | None) -> str:
    return NOTHING if rank is None else str(rank)
