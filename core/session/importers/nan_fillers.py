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


def drop_nan_fillers(records: Sequence[Record], notes: Notes) -> None:
    """Take the flag off, in place, where a capture has NaN in all prompts or all first
    tokens and in no completion.

    An engine that breaks goes on breaking, into the completion; what ends where the
    prompt ends was filled in.
    """
    names = list(records[0].captures) if records else []
    for name in names:
        having = [record for record in records if name in record.captures]
        has_flags = any(record.captures[name].nan is not None for record in having)
        if not has_flags or any(_broke(record, name) for record in having):
            continue
        prompts = _drop(having, name, slice(1, None))
        notes.count(_PROMPTS % name, prompts)
        firsts = _drop(having, name, slice(0, 1))
        notes.count(_FIRSTS % name, firsts)


def _broke(record: Record, name: str) -> bool:
    """A score within the completion is NaN."""
    flags = _flags(record, name)
    return bool(flags[_behind(record) :].any())


def _behind(record: Record) -> int:
    """Where the completion begins; its first token may be filled in where no prompt
    stands before it.
    """
    return max(record.prompt_length, 1)


def _flags(record: Record, name: str) -> FlagArray:
    nan = record.captures[name].nan
    if nan is None:
        return np.zeros(len(record.token_ids), np.uint8)
    return nan


def _drop(records: Iterable[Record], name: str, part: slice) -> int:
    """Clear the flags of this part before the completions, if no number stands there;
    how many there were.
    """
    flags = []
    logprobs = []
    for record in records:
        before = slice(0, _behind(record))
        flags.append(_flags(record, name)[before][part])
        logprobs.append(record.captures[name].logprob[before][part])
    if any(not np.isnan(logprob).all() for logprob in logprobs):
        return 0
    dropped = sum(int(flag.sum()) for flag in flags)
    for flag in flags:
        flag[:] = 0
    return dropped
