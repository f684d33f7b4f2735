"""The explorer: one pair of captures over the sequences of a session.

The screen owns all state; panes are told what to show. Slow work runs in threads that post a message in the past tense
(`SessionRead`, `Judged`, `ChartDrawn`), and only handlers change anything.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.timer import Timer
from textual.worker import get_current_worker

from core.compare.pair import Pair
from core.errors import LogdriftError
from core.session.reader import Session
from core.session.visible import visible
from tui.actions import bindings
from tui.flow import FragmentCache
from tui.glyphs import number, percent, signed
from tui.palette import levels
from tui.screens.asking import AskingScreen
from tui.screens.base import TooSmall
from tui.state import SORTS, THRESHOLDS, ViewState, load_state, save_state
from tui.views import Inspection, PairView, inspect, judged, open_pair, progress
from tui.widgets.bars import Header, Heading, Hints, Tabs
from tui.widgets.charts import Chart, ChartPane, DeltaSeries, draw_delta
from tui.widgets.inspector import Inspector, Summary
from tui.widgets.rows import Rows
from tui.widgets.sequences import SequenceList
from tui.widgets.tokens import Passage, Tokens

PANES = (("tokens", "Tokens"), ("sequences", "Sequences"), ("inspector", "Inspector"), ("chart", "Chart"))
_PANE_CLASSES = {f"-{name}" for name, _ in PANES}
WIDE, TALL = 120, 30
POLL_SECONDS = 1.0
_CHART_DELAY = 0.08
_DETAIL_DELAY = 0.04
"""Seconds the cursor must rest before inspector and chart follow: a held key then sends the tokens alone."""


@dataclass
class SessionRead(Message):
    """A newer state of the session folder was read."""

    session: Session
    view: PairView | None
    state: str
    problem: str | None


@dataclass
class Judged(Message):
    """Statistics and verdict of a pair are there."""

    view: PairView


@dataclass
class ChartDrawn(Message):
    """A chart was built."""

    key: tuple[object, ...]
    chart: Chart


@dataclass
class WorkFailed(Message):
    """A thread could not do its work."""

    text: str


class ExplorerScreen(AskingScreen, inherit_bindings=False):
    """Sequences, tokens, inspector and chart side by side; on a small terminal one at a time."""

    BINDINGS = bindings("explorer")
    SCOPES = ("explorer",)
    AUTO_FOCUS = "#tokens"

    def __init__(self, session: Session, pair: tuple[str, str] | None = None) -> None:
        super().__init__(id="explorer", classes="-tokens")
        self.session = session
        saved, self._notice = load_state(session.manifest.id)
        self.view_state: ViewState = replace(saved, pair=pair) if pair else saved
        self.view: PairView | None = None
        self.sequence = -1
        self.pane = "tokens"
        self._state: str = session.state
        self._problem: str | None = None
        self._fragments = FragmentCache(session.pieces)
        self._chart_key: tuple[object, ...] = ()
        self._chart_timer: Timer | None = None
        self._detail_timer: Timer | None = None
        self._stop = threading.Event()

    def compose(self) -> ComposeResult:
        # Known before the first layout, or it would be done twice.
        super().size_classes(*self.app.size)
        self.set_class(self.app.size.width < WIDE or self.app.size.height < TALL, "-narrow")
        yield Header(id="header")
        yield Tabs(id="tabs")
        with Container(id="panes"):
            yield SequenceList(id="sequences")
            yield Tokens(id="tokens")
            yield Inspector(id="inspector")
        yield ChartPane(id="chart")
        yield Summary(id="summary")
        yield Hints(id="hints")
        yield TooSmall(id="toosmall")

    # ---- parts and short forms

    @property
    def tokens(self) -> Tokens:
        return self.query_one("#tokens", Tokens)

    @property
    def sequences(self) -> SequenceList:
        return self.query_one("#sequences", SequenceList)

    @property
    def chart(self) -> ChartPane:
        return self.query_one("#chart", ChartPane)

    @property
    def position(self) -> int:
        """Flat index of the token under the cursor."""
        return self.view_state.position

    @property
    def greyed(self) -> bool:
        return self.view is not None and not self.view.comparable

    # ---- coming and going

    def on_mount(self) -> None:
        self.show_hints()
        self._show_tabs()
        pair, self._problem = open_pair(self.session, self.view_state.pair)
        self._take(self.session, None if pair is None else PairView(pair))
        self.set_timer(self.LATER, self._start_work)
        if self._notice:
            self.say(self._notice, warn=True)

    def _start_work(self) -> None:
        if self.view is not None and self.view.stats is None:
            self._judge(self.view.pair)
        self.watch_folder()

    def on_unmount(self) -> None:
        self._stop.set()
        save_state(self.session.manifest.id, self.view_state)

    def size_classes(self, width: int, height: int) -> None:
        super().size_classes(width, height)
        self.set_class(width < WIDE or height < TALL, "-narrow")
        self._to_front(self.pane)
        self.call_after_refresh(self._uncovered)

    def _uncovered(self) -> None:
        """Panes may have come into sight: they were not told anything while hidden."""
        self._show_token()
        self._want_chart()

    @work(thread=True, group="reader", exclusive=True)
    def watch_folder(self) -> None:
        """Look at the folder about once a second, as long as the screen is there; tell what is new."""
        session, state, saved = self.session, self._state, self.view_state
        while not self._stop.wait(POLL_SECONDS):
            if saved != self.view_state:
                saved = self.view_state
                save_state(session.manifest.id, saved)
            try:
                newer = session.refresh()
                now = newer.state
                if newer is session and now == state:
                    continue
                pair, problem = open_pair(newer, saved.pair)
                view = judged(newer, pair) if pair is not None else None
            except (LogdriftError, OSError) as error:
                self.post_message(WorkFailed(f"{error}\n\nWhat was read before stays on the screen."))
                return
            session, state = newer, now
            self.post_message(SessionRead(newer, view, now, problem))

    @on(SessionRead)
    def _on_session_read(self, message: SessionRead) -> None:
        self._state, self._problem = message.state, message.problem
        if message.session is not self.session:
            self._fragments = FragmentCache(message.session.pieces)
        self._take(message.session, message.view)

    @on(WorkFailed)
    def _on_work_failed(self, message: WorkFailed) -> None:
        self.logdrift.show_error(message.text)

    def _take(self, session: Session, view: PairView | None) -> None:
        """Show a session and a pair of it, the cursor where it was."""
        self.session, self.view = session, view
        total = session.sequences.tokens
        self.view_state = replace(self.view_state, position=max(0, min(self.position, total - 1)))
        self.sequence = -1
        self._show_list()
        self.go_to(self.position)
        self._show_heading()

    @work(thread=True, group="judge", exclusive=True)
    def _judge(self, pair: Pair) -> None:
        try:
            view = judged(self.session, pair)
        except LogdriftError as error:
            self.post_message(WorkFailed(str(error)))
            return
        self.post_message(Judged(view))

    @on(Judged)
    def _on_judged(self, message: Judged) -> None:
        if self.view is None or message.view.pair is not self.view.pair:
            return
        self.view = message.view
        self._show_heading()
        if self.greyed:
            self._show_list()
            self._show_token()

    # ---- showing

    def _show_heading(self) -> None:
        view, sequences = self.view, self.session.sequences
        gate = view.gate if view is not None else None
        problems = [self._problem] if self._problem else []
        for info in self.session.captures:
            if info.status == "failed":
                reason = (info.failure or "no reason given").strip().splitlines()[-1]
                problems.append(visible(f"✗ {info.label} failed: {reason}  (L: log)"))
        self.query_one("#header", Header).show(
            Heading(
                visible(self.session.name),
                len(sequences),
                sequences.tokens,
                None if view is None else view.labels,
                None if gate is None else gate.verdict,
                visible(gate.reasons[0].text) if gate is not None and gate.verdict == "not_comparable" else None,
                None if view is None or view.stats is None else view.stats.mae,
                (view.stats.infinite or 0) if view is not None and view.stats is not None else 0,
                progress(self.session),
                self._state,
                tuple(problems[:3]),
            )
        )

    def _show_list(self) -> None:
        count = len(self.session.sequences)
        sequence = self._sequence_at(self.position) if count else 0
        self.sequences.show(self.pair, count, self.view_state.sort, sequence, self.greyed)

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
        self.chart.set_cursor(self.tokens.cursor)

    def inspection(self) -> Inspection:
        """The token under the cursor."""
        return inspect(self.session, self.pair, self.position)

    def _level(self) -> int:
        passage = self.tokens.passage
        return int(passage.levels[self.tokens.cursor]) if passage is not None and len(passage.levels) else 0

    def _sequence_at(self, position: int) -> int:
        offsets = self.session.sequences.offsets
        return min(int(np.searchsorted(offsets, position, "right")) - 1, len(offsets) - 2)

    def _series(self, sequence: int) -> DeltaSeries:
        start, stop = self.session.sequences.bounds(sequence)
        pair = self.pair
        prompt = int(self.session.sequences.prompt_lengths[sequence])
        delta = np.full(stop - start, np.nan, np.float32)
        scored = np.zeros(stop - start, bool)
        if pair is not None and sequence < pair.count:
            scored = pair.scored[start:stop]
            delta = np.where(scored, pair.delta[start:stop], np.float32(np.nan))
        with np.errstate(invalid="ignore"):
            beyond = int((np.abs(delta) > self.threshold).sum())
        return DeltaSeries(sequence, delta, prompt, self.threshold, beyond, int(scored.sum()))

    def go_to(self, position: int) -> None:
        """Put the cursor on a flat position, wherever it is."""
        if not self.session.sequences.tokens:
            return
        sequence = self._sequence_at(position)
        start, _ = self.session.sequences.bounds(sequence)
        self.view_state = replace(self.view_state, position=position)
        if sequence != self.sequence:
            self.sequence = sequence
            self._show_passage(position - start)
            self.sequences.select(self.sequences.place_of(sequence))
            self._want_chart()
        else:
            self.tokens.move_to(position - start)
        self._want_details()

    def _show_passage(self, cursor: int) -> None:
        sequences, series = self.session.sequences, self._series(self.sequence)
        start, stop = sequences.bounds(self.sequence)
        marks = levels(series.delta, ~np.isnan(series.delta), self.threshold)
        title = f"Sequence {self.sequence} · {stop - start} tokens ({series.prompt} prompt)"
        aside = f"{series.beyond} beyond {number(self.threshold, 3)}" if series.scored else "no scores"
        ids = sequences.token_ids[start:stop]
        self.tokens.show(
            Passage(self.sequence, f"{title}\t{aside}", ids, series.prompt, marks, self._fragments), cursor
        )

    def _repaint_passage(self) -> None:
        if self.sequence >= 0:
            self._show_passage(self.tokens.cursor)
            self._show_token()
            self._want_chart()

    # ---- the chart: asked for in bursts, drawn once, off the loop

    def _want_chart(self) -> None:
        if self._chart_timer is not None:
            self._chart_timer.stop()
        self._chart_timer = self.set_timer(_CHART_DELAY, self._ask_for_chart)

    def _ask_for_chart(self) -> None:
        size = self.chart.plot_size
        if not self.chart.display or self.sequence < 0:
            return
        if size is None:
            self.chart.show(None, "Δ by position", 0)
            return
        series = self._series(self.sequence)
        self._chart_key = (id(self.pair), self.sequence, self.threshold, len(series.delta), series.scored, size)
        self._draw_chart(self._chart_key, series, size)

    @work(thread=True, group="chart", exclusive=True)
    def _draw_chart(self, key: tuple[object, ...], series: DeltaSeries, size: tuple[int, int]) -> None:
        chart = draw_delta(series, *size)
        if not get_current_worker().is_cancelled:
            self.post_message(ChartDrawn(key, chart))

    @on(ChartDrawn)
    def _on_chart_drawn(self, message: ChartDrawn) -> None:
        if message.key == self._chart_key:
            self.chart.show(message.chart, f"Δ by position · sequence {self.sequence}", self.tokens.cursor)

    # ---- messages of the panes

    @on(Tokens.CursorMoved)
    def _on_cursor_moved(self, message: Tokens.CursorMoved) -> None:
        start, _ = self.session.sequences.bounds(self.sequence)
        self.view_state = replace(self.view_state, position=start + message.index)
        self._want_details()
        self.say("")

    @on(Tokens.Left)
    def _on_left(self, message: Tokens.Left) -> None:
        self._step_sequence(message.step, at_end=message.step < 0)

    @on(Rows.Moved, "#sequences")
    @on(Rows.Chosen, "#sequences")
    def _on_sequence(self, message: Rows.Moved | Rows.Chosen) -> None:
        sequence = int(self.sequences.order[message.index])
        if sequence != self.sequence:
            self.go_to(self.session.sequences.bounds(sequence)[0])
        if isinstance(message, Rows.Chosen):
            self.action_pane("tokens")

    @on(Tabs.Picked)
    def _on_tab_picked(self, message: Tabs.Picked) -> None:
        self.action_pane(message.name)

    # ---- commands

    def action_next_divergence(self) -> None:
        self._step_divergence(1)

    def action_previous_divergence(self) -> None:
        self._step_divergence(-1)

    def _step_divergence(self, step: int) -> None:
        if self.pair is None:
            self.say("there is no pair to compare yet", warn=True)
            return
        found = self.pair.next_divergence(self.position, self.threshold, step)
        if found is None:
            where = "after" if step > 0 else "before"
            self.say(f"no token {where} this one differs by more than {number(self.threshold, 3)} (+ and − change it)")
            return
        self.say("")
        self.go_to(found)

    def action_next_sequence(self) -> None:
        self._step_sequence(1)

    def action_previous_sequence(self) -> None:
        self._step_sequence(-1)

    def _step_sequence(self, step: int, *, at_end: bool = False) -> None:
        if self.sequence < 0:
            return
        place = self.sequences.place_of(self.sequence) + step
        if not 0 <= place < self.sequences.line_count:
            self.say("this is the last sequence" if step > 0 else "this is the first sequence")
            return
        start, stop = self.session.sequences.bounds(int(self.sequences.order[place]))
        self.say("")
        self.go_to(stop - 1 if at_end else start)

    def action_sort(self) -> None:
        sort = SORTS[(SORTS.index(self.view_state.sort) + 1) % len(SORTS)]
        self.view_state = replace(self.view_state, sort=sort)
        self._show_list()
        self.say(f"sequences by {sort}" + ("" if sort == "number" else " |Δ|, largest first"))

    def action_threshold_up(self) -> None:
        self._step_threshold(1)

    def action_threshold_down(self) -> None:
        self._step_threshold(-1)

    def _step_threshold(self, step: int) -> None:
        if step > 0:
            new = next((t for t in THRESHOLDS if t > self.threshold * 1.0001), THRESHOLDS[-1])
        else:
            new = next((t for t in reversed(THRESHOLDS) if t < self.threshold * 0.9999), THRESHOLDS[0])
        self.set_threshold(new)
        if self.pair is not None:
            count, scored = self.pair.count_beyond(new), int(self.pair.scored.sum())
            self.say(f"threshold {number(new, 3)}: {count:,} of {scored:,} tokens beyond ({percent(count, scored)})")

    def take_pair(self, pair: Pair) -> None:
        """Show another pair, and keep to it from now on."""
        self.view_state = replace(self.view_state, pair=(pair.a.info.label, pair.b.info.label))
        self._problem = None
        self._take(self.session, PairView(pair))
        self._judge(pair)

    def set_threshold(self, threshold: float) -> None:
        """What counts as divergent, nats."""
        if threshold != self.threshold:
            self.view_state = replace(self.view_state, threshold=threshold)
            self._repaint_passage()

    def action_copy(self) -> None:
        if not self.session.sequences.tokens:
            return
        found = self.inspection()
        cells = [f"seq {found.sequence}", f"pos {found.index}", f"id {found.token_id}", repr(found.text)]
        cells += [
            f"{row.label} {number(row.logprob)} rank {row.rank}" for row in found.captures if row.logprob is not None
        ]
        if found.delta is not None:
            cells.append(f"delta {signed(found.delta)}")
        self.say(self.logdrift.copy_text("  ".join(cells)))

    def action_pane(self, name: str) -> None:
        """Show a pane and give it the keys."""
        self._to_front(name)
        self.query_one(f"#{name}").focus()

    def _to_front(self, name: str) -> None:
        """On a narrow screen one pane is seen at a time; on a wide one nothing has to change."""
        self.pane = name
        if self.has_class("-narrow") and not self.has_class(f"-{name}"):
            self.set_classes([*(c for c in self.classes if c not in _PANE_CLASSES), f"-{name}"])
            self._show_tabs()
            self.call_after_refresh(self._uncovered)

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
