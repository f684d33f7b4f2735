"""The panes of the explorer, and what each of them shows of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from textual.timer import Timer

from logdrift.tui.models.answer_parts import answer_parts
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.heading import heading_of
from logdrift.tui.models.levels import Levels
from logdrift.tui.models.passage import passage_of
from logdrift.tui.widgets.answer_bar import AnswerBar
from logdrift.tui.widgets.bars import Header, Tabs
from logdrift.tui.widgets.charts.pane import ChartPane
from logdrift.tui.widgets.inspector import Inspector, Summary
from logdrift.tui.widgets.sequences import SequenceList
from logdrift.tui.widgets.tokens import Tokens

if TYPE_CHECKING:
    from logdrift.core.charts.data import ChangeData

_DETAIL_DELAY = 0.04
"""Seconds for which the cursor must rest before inspector and chart follow.

While a key is held, only the tokens are repainted.
"""


class PaneGroup:
    """Shows an `Explorer`: code that changes it calls the ``show_`` of what has
    changed.

    ``count_apart`` counts the tokens beyond a threshold in a thread; ``answer_keys``
    gives the keys of the commands that parts of the answer lead to.
    """

    def __init__(
        self,
        explorer: Explorer,
        count_apart: Callable[[Levels], object],
        answer_keys: Callable[[], Mapping[str, str]],
    ) -> None:
        self.explorer = explorer
        self._count_apart = count_apart
        self._answer_keys = answer_keys
        self.header = Header(id="header")
        self.answer = AnswerBar(id="answer")
        self.tabs = Tabs(id="tabs")
        self.sequences = SequenceList(id="sequences")
        self.tokens = Tokens(id="tokens")
        self.inspector = Inspector(id="inspector")
        self.chart = ChartPane(id="chart")
        self.summary = Summary(id="summary")
        self.change: ChangeData | None = None
        """The comparison with an earlier session, for the chart of the change."""
        self._sequence = -1
        self._token_timer: Timer | None = None

    def show_all(self) -> None:
        """Another session or pair is looked at."""
        self._sequence = -1
        self.show_list()
        self.follow_cursor()
        self.show_heading()

    # ---- the cursor and its token

    def follow_cursor(self) -> None:
        """The model's cursor has moved: tokens and list at once, the rest soon."""
        explorer = self.explorer
        if explorer.sequence < 0:
            return
        if explorer.sequence == self._sequence:
            self.tokens.move_to(explorer.index)
        else:
            self._show_sequence()
        self.show_token_soon()

    def _show_sequence(self) -> None:
        sequence = self.explorer.sequence
        self._sequence = sequence
        self._show_passage(self.explorer.index)
        place = self.sequences.place_of(sequence)
        if place >= 0:
            self.sequences.select(place)
        self.show_chart()

    def show_token_soon(self) -> None:
        """`show_token`, once the cursor rests."""
        if self._token_timer is not None:
            self._token_timer.stop()
        self._token_timer = self.tokens.set_timer(_DETAIL_DELAY, self.show_token)

    def show_token(self) -> None:
        """Show the token under the cursor in the inspector or the summary."""
        explorer = self.explorer
        if not explorer.session.sequences.tokens:
            return
        panes = (self.inspector, self.summary)
        seen = [pane for pane in panes if pane.display]
        if seen:
            inspection = explorer.inspection()
            level = explorer.delta_level()
            for pane in seen:
                pane.show(inspection, level, explorer.greyed)
        self.chart.set_cursor(explorer.position)

    # ---- the text

    def show_passage(self) -> None:
        """What is shown of the sequence has changed: its colours, marks or matches."""
        if self._sequence >= 0:
            self._show_passage(self.tokens.cursor)
            self.show_token_soon()
            self.show_chart()
            self.show_answer()

    def _show_passage(self, cursor: int) -> None:
        self._count_if_slow()
        passage = passage_of(self.explorer)
        self.tokens.show(passage, cursor)

    def show_legend(self) -> None:
        """The count of the tokens with a level has changed."""
        if self.tokens.passage is not None:
            self._count_if_slow()
            legend = self.explorer.legend()
            self.tokens.show_legend(legend)

    def _count_if_slow(self) -> None:
        levels = self.explorer.levels
        if self.explorer.judged and levels.slow:
            self._count_apart(levels)

    # ---- everything else

    def show_list(self) -> None:
        """The list of sequences, the one under the cursor selected."""
        explorer = self.explorer
        selected = max(0, explorer.sequence)
        self.sequences.show(explorer.listing, selected)
        self.tokens.show_below()
        self.show_chart()

    def show_chart(self) -> None:
        """The chart of what is shown now."""
        explorer = self.explorer
        if explorer.sequence >= 0:
            self.chart.show(
                session=explorer.session,
                pair=explorer.pair,
                sequence=explorer.sequence,
                threshold=explorer.threshold,
                position=explorer.position,
                change=self.change,
                order=explorer.listing.chosen_order,
            )

    def show_numbers(self) -> None:
        """The verdict, the statistics or the numbers of the pair have come in."""
        explorer = self.explorer
        self.show_heading()
        if explorer.greyed:
            explorer.list_again()
            self.show_list()
        by_floor = explorer.mode.name == "floor"
        floor_came = by_floor and explorer.numbers is not None
        if explorer.greyed or floor_came:
            self.show_passage()
        else:
            self.show_legend()
        self.show_token()

    def show_heading(self) -> None:
        """The lines above the panes: header and answer."""
        self.show_answer()
        heading = heading_of(self.explorer)
        self.header.show(heading)

    def show_answer(self) -> None:
        """The parts of the answer: the threshold is one of them."""
        keys = self._answer_keys()
        parts = answer_parts(self.explorer)
        self.answer.show(parts, keys)
