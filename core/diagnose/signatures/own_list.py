"""Values that their own top-k lists contradict: of other ids, or of other places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import (
    Case,
    number_of_tokens,
    place_of,
    positions_of,
)
from logdrift.core.diagnose.evidence import Evidence, Number
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST, PROOF
from logdrift.core.diagnose.view import count_of
from logdrift.core.session.reader import Capture

Array = npt.NDArray[Any]

_MISSED = 0.1
"""Nats by which a scored value must miss the value of its own list. Both come from one
softmax; rounding the list and the target to bfloat16 by different ways moves a value of
-16 by 0.06.
"""
_SAME_VALUE = 1e-3
"""Nats within which a value is that of a list's entry. By judgement."""
_CERTAIN = -0.02
"""Nats above which values of any tokens are alike, since they are certain. By
judgement.
"""
_OF_IDS = Ramp(starts=0.5, full=0.8)
"""Share, beyond chance, of the values that miss their lists which are of other ids of
those lists or outside of them. By judgement.
"""
_PROVEN_BY = 8
_HINTED_BY = 4
"""How many tokens one value counts for. It proves where it is exactly that of another
id of its list, as no other place or setting gives it. It hints where it is below its
list, less the chance that a value of any other place is: two values are by chance
below lists of 20 once in 100 times.
"""
_NEIGHBOURS = (-1, 1, -2, 2, -3, 3)
_MOSTLY = 0.5
"""Share of the values that must be of the id of one neighbour: by chance it is that one
in twenty times.
"""
_MOST = 0.98
"""The largest score. By judgement."""


@dataclass(frozen=True, eq=False)
class _Mismatches:
    """Tokens whose value is not that of their own list.

    at i64[m] flat positions, of ``checked`` tokens; off f64[m] nats; owner i64[m]: the
    id of the list that has the value, -1 for none or several; outside bool[m]: the
    value is below the list, as any id outside of it is; ``chance``: the share of this
    side's values, of whatever token, that are below those lists.
    """

    at: npt.NDArray[np.int64]
    checked: int
    off: npt.NDArray[np.float64]
    owner: npt.NDArray[np.int64]
    outside: npt.NDArray[np.bool_]
    chance: float

    @property
    def owned(self) -> npt.NDArray[np.bool_]:
        """bool[m]: another id of the list has the value."""
        return self.owner >= 0

    @property
    def of_ids(self) -> float:
        """Share, beyond chance, that is of other ids of the lists or outside of
        them.
        """
        of_others = self.owned | self.outside
        share = float(np.mean(of_others))
        beyond_chance = max(share - self.chance, 0.0)
        possible = max(1 - self.chance, 1e-9)
        return beyond_chance / possible

    @property
    def units(self) -> int:
        """Tokens of evidence for other ids, as `PROOF` counts them."""
        below = self.outside & ~self.owned
        proofs = _PROVEN_BY * count_of(self.owned)
        hints = _HINTED_BY * (1 - self.chance) * count_of(below)
        return proofs + int(hints)


def own_list(case: Case) -> Iterator[Evidence]:
    """Values that differ from what the same capture's lists have for their ids: they
    belong to other ids, or to other places.

    A value that another id of the list has belongs to that id. A value below the whole
    list may belong to any id outside of it. All other values belong to no id of that
    list, so they say nothing about ids: they come from another place or another
    softmax, or were filled in.
    """
    pair = case.pair
    sides = ((pair.a, pair.logprob_a), (pair.b, pair.logprob_b))
    for capture, logprob in sides:
        mismatches = _mismatches(case, capture, logprob)
        if mismatches is not None:
            yield _of_own_list(case, capture.info.label, mismatches)


def _of_own_list(case: Case, label: str, mismatches: _Mismatches) -> Evidence:
    lag, share = _neighbour(case, mismatches)
    if share > _MOSTLY:
        return _of_neighbours(case, label, mismatches, lag)
    return _of_other_ids(case, label, mismatches)


def _of_neighbours(
    case: Case, label: str, mismatches: _Mismatches, lag: int
) -> Evidence:
    description = _described(case, label, mismatches)
    number = number_of_tokens(lag)
    way = "before" if lag < 0 else "behind"
    ceiling = PROOF.ceiling(len(mismatches.at))
    return Evidence(
        cause="alignment",
        score=_MOST * ceiling,
        signature="own list",
        sentence=(
            f"{description}, which stands {number} {way} it: values and lists belong"
            " to different tokens."
        ),
        numbers={**_numbers(label, mismatches), "lag": lag},
        positions=positions_of(mismatches.at),
    )


def _of_other_ids(case: Case, label: str, mismatches: _Mismatches) -> Evidence:
    """Other ids, as far as the values are of them; else no more than possible."""
    score = _MOST * _OF_IDS.score(mismatches.of_ids)
    score *= PROOF.ceiling(mismatches.units)
    possible = POSSIBLE_AT_MOST * PROOF.ceiling(len(mismatches.at))
    mostly = mismatches.of_ids > _OF_IDS.starts
    if mostly:
        more = ""
    else:
        more = (
            "; most of them belong to no id of their lists, as values of another"
            " place or setting do"
        )
    return Evidence(
        cause="ids",
        score=max(score, possible),
        signature="own list",
        sentence=f"{_described(case, label, mismatches)}{more}.",
        numbers=_numbers(label, mismatches),
        positions=positions_of(mismatches.at),
        explains=None if mostly else 0.0,
    )


