"""The sequences of a session with what a pair says of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from textual.strip import Strip

from core.compare.pair import Pair
from tui.glyphs import fit, number, sparkline
from tui.widgets.lines import Run, strip_of
from tui.widgets.rows import Rows

if TYPE_CHECKING:
    import numpy.typing as npt

_NUMBER, _VALUE = 5, 7


def order_of(pair: Pair | None, count: int, sort: str) -> npt.NDArray[np.int64]:
    """Sequence numbers in the order of the list: by number, or the largest first and unscored ones last."""
    numbers = np.arange(count)
    if pair is None or sort == "number":
        return numbers
    values = np.full(count, -1.0)
    metric = pair.worst if sort == "worst" else pair.mean_abs
    values[: pair.count] = np.where(np.isnan(metric), -1.0, metric)
    return np.argsort(-values, kind="stable")


class SequenceList(Rows):
    """Number, worst and mean |delta|, and a small picture of where in the sequence it is large."""

    fixed = 2

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.pair: Pair | None = None
        self.order: npt.NDArray[np.int64] = np.arange(0)
        self.sort = "number"
        self.greyed = False
        self._place: npt.NDArray[np.int64] = np.arange(0)
        self._top = 0.0

    @property
    def line_count(self) -> int:
        return len(self.order)

    def show(self, pair: Pair | None, count: int, sort: str, sequence: int, greyed: bool) -> None:
        """List ``count`` sequences in the order of ``sort`` with one selected."""
        self.pair, self.sort, self.greyed = pair, sort, greyed
        self.order = order_of(pair, count, sort)
        self._place = np.empty(count, np.int64)
        self._place[self.order] = np.arange(count)
        finite = pair.worst[np.isfinite(pair.worst)] if pair is not None else np.empty(0)
        self._top = float(finite.max()) if len(finite) else 0.0
        self.selected = self.place_of(sequence) if count else 0
        self.rows_changed()

    def place_of(self, sequence: int) -> int:
        """The row of a sequence."""
        return int(self._place[sequence])

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self.title_line("Sequences", width, f"by {self.sort}")
        heads = [("#", "number"), ("worst", "worst"), ("mean", "mean")]
        runs: list[Run] = []
        for (text, sort), cells in zip(heads, (_NUMBER, _VALUE, _VALUE), strict=True):
            mark = "▾" if sort == self.sort else ""
            style = self.palette.text if mark else self.palette.muted
            runs.append((fit(f"{mark}{text}", cells, right=True), style))
        return strip_of([*runs, ("  |Δ|", self.palette.muted)], width)

    def runs(self, index: int, width: int) -> Sequence[Run]:
        p = self.palette
        sequence = int(self.order[index])
        head = (f"{sequence:>{_NUMBER}}", p.text)
        pair = self.pair
        if pair is None or sequence >= pair.count:
            return [head, (fit("·", _VALUE, right=True), p.muted), (fit("·", _VALUE, right=True), p.muted)]
        value = p.muted if self.greyed else p.text
        start, stop = (int(x) for x in pair.sequences.offsets[sequence : sequence + 2])
        size = np.where(pair.scored[start:stop], np.abs(pair.delta[start:stop]), np.float32(0))
        return [
            head,
            (fit(number(float(pair.worst[sequence]), 3), _VALUE, right=True), value),
            (fit(number(float(pair.mean_abs[sequence]), 3), _VALUE, right=True), value),
            ("  " + sparkline(size, max(1, width - _NUMBER - 2 * _VALUE - 3), self._top), p.accent),
        ]
