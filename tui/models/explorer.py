"""What a reader of a session looks at: a pair, a token, its colours, marks and list.

The explorer's screen shows an `Explorer` and changes it; nothing here knows a widget.
Positions are flat: indices into all tokens of the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.compare.token_values import Stretch
from logdrift.core.session.reader import Session
from logdrift.tui.models.flow import FragmentCache
from logdrift.tui.models.found import FoundText
from logdrift.tui.models.jumps import Jumps
from logdrift.tui.models.levels import Counts, Levels
from logdrift.tui.models.listing import NO_SEQUENCES, Listing, list_sequences
from logdrift.tui.models.modes import MODES, Legend, Mode, mode_of
from logdrift.tui.models.opening import worst_position
from logdrift.tui.models.pairs import PairView
from logdrift.tui.models.places import beside, sequence_of
from logdrift.tui.models.state import SORTS, THRESHOLDS, Mark, ViewState

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.compare.pair_numbers import PairNumbers
    from logdrift.core.compare.pairs import PairLabels
    from logdrift.core.compare.turns import Messages
    from logdrift.core.session.progress import Live
    from logdrift.tui.models.answer import AnswerLine
    from logdrift.tui.models.inspection import Inspection
    from logdrift.tui.models.sizes import SizeOrder
    from logdrift.tui.models.why import WhyView

    Positions = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]


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
        self.found = FoundText()
        self._size_order: SizeOrder | None = None
        self._messages: Messages | None = None

        self.counts = Counts()
        self.keep: Flags | None = None
        """The sequences, bool[S], that the filter keeps; None while it is worked
        out.
        """
        self.listing: Listing = NO_SEQUENCES
        self.order_by = 0
        """The column whose order the alternatives of the inspector have."""
        self.fragments = FragmentCache(session.pieces)
        self._explanations: dict[PairLabels, WhyView] = {}

    # ---- the pair

    @property
    def pair(self) -> Pair | None:
        if self.view is None:
            return None
        return self.view.pair

    @property
    def labels(self) -> PairLabels | None:
        if self.view is None:
            return None
        return self.view.labels

    @property
    def greyed(self) -> bool:
        """Whether the gate refuses the pair, so that its numbers mean nothing."""
        view = self.view
        return view is not None and not view.comparable

    @property
    def judged(self) -> bool:
        """Whether the statistics of the pair are worked out."""
        view = self.view
        return view is not None and view.stats is not None

    def take(self, session: Session, view: PairView | None) -> None:
        """Show a pair of a session, with the cursor where it was.

        What was worked out for the pair before is forgotten.
        """
        if session is not self.session:
            self.fragments = FragmentCache(session.pieces)
            self._explanations = {}
            self._messages = None
        self.session = session
        self.view = view
        self.numbers = None
        self.flips = None
        self.counts.clear()
        answer = self.answer
        if answer is not None and answer.labels != self.labels:
            self.answer = None
        self.sequence = -1
        position = self._first_position()
        self._put(position)
        self.list_again()

    def _first_position(self) -> int:
        """Where the cursor is; the worst token, where it was nowhere yet."""
        position = self.state.position
        if position >= 0 or self.pair is None:
            return position
        worst = worst_position(self.pair)
        if worst is None:
            return position
        return worst

    def keep_pair(self, pair: Pair) -> None:
        """Show another pair, and save it as the one to open next time."""
        view = PairView(pair)
        labels = view.labels
        self.state = self.state._replace(pair=labels)
        self.problem = None
        self.take(self.session, view)

    def explained(self, session: Session, labels: PairLabels) -> WhyView | None:
        """The explanation of a pair that was worked out for this state of the
        folder.
        """
        if session is not self.session:
            return None
        return self._explanations.get(labels)

    def keep_explained(self, session: Session, explanation: WhyView) -> None:
        """Remember an explanation for as long as the session does not change."""
        if session is self.session:
            labels = explanation.labels
            self._explanations[labels] = explanation

    # ---- the cursor

    @property
    def position(self) -> int:
        """Flat index of the token under the cursor."""
        return max(0, self.state.position)

    @property
    def index(self) -> int:
        """The place of the cursor within its sequence."""
        start, _ = self.bounds
        return self.position - start

    @property
    def bounds(self) -> tuple[int, int]:
        """First token of the cursor's sequence, and the one behind its last."""
        sequences = self.session.sequences
        return sequences.bounds(self.sequence)

    def place(self, position: int) -> None:
        """Put the cursor on a token, or on the last one where the session is
        shorter.
        """
        self._put(max(0, position))

    def _put(self, position: int) -> None:
        """As `place`; below 0 the cursor is on the first token until it is placed."""
        sequences = self.session.sequences
        last = sequences.tokens - 1
        position = min(position, last)
        self.state = self.state._replace(position=position)
        if last >= 0:
            self.sequence = sequence_of(sequences, self.position)

    def jump(self, position: int) -> None:
        """As `place`, and `undo_jump` goes back."""
        if position != self.position:
            self.jumps.leave(self.position)
        self.place(position)

    def undo_jump(self) -> bool:
        """Go back to where the last jump began; False where there was none."""
        origin = self.jumps.back(self.position)
        return self._return_to(origin)

    def redo_jump(self) -> bool:
        """Jump again where the last undone jump led; False where there is none."""
        target = self.jumps.forth(self.position)
        return self._return_to(target)

    def _return_to(self, position: int | None) -> bool:
        if position is None:
            return False
        self.place(position)
        return True

    def next_divergence(self, step: int) -> int | None:
        """The next token (``step`` -1: the one before) with a level."""
        divergent = self.levels.beyond()
        return beside(divergent, self.position, step)

    @property
    def sizes(self) -> Positions:
        """The tokens beyond the threshold, the largest |delta| first."""
        from logdrift.tui.models.sizes import SizeOrder  # not for the first screen

        pair = self.pair
        if pair is None:
            return np.empty(0, np.int64)
        if self._size_order is None:
            self._size_order = SizeOrder()
        return self._size_order.positions(pair, self.threshold)

    def next_by_size(self, step: int) -> int | None:
        """The token with the next smaller |delta| (``step`` -1: larger).

        From a token that is not beyond the threshold: the worst one. None at the end.
        """
        from logdrift.tui.models.sizes import place_in

        positions = self.sizes
        place = place_in(positions, self.position)
        following = 0
        if place is not None:
            following = place + step
        if 0 <= following < len(positions):
            return int(positions[following])
        return None

    def next_flip(self, step: int) -> int | None:
        """The next rank flip, None where there is none or they are not known."""
        if self.flips is None:
            return None
        flips = self.flips
        return beside(flips, self.position, step)

    def next_turn(self, step: int) -> int | None:
        """The first token of the next turn (``step`` -1: of this one, or of the one
        before where the cursor is on it); None where there is none.
        """
        return beside(self.messages.turn_starts, self.position, step)

    @property
    def messages(self) -> Messages:
        """The messages of the session's sequences."""
        if self._messages is None:
            from logdrift.core.compare.turns import messages_of  # not at the start

            self._messages = messages_of(self.session.sequences)
        return self._messages

    def next_sequence(self, step: int, *, at_end: bool = False) -> int | None:
        """The first token of the next listed sequence; ``at_end``: its last token."""
        listing = self.listing
        sequence = listing.neighbour(self.sequence, step)
        if sequence is None:
            return None
        sequences = self.session.sequences
        start, stop = sequences.bounds(sequence)
        if at_end:
            return stop - 1
        return start

    def inspection(self) -> Inspection:
        """Everything about the token under the cursor."""
        from logdrift.tui.models.inspection import inspect  # not for the first screen

        floors = None
        if self.numbers is not None:
            floors = self.numbers.floors
        note = None
        mark = self.mark_at(self.position)
        if mark is not None:
            note = mark.note
        return inspect(
            self.session,
            self.pair,
            self.position,
            by=self.order_by,
            floors=floors,
            mark=note,
            threshold=self.threshold,
        )

    def next_order(self) -> str:
        """Order the inspector's alternatives by the other of A and B.

        Returns the label of the capture that now gives the order, "" where no capture
        has alternatives.
        """
        if not self.session.sequences.tokens:
            return ""
        inspection = self.inspection()
        columns = inspection.columns
        if not columns:
            return ""
        choices = min(2, len(columns))
        following = inspection.by + 1
        self.order_by = following % choices
        return columns[self.order_by]

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
            chosen = dict(self.state.thresholds)
            threshold = chosen.get(mode.name, mode.default)
        return Levels(
            pair=self.pair,
            mode=mode,
            threshold=threshold,
            numbers=self.numbers,
            counts=self.counts,
        )

    def legend(self) -> Legend:
        """The line that explains the colours."""
        # Not counted for the first screen: judging makes the arrays that it takes.
        levels = self.levels
        return levels.legend(counted=self.judged)

    def delta_level(self) -> int:
        """The level of the cursor's delta, whatever the text is coloured by."""
        pair = self.pair
        position = self.position
        if pair is None or position >= pair.tokens:
            return 0
        mode = mode_of("delta")
        token = Stretch(pair, position, position + 1)
        levels = mode.levels(token, self.threshold)
        return int(levels[0])

    def next_mode(self) -> str:
        """The name of the mode after this one, around the end."""
        names = tuple(mode.name for mode in MODES)
        return _after(names, self.mode.name)

    def set_mode(self, name: str) -> bool:
        """Colour tokens by another number; False where they are already."""
        changed = name != self.state.mode
        self.state = self.state._replace(mode=name)
        return changed

    def switch_boundaries(self) -> bool:
        """Tell tokens within a word apart, or no more; whether they are now."""
        shown = not self.state.boundaries
        self.state = self.state._replace(boundaries=shown)
        return shown

    def next_threshold(self, step: int) -> float:
        """The next higher threshold of the mode (``step`` -1: lower), or its last."""
        choices = self.mode.thresholds or THRESHOLDS
        now = self.levels.threshold
        # Thresholds less than a hundredth of a percent apart count as equal.
        if step > 0:
            least = now * 1.0001
            for choice in choices:
                if choice > least:
                    return choice
            return choices[-1]
        most = now * 0.9999
        for choice in reversed(choices):
            if choice < most:
                return choice
        return choices[0]

    def set_threshold(self, threshold: float) -> bool:
        """Set what is divergent, in the mode's unit; False where it is that already."""
        if threshold == self.levels.threshold:
            return False
        mode = self.mode
        state = self.state
        if not mode.thresholds:
            self.state = state._replace(threshold=threshold)
            return True
        chosen = dict(state.thresholds)
        chosen.pop(mode.name, None)
        chosen[mode.name] = threshold  # the newest one last
        thresholds = tuple(chosen.items())
        self.state = state._replace(thresholds=thresholds)
        return True

    # ---- the list of sequences

    def list_again(self) -> None:
        """Sort and filter the sequences anew."""
        state = self.state
        count = len(self.session.sequences)
        self.listing = list_sequences(
            self.pair,
            count,
            sort=state.sort,
            threshold=self.threshold,
            filter=state.filter,
            keep=self.keep,
            greyed=self.greyed,
        )

    def next_sort(self) -> str:
        """The name of the order after this one, around the end."""
        return _after(SORTS, self.state.sort)

    def set_sort(self, name: str) -> None:
        """List the sequences in another order."""
        self.state = self.state._replace(sort=name)
        self.list_again()

    def set_filter(self, text: str) -> None:
        """Filter by a text from now on; "" lists all sequences at once."""
        self.state = self.state._replace(filter=text)
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
        for mark in self.state.marks:
            if mark.position == position:
                return mark
        return None

    def mark(self, position: int, note: str) -> bool:
        """Mark a token, or change its note; returns whether it is marked now.

        An empty note removes the mark of a token that has one.
        """
        note = note.strip()
        mark_before = self.mark_at(position)
        removes = not note and mark_before is not None
        marks: list[Mark] = []
        for mark in self.state.marks:
            if mark.position != position:
                marks.append(mark)
        if not removes:
            marks.append(Mark(position, note))
        marks.sort(key=_position_of)
        kept_marks = tuple(marks)
        self.state = self.state._replace(marks=kept_marks)
        return not removes


def _position_of(mark: Mark) -> int:
    return mark.position


def _after(names: tuple[str, ...], name: str) -> str:
    """The name after this one; the first one after the last."""
    following = names.index(name) + 1
    place = following % len(names)
    return names[place]
