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
        return min((value for _, value in self.entries.values()), default=None)

    @property
    def rest(self) -> float | None:
        """Probability of all ids outside of the list, 0 to 1; None for an empty
        list.
        """
        if not self.entries:
            return None
        return max(
            0.0,
            1.0 - sum(math.exp(min(value, 0.0)) for _, value in self.entries.values()),
        )


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
    order = np.argsort(-values, kind="stable")
    kept = [
        (int(ids[i]), float(values[i]))
        for i in order
        if ids[i] >= 0 and not math.isnan(values[i])
    ]
    return TopList(
        logprob,
        rank,
        {token_id: (at, value) for at, (token_id, value) in enumerate(kept, 1)},
    )


def alternatives(lists: Sequence[TopList], target: int) -> tuple[Alternative, ...]:
    """Every id of any list and the target, in the order of the first list, then by the
    best rank in any other.
    """
    ids: dict[int, None] = {}
    for each in lists:
        ids.update(dict.fromkeys(each.entries))
    if lists:
        ids[target] = None

    def best(token_id: int) -> tuple[int, int]:
        ranks = [each.entries.get(token_id, (1 << 30, 0.0))[0] for each in lists]
        return ranks[0], min(ranks)

    return tuple(
        Alternative(
            token_id,
            token_id == target,
            tuple(_cell(each, token_id, target) for each in lists),
        )
        for token_id in sorted(ids, key=best)
    )


def _cell(top: TopList, token_id: int, target: int) -> ListCell:
    if token_id in top.entries:
        rank, value = top.entries[token_id]
        return ListCell(value, top.rank if token_id == target and top.rank else rank)
    if token_id == target and top.logprob is not None:
        return ListCell(top.logprob, top.rank)
    return ListCell(below=top.bound)
