"""The first token of a sequence: a score where its author knew the ids before it, a
filler where there are none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from logdrift.core.session.importers.records import Record
from logdrift.core.session.scores import Scores

FILLED = (
    "{n} first {token|tokens} of %s {reads|read} exactly 0.0, as in every sequence:"
    " filled in, and not a score"
)


@dataclass(slots=True)
class FirstTokens:
    """The first scores of a capture, counted over the sequences that begin without a
    prompt: those that are ``known``, and those among them that are exactly 0.0.

    A trainer that scores whole sequences has nothing for their first tokens and fills
    in 0.0. A completion whose prompt is not in the file has a real score there, and
    that is a probability of 1 in every sequence in no data.
    """

    known: int = 0
    zeros: int = 0

    @property
    def are_filled(self) -> bool:
        """They are no scores."""
        return 0 < self.known == self.zeros

    def see(self, record: Record, scores: Scores) -> None:
        """Count one sequence."""
        if not is_bare(record.prompt_length):
            return
        first = scores.logprob[0]
        if np.isnan(first):
            return
        self.known += 1
        if first == 0.0:
            self.zeros += 1


def is_bare(prompt_length: int) -> bool:
    """The sequence begins without a prompt."""
    return prompt_length == 0


def blank_first(scores: Scores) -> None:
    """Take the first score away, in place."""
    scores.logprob[0] = np.nan
    scores.rank[0] = 0
    scores.top_ids[:1] = -1
    scores.top_logprobs[:1] = np.nan
    if scores.entropy is not None:
        scores.entropy[0] = np.nan
