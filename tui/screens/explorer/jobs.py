"""What the explorer does in threads: judging, measuring, counting, searching.

A thread changes no widget and no model: it posts a message, named in the past tense,
and a handler of the screen makes the change. Following the folder is in `following`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
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
from logdrift.tui.models.pairs import PairView, judged, open_pair
from logdrift.tui.screens.explorer.following import SessionRead
from logdrift.tui.screens.origin import Labels

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.charts.data import PairData
    from logdrift.core.compare.pair_numbers import PairNumbers
    from logdrift.core.session.search import Matches, TextIndex
    from logdrift.tui.models.answer import AnswerLine
    from logdrift.tui.models.filters import FilterInput

    Positions = npt.NDArray[np.int64]

_REST = 30.0
"""The numbers of a growing pair rest so many times as long as they took.

Working them out then keeps a thirtieth of a core busy.
"""


@dataclass(eq=False, repr=False)
class VerdictReached(Message):
    """The statistics and the verdict of a pair were worked out."""

    view: PairView


@dataclass(eq=False, repr=False)
class NumbersMeasured(Message):
    """The header's numbers of a pair were worked out, in ``seconds``."""

    pair: Pair
    numbers: PairNumbers
    seconds: float


@dataclass(eq=False, repr=False)
class Answered(Message):
    """The answer of a pair was worked out, in ``seconds``."""

    line: AnswerLine
    seconds: float


@dataclass(eq=False, repr=False)
class Counted(Message):
    """The tokens beyond a threshold were found; ``key`` is that of their `Levels`."""

    pair: Pair
    key: tuple[str, float]
    positions: Positions


@dataclass(eq=False, repr=False)
class FlipsFound(Message):
    """The flat positions of a pair's rank flips were found, i64, ascending."""

    pair: Pair
    positions: Positions


@dataclass(eq=False, repr=False)
class Searched(Message):
    """A search has ended.

    ``entered``: the cursor goes to a match; else the reader is still typing, and the
    matches are counted.
    """

    query: str
    matches: Matches
    entered: bool


@dataclass(eq=False, repr=False)
class SequencesKept(Message):
    """The sequences that a filter keeps were found, bool[S].

    ``entered``: they are listed; else the reader is still typing, and they are counted.
    """

    text: str
    keep: npt.NDArray[np.bool_]
    entered: bool


