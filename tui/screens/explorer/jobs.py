"""What the explorer does in threads: judging, measuring, counting, looking for text.

A thread touches no widget and no model: it posts a message in the past tense to the
screen, whose handler changes what changes. Following the folder is in `following`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from textual.dom import DOMNode
from textual.message import Message
from textual.timer import Timer
from textual.worker import get_current_worker

from logdrift.core.compare.pair import Pair
from logdrift.core.errors import LogdriftError
from logdrift.core.session.reader import Session
from logdrift.tui.faults import background
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.levels import Levels
from logdrift.tui.models.listing import sequences_with
from logdrift.tui.models.pairs import PairView, judged, open_pair
from logdrift.tui.screens.explorer.following import SessionRead

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.charts.data import PairData
    from logdrift.core.compare.pair_numbers import PairNumbers
    from logdrift.core.session.search import Matches, TextIndex
    from logdrift.tui.models.answer import AnswerLine

    Positions = npt.NDArray[np.int64]

_REST = 30.0
"""Times as long as they took the numbers of a growing pair rest: they alone then keep a
thirtieth of a core busy.
"""


@dataclass(eq=False, repr=False)
class VerdictReached(Message):
    """Statistics and verdict of a pair are there."""

    view: PairView


@dataclass(eq=False, repr=False)
class NumbersMeasured(Message):
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
    """The tokens beyond a threshold are known; ``key`` is that of their `Levels`."""

    pair: Pair
    key: tuple[str, float]
    positions: Positions


@dataclass(eq=False, repr=False)
class FlipsFound(Message):
    """The flat positions of a pair's rank flips are there."""

    pair: Pair
    positions: Positions


@dataclass(eq=False, repr=False)
class Searched(Message):
    """A search has ended. ``entered``: the reader wants to go there; else the matches
    are counted while the reader types.
    """

    query: str
    matches: Matches
    entered: bool


@dataclass(eq=False, repr=False)
class Filtered(Message):
    """Which sequences a filter keeps, bool[S]. ``entered``: they are to be listed; else
    they are counted while the reader types.
    """

    text: str
    keep: npt.NDArray[np.bool_]
    entered: bool


