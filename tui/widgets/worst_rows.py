"""The rows of the worst tokens: numbers, then the text with the token marked."""

from __future__ import annotations

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from logdrift.core.numbers import number
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.places import write_place
from logdrift.tui.models.worst import (
    ListedToken,
    WorstColumns,
    WorstList,
    columns_of,
    cut_context,
    over_floor_text,
)
from logdrift.tui.widgets.lines import Row, Runs, strip_of
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.token_paint import MARKS


class WorstRows(Rows):
    """A row for each token of a `WorstList`.

    ``floor`` is the pair's, nats, None where nothing was repeated; ``greyed``: the pair
    cannot be compared.
    """

    fixed = 2

    def __init__(
        self, worst: WorstList, *, floor: float | None, greyed: bool, id: str
    ) -> None:
        super().__init__(id=id)
        self.worst = worst
        self._floor = floor
        self._greyed = greyed

    @property
    def line_count(self) -> int:
        return len(self.worst)

    @property
    def here(self) -> ListedToken | None:
        """The selected row."""
        if not self.line_count:
            return None
        return self.worst.row(self.selected)

    def _columns(self, width: int) -> WorstColumns:
        sequences = self.worst.pair.sequences
        longest = 0
        if sequences.tokens:
            longest = len(write_place(sequences, sequences.tokens - 1))
        return columns_of(width, place=longest, floor=bool(self._floor))

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self.title_line("Worst tokens", width, self._aside())
        return self._heads(width)

    def _aside(self) -> str:
        worst = self.worst
        words = f"{worst.counted()} · by {worst.sort.name}"
        if worst.filter:
            words = f"{worst.filter} · {words}"
        return words

    def _heads(self, width: int) -> Strip:
        columns = self._columns(self.inner_width)
        texts = [
            f" {fit('place', columns.place - 1)}",
            fit("Δ", columns.delta, right=True),
            fit("log p A", columns.logprob, right=True),
            fit("log p B", columns.logprob, right=True),
            fit("Δ/floor", columns.floor, right=True),
            fit(f"rank A{ARROW}B", columns.ranks, right=True),
            "  text",
        ]
        run = ("".join(texts), self.palette.muted)
        return strip_of([run], width)

    def runs(self, index: int, width: int) -> Row:
        palette = self.palette
        row = self.worst.row(index)
        columns = self._columns(width)
        step = self._step_style(row.level)
        numbers = [
            fit(number(row.logprob_a, 3), columns.logprob, right=True),
            fit(number(row.logprob_b, 3), columns.logprob, right=True),
            fit(self._over_floor(row), columns.floor, right=True),
            fit(row.ranks, columns.ranks, right=True),
            "  ",
        ]
        return [
            (f" {fit(row.place, columns.place - 1)}", palette.text),
            *self._delta_runs(row, columns.delta),
            ("".join(numbers), palette.text),
            *self._text_runs(row, columns.text, step),
        ]

    def _delta_runs(self, row: ListedToken, cells: int) -> Runs:
        """Delta with its mark, so that its side is seen without colours."""
        mark = MARKS.get(row.level, "")
        text = f"{mark}{row.delta_text}"
        blanks = " " * (cells - cell_len(text))
        return [(blanks, self.palette.text), (text, self._step_style(row.level))]

    def _text_runs(self, row: ListedToken, width: int, step: Style) -> Runs:
        palette = self.palette
        before, token, after = cut_context(row, width)
        return [(before, palette.muted), (token, step), (after, palette.muted)]

    def _over_floor(self, row: ListedToken) -> str:
        if not self._floor:
            return ""
        return over_floor_text(row, self._floor)

    def _step_style(self, level: int) -> Style:
        palette = self.palette
        if level and self._greyed:
            return palette.grey
        if level:
            return palette.level(level)
        return palette.strong
