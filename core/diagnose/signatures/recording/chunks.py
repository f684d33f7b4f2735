"""Stretches that stand twice: chunks of a stream joined with what they repeat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from logdrift.core.diagnose.case import Case, place_of, positions_of
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.signatures.recording.suspect import (
    FAR,
    NEAR_ZERO,
    SHORTEST,
    Array,
    Bools,
    RecordingFault,
    Suspect,
    Values,
    fault,
    rows_of,
    suspects,
)
from logdrift.core.diagnose.support import PROOF
from logdrift.core.diagnose.view import count_of

_WIDTH = 4
"""Values of a run. Two equal runs of four float32 values are no chance."""
_TOKENS = Ramp(starts=SHORTEST - 1, full=2 * SHORTEST)
"""Tokens that repeat. By judgement."""
_MOST = 0.98
"""The largest score. By judgement."""


def repeated_stretches(case: Case) -> Iterator[RecordingFault]:
    """A run of values that one side has twice in a sequence while the other side has it
    once.
    """
    sequence = case.view.sequence
    for side in suspects(case):
        twice = _twice(side, sequence)
        if np.count_nonzero(twice) >= SHORTEST:
            mask = _from_first(twice, sequence)
            evidence = _evidence(case, side, twice, mask)
            yield fault(case, mask, evidence)


def _twice(side: Suspect, sequence: Array) -> Bools:
    """bool[n]: the token is of a run that stands earlier in its sequence, to the last
    digit, where the other side has other values.
    """
    twice = np.zeros(len(sequence), bool)
    if len(sequence) < 2 * _WIDTH:
        return twice
    starts = _runs(side.values, sequence)
    if len(starts) < 2:
        return twice
    origin = _first_equal(side.values, sequence, starts)
    others = _windows(side.other)
    gap = np.abs(others[starts] - others[origin]).mean(axis=1)
    is_repeated = (starts > origin) & (gap > FAR)
    repeated = starts[is_repeated]
    for step in range(_WIDTH):
        twice[repeated + step] = True
    return twice


def _runs(values: Values, sequence: Array) -> Array:
    """First tokens of the runs that cannot repeat by chance, i64[m]: within a sequence,
    none of their values near 0, and not all alike.
    """
    windows = _windows(values)
    ends = sequence[_WIDTH - 1 :]
    inside = sequence[: len(windows)] == ends
    inside &= windows.max(axis=1) < -NEAR_ZERO
    inside &= np.ptp(windows, axis=1) > FAR
    return np.flatnonzero(inside)


def _first_equal(values: Values, sequence: Array, starts: Array) -> Array:
    """For each run of ``starts`` i64[m] the first run of its sequence with the same
    values, i64[m].
    """
    of_sequence = sequence[starts].astype(np.float64)
    runs = _windows(values)[starts]
    keys = np.column_stack([of_sequence, runs])
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    first_equal = first[which.ravel()]
    origin: Array = starts[first_equal]
    return origin


def _windows(values: Values) -> Values:
    """All runs of `_WIDTH` values, f64[n - `_WIDTH` + 1, `_WIDTH`]."""
    windows: Values = np.lib.stride_tricks.sliding_window_view(values, _WIDTH)
    return windows


def _from_first(mask: Bools, sequence: Array) -> Bools:
    """bool[n]: every token from the first of ``mask`` in its sequence on: what repeats
    pushes the rest away.
    """
    rows = rows_of(sequence)
    seen = np.cumsum(mask)
    seen_before = np.concatenate([[0], seen])
    before_row = seen_before[rows.starts]
    behind: Bools = seen > np.repeat(before_row, rows.lengths)
    return behind


def _evidence(case: Case, side: Suspect, twice: Bools, mask: Bools) -> Evidence:
    repeated = count_of(twice)
    tokens = len(twice)
    at = case.view.at[mask]
    first_place = place_of(case, int(at[0]))
    strength = min(_TOKENS.score(repeated), PROOF.ceiling(tokens))
    return Evidence(
        cause="chunks",
        score=_MOST * strength,
        signature="repeated stretch",
        sentence=(
            f"{repeated:,} values of {side.label} repeat, to the last digit, what"
            f" stands earlier in their sequence (first at {first_place}),"
            f" where {side.other_label} repeats nothing: chunks of a stream were joined"
            " with what they hold already. Keep the new values of each chunk alone."
        ),
        numbers={
            "side": side.label,
            "tokens": repeated,
            "share": repeated / tokens,
        },
        positions=positions_of(at),
    )
