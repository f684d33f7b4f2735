"""Lists of the most likely ids of all tokens of a sequence as tables, best first.

What `logdrift.core.session.importers.lists` does to one list is done to all of them at
once here: lists are most of what an import reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from logdrift.core.errors import Place
from logdrift.core.session.importers.columns import Row
from logdrift.core.session.importers.lists import each_once, most_likely
from logdrift.core.session.scores import Array, FloatArray, IdArray

Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Order = npt.NDArray[np.intp]
"""Columns of each row, as ``argsort`` gives them."""
IdsAndLogprobs = tuple[IdArray, FloatArray]


def empty_lists(tokens: int, width: int) -> IdsAndLogprobs:
    """(ids i32[n, k], logprobs f32[n, k]) of lists in which nothing stands yet."""
    shape = (tokens, width)
    ids = np.full(shape, -1, np.int32)
    logprobs = np.full(shape, np.nan, np.float32)
    return ids, logprobs


@dataclass(frozen=True, slots=True)
class ListedIds:
    """What is listed for n tokens, one list behind the other: ``counts`` entries for
    each, their ``ids`` and ``logprobs`` (f32, NaN for no number).

    ``targets`` are the tokens themselves. ``sure`` says of each token that its list has
    the most likely ids alone: else the token may stand in front of them. ``name`` gives
    what messages call the list of a token.
    """

    counts: Sequence[int]
    ids: Sequence[int] | IdArray
    logprobs: FloatArray
    targets: IdArray
    sure: Flags
    place: Place
    name: Callable[[int], str]


class LikelyTable(NamedTuple):
    """top_ids i32[n, k] and top_logprobs f32[n, k], the most likely first; shorter
    lists end in -1 and NaN. ``merged`` is the number of lists in which an id stood
    twice, or the token in front.
    """

    ids: IdArray
    logprobs: FloatArray
    merged: int

    @property
    def filled(self) -> Flags:
        """b[n]: there is an alternative."""
        rows, width = self.ids.shape
        if width == 0:
            return np.zeros(rows, np.bool_)
        best = self.ids[:, 0]
        return best >= 0

    def holds_targets_alone(self, targets: IdArray) -> bool:
        """Every list that has an entry has the token itself, and no other."""
        _, width = self.ids.shape
        if width != 1:
            return False
        filled = self.filled
        listed = self.ids[filled, 0]
        own = targets[filled]
        return np.array_equal(listed, own)


def likely_table(listed: ListedIds) -> LikelyTable:
    """The table of lists, each id once. Raises InputError for an id that stands twice
    with two values.
    """
    work = _Lists.of(listed)
    twice = work.rows_with_an_id_twice()
    without_number = work.rows_without_a_number()
    only_in_front = work.rows_with_the_token_in_front()
    is_odd = twice | without_number
    in_front = only_in_front & ~is_odd & ~listed.sure
    work.drop_first(in_front)
    merged = int(in_front.sum())
    odd = np.flatnonzero(is_odd)
    for index in odd.tolist():
        became_shorter = work.merge(index)
        merged += became_shorter
    return work.table(merged)


@dataclass(frozen=True, slots=True)
class _Lists:
    """The lists as tables in their own order: ids and logprobs [n, k]."""

    listed: ListedIds
    counts: Counts
    ids: IdArray
    logprobs: FloatArray
    is_listed: Flags = field(repr=False)

    @classmethod
    def of(cls, listed: ListedIds) -> _Lists:
        counts = np.asarray(listed.counts, np.int64)
        tokens = len(counts)
        width = _widest(counts)
        columns = np.arange(width)
        column_counts = counts[:, None]
        is_listed = columns < column_counts
        ids, logprobs = empty_lists(tokens, width)
        # Lists of one length are copied whole, which is faster.
        if is_listed.all():
            shape = ids.shape
            ids[:] = np.reshape(listed.ids, shape)
            logprobs[:] = np.reshape(listed.logprobs, shape)
        else:
            ids[is_listed] = listed.ids
            logprobs[is_listed] = listed.logprobs
        return cls(
            listed=listed,
            counts=counts,
            ids=ids,
            logprobs=logprobs,
            is_listed=is_listed,
        )

    def rows_with_an_id_twice(self) -> Flags:
        ids = np.sort(self.ids, axis=1)
        earlier = ids[:, :-1]
        later = ids[:, 1:]
        is_same = later == earlier
        is_id = later >= 0
        return _any_in_row(is_same & is_id)

    def rows_without_a_number(self) -> Flags:
        has_none = np.isnan(self.logprobs)
        return _any_in_row(has_none & self.is_listed)

    def rows_with_the_token_in_front(self) -> Flags:
        """The token is first and less likely than all others, which are sorted: how
        many ids lie between is not known.
        """
        rows, width = self.ids.shape
        if width < 2:
            return np.zeros(rows, np.bool_)
        first = self.logprobs[:, 0]
        others = self.logprobs[:, 1:]
        first_ids = self.ids[:, 0]
        is_target = first_ids == self.listed.targets
        are_several = self.counts >= 2
        is_below = first < _least(others)
        is_last = is_below & _are_sorted(others)
        flags: Flags = is_target & are_several
        flags &= is_last
        return flags

    def rows_out_of_order(self) -> Flags:
        """A number is larger than the one before it, or stands behind one that is
        missing.
        """
        before = self.logprobs[:, :-1]
        behind = self.logprobs[:, 1:]
        is_nothing = np.isnan(before)
        is_number = ~np.isnan(behind)
        is_behind_nothing = is_nothing & is_number
        is_larger = behind > before
        return _any_in_row(is_larger | is_behind_nothing)

    def drop_first(self, rows: Flags) -> None:
        """Leave out the first entry of these lists."""
        later_ids = self.ids[rows, 1:]
        later_logprobs = self.logprobs[rows, 1:]
        self.ids[rows, :-1] = later_ids
        self.ids[rows, -1:] = -1
        self.logprobs[rows, :-1] = later_logprobs
        self.logprobs[rows, -1:] = np.nan

    def row(self, index: int) -> Row:
        """One list."""
        count = self.counts[index]
        ids = self.ids[index, :count]
        logprobs = self.logprobs[index, :count]
        plain_ids = ids.tolist()
        plain_logprobs = logprobs.tolist()
        pairs = zip(plain_ids, plain_logprobs, strict=True)
        return list(pairs)

    def merge(self, index: int) -> bool:
        """Put one list right by itself, and tell whether it became shorter."""
        listed = self.listed
        row = self.row(index)
        name = listed.name(index)
        if listed.sure[index]:
            kept = each_once(row, listed.place, name)
        else:
            target = int(listed.targets[index])
            kept = most_likely(row, target, listed.place, name)
        self.ids[index] = -1
        self.logprobs[index] = np.nan
        for column, entry in enumerate(kept):
            token_id, logprob = entry
            self.ids[index, column] = token_id
            self.logprobs[index, column] = logprob
        return len(kept) < len(row)

    def table(self, merged: int) -> LikelyTable:
        """The lists sorted; entries without a number are left out."""
        ids = self.ids.copy()
        logprobs = self.logprobs.copy()
        rows = self.rows_out_of_order()
        best_first = _best_first(logprobs[rows])
        ids[rows] = _reordered(ids[rows], best_first)
        logprobs[rows] = _reordered(logprobs[rows], best_first)
        is_missing = np.isnan(logprobs)
        ids[is_missing] = -1
        is_number = ~is_missing
        widths = np.count_nonzero(is_number, axis=1)
        width = _widest(widths)
        return LikelyTable(
            ids=ids[:, :width],
            logprobs=logprobs[:, :width],
            merged=merged,
        )


def _widest(widths: Counts) -> int:
    """The largest of them; 0 where there are none."""
    most = widths.max(initial=0)
    return int(most)


def _best_first(logprobs: FloatArray) -> Order:
    """The columns of each row from its largest number on, NaN last."""
    falling = -logprobs
    return np.argsort(falling, axis=1, kind="stable")


def _reordered(rows: Array, order: Order) -> Array:
    """Each row with its columns in this order."""
    return np.take_along_axis(rows, order, axis=1)


def _least(logprobs: FloatArray) -> FloatArray:
    """f32[n]: the least number of each row that ends in NaN."""
    is_end = np.isnan(logprobs)
    filled = np.where(is_end, np.inf, logprobs)
    least: FloatArray = filled.min(axis=1)
    return least


def _are_sorted(logprobs: FloatArray) -> Flags:
    """b[n]: no number is larger than the one before it in a row that ends in NaN."""
    earlier = logprobs[:, :-1]
    later = logprobs[:, 1:]
    falls = later <= earlier
    is_end = np.isnan(later)
    goes_on = falls | is_end
    rows = goes_on.all(axis=1)
    return np.asarray(rows)


def _any_in_row(flags: Flags) -> Flags:
    """b[n] of b[n, k]: some flag of the row is set."""
    rows = flags.any(axis=1)
    return np.asarray(rows)
