"""A table of texts with one row selected; columns that do not fit are reached
sideways.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from textual.strip import Strip

from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit, fit_end
from logdrift.tui.widgets.lines import Row, Run, strip_of
from logdrift.tui.widgets.rows import Rows

_MOST = 32
"""Cells of a column where others want room as well."""
_LEAST = 12
"""Cells below which a column gives way no further."""
_FIRST = 20
"""Cells that the first column keeps, which names the row."""
_WHOLE = 40
"""Cells of a column that never gives way, at most."""


class _Layout(NamedTuple):
    """Cells of each column, and the columns that are seen beside the first."""

    widths: list[int]
    shown: list[int]


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
        self.marks: Sequence[Run] = ()
        """A mark of one or two characters before each row, and its style."""
        self.first = 1
        self._least: Sequence[int | None] = ()
        self._layouts: dict[tuple[int, int], _Layout] = {}
        """Kept while the rows are the same: every line asks for one."""

    def put(
        self,
        head: Sequence[str],
        cells: Sequence[Sequence[str]],
        marks: Sequence[Run],
        least: Sequence[int | None] = (),
    ) -> None:
        """Show rows; all have as many cells as the head.

        ``least`` are the cells below which a column gives way no further, None for one
        that never does; `_LEAST` for those beyond its end.
        """
        self._least = least
        self._layouts = {}
        self.head = _visible(head)
        self.cells = [_visible(row) for row in cells]
        self.marks = marks
        self.rows_changed()

    @property
    def line_count(self) -> int:
        return len(self.cells)

    def _layout(self, width: int) -> _Layout:
        """The columns that are seen on a row of ``width`` cells."""
        key = (width, self.first)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._laid_out(width)
            self._layouts[key] = layout
        return layout

    def _laid_out(self, width: int) -> _Layout:
        """Each column as wide as it needs, at most `_MOST` where others need room as
        well, and less where all fit then. What is left goes to those that are cut.
        """
        needed = self._needed()
        least = self._least_widths(needed)
        widths = []
        for cells, smallest in zip(needed, least, strict=True):
            enough = min(_MOST, cells)
            width_of_column = max(smallest, enough)
            widths.append(width_of_column)
        gaps = 2 * len(widths)
        used = sum(widths) + gaps
        missing = used + 2 - width
        if missing > 0:
            _narrow(widths, least, missing)
        shown = self._columns_that_fit(widths, width)
        seen = [0, *shown]
        _widen(widths, needed, seen, width)
        return _Layout(widths, shown)

    def _least_widths(self, needed: Sequence[int]) -> list[int]:
        """The cells that each column keeps."""
        limits = []
        for index, cells in enumerate(needed):
            least = self._least_of(index)
            if least is None:
                least = _WHOLE
            limit = min(least, cells)
            limits.append(limit)
        return limits

    def _least_of(self, column: int) -> int | None:
        if column < len(self._least):
            return self._least[column]
        if column == 0:
            return _FIRST
        return _LEAST

    def _needed(self) -> list[int]:
        """Cells of the widest text of each column, its head included."""
        needed = []
        rows = [self.head, *self.cells]
        columns = zip(*rows, strict=True)
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
        if not self.head:
            return False
        layout = self._layout(self.inner_width)
        if not layout.shown:
            return False
        last_shown = layout.shown[-1]
        last = len(self.head) - 1
        return last_shown < last

    def _columns_that_fit(self, widths: Sequence[int], width: int) -> list[int]:
        """The columns beside the first one that fit, from ``first`` on."""
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
        titles = self._row(self.head, self.inner_width)
        text = f"  {left}{titles}"
        head = fit(text, width - 2)
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
        mark = fit(mark, 2)
        return [
            (mark, style),
            (" ", plain),
            (row, plain),
        ]

    def _row(self, cells: Sequence[str], width: int) -> str:
        if not cells:
            return ""
        layout = self._layout(width)
        widths = layout.widths
        name_cells = widths[0]
        name = self.fit_name(cells[0], name_cells)
        texts = [name]
        for index in layout.shown:
            cell = cells[index]
            text = fit(cell, widths[index])
            texts.append(text)
        return "  ".join(texts)

    def copied(self) -> str:
        """The whole table with tabs between its cells; "" while it has no rows."""
        if not self.cells:
            return ""
        lines = [_tab_separated("", self.head)]
        pairs = zip(self.marks, self.cells, strict=True)
        for run, cells in pairs:
            mark, _ = run
            mark = mark.strip()
            line = _tab_separated(mark, cells)
            lines.append(line)
        return "\n".join(lines)


def _tab_separated(mark: str, cells: Sequence[str]) -> str:
    row = [mark, *cells]
    return "\t".join(row)


def _visible(row: Sequence[str]) -> list[str]:
    return [visible(cell) for cell in row]


def _narrow(widths: list[int], least: Sequence[int], missing: int) -> None:
    """Take cells from the widest columns, as far as they have more than they keep; what
    does not fit then is reached sideways.
    """
    width_of = widths.__getitem__
    columns = range(len(widths))
    for _ in range(missing):
        wide = []
        for column in columns:
            if widths[column] > least[column]:
                wide.append(column)
        if not wide:
            return
        widest = max(wide, key=width_of)
        widths[widest] -= 1


def _widen(
    widths: list[int], needed: Sequence[int], shown: Iterable[int], width: int
) -> None:
    """Give what is left of ``width`` to the columns that are seen and cut."""
    columns = list(shown)
    spare = width - 2
    for column in columns:
        spare -= widths[column] + 2
    for column in columns:
        missing = needed[column] - widths[column]
        more = min(spare, missing)
        more = max(0, more)
        widths[column] += more
        spare -= more
