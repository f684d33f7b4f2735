"""The sequences of a session with what a pair says of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from textual.strip import Strip

from logdrift.core.compare.pair import Pair
from logdrift.core.numbers import NOTHING, number
from logdrift.tui.glyphs import fit, sparkline
from logdrift.tui.models.listing import NO_SEQUENCES, Listing
from logdrift.tui.widgets.lines import Run, strip_of
from logdrift.tui.widgets.rows import Rows

if TYPE_CHECKING:
    import numpy.typing as npt

_NUMBER = 5
_VALUE = 7
_ALWAYS = ("number", "worst", "mean")


class SequenceList(Rows):
    """Number, worst and mean |delta| (or what is sorted by), and a small picture of
    where in the sequence it is large.
    """

    fixed = 2

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.shown = NO_SEQUENCES
        self._top = 0.0

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
        self.selected = max(0, self.place_of(sequence))
        self.rows_changed()

    def place_of(self, sequence: int) -> int:
        """The row of a sequence, -1 where the filter hides it."""
        return self.shown.place_of(sequence)

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self._title(width)
        return self._heads(width)

    def _title(self, width: int) -> Strip:
        listing = self.shown
        if not listing.filter:
            return self.title_line("Sequences", width, f"by {listing.sort}")
        kept = f"{len(listing):,}/{listing.count:,}"
        return self.title_line(f"Sequences {kept}", width, listing.filter)

    def _heads(self, width: int) -> Strip:
        """The heads of the columns; the last one gives way to what is sorted by."""
        listing = self.shown
        p = self.palette
        last = ("mean", "mean")
        if listing.sort not in _ALWAYS:
            last = (listing.title, listing.sort)
        columns = (
            ("#", "number", _NUMBER),
            ("worst", "worst", _VALUE),
            (*last, _VALUE),
        )
        runs: list[Run] = []
        for title, sort, cells in columns:
            sorted_by = sort == listing.sort
            text = f"▾{title}" if sorted_by else title
            style = p.text if sorted_by else p.muted
            runs.append((fit(text, cells, right=True), style))
        return strip_of([*runs, ("  |Δ|", p.muted)], width)

    def runs(self, index: int, width: int) -> Sequence[Run]:
        p = self.palette
        listing = self.shown
        sequence = int(listing.order[index])
        head = (f"{sequence:>{_NUMBER}}", p.text)
        pair = listing.pair
        if pair is None or sequence >= pair.count:
            nothing = (fit(NOTHING, _VALUE, right=True), p.muted)
            return [head, nothing, nothing]
        style = p.muted if listing.greyed else p.text
        worst = number(float(pair.worst[sequence]), 3)
        other = _value(_other_value(listing, pair, sequence), listing.sort)
        room = max(1, width - _NUMBER - 2 * _VALUE - 3)
        picture = sparkline(_sizes(pair, sequence), room, self._top)
        return [
            head,
            (fit(worst, _VALUE, right=True), style),
            (fit(other, _VALUE, right=True), style),
            (f"  {picture}", p.accent),
        ]


def _largest(pair: Pair | None) -> float:
    """The largest finite |delta| of all sequences: as high as a picture goes."""
    if pair is None:
        return 0.0
    finite = pair.worst[np.isfinite(pair.worst)]
    if len(finite):
        return float(finite.max())
    return 0.0


def _sizes(pair: Pair, sequence: int) -> npt.NDArray[np.float32]:
    """|delta| of each token of a sequence, 0 where it is not scored."""
    start, stop = pair.sequences.bounds(sequence)
    sizes = np.abs(pair.delta[start:stop])
    return np.where(pair.scored[start:stop], sizes, np.float32(0))


def _other_value(listing: Listing, pair: Pair, sequence: int) -> float:
    """What stands in the last column: the mean, or what is sorted by."""
    if listing.values is None or listing.sort in _ALWAYS:
        return float(pair.mean_abs[sequence])
    return float(listing.values[sequence])


def _value(value: float, sort: str) -> str:
    if not np.isfinite(value):
        return number(value, 3)
    if sort in ("length", "infinite"):
        return f"{value:.0f}"
    if sort == "beyond":
        return f"{100 * value:.1f}%"
    return number(value, 3)
