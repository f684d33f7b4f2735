"""How far the two distributions behind a token are apart, from the top-k lists that
both captures kept of them.

A list shows a part of a distribution only. What is said here holds for any rest: shares
of common ids, ranks with their ties, and a lower bound of KL(B || A). One walk over
blocks of rows makes all of it; no [N, K] array is ever copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.kl_bound import kl_lower_bounds
from logdrift.core.compare.topk_lists import (
    Array,
    Bools,
    Floats,
    ListMatch,
    TopKBlock,
    TopKScores,
    count_true,
    match_lists,
    read_block,
)

_BLOCK = 1 << 17
"""Entries of one [K, rows] work array: some of them fit a core's cache."""
_FEWEST_ROWS = 64
_MOST_ROWS = 1 << 14
_LARGEST = np.iinfo(np.int32).max
_NO_END = np.int32(_LARGEST)


@dataclass(frozen=True, slots=True)
class TopK:
    """`topk` of the JSON schema. Shares and masses are 0 to 1, divergences nats; None
    where there is nothing to compute from. The fields are means over ``tokens``
    (`TokenTopK` says of what), but for these:

    ``k`` is the largest number of entries that were compared at a token, ``tokens`` how
    many have a list on both sides, ``ranked`` how many of them have a target in a list:
    ``rank_flips`` is a share of those. ``kl_infinite`` counts bounds of +inf (A calls
    impossible what B does not); the other ``kl_`` are over the finite bounds.
    """

    k: int
    tokens: int
    same_top1: float
    overlap: float
    ranked: int
    rank_flips: float | None
    kl_lower_bound_mean: float | None
    kl_lower_bound_p99: float | None
    kl_lower_bound_max: float | None
    kl_infinite: int
    tail_mass_a: float
    tail_mass_b: float

    def to_json(self) -> dict[str, float | int | None]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TokenTopK:
    """The same per token, for the n tokens that were asked for, in their order. Where
    ``usable`` is False nothing holds.

    usable bool[n]: both lists have an entry of a probability above 0; only such entries
    count below, but in ``kl``. k u16[n]: entries compared, those of the shorter list.
    common u16[n]: ids among the first k of both. same_top1 bool[n]: some id is as
    likely as any on both sides, so a tie at the top does not hide agreement. ranked,
    flipped bool[n]: the target is among the first k of a side, and its ranks differ
    (`rank_flips`). kl f64[n]: lower bound of KL(B || A) in nats (`_bounds`).
    tail_a, tail_b f64[n]: probability outside of the first k, at least 0.
    """

    usable: Bools
    k: npt.NDArray[np.uint16]
    common: npt.NDArray[np.uint16]
    same_top1: Bools
    ranked: Bools
    flipped: Bools
    kl: Floats
    tail_a: Floats
    tail_b: Floats


def topk_stats(
    a: TopKScores, b: TopKScores, target_ids: Array, keep: Bools
) -> TopK | None:
    """What the lists of both sides say over the tokens in ``keep`` (bool[N]);
    ``target_ids`` is i32[N].

    The lists may have different lengths. None where no token of ``keep`` has a list on
    both sides.
    """
    per_token = token_topk(a, b, target_ids, keep)
    usable = per_token.usable
    tokens = int(np.count_nonzero(usable))
    if tokens == 0:
        return None
    same_top1 = _count_usable(per_token, per_token.same_top1)
    overlap = _overlap(per_token).sum()
    kl = per_token.kl
    is_bound = usable & np.isfinite(kl)
    bounds = kl[is_bound]
    bound_mean, bound_p99, bound_max = _summary(bounds)
    tail_a = per_token.tail_a.sum()
    tail_b = per_token.tail_b.sum()
    largest_k = per_token.k.max()
    return TopK(
        k=int(largest_k),
        tokens=tokens,
        same_top1=same_top1 / tokens,
        overlap=float(overlap / tokens),
        ranked=_count_usable(per_token, per_token.ranked),
        rank_flips=_share_flipped(per_token),
        kl_lower_bound_mean=bound_mean,
        kl_lower_bound_p99=bound_p99,
        kl_lower_bound_max=bound_max,
        kl_infinite=tokens - len(bounds),
        tail_mass_a=float(tail_a / tokens),
        tail_mass_b=float(tail_b / tokens),
    )


