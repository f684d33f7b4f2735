"""Reading an answer of a server: every value has the kind that it must have, or the
answer is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from logdrift.core.worker.base import (
    MINUS_INFINITY,
    ROUNDED_UP,
    IdArray,
    MismatchError,
    Scores,
)

Refuse = Callable[[str], MismatchError]
"""Makes the error for an answer that cannot be accepted, from what is wrong."""
_LARGEST_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ServerReading:
    """One answer while it is read: ``what`` names its request in messages."""

    what: str
    refuse: Refuse

    def wrong(self, reason: str) -> NoReturn:
        """Raise MismatchError about this answer."""
        raise self.refuse(f"{self.what}: {reason}")

    def mapping_at(self, table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        """The object that ``table`` has under ``name``."""
        return self.mapping(table.get(name), name)

    def items_at(
        self, table: Mapping[str, Any], name: str, count: int | None = None
    ) -> Sequence[Any]:
        """The list that ``table`` has under ``name``."""
        return self.items(table.get(name), name, count)

    def ids_at(self, table: Mapping[str, Any], name: str) -> IdArray:
        """The ids that ``table`` has under ``name``, i32[N]."""
        return self.ids(table.get(name), name)

    def logprob_at(self, table: Mapping[str, Any], name: str) -> float:
        """The log-probability that ``table`` has under ``name``."""
        return self.logprob(table.get(name), name)

    def mapping(self, value: Any, name: str) -> Mapping[str, Any]:
        """``value`` if it is an object."""
        if not isinstance(value, Mapping):
            self.wrong(f"{name} is missing or no object")
        return value

    def items(self, value: Any, name: str, count: int | None = None) -> Sequence[Any]:
        """``value`` if it is a list, of ``count`` entries where that is known."""
        if not isinstance(value, list):
            self.wrong(f"{name} is missing or no list")
        if count is not None and len(value) != count:
            self.wrong(f"{len(value)} entries of {name} for {count} tokens")
        return value

    def ids(self, value: Any, name: str) -> IdArray:
        """``value`` as ids, i32[N]."""
        listed = self.items(value, name)
        found = [self.token_id(one, name) for one in listed]
        return np.array(found, np.int32)

    def token_id(self, value: Any, name: str) -> int:
        """``value`` if it can be an id."""
        is_whole = type(value) is int
        if not is_whole or not 0 <= value <= _LARGEST_ID:
            self.wrong(f"{name} holds {_shown(value)}, which is no token id")
        return int(value)

    def same_ids(self, got: IdArray, sent: IdArray, name: str) -> None:
        """Raise MismatchError unless ``got`` are the ids that were sent."""
        if len(got) != len(sent):
            self.wrong(f"{name} has {len(got)} ids, {len(sent)} were sent")
        differ = np.flatnonzero(got != sent)
        if not differ.size:
            return
        place = differ[0]
        found = got[place]
        expected = sent[place]
        self.wrong(f"{name} has id {found} at {place}, {expected} was sent")

    def logprob(self, value: Any, name: str) -> float:
        """``value`` as a log-probability in nats, minus infinity where it stands for
        it. Raises MismatchError for None, NaN and what is above 0.
        """
        # A bool is an int to Python, and no number to JSON.
        is_number = type(value) in (int, float)
        if not is_number or math.isnan(value):
            self.wrong(f"{name} holds {_shown(value)} where a number must be")
        if value > ROUNDED_UP:
            self.wrong(f"{name} holds {value!r}, above 0: no log-probability")
        if value <= MINUS_INFINITY:
            return -math.inf
        return float(value)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return repr(value)[:40]


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One token's score: its log-probability in nats, its alternatives best first (the
    ids and their log-probabilities), and its rank as the server counts it (0: not
    told).
    """

    logprob: float
    ids: Sequence[int] = ()
    values: Sequence[float] = ()
    rank: int = 0


def scores_of(rows: Sequence[ScoredRow], first: int, top_k: int) -> Scores:
    """Scores of a sequence whose positions from ``first`` on have ``rows``, each with
    up to ``top_k`` alternatives.
    """
    scores = Scores.empty(first + len(rows), top_k)
    for position, row in enumerate(rows, first):
        count = len(row.ids)
        scores.logprob[position] = row.logprob
        scores.top_ids[position, :count] = row.ids
        scores.top_logprobs[position, :count] = row.values
        scores.rank[position] = _rank(scores, position, row)
    return scores


def _rank(scores: Scores, position: int, row: ScoredRow) -> int:
    """A token at least as likely as the last alternative has a strict rank: 1 + the
    alternatives above it. Below, only the server's own count is known.
    """
    if not row.ids:
        return row.rank
    values = scores.top_logprobs[position]
    target = scores.logprob[position]
    last = values[-1]
    if target >= last:
        above = values > target
        return 1 + int(above.sum())
    # NaN where the list was not full: then the token is not in it.
    return row.rank
