"""The explorer: one pair of captures over the sequences of a session.

The screen owns all state; panes are told what to show. Threads are in `explorer_jobs`,
moves in `explorer_moves`, the list of sequences in `explorer_list`, colours in
`explorer_levels`, the earlier session in `explorer_before`; each builds on the one
before.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container
from textual.timer import Timer

from logdrift.core.charts.registry import index_of
from logdrift.core.compare.pair import Pair
from logdrift.core.compare.token_values import Stretch
from logdrift.core.numbers import number, signed
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.actions import commands
from logdrift.tui.bindings import bindings
from logdrift.tui.flow import FragmentCache
from logdrift.tui.models.answer import AnswerLine
from logdrift.tui.models.state import load_state, save_state
from logdrift.tui.modes import MODES
from logdrift.tui.screens.explorer_before import ExplorerBefore
from logdrift.tui.screens.explorer_jobs import SessionRead
from logdrift.tui.views import PairView, open_pair
from logdrift.tui.widgets.bars import AnswerBar, Header, Heading, Tabs
from logdrift.tui.widgets.charts.keys import ChartKeys
from logdrift.tui.widgets.charts.pane import ChartPane
from logdrift.tui.widgets.inspector import Inspector, Summary
from logdrift.tui.widgets.sequences import SequenceList
from logdrift.tui.widgets.tokens import Passage, Tokens

if TYPE_CHECKING:
    from logdrift.tui.inspection import Inspection
    from logdrift.tui.models.why import WhyView

PANES = (
    ("tokens", "Tokens"),
    ("sequences", "Sequences"),
    ("inspector", "Inspector"),
    ("chart", "Chart"),
)
_PANE_CLASSES = {f"-{name}" for name, _ in PANES}
WIDE, TALL = 120, 30
_DETAIL_DELAY = 0.04
"""Seconds the cursor must rest before inspector and chart follow: a held key then sends
the tokens alone.
"""


class ExplorerScreen(ExplorerBefore, ChartKeys, inherit_bindings=False):
    """Sequences, tokens, inspector and chart side by side; on a small terminal one at a
    time.
    """

    BINDINGS = bindings("explorer", "charts")
    SCOPES = ("explorer", "charts")
    AUTO_FOCUS = "#tokens"

    def __init__(
        self,
        session: Session,
        pair: tuple[str, str] | None = None,
        before: Path | None = None,
    ) -> None:
        saved, self._notice = load_state(session.manifest.id)
        super().__init__(
            session,
            replace(saved, pair=pair) if pair else saved,
            before=before,
            classes="-tokens",
        )
        self.pane = "tokens"
        self._fragments = FragmentCache(session.pieces)
        self._detail_timer: Timer | None = None
        self._order_by = 0

    def panes(self) -> ComposeResult:
        yield Header(id="header")
        yield AnswerBar(id="answer")
        yield Tabs(id="tabs")
        with Container(id="panes"):
            yield SequenceList(id="sequences")
            yield Tokens(id="tokens")
            yield Inspector(id="inspector")
        yield ChartPane(id="chart")
        yield AnswerBar(id="answer_rule", rule=True)
        yield Summary(id="summary")

    # ---- coming and going

    def on_mount(self) -> None:
        self._show_tabs()
        pair, self._problem = open_pair(self.session, self.view_state.pair)
        self._take(self.session, None if pair is None else PairView(pair))
        self.set_timer(self.LATER, self._start_work)
        if self._notice:
            self.say(self._notice, warn=True)

    def _start_work(self) -> None:
        self.want_numbers()
        self.watch_folder()
        if self.before is not None:
            self.compare_with(self.before, asked=True)

    def on_unmount(self) -> None:
        self._stop.set()
        save_state(self.session.manifest.id, self.view_state, self.marks_seen)

    def size_classes(self, width: int, height: int) -> None:
        super().size_classes(width, height)
        self.set_class(width < WIDE or height < TALL, "-narrow")
        self.set_class(height < TALL, "-low")
        self._to_front(
            self.pane
        )  # before the layout, which would take the focus from a pane that is hidden

    def draw(self) -> None:
        """Panes may have come into sight: they were not told anything while hidden."""
        self._show_heading()
        self._show_token()
        self.want_chart()

    def take_session(self, message: SessionRead) -> None:
        """Show a newer state of the folder."""
        if message.session is not self.session:
            self._fragments = FragmentCache(message.session.pieces)
        self._take(message.session, message.view)
        self.want_numbers()
        self.compare_again()

    def _take(self, session: Session, view: PairView | None) -> None:
        """Show a session and a pair of it, the cursor where it was."""
        self.session, self.view = session, view
        self.numbers, self._flips, self.change = None, None, None
        self._beyond.clear()
        if self.answer is not None and (
            view is None or view.labels != self.answer.labels
        ):
            self.answer = None
        total = session.sequences.tokens
        self.view_state = replace(
            self.view_state, position=max(0, min(self.position, total - 1))
        )
        self.sequence = -1
        self.show_list()
        self.go_to(self.position)
        self._show_heading()
        self.refresh_filter()

    def numbers_changed(self) -> None:
        """Verdict, statistics or numbers of the pair have come in."""
        self._show_heading()
        if self.greyed:
            self.show_list()
        if self.greyed or (self.numbers is not None and self.mode.name == "floor"):
            self.repaint_passage()
        elif self.tokens.passage is not None:
            self.tokens.show_legend(self.legend_now())
        self._show_token()

    # ---- showing

    def answer_changed(self) -> None:
        """The sentence on the pair has come in."""
        self._show_heading()

    def keep_explained(self, session: Session, found: WhyView) -> None:
        """Remember an explanation; what experiments have shown meanwhile is in its
        answer.
        """
        from logdrift.tui.models.answer import line_of

        super().keep_explained(session, found)
        if self.view is not None and self.view.labels == found.labels:
            self.answer = line_of(found.found.answer, found.pair)
            self._show_heading()

    def _show_answer(self) -> None:
        """The sentence above the text, or in the rule below it where the header has the
        gate's reason already.
        """
        keys = next(
            c.key_names(self.logdrift.keymap)
            for c in commands("explorer")
            if c.name == "why"
        )
        key = keys[0] if keys else ""
        answer = self.answer
        self.query_one("#answer", AnswerBar).show(answer or self._refusal(), key)
        said = answer is not None and not answer.says_more
        self.query_one("#answer_rule", AnswerBar).show(None if said else answer, key)

    def _refusal(self) -> AnswerLine | None:
        """What the answer begins with where the gate refuses the pair, as long as it is
        worked out.
        """
        if self.view is None or self.view.gate is None or self.view.comparable:
            return None
        words = visible(
            f"not comparable: {self.view.gate.reasons[0].text.rstrip('.')}."
        )
        return AnswerLine(
            labels=self.view.labels, sentence=words, meaning="bad", says_more=False
        )

    def going_changed(self) -> None:
        """How far a running capture is has changed."""
        self._show_heading()

    def _show_heading(self) -> None:
        view, sequences, numbers = self.view, self.session.sequences, self.numbers
        share, left = self._how_far()
        gate = view.gate if view is not None else None
        self._show_answer()
        problems = [self._problem] if self._problem else []
        for info in self.session.captures:
            if info.status == "failed":
                reason = (info.failure_lines or ["no reason given"])[-1]
                problems.append(visible(f"✗ {info.label} failed: {reason}  (L: log)"))
        self.query_one("#header", Header).show(
            Heading(
                visible(self.session.name),
                len(sequences),
                sequences.tokens,
                None if view is None else view.labels,
                None if gate is None else gate.verdict,
                self._reason() if self.has_class("-low") else None,
                None if view is None or view.stats is None else view.stats.mae,
                (
                    (view.stats.infinite or 0)
                    if view is not None and view.stats is not None
                    else 0
                ),
                share,
                self._state,
                tuple(problems[:3]),
                numbers.k3 if numbers is not None else None,
                numbers.ess if numbers is not None else None,
                numbers.floor if numbers is not None else None,
                numbers is not None,
                left,
                (
                    int(np.count_nonzero(view.pair.broken))
                    if view is not None and gate is not None
                    else 0
                ),
            )
        )

    def _reason(self) -> str | None:
        """Why the gate refuses the pair: with few lines in the header, with more of
        them the answer begins with it.
        """
        gate = self.view.gate if self.view is not None else None
        return (
            visible(gate.reasons[0].text)
            if gate is not None and gate.verdict == "not_comparable"
            else None
        )

    def _how_far(self) -> tuple[float | None, str]:
        """The share of the capture that is done, 0 to 1, and in words how long the rest
        of a running one takes.
        """
        if self._state == "complete":
            return 1.0, ""
        from logdrift.core.numbers import duration
        from logdrift.core.session.progress import progress

        if self.going is None:
            return progress(self.session), ""
        return self.going.share, (
            "" if self.going.left is None else duration(self.going.left)
        )

    def _show_tabs(self) -> None:
        self.query_one("#tabs", Tabs).show(PANES, self.pane)

    def _want_details(self) -> None:
        if self._detail_timer is not None:
            self._detail_timer.stop()
        self._detail_timer = self.set_timer(_DETAIL_DELAY, self._show_token)

    def _show_token(self) -> None:
        """Inspector and summary, whichever is seen."""
        if not self.session.sequences.tokens:
            return
        inspector, summary = self.query_one(Inspector), self.query_one(Summary)
        if inspector.display or summary.display:
            found = self.inspection()
            level = self._level()
            for pane in (inspector, summary):
                if pane.display:
                    pane.show(found, level, self.greyed)
        self.chart.set_cursor(self.position)

    def inspection(self) -> Inspection:
        """The token under the cursor."""
        # Not needed for the first screen.
        from logdrift.tui.inspection import inspect

        mark = self.mark_at(self.position)
        floors = self.numbers.floors if self.numbers is not None else None
        note = mark.note if mark is not None else None
        return inspect(
            self.session,
            self.pair,
            self.position,
            by=self._order_by,
            floors=floors,
            mark=note,
        )

    def _level(self) -> int:
        """The step of the token's delta in the colours of delta, whatever the text is
        coloured by.
        """
        pair, position = self.pair, self.position
        if pair is None or position >= pair.tokens:
            return 0
        return int(
            MODES[0].levels(Stretch(pair, position, position + 1), self.threshold)[0]
        )

    def want_chart(self) -> None:
        """Have the chart of what is shown now."""
        if self.sequence >= 0:
            self.chart.show(
                self.session,
                self.pair,
                self.sequence,
                self.threshold,
                self.position,
                self.change,
            )

    def go_to(self, position: int) -> None:
        """Put the cursor on a flat position, wherever it is."""
        total = self.session.sequences.tokens
        if not total:
            return
        position = max(
            0, min(position, total - 1)
        )  # what was found in an older, longer state of the folder
        sequence = self.sequence_at(position)
        start, _ = self.session.sequences.bounds(sequence)
        self.view_state = replace(self.view_state, position=position)
        if sequence != self.sequence:
            self.sequence = sequence
            self._show_passage(position - start)
            place = self.sequences.place_of(sequence)
            if place >= 0:
                self.sequences.select(place)
            self.want_chart()
        else:
            self.tokens.move_to(position - start)
        self._want_details()

    def _show_passage(self, cursor: int) -> None:
        sequences, pair, mode = self.session.sequences, self.pair, self.mode
        start, stop = sequences.bounds(self.sequence)
        prompt = int(sequences.prompt_lengths[self.sequence])
        marks = np.zeros(stop - start, np.int8)
        aside = "no scores"
        if (
            pair is not None
            and self.sequence < pair.count
            and (pair.scored | pair.broken)[start:stop].any()
        ):
            if self.missing() is None:
                marks = mode.levels(
                    self.stretch(pair, start, stop), self.level_threshold
                )
            aside = (
                f"{np.count_nonzero(marks)} beyond {mode.step(self.level_threshold)}"
            )
        title = f"Sequence {self.sequence} · {stop - start} tokens ({prompt} prompt)"
        notes = frozenset(
            mark.position - start
            for mark in self.view_state.marks
            if start <= mark.position < stop
        )
        self.tokens.show(
            Passage(
                self.sequence,
                f"{title}\t{aside}",
                sequences.token_ids[start:stop],
                prompt,
                marks,
                self._fragments,
                self.legend_now(),
                self.found_mask(start, stop),
                notes,
                self.greyed,
            ),
            cursor,
        )

    def repaint_passage(self) -> None:
        """What is shown of the sequence has changed."""
        if self.sequence >= 0:
            self._show_passage(self.tokens.cursor)
            self._want_details()
            self.want_chart()

    # ---- messages of the panes

    @on(Tokens.CursorMoved)
    def _on_cursor_moved(self, message: Tokens.CursorMoved) -> None:
        # Where the cursor is now: a key that came meanwhile may have shown another
        # sequence.
        start, _ = self.session.sequences.bounds(self.sequence)
        self.view_state = replace(self.view_state, position=start + self.tokens.cursor)
        self._want_details()
        self.say("")

    def show_change(self) -> None:
        """Bring the chart of the change to where it is seen."""
        self.action_chart(index_of("change"))

    def show_chart(self) -> None:
        """Bring the chart to where it is seen."""
        if not self.chart.display:
            self.action_pane("chart")

    def action_zoom_chart(self) -> None:
        """The chart on the whole screen."""
        from logdrift.tui.screens.chart import ChartScreen

        if self.chart.source is not None:
            self.app.push_screen(ChartScreen(self.chart))

    @on(ChartPane.CursorWanted)
    def _on_chart_cursor(self, message: ChartPane.CursorWanted) -> None:
        self.say("")
        self.go_to(message.position)

    @on(ChartPane.TokensWanted)
    def _on_chart_left(self, message: ChartPane.TokensWanted) -> None:
        self.to_tokens()

    @on(Tabs.Picked)
    def _on_tab_picked(self, message: Tabs.Picked) -> None:
        self.action_pane(message.name)

    # ---- commands

    def take_pair(self, pair: Pair) -> None:
        """Show another pair, and keep to it from now on."""
        self.view_state = replace(
            self.view_state, pair=(pair.a.info.label, pair.b.info.label)
        )
        self._problem = None
        self._take(self.session, PairView(pair))
        self.want_numbers()
        self.compare_again()

    def action_order(self) -> None:
        """The alternatives in the order of the next side."""
        if not self.session.sequences.tokens:
            return
        found = self.inspection()
        if found.columns:
            self._order_by = (found.by + 1) % min(2, len(found.columns))
            self._show_token()
            self.say(
                f"alternatives in the order of {visible(found.columns[self._order_by])}"
            )

    def action_copy(self) -> None:
        if not self.session.sequences.tokens:
            return
        found = self.inspection()
        cells = [
            f"seq {found.sequence}",
            f"pos {found.index}",
            f"id {found.token_id}",
            repr(found.text),
        ]
        cells += [
            f"{row.label} {number(row.logprob)} rank {row.rank}"
            for row in found.captures
            if row.logprob is not None
        ]
        if found.delta is not None:
            cells.append(f"delta {signed(found.delta)}")
        self.say(self.logdrift.copy_text("  ".join(cells)))

    def action_pane(self, name: str) -> None:
        """Show a pane and give it the keys."""
        self._to_front(name)
        self.query_one(f"#{name}").focus()

    def to_tokens(self) -> None:
        """Give the keys to the text."""
        self.action_pane("tokens")

    def _to_front(self, name: str) -> None:
        """On a narrow screen one pane is seen at a time; on a wide one nothing has to
        change.
        """
        self.pane = name
        if self.has_class("-narrow") and not self.has_class(f"-{name}"):
            self.set_classes(
                [*(c for c in self.classes if c not in _PANE_CLASSES), f"-{name}"]
            )
            self._show_tabs()
            self.call_after_refresh(self.draw)

    def action_next_pane(self) -> None:
        self._step_pane(1)

    def action_previous_pane(self) -> None:
        self._step_pane(-1)

    def _step_pane(self, step: int) -> None:
        names = [name for name, _ in PANES]
        self.action_pane(names[(names.index(self.pane) + step) % len(names)])

    @on(events.DescendantFocus)
    def _on_pane_focus(self, event: events.DescendantFocus) -> None:
        name = event.widget.id or ""
        if f"-{name}" in _PANE_CLASSES:
            self._to_front(name)
