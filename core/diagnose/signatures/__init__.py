"""Signatures: one function each, from a case to evidence, without running anything again.

Adding one is adding a function here. They come in the order of the cause table: what makes the numbers another
quantity first, what only rounds last.
"""

from __future__ import annotations

from core.diagnose.case import Case, Signature
from core.diagnose.signatures import facts, place, precision, scale, semantic, size

__all__ = ["SIGNATURES", "Case", "Signature"]

SIGNATURES: tuple[Signature, ...] = (
    facts.facts,
    semantic.own_list,
    semantic.alignment,
    semantic.truncated,
    semantic.seen_before,
    semantic.common_shift,
    scale.slope,
    place.padding,
    place.start,
    place.onset,
    place.step,
    place.growth,
    place.completion,
    precision.grid,
    precision.lattice,
    size.unlike,
    size.routing,
    size.size,
)
