"""How far the two distributions behind a token are apart, from the top-k lists that
both captures kept of them.

A list shows a part of a distribution only. What is said here holds for any rest: shares
of common ids, ranks with their ties, and a lower bound of KL(B || A). One walk over
blocks of rows makes all of it; no [N, K] array is ever copied.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_BLOCK = 1 << 17
"""Entries of one [K, rows] work array: some of them fit a core's cache."""
_SUM_NOISE = 2.0**-20
"""How far a float32 log-softmax leaves the sum of all probabilities from 1: nine times
the most seen (1.1e-7).
"""
_NO_END = np.int32(np.iinfo(np.int32).max)
_EMPTY = -1
_NONE = -2
"""Ids that no token has: of an empty entry, and of a target that is not known on both
sides. Empty entries of both sides match each other, with the value NaN and the
probability 0, so they never count.
"""


class StoredRows(Protocol):
    """What `logdrift.core.session.reader.Column` gives: some rows of an array that may
    lie in several files.
    """

    def rows(self, start: int, stop: int) -> Array: ...


class TopKScores(Protocol):
    """What `logdrift.core.session.reader.Capture` has: logprob f32[N] of the target,
    top_ids i32[N, K] and top_logprobs f32[N, K], in nats. An entry with id -1 or NaN is
    empty; the others of a row have different ids, in any order.
    """

    @property
    def logprob(self) -> StoredRows: ...
    @property
    def top_ids(self) -> StoredRows: ...
    @property
    def top_logprobs(self) -> StoredRows: ...


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
    found = token_topk(a, b, target_ids, keep)
    usable = found.usable
    tokens = int(np.count_nonzero(usable))
    if tokens == 0:
        return None
    ranked = int(np.count_nonzero(found.ranked & usable))
    flipped = int(np.count_nonzero(found.flipped & usable))
    share_in_both = np.divide(
        found.common, found.k, out=np.zeros(len(usable)), where=usable
    )
    bounds = found.kl[usable & np.isfinite(found.kl)]
    return TopK(
        k=int(found.k.max()),
        tokens=tokens,
        same_top1=float(np.count_nonzero(found.same_top1 & usable) / tokens),
        overlap=float(share_in_both.sum() / tokens),
        ranked=ranked,
        rank_flips=flipped / ranked if ranked else None,
        kl_lower_bound_mean=float(bounds.mean()) if len(bounds) else None,
        kl_lower_bound_p99=float(np.quantile(bounds, 0.99)) if len(bounds) else None,
        kl_lower_bound_max=float(bounds.max()) if len(bounds) else None,
        kl_infinite=tokens - len(bounds),
        tail_mass_a=float(found.tail_a.sum() / tokens),
        tail_mass_b=float(found.tail_b.sum() / tokens),
    )


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
    found = token_topk(a, b, target_ids, keep)
    return found.flipped & found.usable


