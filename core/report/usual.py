"""Is the number normal? The MAE of a pair in words, by the one table of
`logdrift.core.compare.usual`.
"""

from __future__ import annotations

from logdrift.core.compare.usual import USUAL, UsualRange, usual_of
from logdrift.core.session.layout import CaptureInfo


def usual_range(a: CaptureInfo, b: CaptureInfo) -> UsualRange | None:
    """The range of the coarser dtype of two captures; None where a dtype was not
    observed.
    """
    dtypes = map(_dtype, (a, b))
    return usual_of(dtypes)


def _dtype(capture: CaptureInfo) -> str | None:
    if capture.facts is None:
        return None
    return capture.facts.dtype


def in_words(mae: float | None, a: CaptureInfo, b: CaptureInfo) -> str:
    """One sentence on the MAE of a pair, in nats."""
    if mae is None:
        return "No number: no token of this scope has a finite difference."
    same_backend = a.backend == b.backend
    if same_backend and a.path == b.path:
        return _of_one_backend(mae, a, b)
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


def _of_one_backend(mae: float, a: CaptureInfo, b: CaptureInfo) -> str:
    """What differs is a repeat, or the shape of the batch."""
    name = f"{a.backend}/{a.path}"
    if a.batch == b.batch:
        repeat = "differs between repeats: this is its noise floor"
        effect = "is exactly reproducible" if mae == 0 else repeat
        return f"A repeat: {name} {effect}."
    floor = "alone does this: it is the floor of the batch's shape"
    effect = "changes nothing" if mae == 0 else floor
    return f"Each sequence alone against all together: the batch of {name} {effect}."
