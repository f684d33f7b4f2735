"""Values that agree with the other side's neighbours: one side is shifted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from logdrift.core.diagnose.case import Case, number_of_tokens
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.fits import correlation
from logdrift.core.diagnose.ramp import Ramp

_LAGS = (-2, -1, 1, 2)
_HIGHER = Ramp(starts=0.15, full=0.3)
"""By how much the correlation must be higher when moved. A text's log-probabilities
correlate with their neighbours' at 0.0 to 0.3 (0.5 for bytes), so a moved score gains
at least half of the way to the 0.9 and more of two scores of one text.
"""
_ALIKE = Ramp(starts=0.4, full=0.7)
"""The correlation itself when moved. By judgement, below the 0.9 of two scores."""
_BEYOND_CHANCE = Ramp(starts=3, full=5)
"""The gain in its standard errors: 0.15 is five of them at 1,000 tokens."""
_MOST = 0.99
"""The largest score. By judgement."""


def alignment(case: Case) -> Iterator[Evidence]:
    """Values that agree with the other side's neighbours better than with the same
    token.

    Two scores of one text correlate above 0.9 unless something is badly wrong.
    """
    view = case.view
    in_place = correlation(view.a, view.b)
    moved, lag = _best_lag(case, in_place)
    if not lag:
        return
    gain = _standard_errors(moved, in_place, len(view.at))
    higher = _HIGHER.score(moved - in_place)
    alike = _MOST * higher * _ALIKE.score(moved)
    label_a, label_b = case.labels
    number = number_of_tokens(lag)
    way = "late" if lag > 0 else "early"
    yield Evidence(
        cause="alignment",
        score=alike * _BEYOND_CHANCE.score(gain),
        signature="cross-correlation",
        sentence=(
            f"{label_b} is {number} {way}: its values correlate with those of {label_a}"
            f" at {moved:.3f} when moved, at {in_place:.3f} in place."
        ),
        numbers={"lag": lag, "moved": moved, "in_place": in_place},
    )


def _best_lag(case: Case, in_place: float) -> tuple[float, int]:
    """The largest correlation of A with B moved by a lag, and that lag; 0 where none is
    above ``in_place``.
    """
    view = case.view
    pair = case.pair
    offsets = pair.sequences.offsets
    starts = offsets[view.sequence]
    ends = offsets[view.sequence + 1]
    last = pair.tokens - 1
    best = in_place
    best_lag = 0
    for lag in _LAGS:
        moved = view.at + lag
        inside = (moved >= 0) & (moved <= last)
        inside &= view.keep[np.clip(moved, 0, last)]
        inside &= (moved >= starts) & (moved < ends)
        moved_b = pair.logprob_b[moved[inside]]
        r = correlation(view.a[inside], moved_b.astype(np.float64))
        if r > best:
            best = r
            best_lag = lag
    return best, best_lag


def _standard_errors(higher: float, lower: float, tokens: int) -> float:
    """The difference of two correlations over ``tokens`` in its standard errors.

    Fisher's z of a correlation has a standard error of 1 / sqrt(n - 3), the difference
    of two one of sqrt(2 / (n - 3)) (R. A. Fisher, On the probable error of a
    coefficient of correlation, 1921).
    """
    freedom = max(tokens - 3, 1)
    scale = float(np.sqrt(freedom / 2))
    return (_fisher(higher) - _fisher(lower)) * scale


def _fisher(r: float) -> float:
    """Fisher's transform of a correlation, artanh r."""
    below_one = np.clip(r, -0.9999, 0.9999)
    return float(np.arctanh(below_one))
