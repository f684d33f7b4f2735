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
Doubles = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]

ROWS = 1 << 15
"""Tokens whose top-k lists are joined: more only make certain things more certain. They
are spread evenly.
"""
_NAN = np.float32(np.nan)
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
        is_id = self.ids >= 0
        is_finite = np.isfinite(self.values)
        listed: Bools = is_id & is_finite
        return listed

    @property
    def width(self) -> Positions:
        """How many ids of each row are listed, i64[n]."""
        width: Positions = self.listed.sum(axis=1)
        return width

    def values_in(self, other: TopLists) -> Floats:
        """What the same rows of ``other`` have for these ids, f32[n, K]; NaN where they
        lack one.
        """
        joined = _all_nan(self.values.shape)
        row_count = len(self.ids)
        for start in range(0, row_count, _BLOCK):
            rows = slice(start, start + _BLOCK)
            ids = self.ids[rows]
            joined[rows] = other.rows(rows).values_of(ids)
        return joined

    def rows(self, rows: slice) -> TopLists:
        """The lists of some rows."""
        return TopLists(ids=self.ids[rows], values=self.values[rows])

    def values_of(self, ids: Array) -> Floats:
        """The values that these lists have for ``ids`` [n, K]; NaN where they lack
        one.
        """
        width = self.ids.shape[1]
        if width == 0:
            return _all_nan(ids.shape)
        searched_id = ids[:, :, None]
        listed_id = self.ids[:, None, :]
        equal = searched_id == listed_id
        column = equal.argmax(axis=2)
        has_id = equal.any(axis=2)
        values = np.take_along_axis(self.values, column, axis=1)
        return np.where(has_id, values, _NAN)


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
    def shift(self) -> Doubles:
        """Mean of a - b over the shared ids of each row, f64[n]: the part that all
        alternatives have in common.
        """
        gap = self.a - self.b
        return self._row_mean(gap)

    def _centred(self, values: Floats) -> Floats:
        mean = self._row_mean(values)
        narrow = mean.astype(np.float32)
        centred = values - narrow[:, None]
        zero = np.float32(0)
        return np.where(self.present, centred, zero)

    def _row_mean(self, values: Floats) -> Doubles:
        """The mean over the shared ids of each row, f64[n]."""
        total = np.nansum(values, axis=1, dtype=np.float64)
        mean: Doubles = total / self.count
        return mean


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
        finite = np.isfinite(self.pair.delta)
        return self.scored & finite

    @cached_property
    def at(self) -> Positions:
        """Flat positions of `keep`, i64[n]."""
        return np.flatnonzero(self.keep)

    @cached_property
    def impossible(self) -> int:
        """Scored tokens that one side alone calls impossible (-inf): no rounding does
        that.
        """
        infinite = np.isinf(self.pair.delta)
        return count_of(self.scored & infinite)

    @cached_property
    def a(self) -> Doubles:
        """A's log-probabilities of `at`, f64[n] nats."""
        logprob = self.pair.logprob_a[self.at]
        return logprob.astype(np.float64)

    @cached_property
    def b(self) -> Doubles:
        """B's log-probabilities of `at`, f64[n] nats."""
        logprob = self.pair.logprob_b[self.at]
        return logprob.astype(np.float64)

    @cached_property
    def by_likelihood(self) -> Positions:
        """Numbers of the tokens of `at`, the least likely to both sides first, i64[n].

        The mean of both sides decides: against one side alone, noise on that side would
        make a trend.
        """
        total = self.a + self.b
        mean_logprob = total / 2
        return np.argsort(mean_logprob, kind="stable")

    @cached_property
    def delta(self) -> Doubles:
        """f64[n] nats, of `at`."""
        delta = self.pair.delta[self.at]
        return delta.astype(np.float64)

    @cached_property
    def size(self) -> Doubles:
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
        all_tokens = np.arange(self.pair.tokens)
        return self.sequence_of(all_tokens)

    def sequence_of(self, at: Positions) -> Positions:
        """The sequence of each of the flat positions ``at`` i64[m], i64[m]."""
        offsets = self.pair.offsets
        begun = np.searchsorted(offsets, at, "right")
        sequence: Positions = begun - 1
        return sequence

    @cached_property
    def position(self) -> Positions:
        """Place within its sequence of each of `at`, i64[n]; the first token is 0 and
        never scored.
        """
        offsets = self.pair.sequences.offsets
        start = offsets[self.sequence]
        placed: Positions = self.at - start
        return placed

    @cached_property
    def context(self) -> Numbers:
        """A number for all ids of the sequence up to each of `at` and with it, u64[n]:
        tokens with one number are one measurement, made several times (a prompt that
        several sequences share, samples of one prompt).
        """
        tokens = self.pair.tokens
        token_ids = self.pair.sequences.token_ids[:tokens]
        first = self.pair.offsets[:-1]
        place = self.pair.positions("all")
        numbers = _mixed(place, token_ids)
        total = np.cumsum(numbers, dtype=np.uint64)
        nothing = np.zeros(1, np.uint64)
        total_before = np.concatenate([nothing, total])
        at_start = total_before[first]
        before_sequence = at_start[self.sequence]
        up_to_token = total[self.at]
        contexts: Numbers = up_to_token - before_sequence
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
        last = len(scored) - 1
        places = np.linspace(0, last, ROWS)
        evenly = places.astype(np.int64)
        return scored[evenly]

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
        width_a = self.lists_a.width
        width_b = self.lists_b.width
        return np.minimum(width_a, width_b)

    @cached_property
    def _joined(self) -> Floats:
        """B's values for the ids of A's lists, f32[n, K]; NaN where B lacks one."""
        return self.lists_a.values_in(self.lists_b)

    @cached_property
    def overlap(self) -> Doubles:
        """Share of the narrower list that stands in the other one too, f64[n] over rows
        of `sample`; NaN without a list.
        """
        common = self._in_both.sum(axis=1)
        width = self.list_width
        has_list = width > 0
        width_or_nan = np.where(has_list, width, np.nan)
        share: Doubles = common / width_or_nan
        return share

    @property
    def _in_both(self) -> Bools:
        """bool[n, K]: ids of A's lists that B's lists have as well."""
        in_b = np.isfinite(self._joined)
        in_both: Bools = self.lists_a.listed & in_b
        return in_both

    @cached_property
    def shared(self) -> Shared:
        """Rows of `sample` with enough ids in common."""
        lists = self.lists_a
        in_both = self._in_both
        count = in_both.sum(axis=1)
        rows = count >= MIN_SHARED
        values_a = np.where(in_both, lists.values, _NAN)
        values_b = np.where(in_both, self._joined, _NAN)
        return Shared(
            at=self.sample[rows],
            ids=lists.ids[rows],
            a=values_a[rows],
            b=values_b[rows],
            count=count[rows],
        )


