"""Lists of truncated or penalised logits: the numbers are of another distribution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import Case, positions_of
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.exclusion import penalty_possible, truncation_possible
from logdrift.core.diagnose.fits import middle
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.view import TopLists, count_of, root_mean_square

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]

_ABRUPT = 1e-3
"""Probability of a list's last entry from which something must lie outside of the list:
the next id is about as likely, and none of the 10,000 lists of 20 that were looked at
left less outside than a tenth of its last entry.
"""
_NOTHING = 1e-4
"""Probability outside of a list that counts as none: a float32 softmax leaves 1e-6,
values with four decimals 2e-5.
"""
_OPEN = 0.01
"""Probability that the other side must leave outside of its list. By judgement."""
_OPEN_ROWS = 10
"""Rows with so much outside that are needed. By judgement."""
_ABRUPT_ROWS = Ramp(starts=0.02, full=0.2)
"""Share of those rows that end abruptly. By judgement."""
_TRUNCATED_MOST = 0.98
"""The largest score of a truncation. By judgement."""

_FRESH = 3
"""Ids of a row that did not occur before, which the others are held against."""
_PENALTY_ROWS = 20
"""Rows with an id that occurred before that are needed. By judgement."""
_PENALTY = Ramp(starts=4, full=10)
_PENALTY_FROM = 5.0
"""The effect in its standard errors over rows; less than the second says nothing. By
judgement.
"""
_MATERIAL = Ramp(starts=0.05, full=0.4)
"""Share of the squared gap that the effect takes away. By judgement."""
_PENALTY_MOST = 0.98
"""The largest score of a penalty. By judgement."""

_NO_SHIFT = 1e-4
"""Nats below which a common shift is float32's own rounding."""
_MOVED = 1e-5
"""Nats from which a shift has a direction."""
_ALONE = Ramp(starts=1.5, full=6)
"""The shift over what is left between the alternatives. By judgement."""
_ONE_WAY = Ramp(starts=0.7, full=0.95)
"""How much more of the rows are shifted one way than the other. By judgement."""
_SHIFT_MOST = 0.8
"""The largest score of a shift: what shifted it has to be told by something else. By
judgement.
"""


def truncated(case: Case) -> Iterator[Evidence]:
    """One side's lists end abruptly: their last entry is likely, and nothing at all is
    left outside.

    A low temperature also leaves nothing outside, but fades out: its last entries are
    unlikely.
    """
    lists = (case.view.lists_a, case.view.lists_b)
    outside = [_outside(side_lists) for side_lists in lists]
    for side in (0, 1):
        if not truncation_possible(case, side):
            continue
        open_rows = outside[1 - side] > _OPEN
        last_entry = _last(lists[side])
        likely_end = last_entry > np.log(_ABRUPT)
        nothing_outside = np.abs(outside[side]) < _NOTHING
        rows = open_rows & likely_end & nothing_outside
        count = count_of(open_rows)
        if count < _OPEN_ROWS:
            continue
        share = count_of(rows) / count
        if share > _ABRUPT_ROWS.starts:
            yield _of_truncated(case, side, rows, share)


def _of_truncated(case: Case, side: int, rows: Bools, share: float) -> Evidence:
    view = case.view
    label = case.labels[side]
    other = case.labels[1 - side]
    logprobs = (case.pair.logprob_a, case.pair.logprob_b)
    logprob = logprobs[side][view.scored]
    impossible = count_of(np.isneginf(logprob))
    shift = view.shared.shift
    if side == 1:
        shift = -shift
    shift_max = None
    if len(shift):
        shift_max = float(shift.max())
    return Evidence(
        cause="processed",
        score=_TRUNCATED_MOST * _ABRUPT_ROWS.score(share),
        signature="truncated support",
        sentence=(
            f"{label} gives its list all of the probability in {share:.0%} of the rows"
            f" where {other} leaves more than 1% outside, though the list's last entry"
            f" is still likely, and calls {impossible:,} of the tokens impossible: its"
            " logits were truncated (top-p, top-k or min-p) before the log-softmax."
        ),
        numbers={
            "side": label,
            "rows": int(rows.sum()),
            "share": share,
            "impossible": impossible,
            "shift_max": shift_max,
        },
        positions=positions_of(view.sample[rows]),
    )


