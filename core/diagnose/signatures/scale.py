"""The line between both sides' alternatives: its slope is a temperature or a logit
scale, its bend a soft cap.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from logdrift.core.diagnose.case import Case, clip, worst
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.exclusion import temperature_possible
from logdrift.core.diagnose.support import LIKELY_AT_MOST

_EXPLAINED = (0.05, 0.3)
"""Share of the squared gap that a slope must explain: noise of unequal sizes on both
sides, with a signal-to-noise ratio down to 3, tilts the line by less than 5% of that
gap.
"""
_BEND = (0.1, 0.4)
_UNEVEN = (0.22, 0.32)
"""Slopes of the tokens' own, beyond those of their sequences. Planted soft caps leave
0.32 and more (SmolLM2, the shapes of Qwen 3 and Gemma), penalties up to 0.20, and noise
on lists of five up to 0.15.
"""
_APART = (0.3, 0.6)
"""Share of what one slope leaves that a slope for every sequence takes away: then it is
not one factor for all of them.
"""
_IN_DOUBT = (0.06, 0.15)
"""From there on the line is not straight enough to be a factor without doubt: a mild
soft cap leaves as little.
"""


def slope(case: Case) -> Iterator[Evidence]:
    """One factor between all alternatives: a temperature, or a scale of the logits;
    bent: a soft cap.
    """
    line = case.line
    if line is None or line.error <= 0:
        return
    z = abs(np.log(line.slope)) / max(line.error / line.slope, 1e-12)
    strength = (
        clip(line.explained, *_EXPLAINED)
        * clip(float(z), 4, 8)
        * clip(line.r2, 0.3, 0.7)
    )
    bent = max(
        clip(line.bend, *_BEND) * clip(line.bend_z, 4, 8), clip(line.uneven, *_UNEVEN)
    )
    numbers = {
        "slope": line.slope,
        "error": line.error,
        "r2": line.r2,
        "explained": line.explained,
        "bend": line.bend,
        "bend_z": line.bend_z,
        "uneven": line.uneven,
        "rows": line.rows,
    }
    at = worst(case)
    if strength * bent > 0.05:
        yield Evidence(
            cause="config",
            score=0.97 * strength * bent,
            signature="bend",
            sentence=f"alternatives of {case.labels[1]} against those of {case.labels[0]} lie on"
            f" no straight line (slope {line.slope:.3f}; of what it leaves, a bend"
            f" explains {line.bend:.0%} and a slope for each token {line.uneven:.0%}):"
            " a soft cap on one side.",
            numbers={**numbers, "kind": "softcap"},
            positions=at,
        )
    one_line = 1 - max(bent, clip(line.uneven, *_IN_DOUBT), clip(line.apart, *_APART))
    straight = strength * one_line
    if straight <= 0.05:
        return
    said = (
        f"differences between alternatives are {line.slope:.3f}"
        f" (+-{2 * line.error:.3f}) times as large in {case.labels[1]} as in"
        f" {case.labels[0]}, on a straight line (R2 {line.r2:.4f}): "
    )
    possible = temperature_possible(case)
    if possible:
        yield Evidence(
            cause="temperature",
            score=min(
                0.97 * straight, LIKELY_AT_MOST
            ),  # a logit scale draws the same line
            signature="slope",
            sentence=f"{said}temperatures in the ratio {1 / line.slope:.3f}.",
            numbers={**numbers, "kind": "temperature"},
            positions=at,
            explains=0.97 * straight,
        )
    yield Evidence(
        cause="config",
        score=straight * (0.45 if possible else 0.95),
        signature="slope",
        sentence=(
            f"{said}a logit scale on one"
            f" side{'' if possible else ' (both sides give them at one temperature)'}."
        ),
        numbers={**numbers, "kind": "scale"},
        positions=at,
    )
