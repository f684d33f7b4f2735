"""Grows with the position, from almost nothing at the first token: RoPE."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from logdrift.core.diagnose.case import Case, worst
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.exclusion import penalty_possible
from logdrift.core.diagnose.fits import standard_ranks
from logdrift.core.diagnose.needs import FIRST_TOKENS, LINE_ROWS, LONG, shared_rows
from logdrift.core.diagnose.noise import judge_size
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.signatures.place.measures import sums
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST

_CORRELATION = Ramp(starts=0.06, full=0.16)
"""Of the ranks of |delta| with the log of the position. By judgement."""
_TREND = Ramp(starts=3, full=6)
"""The trend in its standard errors, sequences being the units. By judgement."""
_BEGINNING = Ramp(starts=0.35, full=0.7)
"""|delta| at the first tokens over the MAE: a rotation leaves almost nothing there,
other weights do not spare them. By judgement.
"""
_EXPLAINED_BY_ROUNDING = 0.9
"""What rounding explains of it: rounding noise too grows with the length (attention)
and with surprise (first tokens). By judgement.
"""
_MOSTLY_ROUNDING = 0.1
"""Share of the squared MAE that must be left without rounding for the first tokens to
be held against it.
"""
_MOST = 0.9
_LEAST = 0.02
"""The largest score, and the smallest that is worth saying. By judgement."""


def growth(case: Case) -> Iterator[Evidence]:
    """Grows with the position, from almost nothing at the first token: RoPE.

    Slope of the standardised ranks of |delta| on log2 of the position, sequences being
    the units of its error; and the first tokens, which no rotation can touch much,
    against all.
    """
    view = case.view
    if len(view.at) < 4 * LONG or view.mae == 0:
        return
    early = view.position <= FIRST_TOKENS
    if not early.any():
        # A rotation leaves the first tokens alone: where they are not scored, any
        # growth looks like one.
        return
    r, z = _trend(case)
    early_mae = float(view.size[early].mean())
    begin = _above_rounding(case, early_mae)
    calm = 1 - _BEGINNING.score(begin)
    trend = _MOST * _CORRELATION.score(r) * _TREND.score(z)
    score = trend * calm * _not_rounding(case)
    if not _penalties_checked(case):
        # Penalties grow as well: the longer a text, the more of its tokens occurred
        # before.
        score = min(score, POSSIBLE_AT_MOST)
    if score <= _LEAST:
        return
    yield Evidence(
        cause="config",
        score=score,
        signature="growth",
        sentence=(
            f"|delta| grows with the position (rank correlation {r:.2f}, {z:.0f}"
            f" standard errors), and is {begin:.2f} of its mean at the first three"
            " tokens: another RoPE base or scaling, or other positions."
        ),
        numbers={"r": r, "z": z, "first_tokens": begin, "kind": "rope"},
        positions=worst(case),
    )


def _trend(case: Case) -> tuple[float, float]:
    """Correlation of the ranks of |delta| with log2 of the position, and the slope in
    its standard errors, clustered by sequence.
    """
    ranks = standard_ranks(case.view.size)
    place = np.log2(case.view.position + 1.0)
    centred = place - place.mean()
    weight = float((centred**2).sum())
    product = float((centred * ranks).sum())
    slope = product / weight
    residual = ranks - slope * centred
    by_sequence = sums(case, centred * residual)
    squares = (by_sequence**2).sum()
    error = float(np.sqrt(squares)) / weight
    spread = float(np.sqrt(weight / len(place)))
    correlation = slope * spread
    return correlation, slope / (error + 1e-12)


def _not_rounding(case: Case) -> float:
    """What is left of a growth where rounding may be the whole gap, 0 to 1."""
    size = judge_size(case)
    if size.verdict != "noise":
        return 1.0
    return 1 - _EXPLAINED_BY_ROUNDING * size.sure


def _penalties_checked(case: Case) -> bool:
    """Whether penalties were looked for in the lists, or neither side can give them."""
    if not any(penalty_possible(case, side) for side in (0, 1)):
        return True
    return shared_rows(LINE_ROWS).lacking(case) is None


def _above_rounding(case: Case, early: float) -> float:
    """``early`` over the MAE, both in nats, without what the better side's distance
    from the float32 reference explains.

    Two sides with independent errors of that size are sqrt(2) times it apart; squares
    add up.
    """
    mae = case.view.mae
    squared = mae**2
    rounding = 0.0
    if case.errors is not None:
        rounding = 2 * min(case.errors) ** 2
    rest = squared - rounding
    if rest <= _MOSTLY_ROUNDING * squared:
        return early / mae
    early_rest = max(early**2 - rounding, 0.0)
    return float(np.sqrt(early_rest / rest))
