"""Reading an answer of a server: every value has the kind that it must have, or the
answer is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from logdrift.core.worker.base import FloatArray, IdArray, MismatchError, Scores

Refuse = Callable[[str], MismatchError]
"""Makes the error for an answer that cannot be accepted, from what is wrong."""
_LARGEST_ID = 2**31 - 1
_MINUS_INFINITY = -9999.0
"""At and below it a number stands for minus infinity: vLLM writes -9999.0, SGLang the
least float32.
"""
_ROUNDED_UP = 1e-3
"""What rounding can lift a logprob above 0, as `logdrift.core.worker.captures` has
it.
"""


@dataclass(frozen=True, slots=True)
class ServerReading:
    """One answer while it is read: ``what`` names its request in messages."""

    what: str
    refuse: Refuse

    def wrong(self, reason: str) -> NoReturn:
        """Raise MismatchError about this answer."""
        raise self.refuse(f"{self.what}: {reason}")

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
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or not 0 <= value <= _LARGEST_ID:
            self.wrong(f"{name} holds {value!r}, which is no token id")
        return int(value)

    def same_ids(self, got: IdArray, sent: IdArray, name: str) -> None:
        """Raise MismatchError unless ``got`` are the ids that were sent."""
        if len(got) != len(sent):
            self.wrong(f"{name} has {len(got)} ids, {len(sent)} were sent")
        differ = np.flatnonzero(got != sent)
        if differ.size:
            place = int(differ[0])
            self.wrong(
                f"{name} has id {int(got[place])} at {place}, {int(sent[place])} was"
                " sent"
            )

    def logprob(self, value: Any, name: str) -> float:
        """``value`` as a log-probability in nats, minus infinity where it stands for
        it. Raises MismatchError for None, NaN and what is above 0.
        """
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or math.isnan(value):
            self.wrong(f"{name} holds {_shown(value)} where a number must be")
        if value > _ROUNDED_UP:
            self.wrong(f"{name} holds {value!r}, above 0: no log-probability")
        if value <= _MINUS_INFINITY:
            return -math.inf
        return float(value)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return repr(value)[:40]


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One token's score: its log-probability in nats, its alternatives (id,
    log-probability) best first, and its rank as the server counts it (0: not told).
    """

    logprob: float
    alternatives: Sequence[tuple[int, float]]
    rank: int = 0


def scores_of(rows: Sequence[ScoredRow], first: int, top_k: int) -> Scores:
    """Scores of a sequence whose positions from ``first`` on have ``rows``, each with
    up to ``top_k`` alternatives.

    A token at least as likely as the last alternative has a strict rank: 1 + the
    alternatives above it. Below, only the server's own count is known.
    """
    scores = Scores.empty(first + len(rows), top_k)
    logprobs = [row.logprob for row in rows]
    scores.logprob[first:] = logprobs
    scores.rank[first:] = [row.rank for row in rows]
    if top_k and rows:
        listed = [_filled_up(row.alternatives, top_k) for row in rows]
        scores.top_ids[first:] = [[one for one, _ in row] for row in listed]
        values = np.array([[value for _, value in row] for row in listed], np.float32)
        scores.top_logprobs[first:] = values
        _rank(scores, first, values)
    return scores


def _filled_up(
    alternatives: Sequence[tuple[int, float]], top_k: int
) -> list[tuple[int, float]]:
    missing = top_k - len(alternatives)
    return [*alternatives, *[(-1, math.nan)] * missing]


def _rank(scores: Scores, first: int, values: FloatArray) -> None:
    target = scores.logprob[first:, None]
    is_listed = target[:, 0] >= values[:, -1]
    above = np.sum(values > target, axis=1)
    scores.rank[first:] = np.where(is_listed, 1 + above, scores.rank[first:])
