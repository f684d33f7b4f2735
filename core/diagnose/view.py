"""What the signatures look at: the scored tokens of a pair in their places, and both
sides' values for the same ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Capture, Session

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

ROWS = 1 << 15
"""Tokens whose top-k lists are joined: more only make certain things more certain. They
are spread evenly.
"""
_WIDTH = 20
_BLOCK = 1 << 12
_NOT_TOLD = ("unknown", "auto", "")
"""`CaptureInfo.dtype` of captures whose dtype nothing tells."""
MIN_SHARED = 5
"""Ids that a row's two lists must share before anything is fitted to it."""


@dataclass(frozen=True, eq=False)
class TopLists:
    """One side's lists of alternatives in some rows: ids i32[n, K] and their values
    f32[n, K] in nats.
    """

    ids: Array
    values: Floats

    @cached_property
    def listed(self) -> Bools:
        """bool[n, K]: an id with a finite value, not padding."""
        listed: Bools = (self.ids >= 0) & np.isfinite(self.values)
        return listed

    def values_in(self, other: TopLists) -> Floats:
        """What the same rows of ``other`` have for these ids, f32[n, K]; NaN where they
        lack one.
        """
        joined = np.full(self.values.shape, np.nan, np.float32)
        for start in range(0, len(self.ids), _BLOCK):
            rows = slice(start, start + _BLOCK)
            joined[rows] = _values_of(
                self.ids[rows], other.ids[rows], other.values[rows]
            )
        return joined


@dataclass(frozen=True, eq=False)
class Shared:
    """Rows of top-k ids that both sides have a finite value for.

    at i64[n] flat positions; ids i32[n, K] are A's; a, b f32[n, K] nats, NaN in both
    where an id is not shared; count i64[n] shared ids of a row, at least `MIN_SHARED`.
    """

    at: Positions
    ids: Array
    a: Floats
    b: Floats
    count: Positions

    @cached_property
    def x(self) -> Floats:
        """a, centred in each row over the shared ids; 0 elsewhere."""
        return self._centred(self.a)

    @cached_property
    def y(self) -> Floats:
        """b in the same way."""
        return self._centred(self.b)

    @cached_property
    def present(self) -> Bools:
        """bool[n, K]: the id is shared."""
        return ~np.isnan(self.a)

    @cached_property
    def shift(self) -> npt.NDArray[np.float64]:
        """Mean of a - b over the shared ids of each row, f64[n]: the part that all
        alternatives have in common.
        """
        total = np.nansum(self.a - self.b, axis=1, dtype=np.float64)
        mean: npt.NDArray[np.float64] = total / self.count
        return mean

    def _centred(self, values: Floats) -> Floats:
        total = np.nansum(values, axis=1, dtype=np.float64)
        mean = (total / self.count).astype(np.float32)
        return np.where(self.present, values - mean[:, None], np.float32(0))


