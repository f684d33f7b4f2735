"""NaN that fills a place where nothing was scored: arrays have no null, so dumps made
of arrays write NaN instead.

An engine that breaks goes on breaking, into the completion; what ends where the prompt
ends was filled in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from logdrift.core.session.importers.first_tokens import FirstTokens, is_bare
from logdrift.core.session.importers.records import Record
from logdrift.core.session.scores import Scores

PROMPTS = (
    "{n} prompt {entry|entries} of %s {is|are} NaN and none is a number: filled in, so"
    " {it is not a score|they are not scores}"
)
FIRSTS = (
    "{n} first {token|tokens} of %s {is|are} NaN in every sequence: filled in, so"
    " {it is not a score|they are not scores}"
)


@dataclass(slots=True)
class NanFillers:
    """What stands before the completions of a capture: how many NaN (``firsts`` at
    first tokens, ``prompts`` behind them), and whether there are numbers too;
    ``has_firsts`` is about sequences with a prompt.

    ``broke``: a score within a completion is NaN.
    """

    firsts: int = 0
    prompts: int = 0
    has_firsts: bool = False
    has_prompts: bool = False
    broke: bool = False

    @property
    def prompts_are_filled(self) -> bool:
        """NaN in prompts are no scores."""
        if self.broke or self.has_prompts:
            return False
        return self.prompts > 0

    def firsts_are_filled(self, bare: FirstTokens) -> bool:
        """NaN at first tokens are no scores. ``bare`` are those of the sequences
        without a prompt: their numbers may be filled in as well, and then are none.
        """
        has_scores = bare.known > 0 and not bare.are_filled
        if self.broke or self.has_firsts or has_scores:
            return False
        return self.firsts > 0

    def see(self, record: Record, scores: Scores) -> None:
        """Count one sequence."""
        start = completion_start(record.prompt_length)
        before = scores.logprob[:start]
        is_number = ~np.isnan(before)
        behind_first = is_number[1:]
        self.has_prompts |= bool(behind_first.any())
        if not is_bare(record.prompt_length):
            self.has_firsts |= bool(is_number[0])
        if scores.nan is None:
            return
        first, prompt, completion = np.split(scores.nan, [1, start])
        self.firsts += int(first.sum())
        self.prompts += int(prompt.sum())
        self.broke |= bool(completion.any())


def completion_start(prompt_length: int) -> int:
    """Where the completion begins; its first token may be filled in where no prompt
    stands before it.
    """
    return max(prompt_length, 1)
