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
    in_place = correlation(case.view.a, case.view.b)
    moved, lag = _best_lag(case, in_place)
    if not lag:
        return
    gain = _standard_errors(moved, in_place, len(case.view.at))
    alike = _MOST * _HIGHER.score(moved - in_place) * _ALIKE.score(moved)
    way = "late" if lag > 0 else "early"
    yield Evidence(
        cause="alignment",
        score=alike * _BEYOND_CHANCE.score(gain),
        signature="cross-correlation",
        sentence=(
            f"{case.labels[1]} is {number_of_tokens(lag)} {way}: its values correlate"
            f" with those of {case.labels[0]} at {moved:.3f} when moved, at"
            f" {in_place:.3f} in place."
        ),
        numbers={"lag": lag, "moved": moved, "in_place": in_place},
    )


def _best_lag(case: Case, in_place: float) -> tuple[float, int]:
    """The largest correlation of A with B moved by a lag, and that lag; 0 where none is
    above ``in_place``.
    """
    view = case.view
    pair = case.pair
    starts = pair.sequences.offsets[view.sequence]
    ends = pair.sequences.offsets[view.sequence + 1]
    best = in_place
    best_lag = 0
    for lag in _LAGS:
        moved = view.at + lag
        inside = (moved >= 0) & (moved < pair.tokens)
        inside &= view.keep[np.clip(moved, 0, pair.tokens - 1)]
        inside &= (moved >= starts) & (moved < ends)
        r = correlation(
            view.a[inside], pair.logprob_b[moved[inside]].astype(np.float64)
        )
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
    scale = float(np.sqrt(max(tokens - 3, 1) / 2))
    return (_fisher(higher) - _fisher(lower)) * scale


def _fisher(r: float) -> float:
    """Fisher's transform of a correlation, artanh r."""
    return float(np.arctanh(np.clip(r, -0.9999, 0.9999)))
