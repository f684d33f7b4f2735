"""The explorer's screen: holds the model and its parts, binds keys, takes messages."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container

from logdrift.core.charts.registry import index_of
from logdrift.core.compare.pair import Pair
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.actions import commands
from logdrift.tui.bindings import bindings
from logdrift.tui.models.answer_parts import ANSWER_ACTIONS
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.pairs import PairView, open_pair
from logdrift.tui.models.state import load_state
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.keys import ExplorerKeys
from logdrift.tui.screens.explorer.panes import PaneGroup
from logdrift.tui.screens.origin import Labels
from logdrift.tui.widgets.answer_bar import AnswerBar
from logdrift.tui.widgets.charts.pane import ChartPane
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.sequences import SequenceList
from logdrift.tui.widgets.tokens import Tokens

if TYPE_CHECKING:
    from logdrift.tui.models.command_line import WordTaker
    from logdrift.tui.models.levels import Levels
    from logdrift.tui.models.why import WhyView
    from logdrift.tui.screens.explorer.earlier import (
        ChangeFailed,
        ChangeFound,
        EarlierSession,
    )
    from logdrift.tui.screens.explorer.following import ProgressRead, SessionRead
    from logdrift.tui.screens.explorer.jobs import (
        Answered,
        Counted,
        FlipsFound,
        NumbersMeasured,
        Searched,
        SequencesKept,
        VerdictReached,
    )

_FOR_A_PAIR = frozenset(
    {
        "limits",
        "why",
        "worst",
        "smaller",
        "larger",
        "next_divergence",
        "previous_divergence",
        "threshold",
        "threshold_up",
        "threshold_down",
    }
)
"""The commands that need a pair."""


class ExplorerScreen(ExplorerKeys, inherit_bindings=False):
    """Sequences, tokens, inspector and chart; on a small terminal one at a time."""

    BINDINGS = bindings("explorer", "charts")
    SCOPES = ("explorer", "charts")
    AUTO_FOCUS = "#tokens"

    def __init__(
        self,
        session: Session,
        pair: Labels | None = None,
        before: Path | None = None,
        front: str = "",
        place: tuple[int, int] | None = None,
    ) -> None:
        """``before`` is an earlier session to compare with, ``place`` a sequence and an
        index in it for the cursor. ``front`` names the action of a screen to open over
        this one: it leads back to where the reader came from, past this one.
        """
        self._front = front
        self._is_passed_through = False
        state, self._notice = load_state(session.manifest.id)
        if pair:
            state = state._replace(pair=pair)
        if place is not None:
            sequence, index = place
            start, _ = session.sequences.bounds(sequence)
            position = start + index
            state = state._replace(position=position)
        model = Explorer(session, state)
        panes = PaneGroup(model, self._count, self._answer_keys)
        super().__init__(panes.chart, panes.tabs)
        self.model = model
        self.pane_group = panes
        self.tokens = panes.tokens
        self.sequences = panes.sequences
        self.dialogue = Dialogue(self)
        self._before = before
        self.added: tuple[str, ...] = ()
        """Backends that were added: their pair is shown once they are captured."""

    @cached_property
    def earlier(self) -> EarlierSession:
        """The comparison with an earlier session."""
        from logdrift.tui.screens.explorer.earlier import EarlierSession

        return EarlierSession(
            self,
            self.model,
            self.pane_group,
            self.dialogue,
            folder=self._before,
            sessions_dir=lambda: self.logdrift.sessions_dir,
            show_change=self._show_change_chart,
        )

    # ---- what other screens and the application ask of it

    @property
    def session(self) -> Session:
        return self.model.session

    @property
    def view(self) -> PairView | None:
        return self.model.view

    @property
    def position(self) -> int:
        """Flat index of the token under the cursor."""
        return self.model.position

    @property
    def threshold(self) -> float:
        """What counts as divergent, nats: the help explains the colours with it."""
        return self.model.threshold

    def applies(self, name: str) -> bool:
        has_pair = self.model.pair is not None
        return super().applies(name) and (has_pair or name not in _FOR_A_PAIR)

    def word_takers(self) -> dict[str, WordTaker]:
        from logdrift.tui.screens.explorer.typed import explorer_takers

        return explorer_takers(
            self.model,
            listing=self.listing,
            colours=self.colours,
            divergent=self.divergent,
            search=self.search,
            show_chart=self.action_chart,
            open_pair=self._open_pair,
        )

    def _open_pair(self, labels: Labels) -> None:
        screens = self.other_screens
        screens.open_pair(labels, self.take_pair)

    def jump(self, position: int) -> None:
        """Put the cursor on a token; one key goes back."""
        self._is_passed_through = False
        self.moves.jump(position)

    def take_pair(self, pair: Pair) -> None:
        """Show another pair, and save it as the one to open next time."""
        self.model.keep_pair(pair)
        self._show_model()
        self.judging.want()
        self.earlier.compare_again()

    def explained(self, session: Session, labels: Labels) -> WhyView | None:
        """The explanation of a pair that was worked out for this state of the
        folder.
        """
        return self.model.explained(session, labels)

    def keep_explained(self, session: Session, explanation: WhyView) -> None:
        """Remember an explanation, and show its answer.

        The answer knows of experiments that have run since the pair was judged.
        """
        from logdrift.tui.models.answer import line_of

        model = self.model
        model.keep_explained(session, explanation)
        if model.labels == explanation.labels:
            pair = explanation.pair
            answer = explanation.found.answer
            model.answer = line_of(answer, pair)
            self.pane_group.show_heading()

    # ---- coming, going and drawing

    def panes(self) -> ComposeResult:
        panes = self.pane_group
        yield panes.header
        yield panes.answer
        yield panes.tabs
        with Container(id="panes"):
            yield panes.sequences
            yield panes.tokens
            yield panes.inspector
        yield panes.chart
        yield panes.summary

    def on_mount(self) -> None:
        self.pane_switch.show_tabs()
        model = self.model
        session = model.session
        pair, problem = open_pair(session, model.state.pair)
        model.problem = problem
        view = None
        if pair is not None:
            view = PairView(pair)
        model.take(session, view)
        self._show_model()
        if self.added:
            self._look_for_added()
        self.set_timer(self.LATER, self._start_work)
        if self._notice:
            self.warn(self._notice)
        if self._front:
            action = f"action_{self._front}"
            open_screen = getattr(self, action)
            open_screen()
            self.call_later(self._pass_through)

    # ---- opened for the sake of a screen on it

    def _pass_through(self) -> None:
        """A screen opened over this one at once: it leads back to where it came
        from.
        """
        front = self.app.screen
        self._is_passed_through = front is not self

    @on(events.ScreenResume)
    def _on_screen_left(self) -> None:
        if self._is_passed_through:
            self.dismiss()

    def _start_work(self) -> None:
        self.judging.want()
        self.folder_watch.start()
        self.earlier.compare_again(asked=True)

    def on_unmount(self) -> None:
        self.folder_watch.stop()

    def size_classes(self, width: int, height: int) -> None:
        super().size_classes(width, height)
        self.pane_switch.fit_size(width, height)

    def draw(self) -> None:
        """Draw the panes that have come into sight: hidden ones are not kept up to
        date.
        """
        panes = self.pane_group
        panes.show_heading()
        panes.show_token()
        panes.show_chart()

    def recoloured(self) -> None:
        self.pane_group.show_passage()

    def _show_model(self) -> None:
        """Another session or pair is looked at."""
        panes = self.pane_group
        panes.change = None
        panes.show_all()
        if self.model.state.filter:
            self.listing.filter_again()
        if self.is_mounted:  # a screen that opens shows them itself
            self.show_hints()

    def _answer_keys(self) -> dict[str, str]:
        """The keys of the commands that parts of the answer lead to, by action."""
        keymap = self.logdrift.keymap
        keys: dict[str, str] = {}
        for command in commands("explorer"):
            if command.action in ANSWER_ACTIONS:
                names = command.key_names(keymap)
                keys[command.action] = next(iter(names), "")
        return keys

    def _count(self, levels: Levels) -> None:
        self.jobs.count(levels)

    # ---- messages of threads: each reaches the method of its name, because its class
    # is imported after the first screen

    def _on_session_read(self, message: SessionRead) -> None:
        model = self.model
        progress = message.progress
        model.progress = progress
        model.problem = message.problem
        if progress != "running":
            model.live = None
        before = model.labels
        model.take(message.session, message.view)
        self._show_model()
        self._say_other_pair(before)
        self.judging.want()
        self.earlier.compare_again()
        if self.added:
            self._look_for_added()

    def _say_other_pair(self, before: Labels | None) -> None:
        """A running capture may bring a pair that says more than the one so far."""
        labels = self.model.labels
        if before is None or labels is None or labels == before:
            return
        names = " → ".join(labels)
        self.say(f"compared now: {visible(names)}")

    def _on_progress_read(self, message: ProgressRead) -> None:
        model = self.model
        if message.live != model.live:
            model.live = message.live
            self.pane_group.show_heading()

    def _on_verdict_reached(self, message: VerdictReached) -> None:
        model = self.model
        view = message.view
        if view.pair is model.pair:
            model.view = view
            self.pane_group.show_numbers()

    def _on_numbers_measured(self, message: NumbersMeasured) -> None:
        self.judging.measured(message)
        model = self.model
        if message.pair is model.pair:
            model.numbers = message.numbers
            self.pane_group.show_numbers()

    def _on_answered(self, message: Answered) -> None:
        self.judging.answered(message)
        model = self.model
        line = message.line
        # While a pair grows, an answer is shown until there is one of a longer state.
        if line.labels == model.labels:
            model.answer = line
            self.pane_group.show_heading()

    def _on_counted(self, message: Counted) -> None:
        model = self.model
        if message.pair is model.pair:
            model.counts.keep(message.key, message.positions)
            self.pane_group.show_legend()

    def _on_flips_found(self, message: FlipsFound) -> None:
        model = self.model
        if message.pair is model.pair:
            model.flips = message.positions
            self.moves.flips_found()

    def _on_searched(self, message: Searched) -> None:
        self.search.ended(message)

    def _on_sequences_kept(self, message: SequencesKept) -> None:
        self.listing.filtered(message)

    def _on_change_found(self, message: ChangeFound) -> None:
        self.earlier.found(message)

    def _on_change_failed(self, message: ChangeFailed) -> None:
        self.earlier.failed(message)

    # ---- messages of panes

    @on(Tokens.CursorMoved)
    def _on_cursor_moved(self, message: Tokens.CursorMoved) -> None:
        # Not the message's index: a key that came meanwhile may have moved the cursor.
        model = self.model
        start, _ = model.bounds
        position = start + self.tokens.cursor
        model.place(position)
        self.pane_group.show_token_soon()
        self.say("")

    @on(Tokens.EdgePassed)
    def _on_edge_passed(self, message: Tokens.EdgePassed) -> None:
        step = message.step
        backwards = step < 0
        self.moves.next_sequence(step, at_end=backwards)

    @on(Tokens.Labelled)
    def _on_labelled(self, message: Tokens.Labelled) -> None:
        self.moves.to_labelled(message.index)

    @on(Tokens.WholeWanted)
    def _on_whole_wanted(self) -> None:
        self.pane_switch.zoom("inspector")

    @on(Tokens.MarkWanted)
    def _on_mark_wanted(self) -> None:
        self.marks.toggle()

    @on(SequenceList.SortWanted)
    def _on_head_clicked(self, message: SequenceList.SortWanted) -> None:
        self.listing.sort_by(message.sort)

    @on(Rows.Moved, "#sequences")
    @on(Rows.Chosen, "#sequences")
    def _on_sequence(self, message: Rows.Moved | Rows.Chosen) -> None:
        index = message.index
        if index >= len(self.model.listing):
            return  # a filter has made the list shorter meanwhile
        self.moves.to_listed(index)
        if isinstance(message, Rows.Chosen):
            self.to_tokens()

    @on(ChartPane.CursorWanted)
    def _on_chart_cursor(self, message: ChartPane.CursorWanted) -> None:
        self.say("")
        self.moves.go_to(message.position)

    @on(ChartPane.TokensWanted)
    def _on_chart_left(self, message: ChartPane.TokensWanted) -> None:
        self.to_tokens()

    @on(AnswerBar.PartPicked)
    async def _on_answer_picked(self, message: AnswerBar.PartPicked) -> None:
        await self.run_action(message.action)

    def _show_change_chart(self) -> None:
        chart = index_of("change")
        self.action_chart(chart)

    def action_end_search(self) -> None:
        """Esc ends the zoom, then the search, then removes the filter."""
        if not self.pane_switch.end_zoom():
            super().action_end_search()

    # ---- keys: other pairs, sessions and screens

    def action_pair(self) -> None:
        self.other_screens.choose_pair(self.take_pair)

    def action_add_backend(self) -> None:
        self.other_screens.add_backend(self._await_added)

    def _await_added(self, names: tuple[str, ...]) -> None:
        self.added = names

    def _look_for_added(self) -> None:
        """Show the pair of the backends that were added, once they are captured."""
        if self.other_screens.show_added(self.added, self.take_pair):
            self.added = ()

    def action_before(self) -> None:
        self.earlier.choose()

    def action_matrix(self) -> None:
        self.other_screens.open_matrix(self)

    def action_facts(self) -> None:
        self.other_screens.open_facts()

    def action_limits(self) -> None:
        self.other_screens.open_limits()

    def action_why(self) -> None:
        self.other_screens.open_why(self)

    def action_worst(self) -> None:
        screens = self.other_screens
        screens.open_worst(self, self.jobs.filter_input)

    def action_report(self) -> None:
        self.other_screens.open_report()

    def action_save_page(self) -> None:
        """Save the HTML report of the session, with this pair in full."""
        from logdrift.tui.screens.save_page import save_page

        model = self.model
        folder = self.session.folder
        marks = model.state.marks
        save_page(self, folder, model.labels, marks)

    def action_log(self) -> None:
        self.other_screens.open_log()
