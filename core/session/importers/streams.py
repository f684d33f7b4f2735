"""Streamed answers put together: the chunks of one answer to what the server would have
sent at once. None is given that lacks a chunk in its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from logdrift.core.errors import InputError, Place
from logdrift.core.session.importers.chunks import (
    MALFORMED,
    Answer,
    answer_id,
    begins_anew,
    continues,
    extend_llamacpp,
    extend_openai,
    extend_sglang,
    has_all,
    is_beginning,
    is_chunk,
    is_unfinished,
)
from logdrift.core.session.importers.documents import Documents
from logdrift.core.session.importers.llamacpp_answers import (
    PROBABILITIES,
    is_llamacpp,
    probabilities,
)
from logdrift.core.session.importers.notes import Notes

_WINDOW = 4096
"""Objects that are read after the last one of a finished answer before it is given
away: what a server sends behind its end, as a count of tokens, stands within them.
Chosen as four objects of each of 1,024 answers at once, the most that vLLM sends by
default.
"""
_LONGEST_GAP = 1 << 16
"""Objects between two chunks of one answer: one with a larger gap has broken off.
Chosen as 64 objects of each of 1,024 answers at once.
"""
_BAD_CHUNK = (
    "left out {n} streamed {answer|answers} of %s as a whole: a chunk of {it|each} is"
    " bad"
)
_UNTOLD = (
    "left out {n} streamed {answer|answers} of %s as a whole: what was left out between"
    " {its|their} chunks may be of {it|them}"
)
_NO_BEGINNING = (
    "left out {n} streamed {answer|answers} of %s as a whole: what was left out in"
    " front of {it|them} may be {its|their} beginning"
)
_NO_END = (
    "{n} streamed {answer|answers} of %s {has|have} no end: tokens may be missing there"
)
_BEGINNINGS = " ({it begins|they begin} at %s)"
_SHOWN = 3
"""Of the answers that are left out for one reason, so many are named."""


@dataclass(slots=True)
class _Begun:
    """An answer so far; ``last`` is the number of the last object that was of it.

    ``left_out``: why it is not given, a sentence for `Notes`; ``may_lack`` chunks: what
    was left out after it had ended is of it where it goes on. ``counted``: its server
    has counted all tokens behind the last of them.
    """

    key: Any
    place: Place
    answer: Answer
    last: int = 0
    goes_on: bool = False
    left_out: str | None = None
    may_lack: bool = False
    counted: bool = False

    @property
    def may_have_hole(self) -> bool:
        """A chunk of it is bad, or one may be missing: its server's own count of tokens
        may show that none is.
        """
        if self.left_out == _UNTOLD:
            return not self.is_counted_whole
        return self.left_out is not None

    @property
    def is_counted_whole(self) -> bool:
        """It has as many tokens as its server counted. A count in a chunk with tokens
        may be one of those so far.
        """
        says_all = self.has_ended or self.counted or "choices" not in self.answer
        return says_all and has_all(self.answer)

    @property
    def has_ended(self) -> bool:
        """The server has said its end; OpenAI's form says so for each choice."""
        if not self.goes_on:
            return True
        choices = self.answer.get("choices")
        if not choices:
            return False
        reasons = [choice["finish_reason"] for choice in choices]
        return None not in reasons

    @property
    def lacks_its_end(self) -> bool:
        """A file that ends between two chunks looks as if nothing was missing."""
        if self.has_ended:
            return False
        # Servers of other forms count in each chunk the tokens up to it.
        return "choices" not in self.answer or not self.is_counted_whole


