"""What the explorer does in threads: following the folder, judging, measuring, looking
for rank flips and text.

A thread touches no widget and no state: it posts a message in the past tense, and a
handler here changes what changes.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from textual import on
from textual.message import Message
from textual.timer import Timer
from textual.worker import get_current_worker

from logdrift.core.compare.pair import Pair
from logdrift.core.errors import LogdriftError, words_of
from logdrift.core.session.reader import Session
from logdrift.tui.faults import WorkFailed, background
from logdrift.tui.models.state import ViewState, save_state
from logdrift.tui.screens.companions import Companions
from logdrift.tui.views import PairView, judged, open_pair
from logdrift.tui.widgets.charts.pane import ChartPane
from logdrift.tui.widgets.sequences import SequenceList
from logdrift.tui.widgets.tokens import Tokens

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.compare.token_values import Stretch
    from logdrift.core.session.progress import Live
    from logdrift.core.session.search import Matches, TextIndex
    from logdrift.tui.models.answer import AnswerLine
    from logdrift.tui.modes import Mode
    from logdrift.tui.numbers import PairNumbers

POLL_SECONDS = 0.75
"""A finished part is to be seen within a second, drawing included."""
_REST = 30.0
"""Times as long as they took the numbers of a growing pair rest: they alone then keep a
thirtieth of a core busy.
"""


@dataclass(eq=False, repr=False)
class SessionRead(Message):
    """A newer state of the session folder was read."""

    session: Session
    view: PairView | None
    state: str
    problem: str | None


@dataclass(eq=False, repr=False)
class Going(Message):
    """How far the capture that writes the session is, and how long it will take."""

    live: Live

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Going)


@dataclass(eq=False, repr=False)
class Judged(Message):
    """Statistics and verdict of a pair are there."""

    view: PairView


@dataclass(eq=False, repr=False)
class Measured(Message):
    """The header's numbers of a pair are there; working them out took ``seconds``."""

    pair: Pair
    numbers: PairNumbers
    seconds: float


@dataclass(eq=False, repr=False)
class Answered(Message):
    """The sentence on a pair is there; working it out took ``seconds``."""

    line: AnswerLine
    seconds: float


@dataclass(eq=False, repr=False)
class Counted(Message):
    """The tokens beyond a threshold are known: ``key`` says of which mode and
    threshold.
    """

    pair: Pair
    key: tuple[str, float]
    positions: npt.NDArray[np.int64]


@dataclass(eq=False, repr=False)
class FlipsFound(Message):
    """The flat positions of a pair's rank flips are there."""

    pair: Pair
    positions: npt.NDArray[np.int64]


@dataclass(eq=False, repr=False)
class Searched(Message):
    """A search has ended: what was looked for, and where it is. ``taken``: the user
    asked to go there.
    """

    query: str
    matches: Matches
    taken: bool


@dataclass(eq=False, repr=False)
class Filtered(Message):
    """Which sequences a filter keeps, bool[S]. ``taken``: they are to be shown; else
    they were counted.
    """

    text: str
    keep: npt.NDArray[np.bool_]
    taken: bool