def token_topk(
    a: TopKScores, b: TopKScores, target_ids: Array, keep: Bools
) -> TokenTopK:
    """One walk over the tokens in ``keep`` (bool[N]) for everything above.
    ``target_ids`` is i32[N].
    """
    count = int(np.count_nonzero(keep))
    out = _nothing(count)
    width = max(_width(a, keep), _width(b, keep))
    if count == 0 or min(_width(a, keep), _width(b, keep)) == 0:
        return out
    step = int(np.clip(_BLOCK // width, 64, 1 << 14))
    done = 0
    for start in range(0, len(keep), step):
        stop = min(start + step, len(keep))
        rows = np.flatnonzero(keep[start:stop])
        if len(rows) == 0:
            continue
        chosen = None if len(rows) == stop - start else rows
        with np.errstate(invalid="ignore", over="ignore"):
            side_a = _block(a, start, stop, chosen)
            side_b = _block(b, start, stop, chosen)
            targets = target_ids[start:stop][rows]
            _compare(side_a, side_b, targets, out, slice(done, done + len(rows)))
        done += len(rows)
    return out


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


def _width(scores: TopKScores, keep: Bools) -> int:
    if keep.any():
        return int(scores.top_ids.rows(0, 1).shape[1])
    return 0


@dataclass(frozen=True, slots=True)
class _Block:
    """One side's B rows, column by column: ids i32[K, B], values [K, B] falling, p
    f64[K, B], entries i64[B].

    Empty entries stand last: id -1, NaN, p = 0. ``holes``: there are some.
    """

    ids: Array
    values: Array
    p: Floats
    entries: Array
    target: Array
    holes: bool


def _block(scores: TopKScores, start: int, stop: int, chosen: Array | None) -> _Block:
    def read(column: StoredRows) -> Array:
        rows = column.rows(start, stop)
        if chosen is None:
            return rows
        return rows[chosen]

    ids = read(scores.top_ids)
    values = read(scores.top_logprobs)
    gaps = np.isnan(values)
    gaps |= ids < 0
    holes = bool(gaps.any())
    if holes:
        ids = np.where(gaps, _EMPTY, ids)
        values = np.where(gaps, np.asarray(np.nan, values.dtype), values)
    if (~(values[:, :-1] >= values[:, 1:]) & ~np.isnan(values[:, 1:])).any():
        order = np.argsort(-values, axis=1, kind="stable")
        ids = np.take_along_axis(ids, order, 1)
        values = np.take_along_axis(values, order, 1)
    values = np.ascontiguousarray(values.T)
    p = values.astype(np.float64)
    np.exp(p, out=p)
    if holes:
        p[np.isnan(p)] = 0.0
    return _Block(
        ids=np.ascontiguousarray(ids.T),
        values=values,
        p=p,
        entries=_count(values > -np.inf),
        target=read(scores.logprob),
        holes=holes,
    )


def _compare(a: _Block, b: _Block, targets: Array, out: TokenTopK, at: slice) -> None:
    slot, in_b = _match(a.ids, b.ids)
    k = np.minimum(a.entries, b.entries)
    out.usable[at] = k > 0
    out.k[at] = k
    short = k.astype(slot.dtype)
    inside = np.arange(len(slot), dtype=slot.dtype)[:, None] < short
    inside &= slot <= short
    inside &= slot > 0
    out.common[at] = _count(inside)
    value_a = _gathered(a.values, slot)
    out.same_top1[at] = _same_top1(a, b, slot, value_a)
    out.ranked[at], out.flipped[at] = _flips(a, b, k)
    out.kl[at] = _bounds(a, b, targets, slot > 0, in_b, value_a)
    out.tail_a[at], out.tail_b[at] = _tail(a, k), _tail(b, k)


def _match(a: Array, b: Array) -> tuple[Array, Bools]:
    """For each entry of b [Kb, B] 1 + the slot of its id in a, or 0; and for each of a
    [Ka, B] whether b has its id.

    K x K comparisons of whole columns: no sorting, no gathering, and the narrow slots
    keep it in cache.
    """
    kind = np.uint8 if max(len(a), len(b)) < 255 else np.uint16
    number = np.arange(1, len(a) + 1, dtype=kind)[:, None]
    slot = np.empty(b.shape, kind)
    in_b = np.zeros(a.shape, np.bool_)
    equal = np.empty(a.shape, np.bool_)
    numbered = np.empty(a.shape, kind)
    for column, ids in enumerate(b):
        np.equal(a, ids, out=equal)
        in_b |= equal
        np.multiply(equal.view(np.uint8), number, out=numbered)
        np.maximum.reduce(numbered, axis=0, out=slot[column])
    return slot, in_b


def _gathered(values: Array, slot: Array) -> Array:
    """values [Ka, B] at the 1-based slots [Kb, B] of each column; anything where the
    slot is 0.
    """
    size = values.shape[1]
    index = np.multiply(slot, size, dtype=np.intp)
    index += np.arange(-size, 0)
    return np.take(values, index, mode="wrap")


def _count(mask: Bools) -> Array:
    # As bytes: counting into the default 8-byte integers takes five times as long.
    counts: Array = np.add.reduce(
        mask.view(np.uint8), axis=0, dtype=np.uint8 if len(mask) < 255 else np.uint16
    )
    return counts


def _same_top1(a: _Block, b: _Block, slot: Array, value_a: Array) -> Bools:
    same: Bools = (a.target >= a.values[0]) & (b.target >= b.values[0])
    for column in range(len(slot)):
        tied = b.values[column] >= b.values[0]
        if not tied.any():
            break
        same |= tied & (slot[column] > 0) & (value_a[column] >= a.values[0])
    return same


def _flips(a: _Block, b: _Block, k: Array) -> tuple[Bools, Bools]:
    low_a, high_a = _rank_range(a)
    low_b, high_b = _rank_range(b)
    ranked = (np.minimum(low_a, low_b) <= k) & ~np.isnan(a.target) & ~np.isnan(b.target)
    return ranked, ranked & ((high_a < low_b) | (high_b < low_a))


def _rank_range(side: _Block) -> tuple[Array, Array]:
    more = _count(side.values > side.target)
    least = _count(side.values >= side.target)
    low = 1 + more.astype(np.int32)
    listed = _count(~np.isnan(side.values)) if side.holes else len(side.values)
    return low, np.where(least == listed, _NO_END, np.maximum(low, least))


def _bounds(
    a: _Block, b: _Block, targets: Array, in_a: Bools, in_b: Bools, value_a: Array
) -> Floats:
    """Lower bounds of KL(B || A) of B tokens, f64[B] in nats: >= 0, maybe +inf.

    ``in_a`` bool[Kb, B] says which ids of b a has, ``value_a`` [Kb, B] what a gives
    them, ``in_b`` bool[Ka, B] which ids of a b has.

    Direction B || A, because k1 and k3 of tokens sampled by B estimate that one.

    Theorem: both distributions are seen through the same cells, each id whose
    log-probability is known on both sides (it is in both lists, or it is the target)
    and one cell for all others. Merging outcomes never raises a KL divergence
    (data-processing inequality), so that of the cells is at most that of the
    vocabulary, whatever the rest looks like.

    Rounding: the mass of the last cell is 1 - sum of the others, which rounding leaves
    anywhere within +-noise, and dividing two such masses would make a divergence of it.
    Of the two rests within their noise the pair with the least divergence is taken:
    rest_a + noise_a, and for rest_b the value nearest to (rest_a + noise_a) / e, where
    x log(x / r) is smallest. noise = 2^-20 for the sum of a float32 softmax, plus u *
    sum p |log p| over the cells of a list whose values all are bfloat16 (u = 2^-8) or
    float16 (2^-11) numbers. For float64 lists it is 2^-46. The log-probabilities of the
    other cells are taken as they are: their rounding enters as in every other number. A
    sum below 0, which only rounding can give, is 0.
    """
    # The target is a cell of its own with the log-probability that both sides always
    # know.
    known = ~(np.isnan(a.target) | np.isnan(b.target))
    target = np.where(known, targets, _NONE)
    in_a &= b.ids != target
    in_b &= a.ids != target
    target_a, target_b = (
        np.where(known, side.target, -np.inf).astype(np.float64) for side in (a, b)
    )
    p_a = np.exp(target_a)
    p_b = np.exp(target_b)
    cell = np.subtract(b.values, value_a, dtype=np.float64)
    # 0 log 0 = 0, and what is no cell adds nothing.
    np.copyto(cell, 0.0, where=~in_a | (b.p == 0))
    cell *= b.p
    total = cell.sum(axis=0)
    total += np.where(p_b > 0, p_b * (target_b - target_a), 0.0)
    np.multiply(b.p, in_a, out=cell)
    rest_b = 1.0 - (cell.sum(axis=0) + p_b)
    noise_b = _noise(b.values, cell, target_b, p_b)
    cell = a.p * in_b
    rest_a = 1.0 - (cell.sum(axis=0) + p_a)
    noise_a = _noise(a.values, cell, target_a, p_a)
    most_a = np.maximum(rest_a, 0.0) + noise_a
    rest_b = np.clip(
        most_a / np.e,
        np.maximum(rest_b - noise_b, 0.0),
        np.maximum(rest_b, 0.0) + noise_b,
    )
    total += rest_b * np.log(rest_b / most_a)
    bounds: Floats = np.maximum(total, 0.0)
    return bounds


def _noise(
    values: Array, p: Floats, target: Floats, p_target: Floats
) -> float | Floats:
    """How far rounding leaves the sum of the cells p [K, B] and p_target [B] from the
    truth, float or f64[B].
    """
    if values.dtype == np.float64:
        return 2.0**-46
    bits = np.bitwise_or.reduce(values.view(np.uint32), axis=0)
    coarse = np.where(
        bits & 0xFFFF == 0, 2.0**-8, np.where(bits & 0x1FFF == 0, 2.0**-11, 0.0)
    )
    if not coarse.any():
        return _SUM_NOISE
    with_log = np.where(p > 0, p * np.abs(values), 0.0).sum(axis=0)
    with_log += np.where(p_target > 0, p_target * np.abs(target), 0.0)
    noise: Floats = _SUM_NOISE + coarse * with_log
    return noise


def _tail(side: _Block, k: Array) -> Floats:
    inside = side.p
    if k.min() < len(side.p):
        inside = side.p * (np.arange(len(side.p))[:, None] < k)
    return np.where(k > 0, np.maximum(0.0, 1.0 - inside.sum(axis=0)), 0.0)
