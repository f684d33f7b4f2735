"""The token under the cursor: every capture's number for it, and the alternatives side
by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.strip import Strip

from logdrift.core.numbers import NOTHING, number, probability, signed
from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.glyphs import DOWN, UP, fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run, Text, strip_of

if TYPE_CHECKING:
    from logdrift.core.compare.alternatives import Cell
    from logdrift.tui.inspection import CaptureRow, Inspection

_RANK = 4
_COLUMN = 13
"""Cells of one capture in the table of alternatives: rank 4, a gap, value 8."""
_LEAST_BAR, _MOST_BAR = 3, 12
_LEAST_TEXT = 10
_ID = 7
_TIMES, _RATIO = 9, 9
_BLOCKS = " ▏▎▍▌▋▊▉█"


class Inspector(Text, inherit_bindings=False):
    """Shows an `Inspection`; scrolls where it is longer than the pane, and sideways
    through the captures.
    """

    BINDINGS = bindings("pane", "inspector")
    fixed = 1

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[Inspection, int, bool] | None = None
        self._shift = 0

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line("Token", width)

    def show(self, inspection: Inspection | None, level: int, greyed: bool) -> None:
        """``level`` as `logdrift.tui.palette.levels`; ``greyed`` where the pair cannot
        be compared.
        """
        self._shown = None if inspection is None else (inspection, level, greyed)
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._shown is None:
            self.set_lines([])
        elif self.size.width:
            self.set_lines(
                inspector_lines(
                    *self._shown, self.inner_width, self.palette, self._shift
                )
            )

    def action_shift_captures(self, step: int) -> None:
        """Show captures further right (1) or left (-1) beside A and B."""
        count = len(self._shown[0].columns) if self._shown is not None else 0
        shown = len(_layout(count, 0, self.inner_width).columns)
        self._shift = max(0, min(self._shift + step, count - shown))
        self._draw()


class Summary(Text, can_focus=False):
    """Four lines about the token under the cursor, for screens with no room for the
    inspector.
    """

    def show(self, inspection: Inspection | None, level: int, greyed: bool) -> None:
        if inspection is None:
            self.set_lines([])
        else:
            self.set_lines(
                summary_lines(
                    inspection, level, greyed, max(1, self.size.width), self.palette
                )
            )


def inspector_lines(
    view: Inspection,
    level: int,
    greyed: bool,
    width: int,
    palette: Palette,
    shift: int = 0,
) -> list[Strip]:
    """All lines of the inspector in ``width`` cells."""
    value = palette.muted if greyed else palette.text
    rows: list[list[Run]] = [
        _head(view, width, palette),
        _bytes(view, palette),
        [("", palette.text)],
    ]
    if view.mark is not None:
        rows.insert(2, [("mark ", palette.accent), (visible(view.mark), palette.text)])
    rows += _captures(view, level, width, value, palette)
    if width < 1 + 2 + 8 + 30 + _TIMES + _RATIO:
        # What the two columns that do not fit would say of the pair.
        rows.append(_delta_line(view, level, value, palette))
        if words := _floor_words(view):
            rows.append([("  ", palette.text), (words, palette.muted)])
    if view.columns:
        rows += [
            [("", palette.text)],
            *_alternatives(view, shift, width, value, palette),
        ]
    return [strip_of([(" ", palette.text), *row], width) for row in rows]


def summary_lines(
    view: Inspection, level: int, greyed: bool, width: int, palette: Palette
) -> list[Strip]:
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
            f" {fit(number(row.logprob), 9, right=True)}  p"
            f" {probability(row.logprob):<6} rank {_rank(row.rank):<5}"
        )
        rows.append(
            [
                (f"{side} ", palette.strong),
                (label, palette.text),
                (numbers, value),
                (row.note, palette.bad if row.broken else palette.muted),
            ]
        )
    words = _floor_words(view)
    rows.append(
        [
            *_delta_line(view, level, value, palette),
            (f", {words}" if words else "", palette.muted),
        ]
    )
    return [strip_of([(" ", palette.text), *row], width) for row in rows]


def _head(view: Inspection, width: int, palette: Palette) -> list[Run]:
    where = "prompt" if view.in_prompt else "completion"
    tail = (
        f" id {view.token_id}  {where}{'  masked' if view.masked else ''}  seq"
        f" {view.sequence}"
    )
    position = f"[{view.index}] "
    room = max(4, width - len(position) - len(tail) - 3)
    shown = _quoted(view.text)
    return [
        (position, palette.muted),
        (
            fit(shown, room).rstrip() if cell_len(shown) > room else shown,
            palette.strong,
        ),
        (tail, palette.muted),
    ]


def _bytes(view: Inspection, palette: Palette) -> list[Run]:
    if view.raw is None:
        return [("bytes unknown: the session has no piece for this id", palette.warn)]
    shown = view.raw[:16].hex(" ") + (
        f" … {len(view.raw)} bytes" if len(view.raw) > 16 else ""
    )
    runs: list[Run] = [("bytes ", palette.muted), (shown or "none", palette.text)]
    if view.part is not None:
        char, first, last = view.part
        where = (
            "the text shows it here"
            if view.index == last
            else f"the text shows it at [{last}]"
        )
        runs += [("  part of ", palette.muted), (_quoted(char), palette.strong)]
        runs.append((f" with [{first}]-[{last}]: {where}", palette.muted))
    return runs


def _delta_line(
    view: Inspection, level: int, value: Style, palette: Palette
) -> list[Run]:
    broken = [row.label for row in view.captures if row.side and row.broken]
    if broken:
        return [
            ("Δ ", palette.strong),
            (f"NaN in {visible(' and '.join(broken))}", palette.bad),
        ]
    if view.delta is None or math.isnan(view.delta):
        return [("Δ ", palette.strong), ("no score on both sides here", palette.muted)]
    if view.delta == 0:
        words = "both alike"
    elif math.isinf(view.delta):
        words = f"{'B' if view.delta > 0 else 'A'} calls it impossible"
    else:
        more = "more" if view.delta > 0 else "less"
        words = (
            f"A {more} likely, ratio"
            f" {number(math.exp(max(-99.0, min(99.0, view.delta))))}"
        )
    return [
        ("Δ ", palette.strong),
        *_delta_runs(view.delta, level, value, palette),
        (f"  {words}", palette.muted),
    ]


def _floor_words(view: Inspection) -> str:
    """Δ of the pair as a multiple of its floor, "" where that is not known."""
    times = next((row.times for row in view.captures if row.side == "B"), None)
    if times is None:
        return ""
    return f"{_times(times)} the floor" if math.isfinite(times) else "the floor is 0"


def _times(times: float | None) -> str:
    return number(times, 3) + (
        "×" if times is not None and math.isfinite(times) else ""
    )


def _delta_runs(
    delta: float | None, level: int, value: Style, palette: Palette
) -> list[Run]:
    text = signed(delta)
    if not level:
        return [(text, value)]
    return [(f"{UP if level > 0 else DOWN}{text}", palette.level(level))]


def _captures(
    view: Inspection, level: int, width: int, value: Style, palette: Palette
) -> Iterator[list[Run]]:
    """One row a capture; Δ over its floor and the ratio as far as there is room for
    them.
    """
    spare = width - 1 - 2 - 8 - 30
    extra = (spare >= _TIMES) + (spare >= _TIMES + _RATIO)
    room = spare + 8 - _TIMES * (extra > 0) - _RATIO * (extra > 1)
    label = max(
        8, min(max((cell_len(row.label) for row in view.captures), default=8), room)
    )
    more = "".join([f"{'Δ/floor':>{_TIMES}}", f"{'ratio':>{_RATIO}}"][:extra])
    yield [
        (
            (
                f"  {fit('capture', label)} {'logprob':>8} {'p':>6} {'rank':>4}"
                f" {'Δ A−':>8}{more}"
            ),
            palette.muted,
        )
    ]
    for row in view.captures:
        yield [
            (f"{row.side or ' '} ", palette.strong),
            (
                fit(visible(row.label), label),
                palette.text if row.side else palette.muted,
            ),
            *_capture_values(row, level, extra, value, palette),
        ]


def _capture_values(
    row: CaptureRow, level: int, extra: int, value: Style, palette: Palette
) -> list[Run]:
    if row.logprob is None:
        return [
            (f" {row.note or NOTHING}", palette.bad if row.broken else palette.muted)
        ]
    numbers = (
        f" {number(row.logprob):>8} {probability(row.logprob):>6} {_rank(row.rank):>4} "
    )
    if row.side == "A":
        return [(numbers, value)]
    delta = signed(row.delta)
    more = [f"{_times(row.times):>{_TIMES}}"]
    more.append(f"{number(row.ratio, 3):>{_RATIO}}")
    tail = ("".join(more[:extra]), value)
    if row.side == "B" and level and row.delta is not None:
        marked = (UP if level > 0 else DOWN) + delta
        return [
            (numbers, value),
            (" " * (8 - len(marked)), value),
            (marked, palette.level(level)),
            tail,
        ]
    return [(numbers, value), (f"{delta:>8}", value), tail]


class _Table(NamedTuple):
    """How the table of alternatives is laid out: the columns that are shown, and cells
    of text and bar.
    """

    columns: tuple[int, ...]
    text: int
    bar: int

    @property
    def column(self) -> int:
        return _COLUMN + (self.bar + 1 if self.bar else 0)


def _layout(count: int, shift: int, width: int) -> _Table:
    """As many captures as ``width`` holds, with bars where two or all fit with them; A
    and B stay, ``shift`` moves the others.
    """
    room = width - 1 - 2 - _LEAST_TEXT - _ID
    shown = min(count, room // (_COLUMN + 1 + _LEAST_BAR))
    bar = (
        min(_MOST_BAR, (room - shown * _COLUMN) // shown - 1)
        if shown >= min(2, count) and shown
        else 0
    )
    if not bar:
        shown = min(count, max(2, room // _COLUMN))
    first = 2 + max(0, min(shift, count - shown))
    columns = (*range(min(2, shown)), *range(first, first + max(0, shown - 2)))
    used = shown * (_COLUMN + (bar + 1 if bar else 0))
    return _Table(columns, max(4, min(24, width - 1 - 2 - _ID - used)), bar)


def _alternatives(
    view: Inspection, shift: int, width: int, value: Style, palette: Palette
) -> Iterator[list[Run]]:
    """The union of the top-k lists, the captures side by side."""
    table = _layout(len(view.columns), shift, width)
    ks = sorted({view.k[index] for index in table.columns})
    size = f"{ks[0]}" if len(ks) == 1 else f"{ks[0]}-{ks[-1]}"
    head: list[Run] = [
        (f"  {fit(f'top {size}', table.text)}{'id':>{_ID}}", palette.muted)
    ]
    for index in table.columns:
        name = ("▾" if index == view.by else "") + _short(
            view.columns[index], view, table.column
        )
        head.append(
            (
                fit(name, table.column, right=True),
                palette.text if index == view.by else palette.muted,
            )
        )
    yield head
    for row in view.top:
        style = palette.strong if row.target else value
        runs: list[Run] = [
            ("▸ " if row.target else "  ", palette.accent),
            (fit(_quoted(row.text), table.text), style),
            (f"{row.token_id:>{_ID}}", palette.muted),
        ]
        for index in table.columns:
            runs += _cell_runs(row.cells[index], table.bar, style, palette)
        yield runs
    rest: list[Run] = [(f"  {fit('all other ids', table.text + _ID)}", palette.muted)]
    for index in table.columns:
        mass = view.rest[index]
        shown = NOTHING if mass is None else f"p {number(mass, 3)}"
        rest += [
            (fit(shown, _COLUMN, right=True), value),
            (_bar(mass or 0.0, table.bar), value),
        ]
    yield rest
    hidden = len(view.columns) - len(table.columns)
    if hidden:
        yield [
            (
                f"  {hidden} more capture{'s' if hidden > 1 else ''}: ← → in this pane",
                palette.muted,
            )
        ]


def _cell_runs(cell: Cell, bar: int, style: Style, palette: Palette) -> list[Run]:
    """Rank, log-probability and, where there is room, a bar as long as the probability:
    in one style, which is fewer bytes for every token that the cursor rests on.
    """
    if cell.logprob is None:
        below = NOTHING if cell.below is None else f"< {number(cell.below)}"
        return [
            (fit(below, _COLUMN, right=True), palette.muted),
            (_bar(0.0, bar), palette.muted),
        ]
    rank = _rank(cell.rank)
    rank = rank if len(rank) < _RANK else f"{rank[:-3]}k"
    shown = fit(f"{rank:>{_RANK}} {number(cell.logprob):>8}", _COLUMN, right=True)
    return [(shown, style), (_bar(math.exp(min(0.0, cell.logprob)), bar), style)]


def _bar(share: float, cells: int) -> str:
    """A share of 1 in eighths of cells, a blank before it; anything above nothing is
    seen.
    """
    if not cells:
        return ""
    eighths = math.ceil(min(1.0, share) * cells * 8) if share >= 0.001 else 0
    whole, part = divmod(eighths, 8)
    return " " + ("█" * whole + (_BLOCKS[part] if part else "")).ljust(cells)


def _short(label: str, view: Inspection, column: int) -> str:
    side = next((row.side for row in view.captures if row.label == label), "")
    name = label if cell_len(label) <= column - 4 else label.partition("/")[0]
    return f"{side} {visible(name)}".strip()


def _quoted(text: str) -> str:
    """A piece with its blanks made countable."""
    return f'"{text.replace(" ", "·")}"'


def _rank(rank: int | None) -> str:
    return NOTHING if rank is None else str(rank)