def _summary(bounds: Floats) -> tuple[float | None, float | None, float | None]:
    """Mean, 99% quantile and largest; None each where there is no bound."""
    if len(bounds) == 0:
        return None, None, None
    mean = bounds.mean()
    p99 = np.quantile(bounds, 0.99)
    largest = bounds.max()
    return float(mean), float(p99), float(largest)


def _count_usable(per_token: TokenTopK, mask: Bools) -> int:
    """For how many usable tokens ``mask`` bool[n] is True."""
    usable = mask & per_token.usable
    return int(np.count_nonzero(usable))


def _share_flipped(per_token: TokenTopK) -> float | None:
    """The share of ranked tokens whose rank differs; None where none is ranked."""
    ranked = _count_usable(per_token, per_token.ranked)
    if ranked == 0:
        return None
    flipped = _count_usable(per_token, per_token.flipped)
    return flipped / ranked


def _overlap(per_token: TokenTopK) -> Floats:
    """The share of the first k ids that both sides list, f64[n]; 0 where not usable."""
    k = per_token.k
    tokens = len(k)
    overlap: Floats = np.divide(
        per_token.common,
        k,
        out=np.zeros(tokens),
        where=per_token.usable,
    )
    return overlap


def rank_flips(a: TopKScores, b: TopKScores, target_ids: Array, keep: Bools) -> Bools:
    """Whether the target's rank differs, bool[n] for the n tokens in ``keep``; False
    where it cannot be seen.

    A rank is taken from the list, not as an engine gave it: engines count ties in
    different ways and some give none outside of their list. Ids that are equally likely
    share the ranks from 1 + #{more likely} to #{at least as likely}; a tie that reaches
    the end of the list, and a target behind that end, may have any rank from there on.
    A flip is two ranges without a common rank: the target is in one list and behind the
    other, or at another place. Tokens whose target is among the first k of neither side
    are not ``ranked``: nothing is seen of their rank.
    """
    per_token = token_topk(a, b, target_ids, keep)
    return per_token.flipped & per_token.usable


def token_topk(
    a: TopKScores, b: TopKScores, target_ids: Array, keep: Bools
) -> TokenTopK:
    """`TokenTopK` of the tokens in ``keep`` (bool[N]), in one walk over both captures.
    ``target_ids`` is i32[N].
    """
    kept = np.count_nonzero(keep)
    count = int(kept)
    result = _nothing(count)
    if count == 0:
        return result
    width_a = _width(a)
    width_b = _width(b)
    shorter = min(width_a, width_b)
    longer = max(width_a, width_b)
    if shorter == 0:
        return result
    done = 0
    for block in _blocks_of(keep, longer):
        end = done + len(block.rows)
        entries = slice(done, end)
        targets = block.kept_of(target_ids)
        with np.errstate(invalid="ignore", over="ignore"):
            side_a = block.lists_of(a)
            side_b = block.lists_of(b)
            _compare(side_a, side_b, targets, result, entries)
        done = end
    return result


def _nothing(count: int) -> TokenTopK:
    return TokenTopK(
        usable=np.zeros(count, np.bool_),
        k=np.zeros(count, np.uint16),
        common=np.zeros(count, np.uint16),
        same_top1=np.zeros(count, np.bool_),
        ranked=np.zeros(count, np.bool_),
        flipped=np.zeros(count, np.bool_),
        kl=np.zeros(count),
        tail_a=np.zeros(count),
        tail_b=np.zeros(count),
    )


def _width(scores: TopKScores) -> int:
    """How many entries the lists of a capture have."""
    first_row = scores.top_ids.rows(0, 1)
    return int(first_row.shape[1])


@dataclass(frozen=True, slots=True)
class _KeptRows:
    """Stored rows ``start`` to ``stop``, of which ``rows`` (from 0) are kept.

    ``chosen`` is the same, or None where all are.
    """

    start: int
    stop: int
    rows: Array

    @property
    def chosen(self) -> Array | None:
        stored = self.stop - self.start
        if len(self.rows) == stored:
            return None
        return self.rows

    def kept_of(self, values: Array) -> Array:
        """Those of ``values`` [N] that belong to the kept rows."""
        stored = values[self.start : self.stop]
        return stored[self.rows]

    def lists_of(self, scores: TopKScores) -> TopKBlock:
        """The lists of one side in the kept rows."""
        return read_block(scores, self.start, self.stop, self.chosen)


