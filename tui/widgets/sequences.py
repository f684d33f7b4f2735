"""The list of a session's sequences, with the numbers of a pair for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.style import Style
from textual.events import Click
from textual.message import Message
from textual.strip import Strip

from logdrift.core.compare.pair import Pair
from logdrift.core.numbers import NOTHING, number
from logdrift.tui.glyphs import fit, sparkline
from logdrift.tui.models.listing import NO_SEQUENCES, Listing
from logdrift.tui.widgets.lines import Row, Run, strip_of
from logdrift.tui.widgets.rows import Rows

if TYPE_CHECKING:
    import numpy.typing as npt

_NUMBER = 5
_VALUE = 7
_LEAST_PICTURE = 4
_ALWAYS = ("number", "worst", "mean")


class SequenceList(Rows):
    """A row for each sequence: number, worst and mean |delta|, and a small picture.

    Another number that the list is sorted by takes the place of the mean. The picture
    shows where in the sequence |delta| is large.
    """

    fixed = 2

    shown = NO_SEQUENCES
    _top = 0.0

    @property
    def order(self) -> npt.NDArray[np.int64]:
        return self.shown.order

    @property
    def line_count(self) -> int:
        return len(self.shown.order)

    def show(self, listing: Listing, sequence: int) -> None:
        """List sequences with one selected."""
        self.shown = listing
        self._top = _largest(listing.pair)
        row = self.place_of(sequence)
        self.selected = max(0, row)
        self.rows_changed()

    def place_of(self, sequence: int) -> int:
        """The row of a sequence, -1 where the filter hides it."""
        return self.shown.place_of(sequence)

    class SortWanted(Message):
        """The head of a column was clicked: ``sort`` is the number that it names."""

        def __init__(self, sort: str) -> None:
            super().__init__()
            self.sort = sort

    def on_click(self, event: Click) -> None:
        if event.y != 1:
            return
        end = 0
        for _, sort, cells in self._columns():
            end += cells
            if event.x < end:
                clicked = self.SortWanted(sort)
                self.post_message(clicked)
                return

    def _columns(self) -> tuple[tuple[str, str, int], ...]:
        """Each column's head, the number that it names, and its cells.

        The last number is the mean or what is sorted by.
        """
        listing = self.shown
        title = "mean"
        sort = "mean"
        if listing.sort not in _ALWAYS:
            title = listing.title
            sort = listing.sort
        return (
            ("#", "number", _NUMBER),
            ("worst", "worst", _VALUE),
            (title, sort, _VALUE),
        )

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self._title(width)
        return self._heads(width)

    def _title(self, width: int) -> Strip:
        listing = self.shown
        if not listing.filter:
            order = f"by {listing.sort}"
            return self.title_line("Sequences", width, order)
        title = f"Sequences {len(listing):,}/{listing.count:,}"
        return self.title_line(title, width, listing.filter)

    def _heads(self, width: int) -> Strip:
        """The heads of the columns."""
        runs = [self._head(*column) for column in self._columns()]
        if _picture_cells(width - 1):
            runs.append(("  |Δ|", self.palette.muted))
        return strip_of(runs, width)

    def _head(self, title: str, sort: str, cells: int) -> Run:
        """The head of a column, marked where the list is sorted by it."""
        style = self.palette.muted
        if sort == self.shown.sort:
            title = f"▾{title}"
            style = self.palette.text
        text = fit(title, cells, right=True)
        return text, style

    def runs(self, index: int, width: int) -> Row:
        palette = self.palette
        listing = self.shown
        pair = listing.pair
        sequence = listing.order[index]
        sequence = int(sequence)
        place = f"{sequence:>{_NUMBER}}"
        if index == self.selected and place.startswith(" "):
            place = f"▸{place[1:]}"  # the cursor's, also where colours do not say so
        head = (place, palette.text)
        if pair is None or sequence >= pair.count:
            nothing = _value_run(NOTHING, palette.muted)
            return [head, nothing, nothing]
        style = palette.text
        if listing.greyed:
            style = palette.muted
        largest = float(pair.worst[sequence])
        worst = number(largest, 3)
        other = _other_value(listing, pair, sequence)
        other_text = _value_text(other, listing.sort)
        runs = [
            head,
            _value_run(worst, style),
            _value_run(other_text, style),
        ]
        room = _picture_cells(width)
        if room:
            sizes = _sizes(pair, sequence)
            picture = sparkline(sizes, room, self._top)
            runs.append((f"  {picture}", palette.accent))
        return runs


def _picture_cells(width: int) -> int:
    """The cells of the picture in a row of ``width`` cells, 0 where it would be no
    picture.
    """
    room = width - _NUMBER - 2 * _VALUE - 3
    if room < _LEAST_PICTURE:
        return 0
    return room


def _value_run(text: str, style: Style) -> Run:
    text = fit(text, _VALUE, right=True)
    return text, style


def _largest(pair: Pair | None) -> float:
    """The largest finite |delta| of all sequences: the height of the pictures."""
    if pair is None:
        return 0.0
    is_finite = np.isfinite(pair.worst)
    finite = pair.worst[is_finite]
    if len(finite):
        return float(finite.max())
    return 0.0


def _sizes(pair: Pair, sequence: int) -> npt.NDArray[np.float32]:
    """|delta| of each token of a sequence, f32[n], 0 where it is not scored."""
    start, stop = pair.sequences.bounds(sequence)
    delta = pair.delta[start:stop]
    sizes = np.abs(delta)
    scored = pair.scored[start:stop]
    nothing = np.float32(0)
    return np.where(scored, sizes, nothing)


def _other_value(listing: Listing, pair: Pair, sequence: int) -> float:
    """The number of the last column: the mean, or the one that is sorted by."""
    values = listing.values
    if values is None or listing.sort in _ALWAYS:
        return float(pair.mean_abs[sequence])
    return float(values[sequence])


def _value_text(value: float, sort: str) -> str:
    """A number as its column writes it: a count, a share or nats."""
    if not np.isfinite(value):
        return number(value, 3)
    if sort in ("length", "infinite"):
        return f"{value:.0f}"
    if sort == "beyond":
        percentage = 100 * value
        return f"{percentage:.1f}%"
    return number(value, 3)
