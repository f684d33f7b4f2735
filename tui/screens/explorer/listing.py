"""The list of sequences: what it is sorted by, and which ones a filter keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.compare import per_sequence
from logdrift.core.numbers import counted
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.jobs import Jobs, SequencesKept
from logdrift.tui.screens.explorer.panes import PaneGroup

if TYPE_CHECKING:
    from logdrift.tui.widgets.reading import Row


class SequenceOrder:
    """The commands that sort and filter the list."""

    def __init__(
        self, explorer: Explorer, panes: PaneGroup, dialogue: Dialogue, jobs: Jobs
    ) -> None:
        self._explorer = explorer
        self._panes = panes
        self._dialogue = dialogue
        self._jobs = jobs

    # ---- sorting

    def next_sort(self) -> None:
        """Sort by the next number."""
        name = self._explorer.next_sort()
        self.sort_by(name)

    def choose_sort(self) -> None:
        """List what sequences can be sorted by."""
        from logdrift.tui.screens.texts import Picker

        palette = self._dialogue.palette
        reductions = per_sequence.REDUCTIONS
        names = [reduction.name for reduction in reductions]

        def row(index: int, width: int) -> Row:
            reduction = reductions[index]
            name = fit(reduction.name, 10)
            room = max(1, width - 11)
            words = fit(reduction.words, room)
            return [(f" {name}", palette.strong), (words, palette.muted)]

        def chosen(index: int) -> None:
            self.sort_by(names[index])

        state = self._explorer.state
        start = names.index(state.sort)
        picker = Picker("Sort sequences by", "", len(names), row, start)
        self._dialogue.choose(picker, chosen)

    def sort_by(self, name: str) -> None:
        """List the sequences in another order."""
        self._explorer.set_sort(name)
        self._panes.show_list()
        self._panes.sequences.scroll_top(0)  # the first rows are what was asked for
        reduction = per_sequence.reduction(name)
        words = f"sequences by {reduction.words}"
        if name != "number":
            words += ": largest first"
        self._dialogue.say(words)

    # ---- filtering

    def ask_filter(self) -> None:
        """Ask which sequences to list; those kept are counted while typing."""
        from logdrift.tui.models.filters import filter_problem

        self._dialogue.ask_line(
            "Filter",
            "text · #30010 · > divergent · >0.3 · <-0.2 · mean>0.05 · * marked"
            " · empty: all",
            self._explorer.state.filter,
            self.filter_by,
            problem=filter_problem,
            typed=self._count,
            history="filter",
        )

    def _count(self, text: str) -> None:
        from logdrift.tui.models.filters import filter_problem

        if text and not filter_problem(text):
            self._jobs.filter(text, entered=False)

    def filter_by(self, text: str) -> None:
        """List the sequences that a filter keeps; "" lists all.

        A filter of an older version that is none today is said and removed.
        """
        if text:
            from logdrift.tui.models.filters import filter_problem

            problem = filter_problem(text)
            if problem:
                self._dialogue.warn(problem)
                text = ""
        self._explorer.set_filter(text)
        if text:
            self._jobs.filter(text, entered=True)
        else:
            self._panes.show_list()

    def filter_again(self) -> None:
        """Filter again, because what the filter keeps may have changed."""
        text = self._explorer.state.filter
        if text:
            self.filter_by(text)

    def filtered(self, message: SequencesKept) -> None:
        """Show how many sequences a filter keeps, or list them."""
        keep = message.keep
        count = int(np.count_nonzero(keep))
        if not message.entered:
            words = f"{count:,} of {counted(len(keep), 'sequence')}"
            self._dialogue.note(message.text, words)
        elif self._explorer.take_filter(message.text, keep):
            self._panes.show_list()
            if not count:
                text = visible(message.text)
                self._dialogue.warn(f"no sequence has {text}  (Esc removes the filter)")

    def threshold_changed(self) -> None:
        """List again where the order or the filter depends on the threshold."""
        state = self._explorer.state
        if state.sort == "beyond":
            self._explorer.list_again()
            self._panes.show_list()
        if state.filter:
            self.filter_again()  # it may ask for what is beyond the threshold
