"""The table of what each capture says of one token."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.style import Style

from logdrift.core.numbers import NOTHING, number, probability, signed
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import DOWN, UP, fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run, Runs

if TYPE_CHECKING:
    from logdrift.tui.models.inspection import CaptureRow

_MARGIN = 1
_SIDE = 2


class CaptureColumn(NamedTuple):
    """A column of numbers. ``order``: columns with a larger one are left out first."""

    head: str
    cells: int
    text: Callable[[CaptureRow], str]
    order: int = 0


def nats(value: float | None) -> str:
    """A log-probability; the logarithm of 0 as ``-∞``."""
    text = number(value)
    return text.replace("inf", "∞")


def delta_text(value: float | None) -> str:
    """A difference of log-probabilities with its sign."""
    text = signed(value)
    return text.replace("inf", "∞")


def times_text(times: float | None) -> str:
    """A multiple of the floor."""
    if times is None:
        return NOTHING
    return f"{number(times, 3)}×"


def rank_text(rank: int | None) -> str:
    """A rank in four cells, `NOTHING` where there is none."""
    if rank is None:
        return NOTHING
    text = str(rank)
    if len(text) <= 4:
        return text
    thousands = text[:-3]
    return f"{thousands}k"


def _delta(row: CaptureRow) -> str:
    if row.side == "A":
        return ""
    return delta_text(row.delta)


def _floors(row: CaptureRow) -> str:
    if row.side == "A":
        return ""
    return times_text(row.times)


def _ratio(row: CaptureRow) -> str:
    if row.side == "A":
        return ""
    return number(row.ratio, 3)


DELTA = "A−this"
FLOORS = "floors"
RATIO = "ratio"
ENTROPY = "entropy"
_COLUMNS = (
    CaptureColumn("log p", 8, lambda row: nats(row.logprob)),
    CaptureColumn("p", 6, lambda row: probability(row.logprob)),
    CaptureColumn("rank", 5, lambda row: rank_text(row.rank)),
    CaptureColumn(DELTA, 9, _delta),
    CaptureColumn(FLOORS, 7, _floors, 1),
    CaptureColumn(RATIO, 7, _ratio, 3),
    CaptureColumn(ENTROPY, 8, lambda row: number(row.entropy, 3), 2),
)


class CaptureTable(NamedTuple):
    """Writes the rows of captures in ``width`` cells. A label is never cut: one that
    leaves no room for the numbers has a line of its own.

    ``level`` is that of the pair's delta, ``value`` the style of numbers.
    """

    rows: tuple[CaptureRow, ...]
    width: int
    level: int
    value: Style
    palette: Palette

    @property
    def label_cells(self) -> int:
        """The cells of the longest label."""
        widest = 0
        for row in self.rows:
            label = visible(row.label)
            cells = cell_len(label)
            widest = max(widest, cells)
        return widest

    @property
    def labels_above(self) -> bool:
        """Whether each label stands on a line of its own."""
        needed = _MARGIN + _SIDE
        needed += self.label_cells
        for column in _COLUMNS:
            if not column.order:
                needed += column.cells
        return needed > self.width

    def columns(self) -> tuple[CaptureColumn, ...]:
        """The columns that there is room for, in their order on the screen."""
        used = _MARGIN + _SIDE
        if not self.labels_above:
            used += self.label_cells
        fitting = []
        most_needed_first = sorted(_COLUMNS, key=_order)
        for column in most_needed_first:
            if column.order and not self._has_numbers(column):
                continue
            used += column.cells
            if used > self.width:
                break
            fitting.append(column)
        fitting.sort(key=_COLUMNS.index)
        return tuple(fitting)

    def has(self, head: str) -> bool:
        """Whether a column is among those that are shown."""
        heads = [column.head for column in self.columns()]
        return head in heads

    def _has_numbers(self, column: CaptureColumn) -> bool:
        for row in self.rows:
            text = column.text(row)
            if text not in ("", NOTHING):
                return True
        return False

    def lines(self) -> Iterator[Runs]:
        """A row of heads, then the rows of each capture."""
        columns = self.columns()
        heads = [f"{column.head:>{column.cells}}" for column in columns]
        label_cells = self.label_cells
        if self.labels_above:
            label_cells = 0
        capture = fit("capture", label_cells)
        text = "".join(heads)
        head = (f"  {capture}{text}", self.palette.muted)
        yield [head]
        for row in self.rows:
            yield from self._capture(row, columns, label_cells)

    def _capture(
        self, row: CaptureRow, columns: tuple[CaptureColumn, ...], label_cells: int
    ) -> Iterator[Runs]:
        """A capture's side, label and numbers."""
        palette = self.palette
        style = palette.muted
        if row.side:
            style = palette.text
        letter = row.side or " "
        side = (f"{letter} ", palette.strong)
        label = visible(row.label)
        numbers = self._numbers(row, columns)
        if label_cells:
            label = fit(label, label_cells)
            yield [side, (label, style), *numbers]
            return
        yield [side, (label, style)]
        below_side = ("  ", style)
        yield [below_side, *numbers]

    def _numbers(self, row: CaptureRow, columns: tuple[CaptureColumn, ...]) -> Runs:
        if row.logprob is None:
            note = row.note or NOTHING
            style = note_style(row, self.palette)
            return [(f" {note}", style)]
        runs: Runs = []
        is_b = row.side == "B"
        for column in columns:
            cells = column.cells
            text = column.text(row)
            if is_b and column.head == DELTA:
                runs += self._marked(text, cells)
            else:
                run = (f"{text:>{cells}}", self.value)
                runs.append(run)
        return runs

    def _marked(self, text: str, cells: int) -> Runs:
        """Δ of the pair with the mark and the colour of its level."""
        run = marked(text, self.level, self.value, self.palette)
        marked_text, _ = run
        missing = cells - cell_len(marked_text)
        margin = (" " * missing, self.value)
        return [margin, run]


def marked(text: str, level: int, plain: Style, palette: Palette) -> Run:
    """The text of a difference with the mark and the colour of its level."""
    if not level:
        return text, plain
    mark = DOWN
    if level > 0:
        mark = UP
    return f"{mark}{text}", palette.level(level)


def note_style(row: CaptureRow, palette: Palette) -> Style:
    """The style of the words in place of numbers."""
    if row.broken:
        return palette.bad
    return palette.muted


def is_known(value: float | None) -> bool:
    """Whether there is a number, and it is not NaN."""
    if value is None:
        return False
    return not math.isnan(value)


def _order(column: CaptureColumn) -> int:
    return column.order
