"""Is the number normal? Reference points for the MAE of a pair, in words.

Sources: float32 against float32 and bfloat16 against float32 are measured with this tool's own engines on the small
model (docs/report.md); 0.01-0.02 for bfloat16 is what is published for larger models on GPUs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Usual:
    """``low`` to ``high``: the usual MAE in nats; from ``alarm`` on, rounding explains it no more."""

    low: float
    high: float
    alarm: float
    text: str


_USUAL = {
    "bfloat16": Usual(0.005, 0.06, 0.2, "0.01-0.02 is published for GPUs, 0.02-0.04 measured on SmolLM2-135M"),
    "float16": Usual(0.001, 0.01, 0.05, "8 times the precision of bfloat16; 0.003-0.005 is published"),
    "float32": Usual(0.0, 2e-5, 1e-3, "below 2e-5 is measured on SmolLM2-135M with three engines"),
}


def usual_range(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, Usual] | None:
    """The coarser dtype of two captures of the report and its range; None where a dtype was not observed."""
    dtypes = [(capture["facts"] or {}).get("dtype") for capture in (a, b)]
    if any(dtype not in _USUAL for dtype in dtypes):
        return None
    coarse = next(dtype for dtype in _USUAL if dtype in dtypes)
    return coarse, _USUAL[coarse]


def in_words(mae: float | None, a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """One sentence on the MAE of a pair."""
    if mae is None:
        return "No number: no token of this scope has a finite difference."
    if a["backend"] == b["backend"] and a["path"] == b["path"]:
        if a.get("batch") != b.get("batch"):
            effect = "changes nothing" if mae == 0 else "alone does this: it is the floor of the batch's shape"
            return f"Each sequence alone against all together: the batch of {a['backend']}/{a['path']} {effect}."
        same = "is exactly reproducible" if mae == 0 else "differs between repeats: this is its noise floor"
        return f"A repeat: {a['backend']}/{a['path']} {same}."
    found = usual_range(a, b)
    if found is None:
        return "Whether this is usual cannot be said: a dtype was not observed."
    dtype, usual = found
    if mae < usual.low:
        return f"Smaller than usual for {dtype} ({usual.text}): good."
    if mae <= usual.high:
        return f"Within the usual range for {dtype} ({usual.text})."
    if mae < usual.alarm:
        return f"Larger than usual for {dtype} ({usual.text})."
    return f"Far larger than rounding in {dtype} explains ({usual.text}): look for a fault."
