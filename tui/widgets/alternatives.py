"""The table of alternatives: the union of the top-k lists, captures side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.style import Style

from logdrift.core.numbers import NOTHING, number
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.capture_table import delta_text, nats, rank_text
from logdrift.tui.widgets.lines import Run, Runs
from logdrift.tui.widgets.token_details import quoted

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
_DELTA = 9
"""Cells of Δ, which stands after A and B."""
_BLOCKS = " ▏▎▍▌▋▊▉█"


class Arrangement(NamedTuple):
    """Which captures are shown (indices of columns), and the cells of text and bar.

    ``bar`` is 0 where there is no room for bars. Δ stands after the columns of
    ``pair``, A and B.
    """

    columns: tuple[int, ...]
    text: int
    bar: int
    pair: tuple[int, int] | None = None

    @property
    def column(self) -> int:
        """Cells of one capture with its bar."""
        if not self.bar:
            return _COLUMN
        return _COLUMN + 1 + self.bar


def arrange_for(view: Inspection, shift: int, width: int) -> Arrangement:
    """The arrangement of the captures of a token that have alternatives."""
    count = len(view.columns)
    pair = view.pair_columns
    if pair is None:
        return arrange(count, shift, width)
    arrangement = arrange(count, shift, width - _DELTA)
    return arrangement._replace(pair=pair)


def arrange(count: int, shift: int, width: int) -> Arrangement:
    """As many of ``count`` captures as fit in ``width`` cells.

    They have bars where all captures, or at least three, fit with bars. The first two
    captures are always shown; ``shift`` scrolls the others.
    """
    room = width - _MARGIN - _LEAST_TEXT - _ID
    fitting, bar = _fitting(count, room)
    hidden = count - fitting
    skipped = max(0, min(shift, hidden))
    first = 2 + skipped
    scrolled = max(0, fitting - 2)
    columns = (
        *range(min(2, fitting)),
        *range(first, first + scrolled),
    )
    arrangement = Arrangement(columns, text=0, bar=bar)
    used = fitting * arrangement.column
    text = width - _MARGIN - _ID - used
    text = min(_MOST_TEXT, text)
    text = max(4, text)
    return arrangement._replace(text=text)


def _fitting(count: int, room: int) -> tuple[int, int]:
    """How many of ``count`` captures fit in ``room`` cells, and the cells of a bar."""
    least_with_bar = _COLUMN + 1 + _LEAST_BAR
    with_bars = min(count, room // least_with_bar)
    if with_bars and with_bars >= min(3, count):
        spare = room - with_bars * _COLUMN
        bar = spare // with_bars - 1
        return with_bars, min(_MOST_BAR, bar)
    without_bars = max(2, room // _COLUMN)
    return min(count, without_bars), 0


class AlternativesTable(NamedTuple):
    """Writes the alternatives of an `Inspection`; ``value`` is the style of numbers."""

    view: Inspection
    arrangement: Arrangement
    value: Style
    palette: Palette

    def lines(self) -> Iterator[Runs]:
        """The heads, one row for each alternative, and one for all other ids."""
        yield from self._heads()
        for row in self.view.top:
            yield self._alternative(row)
        yield self._rest()
        all_captures = len(self.view.columns)
        hidden = all_captures - len(self.arrangement.columns)
        if hidden:
            captures = "captures"
            if hidden == 1:
                captures = "capture"
            words = f"  {hidden} more {captures}: ← → in this pane"
            yield [(words, self.palette.muted)]

    def _heads(self) -> Iterator[Runs]:
        """The length of the lists, and the capture of each column in full: in as many
        rows as the longest name takes.
        """
        palette = self.palette
        arrangement = self.arrangement
        room = arrangement.column - 1
        names = {index: self._name_lines(index, room) for index in arrangement.columns}
        count = max(map(len, names.values()), default=1)
        length = fit(f"top {self._k()}", arrangement.text)
        title = f"  {length}{'id':>{_ID}}"
        for place in range(count):
            runs: Runs = [(fit(title, 2 + arrangement.text + _ID), palette.muted)]
            for index in arrangement.columns:
                lines = names[index]
                name = ""
                if place < len(lines):
                    name = lines[place]
                runs += self._head(index, name, last=place == count - 1)
            yield runs
            title = ""

    def _head(self, index: int, name: str, *, last: bool) -> Runs:
        """A line of a capture's name; the column of Δ begins on the ``last`` one."""
        palette = self.palette
        style = palette.muted
        if index == self.view.by:
            style = palette.text
        runs: Runs = [(fit(name, self.arrangement.column, right=True), style)]
        if self._before_delta(index):
            head = ""
            if last:
                head = "Δ A−B"
            runs.append((fit(head, _DELTA, right=True), palette.muted))
        return runs

    def _before_delta(self, index: int) -> bool:
        """Whether the column of Δ stands after this capture."""
        pair = self.arrangement.pair
        return pair is not None and index == pair[1]

    def _k(self) -> str:
        """The k of the lists that are shown: ``20``, or ``5-20`` where they differ."""
        lengths = self.view.k
        columns = self.arrangement.columns
        sizes = [lengths[index] for index in columns]
        least = min(sizes)
        most = max(sizes)
        if least == most:
            return str(most)
        return f"{least}-{most}"

    def _name_lines(self, index: int, room: int) -> list[str]:
        """The side and the label of a column in lines of ``room`` cells, broken before
        the path where that is possible.
        """
        view = self.view
        label = view.columns[index]
        sides = {row.label: row.side for row in view.captures}
        name = f"{sides.get(label, '')} {visible(label)}".strip()
        if index == view.by:
            name = f"▾{name}"
        if cell_len(name) <= room:
            return [name]
        backend, slash, path = name.partition("/")
        return [*_chopped(backend, room), *_chopped(slash + path, room)]

    def _alternative(self, row: TopRow) -> Runs:
        """One id: its text, and the numbers that each capture gives it."""
        palette = self.palette
        text = fit(quoted(row.text), self.arrangement.text)
        token_id = f"{row.token_id:>{_ID}}"
        mark = "  "
        style = self.value
        if row.target:
            mark = "▸ "
            style = palette.strong
        runs: Runs = [
            (mark, palette.accent),
            (text, style),
            (token_id, style),
        ]
        for index in self.arrangement.columns:
            cell = row.cells[index]
            runs += self._cell(cell, style)
            if self._before_delta(index):
                runs.append(self._delta(row, style))
        return runs

    def _delta(self, row: TopRow, style: Style) -> Run:
        """Δ of an alternative, or what it is more or less than."""
        pair = self.arrangement.pair
        assert pair is not None
        delta = row.delta(*pair)
        text = ""
        if delta is not None:
            text = delta.bound + delta_text(delta.value)
        return fit(text, _DELTA, right=True), style

    def _cell(self, cell: ListCell, style: Style) -> Runs:
        """Rank, log-probability and, where there is room, a bar for the probability.

        All in one style: fewer bytes are sent when the cursor moves.
        """
        logprob = cell.logprob
        if logprob is None:
            return self._unlisted(cell)
        rank = rank_text(cell.rank)
        value = nats(logprob)
        text = f"{rank:>{_RANK}} {value:>8}"
        bounded = min(0.0, logprob)
        probability = math.exp(bounded)
        return self._column(text, probability, style)

    def _column(self, text: str, probability: float, style: Style) -> Runs:
        """A text and the bar of a probability, as wide as a capture's column."""
        text = fit(text, _COLUMN, right=True)
        bar = self._bar(probability)
        return [
            (text, style),
            (bar, style),
        ]

    def _unlisted(self, cell: ListCell) -> Runs:
        """An id that is not in a capture's list: it is less likely than the last
        one.
        """
        text = NOTHING
        if cell.below is not None:
            last = nats(cell.below)
            text = f"< {last}"
        style = self.palette.muted
        return self._column(text, 0.0, style)

    def _rest(self) -> Runs:
        """The probability outside of each list."""
        head_cells = self.arrangement.text + _ID
        head = fit("all other ids", head_cells)
        style = self.palette.muted
        runs: Runs = [(f"  {head}", style)]
        for index in self.arrangement.columns:
            mass = self.view.rest[index]
            text = NOTHING
            share = 0.0
            if mass is not None:
                text = f"p {number(mass, 3)}"
                share = mass
            runs += self._column(text, share, self.value)
            if self._before_delta(index):
                runs.append((" " * _DELTA, style))
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
            filled = min(1.0, share) * cells
            eighths = math.ceil(filled * 8)
        whole, part = divmod(eighths, 8)
        bar = "█" * whole
        if part:
            bar += _BLOCKS[part]
        return " " + bar.ljust(cells)


def _chopped(text: str, room: int) -> Iterator[str]:
    """A text in pieces of at most ``room`` cells."""
    while text:
        piece = text
        while cell_len(piece) > room:
            piece = piece[:-1]
        yield piece
        text = text[len(piece) :]
