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
    from logdrift.tui.inspection import CaptureRow, Inspection, TopRow

_MARGIN = 1
_LABEL = 8
"""Cells of a capture's label at least."""
_CAPTURE = 2 + _LABEL + 30
"""Cells of the row of a capture without the last two columns: side, label, numbers."""
_BYTES = 16
"""Bytes of a token that are written out at most."""
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
        """``level`` as `Palette.level` takes it; ``greyed`` where the pair cannot
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
    blank: list[Run] = [("", palette.text)]
    rows = [_head(view, width, palette), _bytes(view, palette)]
    if view.mark is not None:
        rows.append([("mark ", palette.accent), (visible(view.mark), palette.text)])
    rows += [blank, *_captures(view, level, width, value, palette)]
    if width < _MARGIN + _CAPTURE + _TIMES + _RATIO:
        rows += _pair_lines(view, level, value, palette)
    if view.columns:
        rows += [blank, *_alternatives(view, shift, width, value, palette)]
    return [strip_of([(" ", palette.text), *row], width) for row in rows]


def _pair_lines(
    view: Inspection, level: int, value: Style, palette: Palette
) -> Iterator[list[Run]]:
    """What the two columns that do not fit would say of the pair."""
    yield _delta_line(view, level, value, palette)
    words = _floor_words(view)
    if words:
        yield [("  ", palette.text), (words, palette.muted)]


def summary_lines(
    view: Inspection, level: int, greyed: bool, width: int, palette: Palette
) -> list[Strip]:
    """What one always wants to know of a token, in four lines."""
    value = palette.muted if greyed else palette.text
    words = _floor_words(view)
    floor: Run = (f", {words}" if words else "", palette.muted)
    rows = [
        _head(view, width, palette),
        _side_line(view, "A", width, value, palette),
        _side_line(view, "B", width, value, palette),
        [*_delta_line(view, level, value, palette), floor],
    ]
    return [strip_of([(" ", palette.text), *row], width) for row in rows]


def _side_line(
    view: Inspection, side: str, width: int, value: Style, palette: Palette
) -> list[Run]:
    row = _row_of(view, side)
    if row is None:
        return [(f"{side} no capture", palette.muted)]
    logprob = fit(number(row.logprob), 9, right=True)
    chance = f"{probability(row.logprob):<6}"
    return [
        (f"{side} ", palette.strong),
        (fit(row.label, max(8, min(28, width - 36))), palette.text),
        (f" {logprob}  p {chance} rank {_rank(row.rank):<5}", value),
        (row.note, palette.bad if row.broken else palette.muted),
    ]


def _row_of(view: Inspection, side: str) -> CaptureRow | None:
    """The row of A or B of the pair."""
    return next((row for row in view.captures if row.side == side), None)


def _head(view: Inspection, width: int, palette: Palette) -> list[Run]:
    where = "prompt" if view.in_prompt else "completion"
    masked = "  masked" if view.masked else ""
    tail = f" id {view.token_id}  {where}{masked}  seq {view.sequence}"
    position = f"[{view.index}] "
    room = max(4, width - len(position) - len(tail) - 3)
    text = _quoted(view.text)
    if cell_len(text) > room:
        text = fit(text, room).rstrip()
    return [(position, palette.muted), (text, palette.strong), (tail, palette.muted)]


def _bytes(view: Inspection, palette: Palette) -> list[Run]:
    if view.raw is None:
        return [("bytes unknown: the session has no piece for this id", palette.warn)]
    more = f" … {len(view.raw)} bytes" if len(view.raw) > _BYTES else ""
    text = view.raw[:_BYTES].hex(" ") + more
    runs: list[Run] = [("bytes ", palette.muted), (text or "none", palette.text)]
    return runs + _part(view, palette)


def _part(view: Inspection, palette: Palette) -> list[Run]:
    """The character that the token has a part of, and where the text shows it."""
    if view.part is None:
        return []
    char, first, last = view.part
    where = "here" if view.index == last else f"at [{last}]"
    return [
        ("  part of ", palette.muted),
        (_quoted(char), palette.strong),
        (f" with [{first}]-[{last}]: the text shows it {where}", palette.muted),
    ]


def _delta_line(
    view: Inspection, level: int, value: Style, palette: Palette
) -> list[Run]:
    head: Run = ("Δ ", palette.strong)
    broken = [row.label for row in view.captures if row.side and row.broken]
    if broken:
        return [head, (f"NaN in {visible(' and '.join(broken))}", palette.bad)]
    if view.delta is None or math.isnan(view.delta):
        return [head, ("no score on both sides here", palette.muted)]
    delta = _delta_runs(view.delta, level, value, palette)
    return [head, *delta, (f"  {_delta_words(view.delta)}", palette.muted)]


def _delta_words(delta: float) -> str:
    """Which side finds the token more likely, and how many times."""
    if delta == 0:
        return "both alike"
    if math.isinf(delta):
        return f"{'B' if delta > 0 else 'A'} calls it impossible"
    more = "more" if delta > 0 else "less"
    ratio = math.exp(max(-99.0, min(99.0, delta)))
    return f"A {more} likely, ratio {number(ratio)}"


def _floor_words(view: Inspection) -> str:
    """Δ of the pair as a multiple of its floor, "" where that is not known."""
    row = _row_of(view, "B")
    if row is None or row.times is None:
        return ""
    if not math.isfinite(row.times):
        return "the floor is 0"
    return f"{_times(row.times)} the floor"


def _times(times: float | None) -> str:
    """A multiple of the floor."""
    if times is None or not math.isfinite(times):
        return number(times, 3)
    return f"{number(times, 3)}×"


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
    spare = width - _MARGIN - _CAPTURE
    extra = [cells for cells in (_TIMES, _TIMES + _RATIO) if spare >= cells]
    room = _LABEL + spare - max(extra, default=0)
    longest = max((cell_len(row.label) for row in view.captures), default=_LABEL)
    label = max(_LABEL, min(longest, room))
    heads = [f"{'Δ/floor':>{_TIMES}}", f"{'ratio':>{_RATIO}}"]
    more = "".join(heads[: len(extra)])
    head = f"{'logprob':>8} {'p':>6} {'rank':>4} {'Δ A−':>8}{more}"
    yield [(f"  {fit('capture', label)} {head}", palette.muted)]
    for row in view.captures:
        yield [
            (f"{row.side or ' '} ", palette.strong),
            (
                fit(visible(row.label), label),
                palette.text if row.side else palette.muted,
            ),
            *_capture_values(row, level, len(extra), value, palette),
        ]


def _capture_values(
    row: CaptureRow, level: int, extra: int, value: Style, palette: Palette
) -> list[Run]:
    """The numbers of a capture; ``extra``: how many of the last two columns fit."""
    if row.logprob is None:
        note = f" {row.note or NOTHING}"
        return [(note, palette.bad if row.broken else palette.muted)]
    chance, rank = probability(row.logprob), _rank(row.rank)
    numbers = (f" {number(row.logprob):>8} {chance:>6} {rank:>4} ", value)
    if row.side == "A":
        return [numbers]
    columns = [f"{_times(row.times):>{_TIMES}}", f"{number(row.ratio, 3):>{_RATIO}}"]
    tail = ("".join(columns[:extra]), value)
    if row.side == "B" and level and row.delta is not None:
        ((marked, style),) = _delta_runs(row.delta, level, value, palette)
        return [numbers, (" " * (8 - len(marked)), value), (marked, style), tail]
    return [numbers, (f"{signed(row.delta):>8}", value), tail]


class _AlternativesTable(NamedTuple):
    """How the table of alternatives is laid out: the columns that are shown, and cells
    of text and bar.
    """

    columns: tuple[int, ...]
    text: int
    bar: int

    @property
    def column(self) -> int:
        return _COLUMN + (self.bar + 1 if self.bar else 0)


def _layout(count: int, shift: int, width: int) -> _AlternativesTable:
    """As many captures as ``width`` holds, with bars where two or all fit with them; A
    and B stay, ``shift`` moves the others.
    """
    room = width - _MARGIN - 2 - _LEAST_TEXT - _ID
    shown = min(count, room // (_COLUMN + 1 + _LEAST_BAR))
    bar = 0
    if shown and shown >= min(2, count):
        bar = min(_MOST_BAR, (room - shown * _COLUMN) // shown - 1)
    if not bar:
        shown = min(count, max(2, room // _COLUMN))
    first = 2 + max(0, min(shift, count - shown))
    fixed, moving = range(min(2, shown)), range(first, first + max(0, shown - 2))
    used = shown * (_COLUMN + (bar + 1 if bar else 0))
    text = max(4, min(24, width - _MARGIN - 2 - _ID - used))
    return _AlternativesTable((*fixed, *moving), text, bar)


def _alternatives(
    view: Inspection, shift: int, width: int, value: Style, palette: Palette
) -> Iterator[list[Run]]:
    """The union of the top-k lists, the captures side by side."""
    table = _layout(len(view.columns), shift, width)
    yield _alternatives_head(view, table, palette)
    for row in view.top:
        yield _alternative(row, table, value, palette)
    yield _rest(view, table, value, palette)
    hidden = len(view.columns) - len(table.columns)
    if hidden:
        captures = "capture" if hidden == 1 else "captures"
        words = f"  {hidden} more {captures}: ← → in this pane"
        yield [(words, palette.muted)]


def _alternatives_head(
    view: Inspection, table: _AlternativesTable, palette: Palette
) -> list[Run]:
    """How many alternatives there are, and whose each column is."""
    ks = sorted({view.k[index] for index in table.columns})
    size = f"{ks[0]}" if len(ks) == 1 else f"{ks[0]}-{ks[-1]}"
    head = f"  {fit(f'top {size}', table.text)}{'id':>{_ID}}"
    runs: list[Run] = [(head, palette.muted)]
    for index in table.columns:
        name = _short(view.columns[index], view, table.column)
        mark, style = ("▾", palette.text) if index == view.by else ("", palette.muted)
        runs.append((fit(f"{mark}{name}", table.column, right=True), style))
    return runs


def _alternative(
    row: TopRow, table: _AlternativesTable, value: Style, palette: Palette
) -> list[Run]:
    style = palette.strong if row.target else value
    runs: list[Run] = [
        ("▸ " if row.target else "  ", palette.accent),
        (fit(_quoted(row.text), table.text), style),
        (f"{row.token_id:>{_ID}}", palette.muted),
    ]
    for index in table.columns:
        runs += _cell_runs(row.cells[index], table.bar, style, palette)
    return runs


def _rest(
    view: Inspection, table: _AlternativesTable, value: Style, palette: Palette
) -> list[Run]:
    """The probability outside of each list."""
    head = f"  {fit('all other ids', table.text + _ID)}"
    runs: list[Run] = [(head, palette.muted)]
    for index in table.columns:
        mass = view.rest[index]
        text = NOTHING if mass is None else f"p {number(mass, 3)}"
        runs.append((fit(text, _COLUMN, right=True), value))
        runs.append((_bar(mass or 0.0, table.bar), value))
    return runs


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
