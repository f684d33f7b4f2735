"""What a reader of a session looks at: a pair, a token, its colours, marks and list.

The explorer's screen shows an `Explorer` and changes it; nothing here knows a widget.
Positions are flat: indices into all tokens of the session.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.compare.token_values import Stretch
from logdrift.core.session.reader import Session
from logdrift.tui.models.flow import FragmentCache
from logdrift.tui.models.jumps import Jumps
from logdrift.tui.models.listing import NO_SEQUENCES, Listing, list_sequences
from logdrift.tui.models.modes import MODES, Legend, Mode, legend, mode_of
from logdrift.tui.models.pairs import PairView
from logdrift.tui.models.places import sequence_of
from logdrift.tui.models.state import SORTS, THRESHOLDS, Mark, ViewState

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.compare.pair_numbers import PairNumbers
    from logdrift.core.session.progress import Live
    from logdrift.core.session.search import Matches
    from logdrift.tui.models.answer import AnswerLine
    from logdrift.tui.models.inspection import Inspection
    from logdrift.tui.models.why import WhyView

    Positions = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

AT_ONCE = 200_000
"""Tokens up to which those beyond a threshold are counted without a thread: some
milliseconds.
"""
_KEPT_COUNTS = 12


def beside(positions: Positions, position: int, step: int) -> int | None:
    """The nearest of ascending ``positions`` strictly behind (``step`` -1: before) a
    position.
    """
    if step > 0:
        place = int(np.searchsorted(positions, position, "right"))
    else:
        place = int(np.searchsorted(positions, position, "left")) - 1
    if 0 <= place < len(positions):
        return int(positions[place])
    return None


class Counts:
    """The tokens beyond a threshold, by the mode's name and threshold: the last few."""

    def __init__(self) -> None:
        self._positions: dict[tuple[str, float], Positions] = {}

    def __contains__(self, key: tuple[str, float]) -> bool:
        return key in self._positions

    def __getitem__(self, key: tuple[str, float]) -> Positions:
        return self._positions[key]

    def keep(self, key: tuple[str, float], positions: Positions) -> None:
        """Remember the positions, and forget those remembered first."""
        if len(self._positions) >= _KEPT_COUNTS:
            del self._positions[next(iter(self._positions))]
        self._positions[key] = positions

    def clear(self) -> None:
        """Forget everything: another pair is looked at."""
        self._positions.clear()


@dataclass(frozen=True, eq=False, repr=False)
class Levels:
    """What the tokens of a pair are coloured by: ``threshold`` in the unit of ``mode``.

    ``numbers`` are None while the pair is being measured.
    """

    pair: Pair | None
    mode: Mode
    threshold: float
    numbers: PairNumbers | None
    counts: Counts

    @property
    def key(self) -> tuple[str, float]:
        return self.mode.name, self.threshold

    @property
    def text(self) -> str:
        """The threshold as the legend writes it."""
        return f"{self.mode.head} {self.mode.step(self.threshold)}"

    @property
    def missing(self) -> str | None:
        """Why the pair has no numbers for the mode, None where it has."""
        if self.pair is None:
            return "no pair to compare yet"
        if self.numbers is not None:
            return self.mode.missing(self.pair, self.numbers.floor)
        if self.mode.name == "floor":
            return "the floor is not measured yet"
        return self.mode.missing(self.pair, 0.0)

    def stretch(self, start: int, stop: int) -> Stretch:
        """Tokens ``start`` to ``stop`` of the pair, with its floor."""
        assert self.pair is not None
        floor = self.numbers.floor if self.numbers is not None else None
        return Stretch(self.pair, start, stop, floor)

    def of(self, start: int, stop: int) -> npt.NDArray[np.int8]:
        """The level of each token, i8[stop - start]: 0 where the mode has no numbers."""
        if self.missing is not None:
            return np.zeros(stop - start, np.int8)
        return self.mode.levels(self.stretch(start, stop), self.threshold)

    def beyond(self, threshold: float | None = None) -> Positions:
        """The tokens with a level, ascending; ``threshold`` None: the one that is set."""
        if threshold is not None:
            return replace(self, threshold=threshold).beyond()
        if self.pair is None or self.missing is not None:
            return np.empty(0, np.int64)  # not kept: the numbers may still come
        if not self.mode.thresholds:
            return self.pair.divergences(self.threshold)
        if self.key not in self.counts:
            self.counts.keep(self.key, self.count_all())
        return self.counts[self.key]

    def count_all(self) -> Positions:
        """Work `beyond` out anew: a walk over all tokens of the pair."""
        assert self.pair is not None
        return self.mode.beyond(self.stretch(0, self.pair.tokens), self.threshold)

    @property
    def slow(self) -> bool:
        """Whether `beyond` takes so long that a thread has to work it out first."""
        if self.pair is None or self.missing is not None or not self.mode.thresholds:
            return False
        return self.key not in self.counts and self.pair.tokens > AT_ONCE

    @property
    def count(self) -> int | None:
        """How many tokens have a level; None without numbers and while it is `slow`."""
        if self.missing is not None or self.slow:
            return None
        return len(self.beyond())

    def legend(self, *, counted: bool) -> Legend:
        """The line that explains the colours; ``counted``: with the count of tokens."""
        count = self.count if counted else None
        if self.pair is None or count is None:
            return legend(self.mode, self.threshold, None, 0, self.missing)
        return legend(
            self.mode,
            self.threshold,
            count,
            self.mode.tokens(self.pair),
            None,
            int(np.count_nonzero(self.pair.broken)),
        )


