"""What captures say of one token: the union of their top-k lists, with what each list
leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt  # the explorer's first screen is drawn without it

# Records without comparison and repr: making those takes a part of a start that can be
# felt.


@dataclass(frozen=True, eq=False, repr=False)
class TopList:
    """One capture's list at one token: ``entries`` is id -> (rank within the list,
    logprob in nats), most likely first.

    ``logprob`` and ``rank`` are those of the token that really follows, None where
    unknown.
    """

    logprob: float | None
    rank: int | None
    entries: Mapping[int, tuple[int, float]] = field(default_factory=dict)

    @property
    def bound(self) -> float | None:
        """No id outside of the list is more likely than this, nats; None for an empty
        list.
        """
        values = [value for _, value in self.entries.values()]
        return min(values, default=None)

    @property
    def rest(self) -> float | None:
        """Probability of all ids outside of the list, 0 to 1; None for an empty
        list.
        """
        if not self.entries:
            return None
        listed = 0.0
        for _, value in self.entries.values():
            listed += math.exp(min(value, 0.0))
        return max(0.0, 1.0 - listed)


@dataclass(frozen=True, eq=False, repr=False)
class ListCell:
    """One capture's say on an id: a log-probability with its rank, or the value that it
    must not lie above. Nats.
    """

    logprob: float | None = None
    rank: int | None = None
    below: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Alternative:
    """One id of the union, with a cell for each list. ``target``: it is the token that
    really follows.
    """

    token_id: int
    target: bool
    cells: tuple[ListCell, ...]


def top_list(
    ids: npt.NDArray[Any],
    values: npt.NDArray[Any],
    logprob: float | None,
    rank: int | None,
) -> TopList:
    """The list of ids i32[K] with log-probabilities f32[K], in any order; entries with
    id -1 or NaN are empty.
    """
    entries: dict[int, tuple[int, float]] = {}
    rank_in_list = 0
    for place in np.argsort(-values, kind="stable"):
        token_id = int(ids[place])
        value = float(values[place])
        if token_id >= 0 and not math.isnan(value):
            rank_in_list += 1
            entries[token_id] = (rank_in_list, value)
    return TopList(logprob, rank, entries)


def alternatives(lists: Sequence[TopList], target: int) -> tuple[Alternative, ...]:
    """Every id of any list and the target, in the order of the first list, then by the
    best rank in any other.
    """
    ids: dict[int, None] = {}
    for top in lists:
        ids.update(dict.fromkeys(top.entries))
    if lists:
        ids[target] = None

    def best(token_id: int) -> tuple[int, int]:
        ranks = [_rank(top, token_id) for top in lists]
        return ranks[0], min(ranks)

    rows = []
    for token_id in sorted(ids, key=best):
        cells = [_cell(top, token_id, target) for top in lists]
        rows.append(Alternative(token_id, token_id == target, tuple(cells)))
    return tuple(rows)


_BEHIND_ALL = 1 << 30


def _rank(top: TopList, token_id: int) -> int:
    """The rank within a list; behind all others where it is not listed."""
    if token_id in top.entries:
        rank, _ = top.entries[token_id]
        return rank
    return _BEHIND_ALL


def _cell(top: TopList, token_id: int, target: int) -> ListCell:
    if token_id in top.entries:
        rank, value = top.entries[token_id]
        if token_id == target and top.rank:
            rank = top.rank
        return ListCell(value, rank)
    if token_id == target and top.logprob is not None:
        return ListCell(top.logprob, top.rank)
    return ListCell(below=top.bound)
