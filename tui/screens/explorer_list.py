"""The list of sequences in the explorer: what it is sorted by, and which ones a filter
keeps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare import per_sequence
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.models.state import SORTS, ViewState
from logdrift.tui.screens.explorer_jobs import Filtered
from logdrift.tui.screens.explorer_moves import ExplorerMoves
from logdrift.tui.widgets.sequences import Listing

if TYPE_CHECKING:
    import numpy.typing as npt


class ExplorerList(ExplorerMoves, inherit_bindings=False):
    """Sorting and filtering."""

    def __init__(
        self, session: Session, view_state: ViewState, *, classes: str
    ) -> None:
        super().__init__(session, view_state, classes=classes)
        self._keep: npt.NDArray[np.bool_] | None = None

    def show_list(self) -> None:
        """List the sequences of the pair, the one under the cursor selected."""
        count, pair = len(self.session.sequences), self.pair
        sequence = self.sequence_at(self.position) if count else 0
        by = per_sequence.reduction(self.view_state.sort)
        values: npt.NDArray[Any] | None = None
        order = np.arange(count)
        if pair is not None and by.name != "number":
            values = by.values(pair, self.threshold)
            order = per_sequence.order(values, count, by.signed)
        text = ""
        if (
            self.view_state.filter
            and self._keep is not None
            and len(self._keep) == count
        ):
            order, text = order[self._keep[order]], self.view_state.filter
        self.sequences.show(
            Listing(
                pair,
                count,
                order,
                by.name,
                by.title,
                values,
                visible(text),
                self.greyed,
            ),
            sequence,
        )

    def action_sort(self) -> None:
        self.set_sort(SORTS[(SORTS.index(self.view_state.sort) + 1) % len(SORTS)])

    def set_sort(self, name: str) -> None:
        """List the sequences in another order."""
        self.view_state = replace(self.view_state, sort=name)
        self.show_list()
        words = per_sequence.reduction(name).words
        self.say(
            f"sequences by {words}" + ("" if name == "number" else ": largest first")
        )

    def action_filter(self) -> None:
        """Ask which sequences to list."""
        self.ask_line(
            "Filter",
            "text · #30010 · > with a token beyond the threshold · * with a mark ·"
            " nothing: all sequences",
            self.view_state.filter,
            self.set_filter,
            problem=self._id_problem,
            typed=lambda text: (
                self.work_out_filter(text, taken=False) if text else None
            ),
        )

    def set_filter(self, text: str) -> None:
        """List the sequences that a filter keeps; "" lists all."""
        self.view_state = replace(self.view_state, filter=text)
        if text:
            self.work_out_filter(text, taken=True)
        else:
            self._keep = None
            self.show_list()

    def refresh_filter(self) -> None:
        """What it keeps may have changed."""
        if self.view_state.filter:
            self.work_out_filter(self.view_state.filter, taken=True)

    def filtered(self, message: Filtered) -> None:
        """Count what was typed, or list what is kept."""
        count, total = int(np.count_nonzero(message.keep)), len(message.keep)
        if not message.taken:
            self.note(message.text, f"{count:,} of {total:,} sequences")
        elif message.text == self.view_state.filter:
            self._keep = message.keep
            self.show_list()
