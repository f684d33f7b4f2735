"""NaN that fills a place where nothing was scored: arrays have no null, so dumps made
of arrays write NaN instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.records import Record
from logdrift.core.session.scores import FlagArray

_PROMPTS = (
    "{n} prompt {entry|entries} of %s {is|are} NaN and none is a number: filled in, so"
    " {it is not a score|they are not scores}"
)
_FIRSTS = (
    "{n} first {token|tokens} of %s {is|are} NaN in every sequence: filled in, so"
    " {it is not a score|they are not scores}"
)


_FIRST = slice(0, 1)
_BEHIND_FIRST = slice(1, None)


def drop_nan_fillers(records: Sequence[Record], notes: Notes) -> None:
    """Take the flag off, in place, where a capture has NaN in all prompts or all first
    tokens and in no completion.

    An engine that breaks goes on breaking, into the completion; what ends where the
    prompt ends was filled in.
    """
    if not records:
        return
    for name in records[0].captures:
        having = [record for record in records if name in record.captures]
        if not _only_fillers(having, name):
            continue
        prompts = _drop(having, name, _BEHIND_FIRST)
        notes.count(_PROMPTS % name, prompts)
        firsts = _drop(having, name, _FIRST)
        notes.count(_FIRSTS % name, firsts)


def _only_fillers(records: Sequence[Record], name: str) -> bool:
    """Some score of the capture is NaN, and none within a completion."""
    scores = [record.captures[name] for record in records]
    flags = [one.nan for one in scores if one.nan is not None]
    if not flags:
        return False
    broke = [_broke(record, name) for record in records]
    return not any(broke)


def _broke(record: Record, name: str) -> bool:
    """A score within the completion is NaN."""
    flags = _flags(record, name)
    start = _behind(record)
    return bool(flags[start:].any())


def _behind(record: Record) -> int:
    """Where the completion begins; its first token may be filled in where no prompt
    stands before it.
    """
    return max(record.prompt_length, 1)


def _flags(record: Record, name: str) -> FlagArray:
    nan = record.captures[name].nan
    if nan is None:
        tokens = len(record.token_ids)
        return np.zeros(tokens, np.uint8)
    return nan


def _drop(records: Iterable[Record], name: str, part: slice) -> int:
    """Clear the flags of this part before the completions, if no number stands there;
    how many there were.
    """
    dropped = 0
    dropped_flags = []
    for record in records:
        before = slice(0, _behind(record))
        scores = record.captures[name]
        logprobs = scores.logprob[before][part]
        is_nan = np.isnan(logprobs)
        if not is_nan.all():
            return 0
        all_flags = _flags(record, name)
        flags = all_flags[before][part]
        count = flags.sum()
        dropped += int(count)
        dropped_flags.append(flags)
    for flags in dropped_flags:
        flags[:] = 0
    return dropped