class View:
    """A pair with the arrays that more than one signature needs. All are made when
    first asked for.
    """

    def __init__(self, pair: Pair, left_out: Positions | None = None) -> None:
        self.pair = pair
        if left_out is None:
            self.left_out = np.empty(0, np.int64)
        else:
            self.left_out = left_out
        """Flat positions of tokens that are explained already, i64."""

    @cached_property
    def scored(self) -> Bools:
        """bool[N]: scored on both sides, and not explained already."""
        scored = self.pair.scored.copy()
        scored[self.left_out] = False
        return scored

    @cached_property
    def keep(self) -> Bools:
        """bool[N]: `scored`, with a finite delta."""
        return self.scored & np.isfinite(self.pair.delta)

    @cached_property
    def at(self) -> Positions:
        """Flat positions of `keep`, i64[n]."""
        return np.flatnonzero(self.keep)

    @cached_property
    def impossible(self) -> int:
        """Scored tokens that one side alone calls impossible (-inf): no rounding does
        that.
        """
        return count_of(self.scored & np.isinf(self.pair.delta))

    @cached_property
    def a(self) -> npt.NDArray[np.float64]:
        """A's log-probabilities of `at`, f64[n] nats."""
        return self.pair.logprob_a[self.at].astype(np.float64)

    @cached_property
    def b(self) -> npt.NDArray[np.float64]:
        """B's log-probabilities of `at`, f64[n] nats."""
        return self.pair.logprob_b[self.at].astype(np.float64)

    @cached_property
    def by_likelihood(self) -> Positions:
        """Numbers of the tokens of `at`, the least likely to both sides first, i64[n].

        The mean of both sides decides: against one side alone, noise on that side would
        make a trend.
        """
        return np.argsort((self.a + self.b) / 2, kind="stable")

    @cached_property
    def delta(self) -> npt.NDArray[np.float64]:
        """f64[n] nats, of `at`."""
        return self.pair.delta[self.at].astype(np.float64)

    @cached_property
    def size(self) -> npt.NDArray[np.float64]:
        """|delta|, f64[n]."""
        return np.abs(self.delta)

    @cached_property
    def mae(self) -> float:
        if len(self.size):
            return float(self.size.mean())
        return 0.0

    @cached_property
    def sequence(self) -> Positions:
        """The sequence of each of `at`, i64[n]."""
        return self.sequence_of(self.at)

    @cached_property
    def all_sequences(self) -> Positions:
        """The sequence of every token of the pair, scored or not, i64[N]."""
        return self.sequence_of(np.arange(self.pair.tokens))

    def sequence_of(self, at: Positions) -> Positions:
        """The sequence of each of the flat positions ``at`` i64[m], i64[m]."""
        offsets = self.pair.sequences.offsets[: self.pair.count + 1]
        sequence: Positions = np.searchsorted(offsets, at, "right") - 1
        return sequence

    @cached_property
    def position(self) -> Positions:
        """Place within its sequence of each of `at`, i64[n]; the first token is 0 and
        never scored.
        """
        placed: Positions = self.at - self.pair.sequences.offsets[self.sequence]
        return placed

    @cached_property
    def context(self) -> npt.NDArray[np.uint64]:
        """A number for all ids of the sequence up to each of `at` and with it, u64[n]:
        tokens with one number are one measurement, made several times (a prompt that
        several sequences share, samples of one prompt).
        """
        sequences = self.pair.sequences
        tokens = self.pair.tokens
        offsets = sequences.offsets[: self.pair.count + 1]
        starts = np.repeat(offsets[:-1], np.diff(offsets))
        place = np.arange(tokens) - starts
        numbers = _mixed(place, sequences.token_ids[:tokens])
        total = np.cumsum(numbers, dtype=np.uint64)
        total_before = np.concatenate([np.zeros(1, np.uint64), total])
        at_start = total_before[offsets[:-1]]
        contexts: npt.NDArray[np.uint64] = total[self.at] - at_start[self.sequence]
        return contexts

    @cached_property
    def in_completion(self) -> Bools:
        """bool[n]."""
        inside: Bools = self.pair.in_completion[self.at]
        return inside

    @cached_property
    def sample(self) -> Positions:
        """At most `ROWS` of the tokens that both sides scored, evenly spread, i64."""
        scored = np.flatnonzero(self.scored)
        if len(scored) <= ROWS:
            return scored
        evenly = np.linspace(0, len(scored) - 1, ROWS)
        return scored[evenly.astype(np.int64)]

    @cached_property
    def lists_a(self) -> TopLists:
        """A's lists in the rows of `sample`, of at most 20 alternatives."""
        return self._lists(self.pair.a)

    @cached_property
    def lists_b(self) -> TopLists:
        """B's lists in the rows of `sample`, of at most 20 alternatives."""
        return self._lists(self.pair.b)

    def _lists(self, side: Capture) -> TopLists:
        return TopLists(
            ids=_take(side.top_ids, self.sample),
            values=_take(side.top_logprobs, self.sample),
        )

    @cached_property
    def list_width(self) -> Positions:
        """How many finite alternatives the narrower of both lists has in each row of
        `sample`, i64[n].
        """
        width_a = self.lists_a.listed.sum(axis=1)
        width_b = self.lists_b.listed.sum(axis=1)
        narrower: Positions = np.minimum(width_a, width_b)
        return narrower

    @cached_property
    def _joined(self) -> Floats:
        """B's values for the ids of A's lists, f32[n, K]; NaN where B lacks one."""
        return self.lists_a.values_in(self.lists_b)

    @cached_property
    def overlap(self) -> npt.NDArray[np.float64]:
        """Share of the narrower list that stands in the other one too, f64[n] over rows
        of `sample`; NaN without a list.
        """
        in_both = self.lists_a.listed & np.isfinite(self._joined)
        common = in_both.sum(axis=1)
        width = np.where(self.list_width > 0, self.list_width, np.nan)
        share: npt.NDArray[np.float64] = common / width
        return share

    @cached_property
    def shared(self) -> Shared:
        """Rows of `sample` with enough ids in common."""
        lists = self.lists_a
        in_both = lists.listed & np.isfinite(self._joined)
        count = in_both.sum(axis=1)
        rows = count >= MIN_SHARED
        nan = np.float32(np.nan)
        return Shared(
            at=self.sample[rows],
            ids=lists.ids[rows],
            a=np.where(in_both, lists.values, nan)[rows],
            b=np.where(in_both, self._joined, nan)[rows],
            count=count[rows],
        )


