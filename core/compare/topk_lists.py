"""The top-k lists that two captures kept, read block by block and matched by id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

EMPTY = -1
"""The id of an empty entry. Empty entries of both sides match each other, with the
value NaN and the probability 0, so they never count.
"""


class StoredRows(Protocol):
    """What `logdrift.core.session.tensors.Column` gives: some rows of an array that may
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
class TopKBlock:
    """The lists of one side for M tokens: a row for each place in the list.

    ids i32[K, M], values [K, M] in nats, the largest first, p f64[K, M] the
    probabilities, entries [M] how many have a probability above 0, target [M] the
    log-probability of the target. Empty entries stand last: id -1, NaN, p = 0;
    ``has_gaps`` says that there are some.
    """

    ids: Array
    values: Array
    p: Floats
    entries: Array
    target: Array
    has_gaps: bool


def read_block(
    scores: TopKScores, start: int, stop: int, chosen: Array | None
) -> TopKBlock:
    """The rows ``start`` to ``stop`` of a capture, all or the ``chosen`` of them."""
    ids = _rows(scores.top_ids, start, stop, chosen)
    values = _rows(scores.top_logprobs, start, stop, chosen)
    gaps = np.isnan(values)
    gaps |= ids < 0
    has_gaps = bool(gaps.any())
    if has_gaps:
        nan = np.asarray(np.nan, values.dtype)
        ids = np.where(gaps, EMPTY, ids)
        values = np.where(gaps, nan, values)
    if not _falling(values):
        by_size = np.argsort(-values, axis=1, kind="stable")
        ids = np.take_along_axis(ids, by_size, 1)
        values = np.take_along_axis(values, by_size, 1)
    values = np.ascontiguousarray(values.T)
    p = values.astype(np.float64)
    np.exp(p, out=p)
    if has_gaps:
        p[np.isnan(p)] = 0.0
    return TopKBlock(
        ids=np.ascontiguousarray(ids.T),
        values=values,
        p=p,
        entries=count_true(values > -np.inf),
        target=_rows(scores.logprob, start, stop, chosen),
        has_gaps=has_gaps,
    )


def _rows(column: StoredRows, start: int, stop: int, chosen: Array | None) -> Array:
    rows = column.rows(start, stop)
    if chosen is None:
        return rows
    return rows[chosen]


def _falling(values: Array) -> bool:
    """Whether each row [M, K] is sorted, the largest first and NaN last."""
    before = values[:, :-1]
    after = values[:, 1:]
    falls = (before >= after) | np.isnan(after)
    return bool(falls.all())


def count_true(mask: Bools) -> Array:
    """How many entries of each column of bool[K, M] are true: u8[M] or u16[M]."""
    # As bytes: counting into the default 8-byte integers takes five times as long.
    as_bytes = mask.view(np.uint8)
    kind = _narrowest(len(mask))
    counts: Array = np.add.reduce(as_bytes, axis=0, dtype=kind)
    return counts


def _narrowest(largest: int) -> type[np.uint8 | np.uint16]:
    """The smallest type for counts up to ``largest``."""
    if largest < 255:
        return np.uint8
    return np.uint16


@dataclass(frozen=True, slots=True)
class ListMatch:
    """Which ids two blocks share.

    ``slot`` [Kb, M] is 1 + the place in ``a`` of each id of ``b``, 0 where ``a`` does
    not list it. ``in_b`` bool[Ka, M] says which ids of ``a`` are listed by ``b``.
    ``value_a`` [Kb, M] is the value in ``a`` of each id of ``b``; it means nothing
    where the slot is 0.
    """

    slot: Array
    in_b: Bools
    value_a: Array


def match_lists(a: TopKBlock, b: TopKBlock) -> ListMatch:
    """Match the ids of two blocks of the same M tokens."""
    slot, in_b = _slots(a.ids, b.ids)
    return ListMatch(slot=slot, in_b=in_b, value_a=_gathered(a.values, slot))


def _slots(ids_a: Array, ids_b: Array) -> tuple[Array, Bools]:
    """``slot`` and ``in_b`` of `ListMatch`.

    K x K comparisons of whole columns: no sorting, no gathering, and the narrow slots
    keep it in cache.
    """
    longest = max(len(ids_a), len(ids_b))
    kind = _narrowest(longest)
    number = np.arange(1, len(ids_a) + 1, dtype=kind)
    column = number[:, None]
    slot = np.empty(ids_b.shape, kind)
    in_b = np.zeros(ids_a.shape, np.bool_)
    equal = np.empty(ids_a.shape, np.bool_)
    numbered = np.empty(ids_a.shape, kind)
    for place, ids in enumerate(ids_b):
        np.equal(ids_a, ids, out=equal)
        in_b |= equal
        np.multiply(equal.view(np.uint8), column, out=numbered)
        np.maximum.reduce(numbered, axis=0, out=slot[place])
    return slot, in_b


def _gathered(values: Array, slot: Array) -> Array:
    """values [Ka, M] at the 1-based slots [Kb, M] of each column; anything where the
    slot is 0.
    """
    width = values.shape[1]
    index = np.multiply(slot, width, dtype=np.intp)
    index += np.arange(-width, 0)
    return np.take(values, index, mode="wrap")