def root_mean_square(values: Array) -> float:
    """The root of the mean square of ``values`` f64[n]."""
    mean_square = (values**2).mean()
    return float(np.sqrt(mean_square))


def count_of(mask: Bools) -> int:
    """How many of ``mask`` bool[...] are true."""
    return int(np.count_nonzero(mask))


def _mixed(place: Positions, ids: Array) -> Numbers:
    """A well-mixed number for each id in its place, u64[n]: the finalizer of
    splitmix64. Sums of them are compared modulo 2^64.
    """
    half = np.uint64(32)
    high_half = place.astype(np.uint64) << half
    low_half = ids.astype(np.uint64)
    mixed = high_half | low_half
    mixed = mixed * np.uint64(0x9E3779B97F4A7C15)
    mixed = _folded(mixed, 30) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = _folded(mixed, 27) * np.uint64(0x94D049BB133111EB)
    return _folded(mixed, 31)


def _folded(numbers: Numbers, bits: int) -> Numbers:
    """Each number with its upper bits mixed into the lower ones, u64[n]."""
    shifted = numbers >> np.uint64(bits)
    folded: Numbers = numbers ^ shifted
    return folded


def _take(column: Any, rows: Positions) -> Array:
    """Some rows of a column, at most `_WIDTH` entries each."""
    if not column.parts:
        shape = (len(rows), 0)
        return np.empty(shape)
    whole = column.whole()
    entries = whole[:, :_WIDTH]
    return np.ascontiguousarray(entries[rows])


def _all_nan(shape: tuple[int, ...]) -> Floats:
    return np.full(shape, _NAN)


def reference_of(session: Session, pair: Pair) -> Capture | None:
    """The arbiter: a capture of role reference that is neither side of the pair and has
    all of its tokens, if there is one.

    It computes in float32, or in a dtype that was not stated (`dtype_told`); one that
    is known to be coarser decides nothing.
    """
    if not pair.tokens:
        return None
    label_a = pair.a.info.label
    label_b = pair.b.info.label
    for info in session.captures:
        is_reference = info.role == "reference"
        is_side = info.label in (label_a, label_b)
        has_all_tokens = info.tokens >= pair.tokens
        is_arbiter = is_reference and has_all_tokens and not is_side
        if is_arbiter and _may_be_float32(info):
            return session.capture(info.label)
    return None


def dtype_told(info: CaptureInfo) -> bool:
    """Whether anything says in which dtype a capture was computed."""
    if _observed_dtype(info) is not None:
        return True
    return info.dtype not in _NOT_TOLD


def _may_be_float32(info: CaptureInfo) -> bool:
    """Whether a capture was computed in float32, or nothing says in which dtype."""
    if not dtype_told(info):
        return True
    observed = _observed_dtype(info)
    return "float32" in (info.dtype, observed)


def _observed_dtype(info: CaptureInfo) -> str | None:
    if info.facts is None:
        return None
    return info.facts.dtype


def against(session: Session, reference: Capture, side: Capture) -> View:
    """The view of the reference against one side."""
    reference_label = reference.info.label
    side_label = side.info.label
    pair = make_pair(session, reference_label, side_label)
    return View(pair)
