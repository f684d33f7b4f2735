"""Lists of a file as arrays, without a look at each entry by itself.

Each function gives None where some entry is no plain number: `columns` then looks at
every entry, and says which one is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from logdrift.core.session.scores import FloatArray, IdArray

_Numbers = npt.NDArray[np.float64]
_Counts = npt.NDArray[np.int64]
LARGEST_ID = 2**31 - 1


def quick_ids(values: Sequence[Any]) -> IdArray | None:
    """Whole numbers from 0 to `LARGEST_ID`, i32[n]."""
    ids: IdArray | None = _packed(values, "i", np.int32)
    if ids is None or (ids < 0).any() or _may_hold_flags(ids, values):
        return None
    return ids


def quick_numbers(values: Sequence[Any]) -> _Numbers | None:
    """Numbers, f64[n]; NaN for None."""
    numbers: _Numbers | None = _packed(values, "d", np.float64)
    if numbers is None:
        return _with_none(values)
    if _may_hold_flags(numbers, values):
        return None
    return numbers


def _packed(values: Sequence[Any], kind: str, dtype: Any) -> Any:
    """An array of these numbers. None where one is no number of this kind, or too
    large. `struct` is twice as fast as NumPy, and takes no text for a number.
    """
    size = np.dtype(dtype).itemsize
    data = bytearray(size * len(values))
    try:
        struct.pack_into(f"={len(values)}{kind}", data, 0, *values)
    except (struct.error, OverflowError):
        return None
    return np.frombuffer(data, dtype)


def _may_hold_flags(numbers: npt.NDArray[Any], values: Sequence[Any]) -> bool:
    """Some value is true or false, which became 1 or 0."""
    may_be_flags = (numbers == 0) | (numbers == 1)
    return bool(may_be_flags.any()) and bool in set(map(type, values))


def _with_none(values: Sequence[Any]) -> _Numbers | None:
    if not set(map(type, values)) <= {float, int, type(None)}:
        return None
    try:
        return np.array(values, np.float64)
    except OverflowError:
        return None


class QuickLists(NamedTuple):
    """Lists of alternatives as tables, `logdrift.core.session.scores`; ``merged`` of
    them had the token itself in front of the most likely ids.
    """

    top_ids: IdArray
    top_logprobs: FloatArray
    merged: int


class _Lists(NamedTuple):
    """Rows of a table, filled up on the right with id -1 and NaN."""

    ids: IdArray
    logprobs: FloatArray
    lengths: _Counts


def quick_lists(
    ids: Sequence[Any],
    logprobs: Sequence[Any],
    targets: IdArray,
    most: float,
    minus_infinity: float,
) -> QuickLists | None:
    """Ids and log-probabilities of alternatives, one list or None for each of
    ``targets``, most likely first. None also where a list has an id twice, or a number
    that is NaN or above ``most``. ``minus_infinity`` and below stands for that.
    """
    lengths = _lengths(ids, logprobs)
    if lengths is None:
        return None
    if not lengths.any():
        return _no_lists(len(lengths))
    flat_ids = quick_ids(_flat(ids))
    flat_logprobs = quick_numbers(_flat(logprobs))
    if flat_ids is None or flat_logprobs is None:
        return None
    if not (flat_logprobs <= most).all():
        return None
    flat_logprobs[flat_logprobs <= minus_infinity] = -np.inf
    rows = _filled_up(flat_ids, flat_logprobs.astype(np.float32), lengths)
    if _has_twice(rows.ids):
        return None
    in_front = _only_in_front(rows, targets)
    _drop_first(rows, in_front)
    _sort(rows)
    width = int((lengths - in_front).max())
    return QuickLists(
        top_ids=rows.ids[:, :width],
        top_logprobs=rows.logprobs[:, :width],
        merged=int(in_front.sum()),
    )


def _no_lists(count: int) -> QuickLists:
    shape = (count, 0)
    return QuickLists(
        top_ids=np.empty(shape, np.int32),
        top_logprobs=np.empty(shape, np.float32),
        merged=0,
    )


def _lengths(ids: Sequence[Any], logprobs: Sequence[Any]) -> _Counts | None:
    """The length of each list, 0 for None; None where they are not beside each
    other.
    """
    types = list(map(type, ids))
    if not set(types) <= {list, type(None)} or types != list(map(type, logprobs)):
        return None
    lengths = [len(row or ()) for row in ids]
    if lengths != [len(row or ()) for row in logprobs]:
        return None
    return np.array(lengths, np.int64)


def _flat(rows: Sequence[Any]) -> list[Any]:
    return list(chain.from_iterable(filter(None, rows)))


def _filled_up(ids: IdArray, logprobs: FloatArray, lengths: _Counts) -> _Lists:
    count = len(lengths)
    width = int(lengths.max())
    shape = (count, width)
    if len(ids) == count * width:
        table = _Lists(ids.reshape(shape), logprobs.reshape(shape), lengths)
        return table
    is_there = np.arange(width) < lengths[:, None]
    filled_ids = np.full(shape, -1, np.int32)
    filled_ids[is_there] = ids
    filled_logprobs = np.full(shape, np.nan, np.float32)
    filled_logprobs[is_there] = logprobs
    return _Lists(filled_ids, filled_logprobs, lengths)


def _has_twice(ids: IdArray) -> bool:
    """An id stands twice in one row."""
    in_order = np.sort(ids, axis=1)
    later = in_order[:, 1:]
    is_again = (later == in_order[:, :-1]) & (later >= 0)
    return bool(is_again.any())


def _only_in_front(rows: _Lists, targets: IdArray) -> npt.NDArray[np.bool_]:
    """bool[n]: the rule of `lists.most_likely`, for all rows at once."""
    count, width = rows.ids.shape
    if width < 2:
        return np.zeros(count, np.bool_)
    logprobs = rows.logprobs
    last_place = np.maximum(rows.lengths - 1, 0)
    last = logprobs[np.arange(count), last_place]
    is_target = rows.ids[:, 0] == targets
    is_least = logprobs[:, 0] < last
    rises = logprobs[:, 2:] > logprobs[:, 1:-1]
    in_front: npt.NDArray[np.bool_] = is_target & is_least & ~rises.any(axis=1)
    return in_front


def _drop_first(rows: _Lists, chosen: npt.NDArray[np.bool_]) -> None:
    """Take the first entry of the chosen rows away, in place."""
    if not chosen.any():
        return
    rows.ids[chosen, :-1] = rows.ids[chosen, 1:]
    rows.ids[chosen, -1] = -1
    rows.logprobs[chosen, :-1] = rows.logprobs[chosen, 1:]
    rows.logprobs[chosen, -1] = np.nan


def _sort(rows: _Lists) -> None:
    """The most likely first, in place; equal ones stay in their order."""
    rises = rows.logprobs[:, 1:] > rows.logprobs[:, :-1]
    unsorted = rises.any(axis=1)
    if not unsorted.any():
        return
    logprobs = rows.logprobs[unsorted]
    # NaN, which fills rows up, is sorted behind all numbers.
    order = np.argsort(-logprobs, axis=1, kind="stable")
    rows.logprobs[unsorted] = np.take_along_axis(logprobs, order, axis=1)
    ids = rows.ids[unsorted]
    rows.ids[unsorted] = np.take_along_axis(ids, order, axis=1)
