"""Parts of which an engine has sequences: more than one at a time, so that the engine
and not the part decides how much it computes at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from logdrift.core.errors import LogdriftError
from logdrift.core.worker.base import (
    Answer,
    AskedSequence,
    Generation,
    IdArray,
    Scores,
)

MOST_HELD = 192 << 20
"""Bytes of answers that may wait for the rest of their parts before another part is
begun: a million tokens with 20 alternatives each.
"""


@dataclass(frozen=True)
class PartSequences:
    """The sequences of one part, given or just sampled. ``first`` is the number of the
    first one in the session; ``prompt_lengths`` says how many ids of each are its
    prompt.
    """

    index: int
    first: int
    sequences: list[IdArray]
    prompt_lengths: list[int]


@dataclass
class _OpenPart:
    part: PartSequences
    answers: dict[int, Answer] = field(default_factory=dict)

    @property
    def is_answered(self) -> bool:
        return len(self.answers) == len(self.part.sequences)

    @property
    def held(self) -> int:
        """Bytes that wait here."""
        return sum(map(_bytes_of, self.answers.values()))

    def in_order(self) -> list[Answer]:
        return [self.answers[number] for number in sorted(self.answers)]


def _bytes_of(answer: Answer) -> int:
    """Bytes of the arrays of an answer."""
    scores = answer
    if isinstance(answer, Generation):
        scores = answer.scores
    assert isinstance(scores, Scores)
    arrays = (scores.logprob, scores.rank, scores.top_ids, scores.top_logprobs)
    optional = [array for array in (scores.entropy, scores.nan) if array is not None]
    return sum(array.nbytes for array in (*arrays, *optional))


class OpenParts:
    """Hands out the sequences of ``parts``, one part after the other, and gives each
    part back once all of it is answered.

    ``seed`` is that of sequence 0.
    """

    def __init__(self, parts: Iterator[PartSequences], seed: int) -> None:
        self._parts = parts
        self._seed = seed
        self._open: dict[int, _OpenPart] = {}
        self._owners: dict[int, int] = {}
        self._next: deque[AskedSequence] = deque()
        self._held = 0

    def take(self) -> AskedSequence | None:
        """The next sequence; None where there is none for now: all are taken, or
        answers in memory have to be written first.
        """
        if not self._next and self._held <= MOST_HELD:
            self._begin()
        if self._next:
            return self._next.popleft()
        return None

    def answered(
        self, asked: AskedSequence, answer: Answer
    ) -> tuple[PartSequences, list[Answer]] | None:
        """Keep an answer; the part with all its answers where this was the last one.
        Raises LogdriftError for an answer to nothing that is open.
        """
        index = self._owners.pop(asked.number, None)
        if index is None:
            raise LogdriftError(f"{asked.what}: the engine answered twice")
        opened = self._open[index]
        opened.answers[asked.number] = answer
        self._held += _bytes_of(answer)
        if not opened.is_answered:
            return None
        del self._open[index]
        self._held -= opened.held
        return opened.part, opened.in_order()

    def check_empty(self) -> None:
        """Raise LogdriftError where an engine has ended and left sequences out."""
        if self._owners:
            number = min(self._owners)
            raise LogdriftError(f"sequence {number}: the engine gave no answer")
        left = next(self._parts, None)
        if left is not None:
            raise LogdriftError(f"sequence {left.first}: the engine was not asked")

    def _begin(self) -> None:
        """Open the next part, where there is one."""
        part = next(self._parts, None)
        if part is None:
            return
        self._open[part.index] = _OpenPart(part)
        pairs = zip(part.sequences, part.prompt_lengths, strict=True)
        for number, (ids, prompt_length) in enumerate(pairs, part.first):
            self._owners[number] = part.index
            asked = AskedSequence(
                number=number,
                ids=ids,
                prompt_length=prompt_length,
                seed=self._seed + number,
                what=f"sequence {number}",
            )
            self._next.append(asked)