class Judging:
    """Has the pair on the screen judged, measured and explained, in this order.

    While a capture makes the pair grow, its numbers are measured again and again: they
    rest in between.
    """

    def __init__(self, node: DOMNode, explorer: Explorer) -> None:
        self.node = node
        self._explorer = explorer
        self._rested: tuple[str, str] | None = None
        self._rest_until = 0.0
        self._timer: Timer | None = None

    def want(self) -> None:
        """Work out what is not known yet of the pair on the screen."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        explorer = self._explorer
        view = self._explorer.view
        if view is None or (view.stats is not None and explorer.numbers is not None):
            return
        rest = self._rest_left(view.labels)
        self._judge(explorer.session, view, measure=rest <= 0)
        if rest > 0:
            self._timer = self.node.set_timer(rest, self.want)

    def _rest_left(self, labels: tuple[str, str]) -> float:
        """Seconds that the numbers of a pair still rest."""
        growing = self._explorer.progress == "running" and labels == self._rested
        if growing:
            return self._rest_until - time.monotonic()
        return 0.0

    def measured(self, message: NumbersMeasured) -> None:
        """The numbers took their time, even those of a pair that has grown since."""
        self._rested = message.pair.a.info.label, message.pair.b.info.label
        self._rest_until = time.monotonic() + _REST * message.seconds

    def answered(self, message: Answered) -> None:
        """The answer took its time too."""
        if message.line.labels == self._rested:
            self._rest_until += _REST * message.seconds

    @background(group="judge", exclusive=True)
    def _judge(self, session: Session, view: PairView, *, measure: bool) -> None:
        """The verdict, and with ``measure`` the numbers, which walk all tokens once
        more for each capture.
        """
        worker = get_current_worker()
        try:
            if view.stats is None:
                view = judged(session, view.pair)
                self.node.post_message(VerdictReached(view))
            for work in (self._measure, self._answer) if measure else ():
                if not worker.is_cancelled:
                    work(session, view.pair)
        except LogdriftError:
            if not any(session.damage(label) for label in ("", *view.labels)):
                raise
            # What was drawn of a damaged part must not stay: another pair is shown, and
            # why.
            pair, problem = open_pair(session, view.labels)
            other = None if pair is None else PairView(pair)
            progress = self._explorer.progress
            self.node.post_message(SessionRead(session, other, progress, problem))

    def _measure(self, session: Session, pair: Pair) -> None:
        from logdrift.core.compare.pair_numbers import pair_numbers

        begun = time.monotonic()
        numbers = pair_numbers(session, pair)
        seconds = time.monotonic() - begun
        self.node.post_message(NumbersMeasured(pair, numbers, seconds))

    def _answer(self, session: Session, pair: Pair) -> None:
        from logdrift.tui.models.answer import answer_line

        begun = time.monotonic()
        line = answer_line(session, pair)
        self.node.post_message(Answered(line, time.monotonic() - begun))


class Jobs:
    """Looks through all tokens for what a command asks for."""

    def __init__(self, node: DOMNode, explorer: Explorer) -> None:
        self.node = node
        self._explorer = explorer
        self._index: TextIndex | None = None
        self._index_lock = threading.Lock()

    @background(group="count", exclusive=True)
    def count(self, levels: Levels) -> None:
        """Find the tokens beyond a threshold: where that is too much for the event
        loop.
        """
        assert levels.pair is not None
        positions = levels.find_beyond()
        self.node.post_message(Counted(levels.pair, levels.key, positions))

    @background(group="flips", exclusive=True)
    def find_flips(self, pair: Pair, data: PairData | None) -> None:
        """Look for the pair's rank flips; ``data`` is what the chart has made of a pair
        and keeps.
        """
        from logdrift.core.charts.data import PairData

        if data is None or data.pair is not pair:
            data = PairData(pair.session, pair)
        self.node.post_message(FlipsFound(pair, np.flatnonzero(data.flips)))

    @background(group="search", exclusive=True)
    def search(self, query: str, *, entered: bool) -> None:
        """Look for text, or for ids as ``#30010``."""
        matches = self._find(self._explorer.session, query)
        if not get_current_worker().is_cancelled:
            self.node.post_message(Searched(query, matches, entered))

    @background(group="filter", exclusive=True)
    def filter(self, text: str, *, entered: bool) -> None:
        """Find the sequences with a text, with ids (``#30010``), with a token beyond
        the threshold (``>``) or with a mark (``*``).
        """
        session = self._explorer.session
        positions = self._filtered(session, text)
        keep = sequences_with(positions, session.sequences.offsets)
        if not get_current_worker().is_cancelled:
            self.node.post_message(Filtered(text, keep, entered))

    def _filtered(self, session: Session, text: str) -> Positions:
        """The flat positions that a filter is about."""
        explorer = self._explorer
        if text == "*":
            marks = [mark.position for mark in explorer.state.marks]
            return np.array(marks, np.int64)
        if text != ">":
            return self._find(session, text).starts
        pair = explorer.pair
        if pair is None:
            return np.empty(0, np.int64)
        return pair.divergences(explorer.threshold)

    def _find(self, session: Session, query: str) -> Matches:
        from logdrift.core.session.search import find_ids, parse_ids

        ids = parse_ids(query)
        if ids:
            return find_ids(session.sequences, ids)
        return self._text_index(session).find(query)

    def _text_index(self, session: Session) -> TextIndex:
        """Made by the first search, in its thread."""
        from logdrift.core.session.search import text_index

        with self._index_lock:
            index = self._index
            if index is None or index.sequences is not session.sequences:
                index = self._index = text_index(session.sequences, session.pieces)
            return index
