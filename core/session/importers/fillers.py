"""Numbers that only fill a list up, found when all sequences have been seen: what is in
every one of them is no score.

The sequences themselves need not be kept: they are counted as they pass, and what was
found is taken away afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from logdrift.core.session.importers import nan_fillers
from logdrift.core.session.importers.first_tokens import (
    FILLED,
    FirstTokens,
    blank_first,
    is_bare,
)
from logdrift.core.session.importers.nan_fillers import NanFillers, completion_start
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.records import Record
from logdrift.core.session.scores import Scores


@dataclass(frozen=True, slots=True)
class Correction:
    """What is to be taken away from the scores of one capture: first scores of
    sequences without a prompt, and what says that NaN was computed.
    """

    first_scores: bool = False
    first_nans: bool = False
    prompt_nans: bool = False

    @property
    def is_needed(self) -> bool:
        """There is something."""
        return self.first_scores or self.first_nans or self.prompt_nans

    def apply(self, scores: Scores, prompt_length: int) -> None:
        """Correct one sequence, in place."""
        if self.first_scores and is_bare(prompt_length):
            blank_first(scores)
        if scores.nan is None:
            return
        if self.first_nans:
            scores.nan[:1] = 0
        if self.prompt_nans:
            stop = completion_start(prompt_length)
            scores.nan[1:stop] = 0


Corrections = Mapping[str, Correction]
"""By the name of the capture."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was counted of one capture."""

    firsts: FirstTokens = field(default_factory=FirstTokens)
    nans: NanFillers = field(default_factory=NanFillers)

    def see(self, record: Record, scores: Scores) -> None:
        self.firsts.see(record, scores)
        self.nans.see(record, scores)

    def correction(self) -> Correction:
        return Correction(
            first_scores=self.firsts.are_filled,
            first_nans=self.nans.firsts_are_filled(self.firsts),
            prompt_nans=self.nans.prompts_are_filled,
        )

    def notes(self) -> Iterator[tuple[str, int]]:
        """What is taken away: a sentence and its number each; ``%s`` is the capture."""
        correction = self.correction()
        if correction.prompt_nans:
            yield nan_fillers.PROMPTS, self.nans.prompts
        if correction.first_nans:
            yield nan_fillers.FIRSTS, self.nans.firsts


class Fillers:
    """What sequences have before their completions, counted as they pass.

    Where one says that its numbers stand as they are, nothing is a filler.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._exact = False

    def see(self, record: Record) -> None:
        """Count one sequence."""
        self._exact |= record.exact
        captures = record.captures
        for name, scores in captures.items():
            nothing = _Seen()
            seen = self._seen.setdefault(name, nothing)
            seen.see(record, scores)

    def corrections(self, notes: Notes) -> Corrections:
        """What is to be taken away, by capture; counted in ``notes``."""
        if self._exact:
            none = Correction()
            return dict.fromkeys(self._seen, none)
        self._note(notes)
        corrections = {}
        for name, seen in self._seen.items():
            correction = seen.correction()
            corrections[name] = correction
        return corrections

    def _note(self, notes: Notes) -> None:
        """Count in ``notes`` what is taken away."""
        all_seen = self._seen.items()
        for name, seen in all_seen:
            firsts = seen.firsts
            if firsts.are_filled:
                sentence = FILLED % name
                notes.count(sentence, firsts.known)
        for name, seen in all_seen:
            for template, number in seen.notes():
                sentence = template % name
                notes.count(sentence, number)


def drop_fillers(records: Sequence[Record], notes: Notes) -> None:
    """Take fillers away from records in memory, in place."""
    fillers = Fillers()
    for record in records:
        fillers.see(record)
    corrections = fillers.corrections(notes)
    for record in records:
        captures = record.captures
        for name, scores in captures.items():
            correction = corrections[name]
            correction.apply(scores, record.prompt_length)
