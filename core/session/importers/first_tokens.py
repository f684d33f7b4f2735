"""The first token of a sequence: a score where its author knew the ids before it, a
filler where there are none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.records import Record
from logdrift.core.session.scores import Scores

_FILLED = (
    "{n} first {token|tokens} of %s {reads|read} exactly 0.0, as in every sequence:"
    " filled in, and not a score"
)


def drop_fillers(records: Sequence[Record], notes: Notes) -> None:
    """Blank the first score, in place, of captures that have 0.0 there in each sequence
    that begins without a prompt.

    A trainer that scores whole sequences has nothing for their first tokens and fills
    in 0.0. A completion whose prompt is not in the file has a real score there, and
    that is a probability of 1 in every sequence in no data.
    """
    bare = [record for record in records if _is_bare(record)]
    if not bare:
        return
    for name in bare[0].captures:
        scores = []
        for record in bare:
            if name in record.captures:
                scores.append(record.captures[name])
        first_logprobs = [one.logprob[0] for one in scores]
        firsts = np.array(first_logprobs)
        known = firsts[~np.isnan(firsts)]
        is_zero = known == 0.0
        if len(known) > 0 and is_zero.all():
            for one in scores:
                _blank(one)
            sentence = _FILLED % name
            notes.count(sentence, len(known))


def _is_bare(record: Record) -> bool:
    """It begins without a prompt, and has a token."""
    if record.prompt_length > 0:
        return False
    return len(record.token_ids) > 0


def _blank(scores: Scores) -> None:
    scores.logprob[0] = np.nan
    scores.rank[0] = 0
    scores.top_ids[:1] = -1
    scores.top_logprobs[:1] = np.nan
    if scores.entropy is not None:
        scores.entropy[0] = np.nan
