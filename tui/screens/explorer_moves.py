"""Moving in the explorer: to divergences, rank flips, matches, places, marks and
labels, and back again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from textual import on

from logdrift.core.errors import InputError
from logdrift.core.numbers import NOTHING, number, signed
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.models.state import MAX_NOTE, Mark, ViewState
from logdrift.tui.places import parse_place, sequence_of, write_place
from logdrift.tui.screens.explorer_jobs import ExplorerJobs, Searched
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.tokens import Tokens

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.session.search import Matches
    from logdrift.tui.screens.prompt import Prompt
    from logdrift.tui.widgets.reading import Row

    Positions = npt.NDArray[np.int64]

_KEPT_JUMPS = 500


def beside(positions: Positions, position: int, step: int) -> int | None:
    """The nearest of ascending ``positions`` strictly behind (``step`` -1: before) a
    position.
    """
    at = int(np.searchsorted(positions, position, "right" if step > 0 else "left")) - (
        0 if step > 0 else 1
    )
    return int(positions[at]) if 0 <= at < len(positions) else None


class ExplorerMoves(ExplorerJobs, inherit_bindings=False):
    """The commands that move the cursor. `go_to` only moves; `jump` can be undone."""

    def __init__(
        self, session: Session, view_state: ViewState, *, classes: str
    ) -> None:
        super().__init__(session, view_state, classes=classes)
        self._past: list[int] = []
        self._future: list[int] = []
        self._matches: Matches | None = None
        self._query = ""
        self._pending_flip = 0
        self._prompt: Prompt | None = None

    def ask_line(
        self,
        title: str,
        words: str,
        value: str,
        taken: Callable[[str], None],
        *,
        problem: Callable[[str], str] | None = None,
        typed: Callable[[str], object] | None = None,
        limit: int = 1000,
    ) -> None:
        """Ask for a line at the foot of the screen; ``taken`` gets it, unless it was
        left.
        """
        from logdrift.tui.screens.prompt import Prompt

        self.say("")
        self._prompt = Prompt(
            title, words, value, problem=problem, typed=typed, limit=limit
        )
        self.app.push_screen(
            self._prompt, lambda text: None if text is None else taken(text)
        )

    def note(self, typed: str, words: str) -> None:
        """Say something below the line, if it still is what was typed."""
        if (
            self._prompt is not None
            and self._prompt.is_attached
            and self._prompt.text == typed
        ):
            self._prompt.note(words)

    def go_to(self, position: int) -> None:
        """Put the cursor on a flat position, wherever it is."""
        raise NotImplementedError

    def repaint_passage(self) -> None:
        """What is shown of the sequence has changed."""
        raise NotImplementedError

    def beyond(self, threshold: float | None = None) -> Positions:
        """Flat positions of the tokens with a level, ascending."""
        raise NotImplementedError

    # ---- jumps and their undoing

    def jump(self, position: int) -> None:
        """`go_to`, to be undone by one key."""
        if position != self.position:
            self._past.append(self.position)
            del self._past[:-_KEPT_JUMPS]
            self._future.clear()
        self.go_to(position)

    def action_undo_jump(self) -> None:
        self._travel(self._past, self._future, "no jump to undo")

    def action_redo_jump(self) -> None:
        self._travel(self._future, self._past, "no jump to do again")

    def _travel(self, source: list[int], other: list[int], nothing: str) -> None:
        if not source:
            self.say(nothing)
            return
        other.append(self.position)
        self.say("")
        self.go_to(min(source.pop(), self.session.sequences.tokens - 1))

    # ---- divergences and matches

    def action_next_divergence(self) -> None:
        self._step_match(1) if self._matches is not None else self._step_divergence(1)

    def action_previous_divergence(self) -> None:
        self._step_match(-1) if self._matches is not None else self._step_divergence(-1)

    def _step_divergence(self, step: int) -> None:
        if self.pair is None:
            self.say("there is no pair to compare yet", warn=True)
            return
        missing = self.missing()
        if missing is not None:
            self.say(f"{self.mode.title}: {missing}", warn=True)
            return
        found = beside(self.beyond(), self.position, step)
        if found is None:
            self.say(
                f"no token {_where(step)} this one is beyond {self.level_text()} (+ and"
                " − change it)"
            )
            return
        self.say("")
        self.jump(found)

    def action_search(self) -> None:
        """Ask for text or ids; matches are counted while typing."""
        self.ask_line(
            "Search",
            "text, also across tokens (↵ is a newline), or ids: #30010 · lower case"
            " finds upper case too",
            self._query,
            self._search_for,
            typed=lambda text: self.search(text, taken=False) if text else None,
        )

    def _search_for(self, text: str) -> None:
        if text:
            self.search(text, taken=True)
        else:
            self._end_search()

    def searched(self, message: Searched) -> None:
        """Count what was typed, or go to the nearest match that was asked for."""
        count = len(message.matches)
        if not message.taken:
            self.note(message.query, f"{count:,} found")
            return
        shown = visible(message.query)
        if not count:
            self._end_search()
            self.say(f"nothing found of {shown!r}", warn=True)
            return
        self._matches, self._query = message.matches, message.query
        here = int(np.searchsorted(message.matches.starts, self.position, "left"))
        self.jump(int(message.matches.starts[here % count]))
        self.repaint_passage()
        self._say_match()

    def _step_match(self, step: int) -> None:
        assert self._matches is not None
        found = beside(self._matches.starts, self.position, step)
        if found is None:
            self.say(f"no match {_where(step)} this one (Esc ends the search)")
            return
        self.jump(found)
        self._say_match()

    def _say_match(self) -> None:
        assert self._matches is not None
        place = int(np.searchsorted(self._matches.starts, self.position, "left")) + 1
        self.say(
            f"{place:,} of {len(self._matches):,} found: {visible(self._query)}  (n"
            " next, N back, Esc ends)"
        )

    def _end_search(self) -> None:
        self._query = ""
        if self._matches is not None:
            self._matches = None
            self.repaint_passage()

    def action_end_search(self) -> None:
        """Esc: the search first, then the filter."""
        self.say("")
        if self._matches is not None:
            self._end_search()
        elif self.view_state.filter:
            self.set_filter("")

    def set_filter(self, text: str) -> None:
        """List the sequences that a filter keeps; "" lists all."""
        raise NotImplementedError

    def found_mask(self, start: int, stop: int) -> npt.NDArray[np.bool_] | None:
        """bool[stop - start]: the tokens of matches; None without a search."""
        if self._matches is None:
            return None
        first, last = np.searchsorted(self._matches.starts, [start, stop], "left")
        steps = np.zeros(stop - start + 1, np.int64)
        np.add.at(steps, self._matches.starts[first:last] - start, 1)
        np.add.at(steps, np.minimum(self._matches.ends[first:last], stop) - start, -1)
        return np.cumsum(steps[:-1]) > 0

    # ---- rank flips

    def action_next_flip(self) -> None:
        self._step_flip(1)

    def action_previous_flip(self) -> None:
        self._step_flip(-1)

    def _step_flip(self, step: int) -> None:
        if self.pair is None:
            self.say("there is no pair to compare yet", warn=True)
        elif self._flips is None:
            self.say("looking for rank flips …")
            if not self._pending_flip:
                self.find_flips(
                    self.pair,
                    self.chart.source.data if self.chart.source is not None else None,
                )
            self._pending_flip = step
        else:
            found = beside(self._flips, self.position, step)
            if found is None:
                self.say(
                    f"no rank flip {_where(step)} this token; there are"
                    f" {len(self._flips):,}"
                )
                return
            self.jump(found)
            place = int(np.searchsorted(self._flips, found)) + 1
            self.say(f"rank flip {place:,} of {len(self._flips):,}")

    def flips_found(self) -> None:
        """Do the step that was asked for meanwhile."""
        step, self._pending_flip = self._pending_flip, 0
        if step:
            self._step_flip(step)

    # ---- places

    def action_go_to(self) -> None:
        sequences = self.session.sequences
        if not sequences.tokens:
            return

        def problem(text: str) -> str:
            try:
                if text and not text.lstrip().startswith("#"):
                    parse_place(text, sequences, self.sequence)
            except InputError as error:
                return str(error)
            return self._id_problem(text)

        def taken(text: str) -> None:
            if text.lstrip().startswith("#"):
                self.search(text.strip(), taken=True)
            elif text:
                self.say("")
                self.jump(parse_place(text, sequences, self.sequence))

        words = (
            "a position of this sequence: 120 · of another: 3:120 · an id: #30010 ·"
            f" here: {write_place(sequences, self.position)}"
        )
        self.ask_line("Go to", words, "", taken, problem=problem)

    def _id_problem(self, text: str) -> str:
        from logdrift.core.session.search import parse_ids

        wrong = text.lstrip().startswith("#") and parse_ids(text) is None
        return f"{text.strip()!r} is no id: write #30010" if wrong else ""

    # ---- sequences

    def action_next_sequence(self) -> None:
        self.step_sequence(1)

    def action_previous_sequence(self) -> None:
        self.step_sequence(-1)

    def step_sequence(self, step: int, *, at_end: bool = False) -> None:
        """To the next sequence in the order of the list; ``at_end``: to its last
        token.
        """
        if self.sequence < 0 or not self.sequences.line_count:
            return
        place = self.sequences.place_of(self.sequence)
        place = (
            place + step
            if place >= 0
            else 0
            if step > 0
            else self.sequences.line_count - 1
        )
        if not 0 <= place < self.sequences.line_count:
            self.say(
                "this is the last sequence"
                if step > 0
                else "this is the first sequence"
            )
            return
        start, stop = self.session.sequences.bounds(int(self.sequences.order[place]))
        self.say("")
        self.jump(stop - 1 if at_end else start)

    @on(Tokens.Left)
    def _on_left(self, message: Tokens.Left) -> None:
        self.step_sequence(message.step, at_end=message.step < 0)

    @on(Rows.Moved, "#sequences")
    @on(Rows.Chosen, "#sequences")
    def _on_sequence(self, message: Rows.Moved | Rows.Chosen) -> None:
        if message.index >= self.sequences.line_count:
            return  # a filter has made the list shorter meanwhile
        sequence = int(self.sequences.order[message.index])
        if sequence != self.sequence:
            self.jump(self.session.sequences.bounds(sequence)[0])
        if isinstance(message, Rows.Chosen):
            self.to_tokens()

    def to_tokens(self) -> None:
        """Give the keys to the text."""
        raise NotImplementedError

    # ---- labels

    def action_labels(self) -> None:
        """Put letters on the marked tokens that are seen, and go to the one whose
        letters are typed.
        """
        self.to_tokens()
        count = self.tokens.start_labels()
        self.say(
            "type the letters of a token (any other key leaves)"
            if count
            else "no marked token is seen here"
        )

    @on(Tokens.Labelled)
    def _on_labelled(self, message: Tokens.Labelled) -> None:
        self.say("")
        if message.index is not None:
            self.jump(self.session.sequences.bounds(self.sequence)[0] + message.index)

    # ---- marks

    def mark_at(self, position: int) -> Mark | None:
        """The reader's mark on a flat position."""
        return next(
            (mark for mark in self.view_state.marks if mark.position == position), None
        )

    def action_mark(self) -> None:
        """Ask for a note and mark the token; a mark whose note is emptied goes."""
        if not self.session.sequences.tokens:
            return
        position, before = self.position, self.mark_at(self.position)

        def taken(note: str) -> None:
            others = [
                mark for mark in self.view_state.marks if mark.position != position
            ]
            if before is None or note.strip():
                others.append(Mark(position, note.strip()))
            marks = tuple(sorted(others, key=lambda mark: mark.position))
            self.view_state = replace(self.view_state, marks=marks)
            self.repaint_passage()
            self.say(
                f"marked; there are {len(marks)} (B lists them)"
                if self.mark_at(position)
                else "mark taken away"
            )

        words = (
            "a note, or nothing"
            if before is None
            else "an empty note takes the mark away"
        )
        self.ask_line(
            f"Mark {write_place(self.session.sequences, position)}",
            words,
            before.note if before else "",
            taken,
            limit=MAX_NOTE,
        )

    def action_marks(self) -> None:
        from logdrift.tui.screens.texts import Picker

        marks = self.view_state.marks
        if not marks:
            self.say("no token is marked (b marks the one under the cursor)")
            return
        start = min(
            int(np.searchsorted([mark.position for mark in marks], self.position)),
            len(marks) - 1,
        )
        head = f"   {'seq:pos':<12}{'token':<18}{'Δ':>9}  note"
        picker = Picker(
            "Marks",
            head,
            len(marks),
            lambda index, width: self._mark_runs(marks[index], width),
            start,
        )

        def chosen(index: int | None) -> None:
            if index is None:
                return
            if marks[index].position >= self.session.sequences.tokens:
                self.say("this token is not captured yet", warn=True)
            else:
                self.jump(marks[index].position)

        self._ask(picker, chosen)

    def _mark_runs(self, mark: Mark, width: int) -> Row:
        p, sequences, pair = self.palette, self.session.sequences, self.pair
        if mark.position >= sequences.tokens:
            return [(f"   not captured yet   {visible(mark.note)}", p.muted)]
        piece = self.session.pieces.text(
            int(sequences.token_ids[mark.position])
        ).replace(" ", "·")
        delta = NOTHING
        if pair is not None and mark.position < pair.tokens:
            delta = signed(float(pair.delta[mark.position]))
        return [
            (f"   {write_place(sequences, mark.position):<12}", p.muted),
            (fit(piece, 16), p.strong),
            (f"{delta:>11}  ", p.text),
            (fit(visible(mark.note), max(1, width - 43)), p.text),
        ]

    # ---- short forms

    def level_text(self) -> str:
        """The threshold as the legend writes it."""
        return number(self.threshold, 3)

    def sequence_at(self, position: int) -> int:
        """The sequence of a flat position."""
        return sequence_of(self.session.sequences, position)


def _where(step: int) -> str:
    return "after" if step > 0 else "before"
