"""The sequences of a session with what a pair says of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from textual.strip import Strip

from logdrift.core.numbers import number
from logdrift.tui.glyphs import fit, sparkline
from logdrift.tui.models.listing import NO_SEQUENCES, Listing
from logdrift.tui.widgets.lines import Run, strip_of
from logdrift.tui.widgets.rows import Rows

if TYPE_CHECKING:
    import numpy.typing as npt

_NUMBER, _VALUE = 5, 7
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
        pair = listing.pair
        finite = (
            pair.worst[np.isfinite(pair.worst)] if pair is not None else np.empty(0)
        )
        self._top = float(finite.max()) if len(finite) else 0.0
        self.selected = max(0, self.place_of(sequence)) if listing.count else 0
        self.rows_changed()

    def place_of(self, sequence: int) -> int:
        """The row of a sequence, -1 where the filter hides it."""
        return self.shown.place_of(sequence)

    def fixed_line(self, y: int, width: int) -> Strip:
        shown = self.shown
        if y == 0:
            if shown.filter:
                return self.title_line(
                    f"Sequences {len(shown.order):,}/{shown.count:,}",
                    width,
                    f"{shown.filter}",
                )
            return self.title_line("Sequences", width, f"by {shown.sort}")
        heads = [("#", "number"), ("worst", "worst"), ("mean", "mean")]
        if shown.sort not in _ALWAYS:
            heads[2] = (shown.title, shown.sort)
        runs: list[Run] = []
        for (text, sort), cells in zip(heads, (_NUMBER, _VALUE, _VALUE), strict=True):
            mark = "▾" if sort == shown.sort else ""
            style = self.palette.text if mark else self.palette.muted
            runs.append((fit(f"{mark}{text}", cells, right=True), style))
        return strip_of([*runs, ("  |Δ|", self.palette.muted)], width)

    def runs(self, index: int, width: int) -> Sequence[Run]:
        p, shown = self.palette, self.shown
        sequence = int(shown.order[index])
        head = (f"{sequence:>{_NUMBER}}", p.text)
        pair = shown.pair
        if pair is None or sequence >= pair.count:
            return [
                head,
                (fit("·", _VALUE, right=True), p.muted),
                (fit("·", _VALUE, right=True), p.muted),
            ]
        value = p.muted if shown.greyed else p.text
        start, stop = (int(x) for x in pair.sequences.offsets[sequence : sequence + 2])
        size = np.where(
            pair.scored[start:stop], np.abs(pair.delta[start:stop]), np.float32(0)
        )
        third = float(pair.mean_abs[sequence])
        if shown.values is not None and shown.sort not in _ALWAYS:
            third = float(shown.values[sequence])
        return [
            head,
            (fit(number(float(pair.worst[sequence]), 3), _VALUE, right=True), value),
            (fit(_value(third, shown.sort), _VALUE, right=True), value),
            (
                "  "
                + sparkline(size, max(1, width - _NUMBER - 2 * _VALUE - 3), self._top),
                p.accent,
            ),
        ]


def _value(value: float, sort: str) -> str:
    if np.isfinite(value):
        if sort in ("length", "infinite"):
            return f"{value:.0f}"
        if sort == "beyond":
            return f"{100 * value:.1f}%"
    return number(value, 3)