class Explorer:
    """One reader's view of one session. Commands change it; the screen shows it.

    ``sequence`` and ``position`` are the cursor's, -1 and 0 in an empty session;
    ``state`` is what is saved when the reader leaves.
    """

    def __init__(self, session: Session, state: ViewState) -> None:
        self.session = session
        self.state = state
        self.marks_seen = state.marks
        self.view: PairView | None = None
        self.numbers: PairNumbers | None = None
        self.answer: AnswerLine | None = None
        self.problem: str | None = None
        """Why another pair is shown than the one that was asked for."""
        self.progress: str = session.state
        """The state of the session folder: ``running``, ``complete`` and the like."""
        self.live: Live | None = None
        """How far the capture is that writes the session, None where none does."""

        self.sequence = -1
        self.jumps = Jumps()
        self.flips: Positions | None = None
        """The pair's rank flips, None while they are not known."""
        self.matches: Matches | None = None
        """Where the text is that was searched for, None without a search."""
        self.query = ""

        self.counts = Counts()
        self.keep: Flags | None = None
        """The sequences, bool[S], that the filter keeps; None while it is worked out."""
        self.listing: Listing = NO_SEQUENCES
        self.order_by = 0
        """The column whose order the alternatives of the inspector have."""
        self.fragments = FragmentCache(session.pieces)
        self._explanations: dict[tuple[str, str], WhyView] = {}

    # ---- the pair

    @property
    def pair(self) -> Pair | None:
        if self.view is not None:
            return self.view.pair
        return None

    @property
    def labels(self) -> tuple[str, str] | None:
        if self.view is not None:
            return self.view.labels
        return None

    @property
    def greyed(self) -> bool:
        """Whether the gate refuses the pair, so that its numbers mean nothing."""
        return self.view is not None and not self.view.comparable

    @property
    def judged(self) -> bool:
        """Whether the statistics of the pair are worked out."""
        return self.view is not None and self.view.stats is not None

    def take(self, session: Session, view: PairView | None) -> None:
        """Look at a session and a pair of it, the cursor where it was."""
        if session is not self.session:
            self.fragments = FragmentCache(session.pieces)
            self._explanations = {}
        self.session = session
        self.view = view
        self.numbers = None
        self.flips = None
        self.counts.clear()
        if self.answer is not None and self.answer.labels != self.labels:
            self.answer = None
        self.sequence = -1
        self.place(self.position)
        self.list_again()

    def keep_pair(self, pair: Pair) -> None:
        """Look at another pair, and keep to it from now on."""
        view = PairView(pair)
        self.state = replace(self.state, pair=view.labels)
        self.problem = None
        self.take(self.session, view)

    def explained(self, session: Session, labels: tuple[str, str]) -> WhyView | None:
        """The explanation of a pair that was worked out for this state of the folder."""
        if session is self.session:
            return self._explanations.get(labels)
        return None

    def keep_explained(self, session: Session, explanation: WhyView) -> None:
        """Remember an explanation for as long as the session does not change."""
        if session is self.session:
            self._explanations[explanation.labels] = explanation

    # ---- the cursor

    @property
    def position(self) -> int:
        """Flat index of the token under the cursor."""
        return self.state.position

    @property
    def index(self) -> int:
        """The place of the cursor within its sequence."""
        return self.position - self.bounds[0]

    @property
    def bounds(self) -> tuple[int, int]:
        """First token of the cursor's sequence, and the one behind its last."""
        return self.session.sequences.bounds(self.sequence)

    def place(self, position: int) -> None:
        """Put the cursor on a token, or the last one where the session is shorter."""
        last = self.session.sequences.tokens - 1
        position = max(0, min(position, last))
        self.state = replace(self.state, position=position)
        if last >= 0:
            self.sequence = sequence_of(self.session.sequences, position)

    def jump(self, position: int) -> None:
        """`place`, to be undone by `undo_jump`."""
        if position != self.position:
            self.jumps.leave(self.position)
        self.place(position)

    def undo_jump(self) -> bool:
        """Go back to where the last jump began; False where there was none."""
        return self._return_to(self.jumps.back(self.position))

    def redo_jump(self) -> bool:
        """Jump again where the last undone jump led; False where there is none."""
        return self._return_to(self.jumps.forth(self.position))

    def _return_to(self, position: int | None) -> bool:
        if position is not None:
            self.place(position)
        return position is not None

    def next_divergence(self, step: int) -> int | None:
        """The next token (``step`` -1: the one before) with a level."""
        return beside(self.levels.beyond(), self.position, step)

    def next_flip(self, step: int) -> int | None:
        """The next rank flip, None where there is none or they are not known."""
        if self.flips is None:
            return None
        return beside(self.flips, self.position, step)

    def next_sequence(self, step: int, *, at_end: bool = False) -> int | None:
        """The first token of the next listed sequence; ``at_end``: its last token."""
        sequence = self.listing.neighbour(self.sequence, step)
        if sequence is None:
            return None
        start, stop = self.session.sequences.bounds(sequence)
        if at_end:
            return stop - 1
        return start

    def inspection(self) -> Inspection:
        """Everything about the token under the cursor."""
        from logdrift.tui.models.inspection import inspect  # not for the first screen

        mark = self.mark_at(self.position)
        return inspect(
            self.session,
            self.pair,
            self.position,
            by=self.order_by,
            floors=self.numbers.floors if self.numbers is not None else None,
            mark=mark.note if mark is not None else None,
        )

    def next_order(self) -> str:
        """Order the inspector's alternatives by the next side: its label, "" without
        one.
        """
        if not self.session.sequences.tokens:
            return ""
        inspection = self.inspection()
        if not inspection.columns:
            return ""
        self.order_by = (inspection.by + 1) % min(2, len(inspection.columns))
        return inspection.columns[self.order_by]

    # ---- what was searched for

    def find(self, query: str, matches: Matches) -> None:
        """Keep what a search has found."""
        self.query = query
        self.matches = matches

    def end_search(self) -> bool:
        """Forget the search; False where nothing was found by one."""
        searching = self.matches is not None
        self.query = ""
        self.matches = None
        return searching

    def first_match(self) -> int | None:
        """The match at the cursor or behind it, around the end."""
        if self.matches is None or not len(self.matches):
            return None
        return int(self.matches.starts[self._match_index() % len(self.matches)])

    def next_match(self, step: int) -> int | None:
        """The next match, None where there is none."""
        if self.matches is None:
            return None
        return beside(self.matches.starts, self.position, step)

    @property
    def match_number(self) -> int:
        """The number of the match at the cursor, from 1."""
        return self._match_index() + 1

    def _match_index(self) -> int:
        assert self.matches is not None
        return int(np.searchsorted(self.matches.starts, self.position, "left"))

    def matched(self, start: int, stop: int) -> Flags | None:
        """bool[stop - start]: the tokens of matches; None without a search."""
        if self.matches is None:
            return None
        starts = self.matches.starts
        ends = self.matches.ends
        first, last = np.searchsorted(starts, [start, stop], "left")
        opened = np.zeros(stop - start + 1, np.int64)
        np.add.at(opened, starts[first:last] - start, 1)
        np.add.at(opened, np.minimum(ends[first:last], stop) - start, -1)
        return np.cumsum(opened[:-1]) > 0

    # ---- colours

    @property
    def mode(self) -> Mode:
        """What tokens are coloured by."""
        return mode_of(self.state.mode)

    @property
    def threshold(self) -> float:
        """What counts as divergent, nats of |delta|."""
        return self.state.threshold

    @property
    def levels(self) -> Levels:
        """The colours at the mode's own threshold."""
        mode = self.mode
        threshold = self.threshold
        if mode.thresholds:
            threshold = dict(self.state.thresholds).get(mode.name, mode.default)
        return Levels(self.pair, mode, threshold, self.numbers, self.counts)

    def legend(self) -> Legend:
        """The line that explains the colours."""
        # Counted once judging has made what it takes: not for the first screen.
        return self.levels.legend(counted=self.judged)

    def delta_level(self) -> int:
        """The level of the cursor's delta, whatever the text is coloured by."""
        pair = self.pair
        position = self.position
        if pair is None or position >= pair.tokens:
            return 0
        token = Stretch(pair, position, position + 1)
        return int(MODES[0].levels(token, self.threshold)[0])

    def next_mode(self) -> str:
        """The name of the mode after this one, around the end."""
        names = [mode.name for mode in MODES]
        return names[(names.index(self.mode.name) + 1) % len(names)]

    def set_mode(self, name: str) -> bool:
        """Colour tokens by another number; False where they are already."""
        changed = name != self.state.mode
        self.state = replace(self.state, mode=name)
        return changed

    def next_threshold(self, step: int) -> float:
        """The next higher threshold of the mode (``step`` -1: lower), or its last."""
        choices = self.mode.thresholds or THRESHOLDS
        now = self.levels.threshold
        if step > 0:
            return next((t for t in choices if t > now * 1.0001), choices[-1])
        return next((t for t in reversed(choices) if t < now * 0.9999), choices[0])

    def set_threshold(self, threshold: float) -> bool:
        """Set what is divergent, in the mode's unit; False where it is that already."""
        if threshold == self.levels.threshold:
            return False
        name = self.mode.name
        if self.mode.thresholds:
            others = [entry for entry in self.state.thresholds if entry[0] != name]
            self.state = replace(self.state, thresholds=(*others, (name, threshold)))
        else:
            self.state = replace(self.state, threshold=threshold)
        return True

    # ---- the list of sequences

    def list_again(self) -> None:
        """Sort and filter the sequences anew."""
        self.listing = list_sequences(
            self.pair,
            len(self.session.sequences),
            sort=self.state.sort,
            threshold=self.threshold,
            filter=self.state.filter,
            keep=self.keep,
            greyed=self.greyed,
        )

    def next_sort(self) -> str:
        """The name of the order after this one, around the end."""
        return SORTS[(SORTS.index(self.state.sort) + 1) % len(SORTS)]

    def set_sort(self, name: str) -> None:
        """List the sequences in another order."""
        self.state = replace(self.state, sort=name)
        self.list_again()

    def set_filter(self, text: str) -> None:
        """Filter by a text from now on; "" lists all sequences at once."""
        self.state = replace(self.state, filter=text)
        if not text:
            self.keep = None
            self.list_again()

    def take_filter(self, text: str, keep: Flags) -> bool:
        """List what a filter keeps; False where another filter was set meanwhile."""
        if text != self.state.filter:
            return False
        self.keep = keep
        self.list_again()
        return True

    # ---- marks

    def mark_at(self, position: int) -> Mark | None:
        """The reader's mark on a token."""
        marks = (mark for mark in self.state.marks if mark.position == position)
        return next(marks, None)

    def mark(self, position: int, note: str) -> bool:
        """Mark a token; an empty note takes its mark away. Whether it is marked now."""
        note = note.strip()
        marked = bool(note) or self.mark_at(position) is None
        marks = [mark for mark in self.state.marks if mark.position != position]
        if marked:
            marks.append(Mark(position, note))
        marks.sort(key=lambda mark: mark.position)
        self.state = replace(self.state, marks=tuple(marks))
        return marked