def _last(lists: TopLists) -> Values:
    """The smallest finite log-probability of each list, f64[n]; -inf for an empty
    one.
    """
    values = lists.values.astype(np.float64)
    listed = np.where(lists.listed, values, np.inf)
    smallest: Values = listed.min(axis=1, initial=np.inf)
    is_empty = ~lists.listed.any(axis=1)
    smallest[is_empty] = -np.inf
    return smallest


def _outside(lists: TopLists) -> Values:
    """Probability outside of each list, f64[n]."""
    listed = lists.listed
    values = np.where(listed, lists.values, 0.0).astype(np.float64)
    # A value above 0 is no log-probability, and one far above it has no exponential: it
    # counts as all of the probability.
    probability = np.exp(np.minimum(values, 0.0))
    inside = np.where(listed, probability, 0.0)
    outside: Values = 1.0 - inside.sum(axis=1)
    return outside


@dataclass(frozen=True, eq=False)
class _Penalty:
    """Ids that occurred before against those that did not, row by row.

    at i64[r] flat positions of the rows; effect f64[r] nats: the mean gap of the former
    minus that of the latter; ``explained`` is the share of the squared gap that this
    takes away, beyond chance.
    """

    at: Array
    effect: Values
    explained: float

    @property
    def mean(self) -> float:
        return float(self.effect.mean())

    @property
    def z(self) -> float:
        """The mean effect in its standard errors, rows being the units."""
        effect = self.effect
        error = effect.std() / np.sqrt(len(effect))
        z = effect.mean() / (error + 1e-12)
        return float(z)

    @property
    def largest_first(self) -> Array:
        """The flat positions, those of the largest effect first, i64[r]."""
        size = np.abs(self.effect)
        order = np.argsort(-size)
        return self.at[order]


def seen_before(case: Case) -> Iterator[Evidence]:
    """Ids that occurred before in the sequence are shifted against those that did not:
    a penalty.

    Within a row, the mean gap of ids seen before minus that of the others, after the
    common slope; rows are the units.
    """
    penalty = _penalty(case)
    if penalty is None:
        return
    z = abs(penalty.z)
    if z < _PENALTY_FROM or penalty.explained <= _MATERIAL.starts:
        return
    lower = 1 if penalty.mean > 0 else 0
    if penalty_possible(case, lower):
        yield _of_penalty(case.labels[lower], penalty)


def _of_penalty(label: str, penalty: _Penalty) -> Evidence:
    rows = len(penalty.at)
    z = abs(penalty.z)
    effect = abs(penalty.mean)
    strength = _PENALTY_MOST * _PENALTY.score(z)
    return Evidence(
        cause="processed",
        score=strength * _MATERIAL.score(penalty.explained),
        signature="seen before",
        sentence=(
            f"relative to other ids, {label} scores those that occurred before"
            f" {effect:.3f} nats lower than the other side does ({rows:,}"
            f" rows, {z:.0f} standard errors): a repetition, presence or"
            " frequency penalty."
        ),
        numbers={
            "side": label,
            "effect": penalty.mean,
            "z": penalty.z,
            "explained": penalty.explained,
            "rows": rows,
        },
        positions=positions_of(penalty.largest_first),
    )


def _penalty(case: Case) -> _Penalty | None:
    """None with fewer than `_PENALTY_ROWS` rows that have ids of both kinds."""
    shared = case.view.shared
    present = shared.present
    seen = present & _seen(case, shared.at, shared.ids)
    fresh = present & ~seen
    enough_fresh = fresh.sum(axis=1) >= _FRESH
    rows = seen.any(axis=1) & enough_fresh
    if np.count_nonzero(rows) < _PENALTY_ROWS:
        return None
    gap = _gap_after_slope(case)[rows]
    old = seen[rows]
    new = fresh[rows]
    old_mean = _row_means(gap, old)
    new_mean = _row_means(gap, new)
    of_new = np.where(new, new_mean[:, None], 0.0)
    of_both = np.where(old, old_mean[:, None], of_new)
    left = gap - of_both
    left[~(old | new)] = 0.0
    explained = _explained(gap, left)
    # Splitting a row of k gaps into two groups by chance takes away 1 / (k - 1) of its
    # squares.
    freedom = shared.count[rows] - 1
    chance = float(np.mean(1 / freedom))
    beyond_chance = (explained - chance) / max(1 - chance, 1e-9)
    return _Penalty(
        at=shared.at[rows],
        effect=old_mean - new_mean,
        explained=beyond_chance,
    )


