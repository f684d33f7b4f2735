"""Lists of the tokens' alternatives, ids beside log-probabilities: as many entries in
both.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

from logdrift.core.session.files import JsonList

_ROW_KINDS = frozenset((list, type(None)))


def flattened(rows: Sequence[Collection[Any] | None]) -> JsonList:
    """The entries of all lists, one list behind the other."""
    lists = filter(None, rows)
    return list(chain.from_iterable(lists))


def lengths_of_both(ids: JsonList, logprobs: JsonList) -> Sequence[int] | None:
    """The entries of each list, 0 for None; None where two lists that should stand
    beside each other do not.
    """
    kinds = list(map(type, ids))
    other_kinds = list(map(type, logprobs))
    are_rows = _ROW_KINDS.issuperset(kinds)
    if not are_rows or kinds != other_kinds:
        return None
    counts = _lengths(ids)
    other_counts = _lengths(logprobs)
    if counts != other_counts:
        return None
    return counts


def _lengths(rows: JsonList) -> Sequence[int]:
    return [len(row or ()) for row in rows]


def first_apart(ids: JsonList, logprobs: JsonList) -> int:
    """The index of the first list that has no other of its length beside it."""
    pairs = zip(ids, logprobs, strict=True)
    for index, pair in enumerate(pairs):
        row_ids, row_logprobs = pair
        counts = lengths_of_both([row_ids], [row_logprobs])
        if counts is None:
            return index
    raise ValueError("the lists fit")