def _described(case: Case, label: str, mismatches: _Mismatches) -> str:
    owned = np.flatnonzero(mismatches.owned)
    example = int(owned[0]) if len(owned) else 0
    at = int(mismatches.at[example])
    place = place_of(case, at)
    token_ids = case.pair.sequences.token_ids
    token = _named(case, int(token_ids[at]))
    number = len(mismatches.at)
    opening = (
        f"{number:,} of {mismatches.checked:,} values of {label} are not"
        f" those that its own lists give for their tokens: at {place}"
        f" the value is not that of {token}"
    )
    if not len(owned):
        return opening
    owner = int(mismatches.owner[example])
    return f"{opening} but that of {_named(case, owner)}"


def _numbers(label: str, mismatches: _Mismatches) -> dict[str, Number]:
    tokens = len(mismatches.at)
    largest = mismatches.off.max()
    return {
        "side": label,
        "tokens": tokens,
        "checked": mismatches.checked,
        "largest": float(largest),
        "share": tokens / mismatches.checked,
        "of_an_id": mismatches.of_ids,
    }


def _named(case: Case, token: int) -> str:
    text = case.session.pieces.text(token)
    return f"{text!r} (id {token})"


def _neighbour(case: Case, mismatches: _Mismatches) -> tuple[int, float]:
    """The lag at which most of the values' ids stand in the same sequence, and the
    share of all mismatches.
    """
    ids = case.pair.sequences.token_ids
    offsets = case.pair.sequences.offsets
    tokens = case.pair.tokens
    sequence = case.view.sequence_of(mismatches.at)
    start = offsets[sequence]
    end = np.minimum(offsets[sequence + 1], tokens)
    last = tokens - 1
    largest = 0.0
    lag = 0
    for step in _NEIGHBOURS:
        moved = mismatches.at + step
        inside = (moved >= start) & (moved < end)
        id_there = ids[np.clip(moved, 0, last)]
        owned_there = mismatches.owned & (id_there == mismatches.owner)
        share = float(np.mean(inside & owned_there))
        if share > largest:
            largest = share
            lag = step
    return lag, largest


def _mismatches(case: Case, side: Capture, logprob: Array) -> _Mismatches | None:
    """The tokens of one side whose scored value misses that of its own list; None where
    there are none, or no lists.
    """
    at = case.view.at
    if side.top_k < 2 or not len(at):
        return None
    ids = side.top_ids.whole()[at]
    values = side.top_logprobs.whole()[at]
    scored = logprob[at]
    least = _least_listed(ids, values)
    targets = case.pair.sequences.token_ids[at]
    off = _off_by(ids, values, targets, scored, least)
    wrong = off > _MISSED
    if not wrong.any():
        return None
    bound = least[wrong] + _MISSED
    in_order = np.sort(scored)
    below = np.searchsorted(in_order, bound, "right")
    share_below = below / len(scored)
    wrong_values = scored[wrong]
    return _Mismatches(
        at=at[wrong],
        checked=len(at),
        off=off[wrong].astype(np.float64),
        owner=_owners(ids[wrong], values[wrong], wrong_values),
        outside=wrong_values <= bound,
        chance=float(share_below.mean()),
    )


def _least_listed(ids: Array, values: Array) -> Array:
    """The smallest value of each list in nats, f32[n]; inf for an empty one."""
    listed = (ids >= 0) & np.isfinite(values)
    listed_values = np.where(listed, values, np.inf)
    least: Array = listed_values.min(axis=1)
    return least


def _off_by(
    ids: Array, values: Array, targets: Array, scored: Array, least: Array
) -> Array:
    """By how many nats each scored value misses what its list has for its id, f32[n].

    An id that the list lacks can be no more likely than the ``least`` of the list.
    """
    same_id = ids == targets[:, None]
    same = same_id & np.isfinite(values)
    in_list = same.any(axis=1)
    value = np.where(same, values, -np.inf).max(axis=1)
    with np.errstate(invalid="ignore"):
        beyond_list = np.where(np.isfinite(least), scored - least, 0.0)
        from_value = np.abs(scored - value)
        off: Array = np.where(in_list, from_value, beyond_list)
    return off


def _owners(ids: Array, values: Array, scored: Array) -> npt.NDArray[np.int64]:
    """The one id of each list that has the scored value, i64[m]; -1 for none or
    several, and for values near 0, which are alike for any token.
    """
    with np.errstate(invalid="ignore"):
        apart = np.abs(values - scored[:, None])
        uncertain = ~(scored >= _CERTAIN)
        equal = (apart < _SAME_VALUE) & (ids >= 0)
        equal &= uncertain[:, None]
    the_one = np.where(equal, ids, 0).sum(axis=1)
    exactly_one = equal.sum(axis=1) == 1
    return np.where(exactly_one, the_one, -1).astype(np.int64)