def _gap_after_slope(case: Case) -> Values:
    """A's minus B's centred alternatives in nats, f64[n, K], both at one spread.

    Ids that occurred before are the more likely ones: a factor on all logits must not
    look like a penalty on them.
    """
    shared = case.view.shared
    root = 1.0
    if case.line is not None:
        root = float(np.sqrt(case.line.slope))
    scaled_a = shared.x * root
    scaled_b = shared.y / root
    gap = np.where(shared.present, scaled_a - scaled_b, 0.0)
    return gap.astype(np.float64)


def _row_means(values: Values, among: Bools) -> Values:
    """Mean of each row of ``values`` f64[n, K] over ``among`` bool[n, K], f64[n]."""
    total = (values * among).sum(axis=1)
    count = np.maximum(among.sum(axis=1), 1)
    means: Values = total / count
    return means


def _explained(before: Values, after: Values) -> float:
    """Share of the squares of ``before`` that are gone in ``after``."""
    total = float((before**2).sum())
    left = float((after**2).sum())
    if total > 0:
        return 1 - left / total
    return 0.0


def _seen(case: Case, at: Array, ids: Array) -> Bools:
    """bool[n, K]: the id occurs in the same sequence before the row's token."""
    sequences = case.pair.sequences
    tokens = case.pair.tokens
    token_ids = sequences.token_ids[:tokens]
    # One number for each id in each sequence, so that one search finds both.
    largest = max(token_ids.max(initial=0), ids.max(initial=0))
    width = int(largest) + 2
    of_sequence = case.view.all_sequences * width
    occurring, first = np.unique(of_sequence + token_ids, return_index=True)
    wanted = of_sequence[at][:, None] + ids
    last = len(occurring) - 1
    place = np.searchsorted(occurring, wanted)
    place = np.minimum(place, last)
    occurs = (occurring[place] == wanted) & (ids >= 0)
    is_earlier = first[place] < at[:, None]
    before: Bools = occurs & is_earlier
    return before


def common_shift(case: Case) -> Iterator[Evidence]:
    """All alternatives shifted by one amount and nothing else: only the normaliser
    differs.
    """
    shared = case.view.shared
    shift = shared.shift
    rms = root_mean_square(shift)
    if rms < _NO_SHIFT:
        return
    gap = shared.x - shared.y
    rest = np.where(shared.present, gap, 0.0).astype(np.float64)
    mean_square = (rest**2).sum() / shared.count.sum()
    rest_rms = float(np.sqrt(mean_square))
    ratio = rms / (rest_rms + 1e-12)
    ratio = min(ratio, _usual_ratio(case, shift, rest))
    one_way = _one_way(shift)
    largest_first = np.argsort(-np.abs(shift))
    label_a, label_b = case.labels
    lower = label_a if shift.mean() < 0 else label_b
    strength = _SHIFT_MOST * _ALONE.score(ratio)
    yield Evidence(
        cause="processed",
        score=strength * _ONE_WAY.score(one_way),
        signature="common shift",
        sentence=(
            f"all alternatives of a token are shifted together (by {rms:.3g} nats,"
            f" differences between them by {rest_rms:.2g}), {lower} below the other:"
            " the normaliser differs, by truncation, a bias or another vocabulary size."
        ),
        numbers={
            "shift_rms": rms,
            "rest_rms": rest_rms,
            "one_way": one_way,
            "mean": float(shift.mean()),
        },
        positions=positions_of(shared.at[largest_first]),
    )


def _one_way(shift: Values) -> float:
    """How much larger a share of the rows is shifted one way than the other, 0 to 1."""
    moved = shift[np.abs(shift) > _MOVED]
    if not len(moved):
        return 0.0
    balance = float(np.sign(moved).mean())
    return abs(balance)


def _usual_ratio(case: Case, shift: Values, rest: Values) -> float:
    """The shift f64[n] over what is left beside it (``rest`` f64[n, K]) in the middle
    sequence: one sequence alone cannot carry it.
    """
    shared = case.view.shared
    count = case.pair.count
    sequence = case.view.sequence_of(shared.at)
    rows = np.bincount(sequence, minlength=count)
    has_rows = rows > 0
    rows = rows[has_rows]

    def total(values: Array) -> Array:
        """Sum of ``values`` f64[n] over the rows of each sequence that has some."""
        return np.bincount(sequence, values, count)[has_rows]

    shifted = np.sqrt(total(shift**2) / rows)
    squares_by_row = (rest**2).sum(axis=1)
    mean_square = total(squares_by_row) / total(shared.count)
    left = np.sqrt(mean_square) + 1e-12
    return middle(shifted / left, rows)
