"""Is the number normal? The MAE of a pair in words, by the one table of
`logdrift.core.compare.usual`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.compare.usual import USUAL, UsualRange, usual_of


def usual_range(a: Mapping[str, Any], b: Mapping[str, Any]) -> UsualRange | None:
    """The range of the coarser dtype of two captures of the report; None where a dtype
    was not observed.
    """
    return usual_of((capture["facts"] or {}).get("dtype") for capture in (a, b))


def in_words(mae: float | None, a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """One sentence on the MAE of a pair."""
    if mae is None:
        return "No number: no token of this scope has a finite difference."
    if a["backend"] == b["backend"] and a["path"] == b["path"]:
        if a.get("batch") != b.get("batch"):
            effect = (
                "changes nothing"
                if mae == 0
                else "alone does this: it is the floor of the batch's shape"
            )
            return (
                "Each sequence alone against all together: the batch of"
                f" {a['backend']}/{a['path']} {effect}."
            )
        same = (
            "is exactly reproducible"
            if mae == 0
            else "differs between repeats: this is its noise floor"
        )
        return f"A repeat: {a['backend']}/{a['path']} {same}."
    usual = usual_range(a, b)
    if usual is None:
        assumed = USUAL["bfloat16"]
        return f"A dtype was not observed; for bfloat16 {assumed.words} is usual."
    where = f"for {usual.dtype} ({usual.words}: {usual.source})"
    sentences = {
        "below": f"Smaller than usual {where}: good.",
        "usual": f"Usual {where}.",
        "unusual": f"Larger than usual {where}.",
        "beyond": f"Larger than rounding explains {where}: look for a cause.",
        "broken": f"Far larger than rounding explains {where}: look for a fault.",
    }
    return sentences[usual.standing(mae)]
