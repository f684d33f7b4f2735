"""Values in another place of their sequence: shifted from some token on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from logdrift.core.diagnose.case import SHOWN, Case, number_of_tokens, place_of
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.signatures.recording.suspect import (
    FAR,
    FITS,
    SHORTEST,
    Array,
    Bools,
    RecordingFault,
    SequenceRows,
    Values,
    fault,
    rows_of,
)
from logdrift.core.diagnose.support import PROOF
from logdrift.core.diagnose.view import count_of

_LAGS = (1, -1, 2, -2, 3, -3)
_SIGNS = 2.8
"""Standard errors of a sign test: all of eight tokens."""
_MOST = 0.99
"""The largest score. By judgement."""


@dataclass(frozen=True, eq=False)
class _Moved:
    """Values that fit the other side once B is moved by ``lag`` tokens.

    in_place f64[n] and moved f64[n] nats: |A - B| of each token, and with B ``lag``
    tokens further on, both NaN where there is none; mask bool[n]: the stretches.
    """

    lag: int
    in_place: Values
    moved: Values
    mask: Bools

    @property
    def gain(self) -> float:
        """Nats by which the stretches are closer when moved."""
        in_place = self.in_place[self.mask]
        moved_gap = self.moved[self.mask]
        closer = in_place - moved_gap
        return float(closer.sum())


def moved(case: Case) -> Iterator[RecordingFault]:
    """Stretches that fit the other side once they are moved by some tokens: as a rule
    they run to their sequence's end.
    """
    candidates = []
    for lag in _LAGS:
        candidate = _moved_by(case, lag)
        if candidate is not None:
            candidates.append(candidate)
    if candidates:
        best = max(candidates, key=lambda candidate: candidate.gain)
        evidence = _evidence(case, best)
        yield fault(case, best.mask, evidence)


def _moved_by(case: Case, lag: int) -> _Moved | None:
    """None where no stretch fits at this lag."""
    in_place, moved_gap = _gaps(case, lag)
    rows = rows_of(case.view.sequence)
    mask = _stretches(rows, in_place, moved_gap)
    if mask is None:
        return None
    return _Moved(lag=lag, in_place=in_place, moved=moved_gap, mask=mask)


def _gaps(case: Case, lag: int) -> tuple[Values, Values]:
    """|A - B| of each token, and |A - B at the token ``lag`` further on|, f64[n]; both
    NaN where there is none.
    """
    view = case.view
    pair = case.pair
    target = view.at + lag
    last = max(pair.tokens - 1, 0)
    place = np.clip(target, 0, last)
    values = pair.logprob_b[place].astype(np.float64)
    inside = (target >= 0) & (target < pair.tokens)
    inside &= view.sequence_of(place) == view.sequence
    inside &= np.isfinite(values)
    in_place = np.where(inside, view.size, np.nan)
    gap = np.abs(view.a - values)
    moved_gap = np.where(inside, gap, np.nan)
    return in_place, moved_gap


def _stretches(rows: SequenceRows, in_place: Values, moved_gap: Values) -> Bools | None:
    """bool[n]: tokens of the stretches, one at most in each row, that gain by being
    moved. None without any.

    Each stretch must be long enough, far off in its place, close where it belongs, and
    so at most of its tokens (sign test: values are heavy-tailed, so one of them could
    carry any mean).
    """
    gain = np.nan_to_num(in_place - moved_gap, nan=0.0)
    mask = _largest_gains(rows, gain)
    of_tokens = rows.of_tokens
    count = len(rows.starts)
    known = mask & np.isfinite(in_place)
    row_of_known = of_tokens[known]

    def total(weights: Array) -> Array:
        """Sum of ``weights`` f64[n] over the known tokens of each row, f64[r]."""
        return np.bincount(row_of_known, weights[known], count)

    length = np.bincount(row_of_known, minlength=count)
    gap = total(in_place)
    gains = (in_place > moved_gap).astype(np.float64)
    closer = total(gains)
    farther = length - closer
    deviation = np.sqrt(np.maximum(length, 1))
    signs = (closer - farther) / deviation
    long_enough = length >= SHORTEST
    far = gap > FAR * length
    near = total(moved_gap) < np.minimum(FITS * gap, FAR * length)
    good = long_enough & far & near & (signs > _SIGNS)
    if not good.any():
        return None
    chosen: Bools = mask & good[of_tokens]
    return chosen


def _largest_gains(rows: SequenceRows, gain: Values) -> Bools:
    """bool[n]: the stretch of each row whose ``gain`` f64[n] adds up to most: from
    where the sum so far is lowest to where it is highest behind that.
    """
    row = rows.of_tokens
    starts = rows.starts
    count = len(gain)
    numbers = np.arange(count)
    before = np.cumsum(gain) - gain
    row_lowest = np.minimum.reduceat(before, starts)
    is_lowest = before == row_lowest[row]
    begin = np.full(len(starts), count)
    np.minimum.at(begin, row[is_lowest], numbers[is_lowest])
    behind = numbers >= begin[row]
    level = np.where(behind, before + gain, -np.inf)
    row_highest = np.maximum.reduceat(level, starts)
    is_highest = behind & (level == row_highest[row])
    end = np.full(len(starts), -1)
    np.maximum.at(end, row[is_highest], numbers[is_highest])
    up_to_end = numbers <= end[row]
    stretch: Bools = behind & up_to_end
    return stretch


def _evidence(case: Case, stretches: _Moved) -> Evidence:
    lag = stretches.lag
    mask = stretches.mask
    known = mask & np.isfinite(stretches.in_place)
    after = float(stretches.moved[known].mean())
    in_place = float(stretches.in_place[known].mean())
    sequences = np.unique(case.view.sequence[mask])
    first = _first_tokens(case, mask, sequences)
    where = _where(case, stretches, sequences, first)
    label_a, label_b = case.labels
    number = number_of_tokens(lag)
    way = "late" if lag > 0 else "early"
    ceiling = PROOF.ceiling(count_of(known))
    return Evidence(
        cause="alignment",
        score=_MOST * ceiling,
        signature="moved stretch",
        sentence=(
            f"{label_b} is {number} {way} {where}: moved, its values differ from those"
            f" of {label_a} by {after:.2g} nats on average, in place by"
            f" {in_place:.2g}. Record one value for each token, from the first on."
        ),
        numbers={
            "lag": lag,
            "sequences": len(sequences),
            "tokens": count_of(mask),
            "moved": after,
            "in_place": in_place,
        },
        positions=first,
    )


def _first_tokens(case: Case, mask: Bools, rows: Array) -> tuple[int, ...]:
    """Flat positions of the first moved token of the first `SHOWN` sequences."""
    view = case.view
    first = []
    for row in rows[:SHOWN]:
        of_row = mask & (view.sequence == row)
        positions = view.at[of_row]
        first.append(int(positions[0]))
    return tuple(first)


def _where(case: Case, stretches: _Moved, rows: Array, first: tuple[int, ...]) -> str:
    """``in all sequences``, ``in sequence 3``, ``in sequence 3 (from sequence 3, token
    41 on)``.
    """
    sequence = case.view.sequence
    count = case.pair.count
    scored = np.bincount(sequence, minlength=count)
    shifted = np.bincount(sequence[stretches.mask], minlength=count)
    all_but_ends = scored - 2 * abs(stretches.lag)
    named = _named(rows)
    whole = (shifted[rows] >= all_but_ends[rows]).all()
    if whole:
        with_tokens = np.unique(sequence)
        if len(rows) == len(with_tokens):
            return "in all sequences"
        return f"in {named}"
    begins = [f"{place_of(case, at)} on" for at in first[:3]]
    if len(first) > 3:
        begins.append("...")
    begun = ", ".join(begins)
    return f"in {named} (from {begun})"


def _named(rows: Array) -> str:
    """``sequences 3 and 11``, ``sequence 3``, ``12 sequences (first 3, 11, 12)``."""
    numbers = [str(row) for row in rows[:3].tolist()]
    if len(rows) == 1:
        return f"sequence {numbers[0]}"
    if len(rows) == 2:
        return f"sequences {numbers[0]} and {numbers[1]}"
    first = ", ".join(numbers)
    return f"{len(rows):,} sequences (first {first})"