def root_mean_square(values: Array) -> float:
    """The root of the mean square of ``values`` f64[n]."""
    return float(np.sqrt((values**2).mean()))


def count_of(mask: Bools) -> int:
    """How many of ``mask`` bool[...] are true."""
    return int(np.count_nonzero(mask))


def _mixed(place: Positions, ids: Array) -> npt.NDArray[np.uint64]:
    """A well-mixed number for each id in its place, u64[n]: the finalizer of
    splitmix64. Sums of them are compared modulo 2^64.
    """
    mixed = place.astype(np.uint64) << np.uint64(32) | ids.astype(np.uint64)
    mixed = mixed * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return out


def _take(column: Any, rows: Positions) -> Array:
    """Some rows of a column, at most `_WIDTH` entries each."""
    if not column.parts:
        return np.empty((len(rows), 0))
    return np.ascontiguousarray(column.whole()[:, :_WIDTH][rows])


def _values_of(ids: Array, other_ids: Array, other_values: Floats) -> Floats:
    """Values that the other lists have for ``ids`` [n, K]; NaN where they lack one."""
    if other_ids.shape[1] == 0:
        return np.full(ids.shape, np.nan, np.float32)
    equal = ids[:, :, None] == other_ids[:, None, :]
    column = equal.argmax(axis=2)
    has_id = np.take_along_axis(equal, column[:, :, None], axis=2)[:, :, 0]
    values = np.take_along_axis(other_values, column, axis=1)
    return np.where(has_id, values, np.float32(np.nan))


def reference_of(session: Session, pair: Pair) -> Capture | None:
    """The arbiter: a capture of role reference that is neither side of the pair and has
    all of its tokens, if there is one.

    It computes in float32, or in a dtype that was not told (`dtype_told`); one that is
    known to be coarser decides nothing.
    """
    if not pair.tokens:
        return None
    sides = (pair.a.info.label, pair.b.info.label)
    for info in session.captures:
        is_reference = info.role == "reference" and info.label not in sides
        has_all_tokens = info.tokens >= pair.tokens
        if is_reference and has_all_tokens and _may_be_float32(info):
            return session.capture(info.label)
    return None


def dtype_told(info: CaptureInfo) -> bool:
    """Whether anything says in which dtype a capture was computed."""
    return _observed_dtype(info) is not None or info.dtype not in _NOT_TOLD


def _may_be_float32(info: CaptureInfo) -> bool:
    """Whether a capture was computed in float32, or nothing says in which dtype."""
    if not dtype_told(info):
        return True
    return "float32" in (info.dtype, _observed_dtype(info))


def _observed_dtype(info: CaptureInfo) -> str | None:
    if info.facts is None:
        return None
    return info.facts.dtype


def against(session: Session, reference: Capture, side: Capture) -> View:
    """The view of the reference against one side."""
    return View(make_pair(session, reference.info.label, side.info.label))