class Streams:
    """Answers of the file ``name``; chunks find theirs by its id.

    An answer that has ended is kept for a while, and so is one that has broken off:
    memory holds those that are sent at the same time. Those that are given together
    stand in the order in which they began, one that goes on for long behind them. Of
    each answer that has broken off the id is kept to the end of the file.

    No answer with a hole is given: one with a bad chunk is left out as a whole, and
    `tell` notes it in ``notes``.
    """

    def __init__(self, name: str, notes: Notes) -> None:
        self._name = name
        self._notes = notes
        self._answers: list[_Begun] = []
        self._open: dict[Any, _Begun] = {}
        self._ended: dict[Any, int] = {}
        self._broken_off: dict[Any, _Begun] = {}
        self._left_out: dict[str, list[Place]] = {}
        self._at: _Begun | None = None
        self._taken = 0
        self._next_look = _WINDOW
        self._has_chunks = False
        self._lacks_until = 0

    def add(self, place: Place, answer: Answer) -> None:
        """Take one object: a whole answer, or a chunk. Raises InputError for a chunk
        that does not fit.
        """
        self._taken += 1
        try:
            self._take(place, answer)
        except InputError:
            if self._leave_out():
                raise
        except MALFORMED as error:
            if self._leave_out():
                kind = type(error).__name__
                reason = f"is not an answer or a chunk of one: {kind}: {error}"
                raise place.error(reason) from None
        finally:
            # An answer that is given away takes no memory while the next one is read.
            self._at = None

    def _take(self, place: Place, answer: Answer) -> None:
        if "meta_info" in answer:
            self._add_sglang(place, answer)
        elif "choices" in answer:
            self._add_openai(place, answer)
        elif is_llamacpp(answer):
            self._add_llamacpp(place, answer)
        else:
            self._begin(None, place, answer)

    def _leave_out(self) -> bool:
        """Leave the answer out of which a chunk is bad; whether that is new."""
        begun = self._at
        if begun is None:
            self.lack_one()
            return True
        is_new = begun.left_out is None
        if is_new:
            begun.left_out = _BAD_CHUNK
        return is_new

    def lack_one(self) -> None:
        """An object was left out here, and nothing tells of which answer it is: each
        one that goes on may lack it.
        """
        self._lacks_until = self._taken + _LONGEST_GAP
        for begun in self._open.values():
            if begun.has_ended:
                begun.may_lack = True
            elif begun.left_out is None:
                begun.left_out = _UNTOLD

    @property
    def may_be_ready(self) -> bool:
        """Whether it is worth while to ask for what is `ready`."""
        return not self._open or self._taken >= self._next_look

    def ready(self) -> Documents:
        """The answers that are whole, each given once: all while none may go on."""
        if not self._open:
            yield from self.whole()
            return
        self._next_look = self._taken + _WINDOW
        yield from self._over()

    def whole(self) -> Documents:
        """All answers that `ready` has not given."""
        answers = self._answers
        self._answers = []
        yield from self._without_holes(answers)

    def _without_holes(self, answers: Sequence[_Begun]) -> Documents:
        for begun in answers:
            if begun.may_have_hole:
                reason = str(begun.left_out)
                places = self._left_out.setdefault(reason, [])
                places.append(begun.place)
                continue
            if begun.lacks_its_end:
                self._notes.count(_NO_END % self._name)
            yield begun.place, begun.answer

    def tell(self) -> None:
        """Note which answers were left out, at the end of the file."""
        for reason, places in self._left_out.items():
            beginnings = list(map(_short, places[:_SHOWN]))
            more = len(places) - _SHOWN
            if more > 0:
                beginnings.append(f"{more:,} more")
            sentence = reason % self._name + _BEGINNINGS % ", ".join(beginnings)
            self._notes.count(sentence, len(places))

    def _over(self) -> Documents:
        """The answers that have ended or broken off some time ago."""
        self._forget_ended()
        over = []
        kept = []
        for begun in self._answers:
            gap = self._taken - begun.last
            is_over = begun.has_ended and gap >= _WINDOW
            if is_over or gap >= _LONGEST_GAP:
                over.append(begun)
                self._close(begun)
            else:
                kept.append(begun)
        self._answers = kept
        yield from self._without_holes(over)

    def _close(self, begun: _Begun) -> None:
        """No later chunk belongs to this answer."""
        if self._open.get(begun.key) is not begun:
            return
        del self._open[begun.key]
        if begun.has_ended:
            self._ended[begun.key] = self._taken
        else:
            self._broken_off[begun.key] = replace(begun, answer={})

    def _forget_ended(self) -> None:
        """Forget ids behind which nothing can stand any more."""
        for key, given in list(self._ended.items()):
            if self._taken - given < _LONGEST_GAP:
                return
            del self._ended[key]

    def _begin(self, key: Any, place: Place, answer: Answer) -> _Begun:
        begun = _Begun(key, place, answer, last=self._taken)
        self._answers.append(begun)
        self._at = begun
        return begun

    def _add_openai(self, place: Place, answer: Answer) -> None:
        key = answer_id(answer)
        begun = self._find(key)
        if begun is not None and continues(begun.answer, answer):
            self._go_on(begun, place, answer)
            return
        if begun is None and self._is_behind_its_answer(key, place, answer):
            return
        if not is_chunk(answer):
            begun = self._begin(key, place, answer)
            self._look_at_beginning(begun, answer)
            return
        whole = {**answer, "choices": []}
        begun = self._begin(key, place, whole)
        self._look_at_beginning(begun, answer, goes_on=True)
        self._go_on(begun, place, answer)

    def _go_on(self, begun: _Begun, place: Place, chunk: Answer) -> None:
        """Add a chunk of OpenAI's form to its answer."""
        self._keep_open(begun, goes_on=True)
        if begun.may_lack and chunk["choices"]:
            begun.left_out = _UNTOLD
        begun.counted |= bool(chunk.get("usage")) and not chunk["choices"]
        extend_openai(begun.answer, chunk, place)

    def _is_behind_its_answer(self, key: Any, place: Place, answer: Answer) -> bool:
        """Whether an object is of an answer that was given away, and begins none.
        Raises InputError for a chunk of one that has broken off.
        """
        if key in self._broken_off:
            self._at = self._broken_off[key]
            reason = (
                "goes on too late: its answer had no chunk in the"
                f" {_LONGEST_GAP:,} objects before it"
            )
            raise place.error(reason, "sort the chunks by their id")
        return key in self._ended and not answer["choices"]

    def _add_sglang(self, place: Place, answer: Answer) -> None:
        meta = answer["meta_info"]
        stream_id = meta.get("id")
        index = answer.get("index")
        key = ("sglang", stream_id, index)
        goes_on = stream_id is not None and is_unfinished(meta)
        begun = self._find(key)
        if begun is not None:
            self._keep_open(begun, goes_on)
            extend_sglang(begun.answer, answer)
            return
        begun = self._begin(key, place, dict(answer))
        self._look_at_beginning(begun, answer, goes_on)
        self._keep_open(begun, goes_on)

    def _add_llamacpp(self, place: Place, answer: Answer) -> None:
        slot = answer.get("id_slot")
        index = answer.get("index")
        key = ("llama.cpp", slot, index)
        goes_on = answer.get("stop") is False
        begun = self._find(key)
        if begun is not None and not begins_anew(begun.answer, answer):
            self._keep_open(begun, goes_on)
            extend_llamacpp(begun.answer, answer)
            return
        new = list(probabilities(answer))
        begun = self._begin(key, place, {**answer, PROBABILITIES: new})
        self._look_at_beginning(begun, answer, goes_on)
        self._keep_open(begun, goes_on)

    def _find(self, key: Any) -> _Begun | None:
        """The answer that an object of this key goes on with."""
        self._at = self._open.get(key)
        return self._at

    def _look_at_beginning(
        self, begun: _Begun, answer: Answer, goes_on: bool = False
    ) -> None:
        """Leave an answer out of which the beginning may be what was left out: behind
        chunks ``answer`` must show that it is one.
        """
        self._has_chunks |= goes_on
        may_lack = self._taken <= self._lacks_until and self._has_chunks
        if may_lack and not is_beginning(answer):
            begun.left_out = _NO_BEGINNING

    def _keep_open(self, begun: _Begun, goes_on: bool) -> None:
        """Whether later chunks belong to this answer."""
        begun.last = self._taken
        begun.goes_on = goes_on
        if goes_on:
            self._open[begun.key] = begun
        else:
            self._open.pop(begun.key, None)


def _short(place: Place) -> str:
    """A place in a file that is named already."""
    if place.line is None:
        return place.words
    return f"line {place.line}"
