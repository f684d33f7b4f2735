"""The table of alternatives: the union of the top-k lists, the captures side by
side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.style import Style

from logdrift.core.numbers import NOTHING, number
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.token_details import quoted, rank_text

if TYPE_CHECKING:
    from logdrift.core.compare.alternatives import ListCell
    from logdrift.tui.models.inspection import Inspection, TopRow

_RANK = 4
_COLUMN = 13
"""Cells of one capture: rank 4, a gap, value 8."""
_MARGIN = 3
"""Cells before the text: the margin of the pane, and the mark of the target."""
_LEAST_BAR = 3
_MOST_BAR = 12
_LEAST_TEXT = 10
_ID = 7
_BLOCKS = " ▏▎▍▌▋▊▉█"


class Arrangement(NamedTuple):
    """Which captures are shown, and the cells of text and bar."""

    columns: tuple[int, ...]
    text: int
    bar: int

    @property
    def column(self) -> int:
        """Cells of one capture with its bar."""
        return _COLUMN + (self.bar + 1 if self.bar else 0)


def arrange(count: int, shift: int, width: int) -> Arrangement:
    """As many of ``count`` captures as ``width`` holds, with bars where two or all fit
    with them; A and B stay, ``shift`` moves the others.
    """
    room = width - _MARGIN - _LEAST_TEXT - _ID
    fitting = min(count, room // (_COLUMN + 1 + _LEAST_BAR))
    bar = 0
    if fitting and fitting >= min(2, count):
        bar = min(_MOST_BAR, (room - fitting * _COLUMN) // fitting - 1)
    if not bar:
        fitting = min(count, max(2, room // _COLUMN))
    first = 2 + max(0, min(shift, count - fitting))
    staying = range(min(2, fitting))
    moving = range(first, first + max(0, fitting - 2))
    arrangement = Arrangement((*staying, *moving), 0, bar)
    text = width - _MARGIN - _ID - fitting * arrangement.column
    return arrangement._replace(text=max(4, min(24, text)))


@dataclass(frozen=True, eq=False, repr=False)
class AlternativesTable:
    """Writes the alternatives of an `Inspection`; ``value`` is the style of numbers."""

    view: Inspection
    arrangement: Arrangement
    value: Style
    palette: Palette

    def lines(self) -> Iterator[list[Run]]:
        """Heads, one row an alternative, what all others have."""
        yield self._head()
        for row in self.view.top:
            yield self._alternative(row)
        yield self._rest()
        hidden = len(self.view.columns) - len(self.arrangement.columns)
        if hidden:
            captures = "capture" if hidden == 1 else "captures"
            words = f"  {hidden} more {captures}: ← → in this pane"
            yield [(words, self.palette.muted)]

    def _head(self) -> list[Run]:
        """How many alternatives there are, and whose each column is."""
        view = self.view
        palette = self.palette
        arrangement = self.arrangement
        sizes = sorted({view.k[index] for index in arrangement.columns})
        size = "-".join(str(k) for k in dict.fromkeys((sizes[0], sizes[-1])))
        head = f"  {fit(f'top {size}', arrangement.text)}{'id':>{_ID}}"
        runs: list[Run] = [(head, palette.muted)]
        for index in arrangement.columns:
            name = self._name(view.columns[index])
            style = palette.muted
            if index == view.by:
                name = f"▾{name}"
                style = palette.text
            runs.append((fit(name, arrangement.column, right=True), style))
        return runs

    def _name(self, label: str) -> str:
        """A label as it heads a column, its side before it."""
        rows = self.view.captures
        side = next((row.side for row in rows if row.label == label), "")
        too_long = cell_len(label) > self.arrangement.column - 4
        if too_long:
            name = label.partition("/")[0]
        else:
            name = label
        return f"{side} {visible(name)}".strip()

    def _alternative(self, row: TopRow) -> list[Run]:
        """One id: its text, and what each capture gives it."""
        palette = self.palette
        text = fit(quoted(row.text), self.arrangement.text)
        mark, style = ("▸ ", palette.strong) if row.target else ("  ", self.value)
        runs: list[Run] = [
            (mark, palette.accent),
            (text, style),
            (f"{row.token_id:>{_ID}}", palette.muted),
        ]
        for index in self.arrangement.columns:
            runs += self._cell(row.cells[index], style)
        return runs

    def _cell(self, cell: ListCell, style: Style) -> list[Run]:
        """Rank, log-probability and, where there is room, a bar as long as the
        probability: in one style, which is fewer bytes for every token that the cursor
        rests on.
        """
        if cell.logprob is None:
            return self._unlisted(cell)
        rank = rank_text(cell.rank)
        if len(rank) >= _RANK:
            rank = f"{rank[:-3]}k"
        text = f"{rank:>{_RANK}} {number(cell.logprob):>8}"
        chance = math.exp(min(0.0, cell.logprob))
        return [(fit(text, _COLUMN, right=True), style), (self._bar(chance), style)]

    def _unlisted(self, cell: ListCell) -> list[Run]:
        """An id that a capture's list has not: it is less likely than what is last."""
        if cell.below is None:
            below = NOTHING
        else:
            below = f"< {number(cell.below)}"
        muted = self.palette.muted
        return [(fit(below, _COLUMN, right=True), muted), (self._bar(0.0), muted)]

    def _rest(self) -> list[Run]:
        """The probability outside of each list."""
        head = f"  {fit('all other ids', self.arrangement.text + _ID)}"
        runs: list[Run] = [(head, self.palette.muted)]
        for index in self.arrangement.columns:
            mass = self.view.rest[index]
            if mass is None:
                text = NOTHING
            else:
                text = f"p {number(mass, 3)}"
            runs.append((fit(text, _COLUMN, right=True), self.value))
            runs.append((self._bar(mass or 0.0), self.value))
        return runs

    def _bar(self, share: float) -> str:
        """A share of 1 in eighths of cells, a blank before it; anything above nothing
        is seen.
        """
        cells = self.arrangement.bar
        if not cells:
            return ""
        if share >= 0.001:
            eighths = math.ceil(min(1.0, share) * cells * 8)
        else:
            eighths = 0
        whole, part = divmod(eighths, 8)
        last = _BLOCKS[part] if part else ""
        return " " + ("█" * whole + last).ljust(cells)
