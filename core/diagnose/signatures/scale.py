"""The line between both sides' alternatives: its slope is a temperature or a logit
scale, its bend a soft cap.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from logdrift.core.diagnose.case import Case, worst
from logdrift.core.diagnose.evidence import Evidence, Number
from logdrift.core.diagnose.exclusion import temperature_possible
from logdrift.core.diagnose.fits import FittedLine
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.support import LIKELY_AT_MOST

_EXPLAINED = Ramp(starts=0.05, full=0.3)
"""Share of the squared gap that a slope must explain: noise of unequal sizes on both
sides, with a signal-to-noise ratio down to 3, tilts the line by less than 5% of that
gap.
"""
_NOT_ONE = Ramp(starts=4, full=8)
"""Standard errors by which the slope must miss 1, and a bend 0. By judgement."""
_FITS = Ramp(starts=0.3, full=0.7)
"""R2 of the line: below, the alternatives are unlike. By judgement."""
_BEND = Ramp(starts=0.1, full=0.4)
"""Share of what a line leaves that a square and a cube take away. By judgement."""
_UNEVEN = Ramp(starts=0.22, full=0.32)
"""Slopes of the tokens' own, beyond those of their sequences. Planted soft caps leave
0.32 and more (SmolLM2, the shapes of Qwen 3 and Gemma), penalties up to 0.20, and noise
on lists of five up to 0.15.
"""
_APART = Ramp(starts=0.3, full=0.6)
"""Share of what one slope leaves that a slope for every sequence takes away: then it is
not one factor for all of them. By judgement.
"""
_IN_DOUBT = Ramp(starts=0.06, full=0.15)
"""Slopes of the tokens' own from which the line is not straight enough to be a factor
without doubt: a mild soft cap leaves as little.
"""
_MOST = 0.97
"""The largest score of a slope or a bend. By judgement."""
_SCALE_TOO = 0.45
_SCALE_ALONE = 0.95
"""The largest score of a logit scale where a temperature may give the same line, which
is more usual, and where it may not. By judgement.
"""
_LEAST = 0.05
"""The smallest strength that is worth saying. By judgement."""


def slope(case: Case) -> Iterator[Evidence]:
    """One factor between all alternatives: a temperature, or a scale of the logits;
    bent: a soft cap.
    """
    line = case.line
    if line is None or line.error <= 0:
        return
    strength = _strength(line)
    bent = max(
        _BEND.score(line.bend) * _NOT_ONE.score(line.bend_z),
        _UNEVEN.score(line.uneven),
    )
    if strength * bent > _LEAST:
        yield _of_cap(case, line, _MOST * strength * bent)
    doubt = max(bent, _IN_DOUBT.score(line.uneven), _APART.score(line.apart))
    straight = strength * (1 - doubt)
    if straight > _LEAST:
        yield from _of_factor(case, line, straight)


def _strength(line: FittedLine) -> float:
    """How sure it is that the slope is not 1, 0 to 1."""
    z = abs(np.log(line.slope)) / max(line.error / line.slope, 1e-12)
    not_one = _EXPLAINED.score(line.explained) * _NOT_ONE.score(float(z))
    return not_one * _FITS.score(line.r2)


def _of_cap(case: Case, line: FittedLine, score: float) -> Evidence:
    return Evidence(
        cause="config",
        score=score,
        signature="bend",
        sentence=(
            f"the alternatives of {case.labels[1]} do not lie on a straight line"
            f" against those of {case.labels[0]} (slope {line.slope:.3f}; of what it"
            f" leaves, a bend explains {line.bend:.0%} and a slope for each token"
            f" {line.uneven:.0%}): a soft cap on one side."
        ),
        numbers={**_numbers(line), "kind": "softcap"},
        positions=worst(case),
    )


def _of_factor(case: Case, line: FittedLine, straight: float) -> Iterator[Evidence]:
    """A temperature where the sides may have different ones, and a logit scale."""
    opening = (
        f"differences between alternatives are {line.slope:.3f}"
        f" (±{2 * line.error:.3f}) times as large in {case.labels[1]} as in"
        f" {case.labels[0]}, on a straight line (R2 {line.r2:.4f}): "
    )
    possible = temperature_possible(case)
    if possible:
        # A logit scale draws the same line, so this is never certain.
        yield Evidence(
            cause="temperature",
            score=min(_MOST * straight, LIKELY_AT_MOST),
            signature="slope",
            sentence=f"{opening}temperatures in the ratio {1 / line.slope:.3f}.",
            numbers={**_numbers(line), "kind": "temperature"},
            positions=worst(case),
            explains=_MOST * straight,
        )
    if possible:
        not_temperature = ""
    else:
        not_temperature = " (both sides give them at one temperature)"
    yield Evidence(
        cause="config",
        score=straight * (_SCALE_TOO if possible else _SCALE_ALONE),
        signature="slope",
        sentence=f"{opening}a logit scale on one side{not_temperature}.",
        numbers={**_numbers(line), "kind": "scale"},
        positions=worst(case),
    )


def _numbers(line: FittedLine) -> dict[str, Number]:
    return {
        "slope": line.slope,
        "error": line.error,
        "r2": line.r2,
        "explained": line.explained,
        "bend": line.bend,
        "bend_z": line.bend_z,
        "uneven": line.uneven,
        "rows": line.rows,
    }