def _blocks_of(keep: Bools, width: int) -> Iterator[_KeptRows]:
    """The kept rows in blocks that fit the cache; blocks without one are left out."""
    fitting_rows = _BLOCK // width
    at_least = max(fitting_rows, _FEWEST_ROWS)
    step = min(at_least, _MOST_ROWS)
    end = len(keep)
    for start in range(0, end, step):
        stop = min(start + step, end)
        kept = keep[start:stop]
        rows = np.flatnonzero(kept)
        if len(rows):
            yield _KeptRows(start, stop, rows)


def _compare(
    a: TopKBlock, b: TopKBlock, targets: Array, result: TokenTopK, at: slice
) -> None:
    """Fill the entries ``at`` of ``result`` from two blocks of the same tokens."""
    match = match_lists(a, b)
    k = np.minimum(a.entries, b.entries)
    ranked, flipped = _flips(a, b, k)
    result.usable[at] = k > 0
    result.k[at] = k
    result.common[at] = _common(match.slot, k)
    result.same_top1[at] = _same_top1(a, b, match)
    result.ranked[at] = ranked
    result.flipped[at] = flipped
    result.kl[at] = kl_lower_bounds(a, b, targets, match)
    result.tail_a[at] = _tail(a, k)
    result.tail_b[at] = _tail(b, k)


def _common(slot: Array, k: Array) -> Array:
    """How many of the first k ids of B are among the first k of A."""
    entries = len(slot)
    short = k.astype(slot.dtype)
    places = np.arange(entries, dtype=slot.dtype)
    place = places[:, None]
    inside = place < short
    inside &= slot <= short
    inside &= slot > 0
    return count_true(inside)


def _same_top1(a: TopKBlock, b: TopKBlock, match: ListMatch) -> Bools:
    """Whether some id is as likely as any on both sides, bool[M]."""
    top_a = a.values[0]
    top_b = b.values[0]
    target_tops_a = a.target >= top_a
    target_tops_b = b.target >= top_b
    same: Bools = target_tops_a & target_tops_b
    for place, slot in enumerate(match.slot):
        is_top_of_b = b.values[place] >= top_b
        if not is_top_of_b.any():
            break
        is_listed_by_a = slot > 0
        value_a = match.value_a[place]
        is_top_of_a = is_listed_by_a & (value_a >= top_a)
        same |= is_top_of_b & is_top_of_a
    return same


def _flips(a: TopKBlock, b: TopKBlock, k: Array) -> tuple[Bools, Bools]:
    """Whether the target has a rank among the first k of a side, and whether the ranks
    differ, bool[M] each.
    """
    low_a, high_a = _rank_range(a)
    low_b, high_b = _rank_range(b)
    unknown_to_a = np.isnan(a.target)
    unknown_to_b = np.isnan(b.target)
    unknown = unknown_to_a | unknown_to_b
    best = np.minimum(low_a, low_b)
    is_listed = best <= k
    ranked: Bools = is_listed & ~unknown
    better_in_a = high_a < low_b
    better_in_b = high_b < low_a
    apart = better_in_a | better_in_b
    return ranked, ranked & apart


def _rank_range(side: TopKBlock) -> tuple[Array, Array]:
    """The best and the worst rank that the target may have (`rank_flips`)."""
    values = side.values
    target = side.target
    more_likely = count_true(values > target)
    at_least_as_likely = count_true(values >= target)
    before = more_likely.astype(np.int32)
    low = 1 + before
    last_tied = np.maximum(low, at_least_as_likely)
    reaches_end = at_least_as_likely == _listed(side)
    high = np.where(reaches_end, _NO_END, last_tied)
    return low, high


def _listed(side: TopKBlock) -> Array | int:
    """How many entries each list has."""
    values = side.values
    if not side.has_gaps:
        return len(values)
    is_gap = np.isnan(values)
    return count_true(~is_gap)


def _tail(side: TopKBlock, k: Array) -> Floats:
    """The probability outside of the first k, f64[M]; 0 where k is 0."""
    width = len(side.p)
    p = side.p
    if k.min() < width:
        places = np.arange(width)
        is_inside = places[:, None] < k
        p = p * is_inside
    inside = p.sum(axis=0)
    rest = 1.0 - inside
    outside = np.maximum(0.0, rest)
    has_entries = k > 0
    return np.where(has_entries, outside, 0.0)
