"""The table of alternatives: the union of the top-k lists, captures side by side."""

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
_MOST_TEXT = 24
_ID = 7
_BLOCKS = " ▏▎▍▌▋▊▉█"


class Arrangement(NamedTuple):
    """Which captures are shown (indices of columns), and the cells of text and bar.

    ``bar`` is 0 where there is no room for bars.
    """

    columns: tuple[int, ...]
    text: int
    bar: int

    @property
    def column(self) -> int:
        """Cells of one capture with its bar."""
        if not self.bar:
            return _COLUMN
        return _COLUMN + 1 + self.bar


def arrange(count: int, shift: int, width: int) -> Arrangement:
    """As many of ``count`` captures as fit in ``width`` cells.

    They have bars where all captures, or at least two, fit with bars. The first two
    captures are always shown; ``shift`` scrolls the others.
    """
    room = width - _MARGIN - _LEAST_TEXT - _ID
    fitting = min(count, room // (_COLUMN + 1 + _LEAST_BAR))
    bar = 0
    if fitting and fitting >= min(2, count):
        spare = room - fitting * _COLUMN
        bar = min(_MOST_BAR, spare // fitting - 1)
    if not bar:
        fitting = min(count, max(2, room // _COLUMN))
    first = 2 + max(0, min(shift, count - fitting))
    fixed = range(min(2, fitting))
    scrolled = range(first, first + max(0, fitting - 2))
    arrangement = Arrangement((*fixed, *scrolled), text=0, bar=bar)
    text = width - _MARGIN - _ID - fitting * arrangement.column
    return arrangement._replace(text=max(4, min(_MOST_TEXT, text)))


@dataclass(frozen=True, eq=False, repr=False)
class AlternativesTable:
    """Writes the alternatives of an `Inspection`; ``value`` is the style of numbers."""

    view: Inspection
    arrangement: Arrangement
    value: Style
    palette: Palette

    def lines(self) -> Iterator[list[Run]]:
        """The heads, one row for each alternative, and one for all other ids."""
        yield self._head()
        for row in self.view.top:
            yield self._alternative(row)
        yield self._rest()
        hidden = len(self.view.columns) - len(self.arrangement.columns)
        if hidden:
            captures = "captures"
            if hidden == 1:
                captures = "capture"
            words = f"  {hidden} more {captures}: ← → in this pane"
            yield [(words, self.palette.muted)]

    def _head(self) -> list[Run]:
        """The length of the lists, and the capture of each column."""
        view = self.view
        palette = self.palette
        arrangement = self.arrangement
        title = fit(f"top {self._k()}", arrangement.text)
        head = f"  {title}{'id':>{_ID}}"
        runs: list[Run] = [(head, palette.muted)]
        for index in arrangement.columns:
            name = self._name(view.columns[index])
            style = palette.muted
            if index == view.by:
                name = f"▾{name}"
                style = palette.text
            runs.append((fit(name, arrangement.column, right=True), style))
        return runs

    def _k(self) -> str:
        """The k of the lists that are shown: ``20``, or ``5-20`` where they differ."""
        sizes = [self.view.k[index] for index in self.arrangement.columns]
        least = min(sizes)
        most = max(sizes)
        if least == most:
            return str(most)
        return f"{least}-{most}"

    def _name(self, label: str) -> str:
        """The head of a capture's column: its side, and its label as far as it fits."""
        sides = {row.label: row.side for row in self.view.captures}
        side = sides.get(label, "")
        if cell_len(label) > self.arrangement.column - 4:
            label, _, _ = label.partition("/")
        return f"{side} {visible(label)}".strip()

    def _alternative(self, row: TopRow) -> list[Run]:
        """One id: its text, and the numbers that each capture gives it."""
        palette = self.palette
        text = fit(quoted(row.text), self.arrangement.text)
        mark = "  "
        style = self.value
        if row.target:
            mark = "▸ "
            style = palette.strong
        runs: list[Run] = [
            (mark, palette.accent),
            (text, style),
            (f"{row.token_id:>{_ID}}", palette.muted),
        ]
        for index in self.arrangement.columns:
            runs += self._cell(row.cells[index], style)
        return runs

    def _cell(self, cell: ListCell, style: Style) -> list[Run]:
        """Rank, log-probability and, where there is room, a bar for the probability.

        All in one style: fewer bytes are sent when the cursor moves.
        """
        if cell.logprob is None:
            return self._unlisted(cell)
        rank = rank_text(cell.rank)
        if len(rank) >= _RANK:
            rank = f"{rank[:-3]}k"
        text = f"{rank:>{_RANK}} {number(cell.logprob):>8}"
        chance = math.exp(min(0.0, cell.logprob))
        return self._column(text, chance, style)

    def _column(self, text: str, chance: float, style: Style) -> list[Run]:
        """A text and the bar of a probability, as wide as a capture's column."""
        return [
            (fit(text, _COLUMN, right=True), style),
            (self._bar(chance), style),
        ]

    def _unlisted(self, cell: ListCell) -> list[Run]:
        """An id that is not in a capture's list: it is less likely than the last
        one.
        """
        text = NOTHING
        if cell.below is not None:
            text = f"< {number(cell.below)}"
        return self._column(text, 0.0, self.palette.muted)

    def _rest(self) -> list[Run]:
        """The probability outside of each list."""
        head = fit("all other ids", self.arrangement.text + _ID)
        runs: list[Run] = [(f"  {head}", self.palette.muted)]
        for index in self.arrangement.columns:
            mass = self.view.rest[index]
            text = NOTHING
            if mass is not None:
                text = f"p {number(mass, 3)}"
            runs += self._column(text, mass or 0.0, self.value)
        return runs

    def _bar(self, share: float) -> str:
        """A blank and a bar for a share of 1, in eighths of a cell.

        A share of at least 0.001 has at least one eighth, a smaller one has no bar.
        """
        cells = self.arrangement.bar
        if not cells:
            return ""
        eighths = 0
        if share >= 0.001:
            eighths = math.ceil(min(1.0, share) * cells * 8)
        whole, part = divmod(eighths, 8)
        bar = "█" * whole
        if part:
            bar += _BLOCKS[part]
        return " " + bar.ljust(cells)
