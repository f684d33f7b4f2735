"""A table of texts with one row selected; columns that do not fit are reached
sideways.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit, fit_end
from logdrift.tui.widgets.lines import Row, strip_of
from logdrift.tui.widgets.rows import Rows

_MOST = 32
"""Cells of a column where others want room as well."""
_LEAST = 12
"""Cells below which a column gives way no further."""
_FIRST = 20
"""Cells of the first column, at most."""


class Table(Rows):
    """``cells`` are texts as they come, made visible here; the first column always
    stays.

    ``dotted``: the first column holds dotted names, whose end says the most.
    """

    fixed = 2

    def __init__(self, title: str, *, id: str, dotted: bool = False) -> None:
        super().__init__(id=id)
        self.fit_name = fit_end if dotted else fit
        self.title_text = title
        self.aside = ""
        self.head: Sequence[str] = ()
        self.cells: Sequence[Sequence[str]] = ()
        self.marks: Sequence[tuple[str, Style]] = ()
        """A mark of one or two characters before each row, and its style."""
        self.first = 1

    def put(
        self,
        head: Sequence[str],
        cells: Sequence[Sequence[str]],
        marks: Sequence[tuple[str, Style]],
    ) -> None:
        """Show rows; all have as many cells as the head."""
        self.head = _visible(head)
        self.cells = list(map(_visible, cells))
        self.marks = marks
        self.rows_changed()

    @property
    def line_count(self) -> int:
        return len(self.cells)

    def widths(self, width: int) -> list[int]:
        """Cells of each column: what it needs, at most `_MOST`, and at least `_LEAST`
        where all would fit with less.
        """
        needed = self._needed()
        widths = []
        for cells in needed:
            width_of_column = min(_MOST, cells)
            widths.append(width_of_column)
        first = needed[0]
        widths[0] = min(_FIRST, first)
        gaps = 2 * len(widths)
        used = sum(widths) + gaps
        spare = width - used - 2
        if spare < 0:
            _narrow(widths, -spare)
            return widths
        for index, cells in enumerate(needed):
            missing = cells - widths[index]
            more = min(spare, missing)
            widths[index] += more
            spare -= more
        return widths

    def _needed(self) -> list[int]:
        """Cells of the widest text of each column, its head included."""
        needed = []
        columns = zip(self.head, *self.cells, strict=True)
        for column in columns:
            cells = map(cell_len, column)
            widest = max(cells)
            needed.append(widest)
        return needed

    def shift(self, step: int) -> None:
        """Other columns, as far as there are some that are not seen."""
        if step > 0:
            more = self._hidden_right()
        else:
            more = self.first > 1
        if more:
            self.first += step
            self.refresh()

    def _hidden_right(self) -> bool:
        """Whether columns at the right do not fit."""
        shown = self._shown(self.inner_width)
        if not shown:
            return False
        last = len(self.head) - 1
        return shown[-1] < last

    def _shown(self, width: int) -> list[int]:
        """The columns beside the first one that fit, from ``first`` on."""
        if not self.head:
            return []
        widths = self.widths(width)
        room = width - widths[0] - 4
        shown: list[int] = []
        count = len(widths)
        columns = range(self.first, count)
        for index in columns:
            room -= widths[index] + 2
            if room < 0 and shown:
                break
            shown.append(index)
        return shown

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self.title_line(self.title_text, width, self.aside)
        palette = self.palette
        left = " "
        right = " "
        if self.first > 1:
            left = "‹"
        if self._hidden_right():
            right = "›"
        room = self.inner_width
        titles = self._row(self.head, room)
        head = fit(f"  {left}{titles}", width - 2)
        runs = [
            (head, palette.muted),
            (right, palette.accent),
        ]
        return strip_of(runs, width)

    def runs(self, index: int, width: int) -> Row:
        plain = self.palette.text
        mark, style = self.marks[index]
        cells = self.cells[index]
        row = self._row(cells, width)
        return [
            (fit(mark, 2), style),
            (" ", plain),
            (row, plain),
        ]

    def _row(self, cells: Sequence[str], width: int) -> str:
        if not cells:
            return ""
        widths = self.widths(width)
        name_cells = widths[0]
        name = self.fit_name(cells[0], name_cells)
        texts = [name]
        for index in self._shown(width):
            cell = cells[index]
            text = fit(cell, widths[index])
            texts.append(text)
        return "  ".join(texts)

    def copied(self) -> str:
        """The whole table with tabs between its cells."""
        rows = [["", *self.head]]
        pairs = zip(self.marks, self.cells, strict=True)
        for (mark, _), cells in pairs:
            mark = mark.strip()
            row = [mark, *cells]
            rows.append(row)
        lines = map("\t".join, rows)
        return "\n".join(lines)


def _visible(row: Sequence[str]) -> list[str]:
    return [visible(cell) for cell in row]


def _narrow(widths: list[int], missing: int) -> None:
    """Take cells from the widest columns, as far as they have more than `_LEAST`.

    The first column names the row: it keeps its width, others are reached sideways.
    """
    for _ in range(missing):
        others = widths[1:]
        widest = max(others, default=0)
        if widest <= _LEAST:
            return
        index = 1 + others.index(widest)
        widths[index] -= 1