class ExplorerJobs(Companions, inherit_bindings=False):
    """Holds what the explorer knows, and the threads that find it out."""

    def __init__(
        self, session: Session, view_state: ViewState, *, classes: str
    ) -> None:
        super().__init__(classes=classes)
        self.session = session
        self.view_state = view_state
        self.marks_seen = view_state.marks
        self.view: PairView | None = None
        self.numbers: PairNumbers | None = None
        self.answer: AnswerLine | None = None
        self.sequence = -1
        self._state: str = session.state
        self._problem: str | None = None
        self.going: Live | None = None
        self._flips: npt.NDArray[np.int64] | None = None
        self._index: TextIndex | None = None
        self._index_lock = threading.Lock()
        self._rest: tuple[tuple[str, str], float] | None = None
        self._resting: Timer | None = None
        self._stop = threading.Event()

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

    def take_session(self, message: SessionRead) -> None:
        """Show a newer state of the folder."""
        raise NotImplementedError

    def numbers_changed(self) -> None:
        """Verdict, statistics or numbers of the pair have come in."""
        raise NotImplementedError

    def flips_found(self) -> None:
        """The rank flips have come in."""
        raise NotImplementedError

    def searched(self, message: Searched) -> None:
        """A search has ended."""
        raise NotImplementedError

    def filtered(self, message: Filtered) -> None:
        """A filter has been worked out."""
        raise NotImplementedError

    def going_changed(self) -> None:
        """How far a running capture is has changed."""
        raise NotImplementedError

    # ---- the folder

    @background(group="reader", exclusive=True)
    def watch_folder(self) -> None:
        """Look at the folder about once a second, as long as the screen is there; tell
        what is new.
        """
        session, state, saved = self.session, self._state, self.view_state
        damaged = session.damaged
        while not self._stop.wait(POLL_SECONDS):
            if saved != self.view_state:
                saved = self.view_state
                save_state(session.manifest.id, saved, self.marks_seen)
                self.marks_seen = (
                    saved.marks
                )  # one that is taken away from now on was saved by this reader
            try:
                newer = session.refresh()
                holder = newer.lock
                now = newer.state if holder is None else "running"
                if holder is not None:
                    from logdrift.core.session.progress import live

                    self.post_message(Going(live(newer, holder)))
                if newer is session and now == state and session.damaged == damaged:
                    continue
                pair, problem = open_pair(newer, saved.pair)
                view = judged(newer, pair) if pair is not None else None
            except Exception as error:
                self.post_message(
                    WorkFailed(
                        f"{words_of(error)}\n\nWhat was read before stays on the"
                        " screen."
                    )
                )
                return
            session, state, damaged = newer, now, newer.damaged
            self.post_message(SessionRead(newer, view, now, problem))

    @on(Going)
    def _on_going(self, message: Going) -> None:
        if message.live != self.going:
            self.going = message.live
            self.going_changed()

    @on(SessionRead)
    def _on_session_read(self, message: SessionRead) -> None:
        self._state, self._problem = message.state, message.problem
        if message.state != "running":
            self.going = None
        if message.session is not self.session:
            self._index = None
        self.take_session(message)

    # ---- the pair's numbers

    def want_numbers(self) -> None:
        """Have the pair on the screen judged and measured, as far as it is not yet."""
        if self._resting is not None:
            self._resting.stop()
            self._resting = None
        if self.view is not None and (self.view.stats is None or self.numbers is None):
            labels, until = self._rest or (None, 0.0)
            growing = self._state == "running" and labels == self.view.labels
            rest = until - time.monotonic() if growing else 0.0
            self._judge(self.session, self.view, measure=rest <= 0)
            if rest > 0:
                self._resting = self.set_timer(rest, self.want_numbers)

    @background(group="judge", exclusive=True)
    def _judge(self, session: Session, view: PairView, *, measure: bool) -> None:
        """The verdict, and where they are to be measured the numbers, which walk all
        tokens once more for each capture.
        """
        from logdrift.tui.numbers import pair_numbers

        worker = get_current_worker()
        try:
            if view.stats is None:
                view = judged(session, view.pair)
                self.post_message(Judged(view))
            if measure and not worker.is_cancelled:
                begun = time.monotonic()
                numbers = pair_numbers(session, view.pair)
                self.post_message(
                    Measured(view.pair, numbers, time.monotonic() - begun)
                )
            if measure and not worker.is_cancelled:
                self._work_out_answer(session, view.pair)
        except LogdriftError:
            if not any(session.damage(label) for label in ("", *view.labels)):
                raise
            # What was drawn of a damaged part must not stay: another pair is shown, and
            # why.
            pair, problem = open_pair(session, view.labels)
            self.post_message(
                SessionRead(
                    session,
                    None if pair is None else PairView(pair),
                    self._state,
                    problem,
                )
            )

    def _work_out_answer(self, session: Session, pair: Pair) -> None:
        """In the thread that judges, after what is cheaper."""
        from logdrift.tui.models.answer import answer_line

        begun = time.monotonic()
        self.post_message(
            Answered(answer_line(session, pair), time.monotonic() - begun)
        )

    @on(Answered)
    def _on_answered(self, message: Answered) -> None:
        if self._rest is not None and self._rest[0] == message.line.labels:
            self._rest = self._rest[0], self._rest[1] + _REST * message.seconds
        # An answer of a shorter state of a growing pair stands until there is one of a
        # longer state.
        if self.view is not None and self.view.labels == message.line.labels:
            self.answer = message.line
            self.answer_changed()

    def answer_changed(self) -> None:
        """The sentence on the pair has come in."""
        raise NotImplementedError

    @on(Judged)
    def _on_judged(self, message: Judged) -> None:
        if self.view is not None and message.view.pair is self.view.pair:
            self.view = message.view
            self.numbers_changed()

    @on(Measured)
    def _on_measured(self, message: Measured) -> None:
        # Also after numbers of a pair that has grown meanwhile: they took their time
        # all the same.
        labels = message.pair.a.info.label, message.pair.b.info.label
        self._rest = labels, time.monotonic() + _REST * message.seconds
        if self.view is not None and message.pair is self.view.pair:
            self.numbers = message.numbers
            self.numbers_changed()

    @background(group="count", exclusive=True)
    def count_beyond(self, of: Stretch, mode: Mode, threshold: float) -> None:
        """Find the tokens beyond a threshold, where that is too much for the event
        loop.
        """
        self.post_message(
            Counted(of.pair, (mode.name, threshold), mode.beyond(of, threshold))
        )

    @on(Counted)
    def _on_counted(self, message: Counted) -> None:
        if self.view is not None and message.pair is self.view.pair:
            self.counted(message)

    def counted(self, message: Counted) -> None:
        """The tokens beyond a threshold are known."""
        raise NotImplementedError

    # ---- rank flips

    @background(group="flips", exclusive=True)
    def find_flips(self, pair: Pair, known: Any) -> None:
        """Look for the pair's rank flips; ``known`` is the chart's data of the pair,
        which keeps them.
        """
        from logdrift.core.charts.data import PairData

        data = (
            known
            if isinstance(known, PairData) and known.pair is pair
            else PairData(pair.session, pair)
        )
        self.post_message(FlipsFound(pair, np.flatnonzero(data.flips)))

    @on(FlipsFound)
    def _on_flips_found(self, message: FlipsFound) -> None:
        if self.view is not None and message.pair is self.view.pair:
            self._flips = message.positions
            self.flips_found()

    # ---- text and ids

    def _text_index(self, session: Session) -> TextIndex:
        """Made by the first search, in its thread."""
        from logdrift.core.session.search import text_index

        with self._index_lock:
            index = self._index
            if index is None or index.sequences is not session.sequences:
                index = self._index = text_index(session.sequences, session.pieces)
            return index

    def _find(self, session: Session, query: str) -> Matches:
        from logdrift.core.session.search import find_ids, parse_ids

        ids = parse_ids(query)
        return (
            find_ids(session.sequences, ids)
            if ids
            else self._text_index(session).find(query)
        )

    @background(group="search", exclusive=True)
    def search(self, query: str, *, taken: bool) -> None:
        """Look for text, or for ids as ``#30010``."""
        worker = get_current_worker()
        matches = self._find(self.session, query)
        if not worker.is_cancelled:
            self.post_message(Searched(query, matches, taken))

    @on(Searched)
    def _on_searched(self, message: Searched) -> None:
        self.searched(message)

    @background(group="filter", exclusive=True)
    def work_out_filter(self, text: str, *, taken: bool) -> None:
        """Find the sequences with a text, with ids (``#30010``), with a token beyond
        the threshold (``>``) or with a mark (``*``).
        """
        worker, session, view = get_current_worker(), self.session, self.view
        offsets = session.sequences.offsets
        if text == ">":
            at = (
                view.pair.divergences(self.threshold)
                if view is not None
                else np.empty(0, np.int64)
            )
        elif text == "*":
            at = np.array([mark.position for mark in self.view_state.marks], np.int64)
        else:
            at = self._find(session, text).starts
        at = at[at < offsets[-1]]  # a mark may be of a token that is not captured yet
        keep = np.zeros(len(offsets) - 1, np.bool_)
        keep[np.minimum(np.searchsorted(offsets, at, "right") - 1, len(keep) - 1)] = (
            True
        )
        if not worker.is_cancelled:
            self.post_message(Filtered(text, keep, taken))

    @on(Filtered)
    def _on_filtered(self, message: Filtered) -> None:
        self.filtered(message)