class Judging:
    """Judges, measures and explains the pair on the screen, in this order.

    While a capture makes the pair grow, its numbers are measured again and again, with
    a rest in between.
    """

    def __init__(self, node: DOMNode, explorer: Explorer) -> None:
        self.node = node
        self._post = node.post_message
        self._explorer = explorer
        self._rested: Labels | None = None
        self._rest_until = 0.0
        self._timer: Timer | None = None

    def want(self) -> None:
        """Work out what is not known yet about the pair on the screen."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        explorer = self._explorer
        view = explorer.view
        if view is None:
            return
        is_judged = view.stats is not None
        is_measured = explorer.numbers is not None
        if is_judged and is_measured:
            return
        session = explorer.session
        rest = self._rest_left(view.labels)
        rests = rest > 0
        self._judge(session, view, measure=not rests)
        if rests:
            node = self.node
            self._timer = node.set_timer(rest, self.want)

    def _rest_left(self, labels: Labels) -> float:
        """The seconds for which the numbers of a pair still rest."""
        grows = self._explorer.progress == "running"
        if grows and labels == self._rested:
            return self._rest_until - time.monotonic()
        return 0.0

    def measured(self, message: NumbersMeasured) -> None:
        """Begin a rest, also after the numbers of a pair that has grown since."""
        a = message.pair.a.info
        b = message.pair.b.info
        now = time.monotonic()
        self._rested = a.label, b.label
        self._rest_until = now + _REST * message.seconds

    def answered(self, message: Answered) -> None:
        """Lengthen the rest by that of the answer."""
        if message.line.labels == self._rested:
            self._rest_until += _REST * message.seconds

    @background(group="judge", exclusive=True)
    def _judge(self, session: Session, view: PairView, *, measure: bool) -> None:
        """Work out the verdict, and with ``measure`` the numbers and the answer.

        The numbers walk all tokens once more for each capture.
        """
        worker = get_current_worker()
        pair = view.pair
        labels = view.labels
        steps = []
        if view.stats is None:
            steps.append(self._reach_verdict)
        if measure:
            steps.append(self._measure)
            steps.append(self._answer)
        try:
            for step in steps:
                if not worker.is_cancelled:
                    step(session, pair)
        except LogdriftError:
            if not _is_damaged(session, labels):
                raise
            self._show_another_pair(session, labels)

    def _reach_verdict(self, session: Session, pair: Pair) -> None:
        view = judged(session, pair)
        message = VerdictReached(view)
        self._post(message)

    def _show_another_pair(self, session: Session, labels: Labels) -> None:
        """A part of the pair is damaged: what was drawn of it must not stay."""
        pair, problem = open_pair(session, labels)
        other = None
        if pair is not None:
            other = PairView(pair)
        progress = self._explorer.progress
        message = SessionRead(session, other, progress, problem)
        self._post(message)

    def _measure(self, session: Session, pair: Pair) -> None:
        from logdrift.core.compare.pair_numbers import pair_numbers

        begun = time.monotonic()
        numbers = pair_numbers(session, pair)
        seconds = time.monotonic() - begun
        message = NumbersMeasured(pair, numbers, seconds)
        self._post(message)

    def _answer(self, session: Session, pair: Pair) -> None:
        from logdrift.tui.models.answer import answer_line

        begun = time.monotonic()
        line = answer_line(session, pair)
        seconds = time.monotonic() - begun
        message = Answered(line, seconds)
        self._post(message)


def _is_damaged(session: Session, labels: Labels) -> bool:
    """Whether a part of a pair, or of what all captures share, is damaged."""
    parts = ("", *labels)
    return any(map(session.damage, parts))


class Jobs:
    """The jobs of commands that walk all tokens."""

    def __init__(self, node: DOMNode, explorer: Explorer) -> None:
        self.node = node
        self._post = node.post_message
        self._explorer = explorer
        self._index: TextIndex | None = None
        self._index_lock = threading.Lock()

    @background(group="count", exclusive=True)
    def count(self, levels: Levels) -> None:
        """Find the tokens beyond a threshold, where the event loop would be too
        slow.
        """
        pair = levels.pair
        assert pair is not None
        positions = levels.find_beyond()
        message = Counted(pair, levels.key, positions)
        self._post(message)

    @background(group="flips", exclusive=True)
    def find_flips(self, pair: Pair, data: PairData | None) -> None:
        """Find the pair's rank flips; ``data`` is what the chart keeps of a pair."""
        from logdrift.core.charts.data import PairData

        if data is None or data.pair is not pair:
            data = PairData(pair.session, pair)
        positions = np.flatnonzero(data.flips)
        message = FlipsFound(pair, positions)
        self._post(message)

    @background(group="search", exclusive=True)
    def search(self, query: str, *, entered: bool) -> None:
        """Look for text, or for ids as ``#30010``."""
        worker = get_current_worker()
        session = self._explorer.session
        matches = self._find(session, query)
        if not worker.is_cancelled:
            message = Searched(query, matches, entered)
            self._post(message)

    @background(group="filter", exclusive=True)
    def filter(self, text: str, *, entered: bool) -> None:
        """Find the sequences that a filter keeps.

        InputError for a text that is not one: it was refused while it was typed.
        """
        from logdrift.tui.models.filters import parse_filter  # not for the first screen

        worker = get_current_worker()
        token_filter = parse_filter(text)
        filter_input = self.filter_input()
        keep = token_filter.keeps(filter_input)
        if not worker.is_cancelled:
            message = SequencesKept(text, keep, entered)
            self._post(message)

    def filter_input(self) -> FilterInput:
        """What a filter looks at."""
        from logdrift.tui.models.filters import FilterInput

        explorer = self._explorer
        session = explorer.session
        marks = explorer.state.marks
        positions = [mark.position for mark in marks]
        marked = np.array(positions, np.int64)
        return FilterInput(
            sequences=session.sequences,
            pair=explorer.pair,
            threshold=explorer.threshold,
            marked=marked,
            find=partial(self._find, session),
        )

    def _find(self, session: Session, query: str) -> Matches:
        from logdrift.core.session.search import find_ids, parse_ids

        ids = parse_ids(query)
        if ids:
            return find_ids(session.sequences, ids)
        index = self._text_index(session)
        return index.find(query)

    def _text_index(self, session: Session) -> TextIndex:
        """The index of all text, made by the first search in its thread."""
        from logdrift.core.session.search import text_index

        sequences = session.sequences
        with self._index_lock:
            index = self._index
            if index is None or index.sequences is not sequences:
                index = text_index(sequences, session.pieces)
                self._index = index
            return index
