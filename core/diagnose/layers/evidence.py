"""What the layers say of causes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import Evidence, Number
from logdrift.core.diagnose.layers.judge import LAYER
from logdrift.core.diagnose.layers.result import Kind, LayerSide, Stage

_CAUSES: Mapping[Kind, tuple[str, float]] = {
    "embedding": ("weights", 0.95),
    "layer": ("weights", 0.95),
    "final norm": ("weights", 0.95),
    "head": ("weights", 0.95),
    "layers": ("weights", 0.92),
    "position": ("config", 0.92),
    "jump": ("weights", 0.7),
    "not finite": ("overflow", 0.99),
    "rounding": (NOISE, 0.6),
}
"""Cause and score. Above 0.9 it was observed: the same input gave another output. A
jump of the relative error only looks like it. By judgement.
"""
_FAINT = 0.75
"""Score of a layer that only what the other side's layer leaves gives away. By
judgement.
"""


def layers_evidence(sides: Sequence[LayerSide]) -> list[Evidence]:
    """Evidence of signature ``layers`` for `logdrift.core.diagnose.diagnose`. Rounding
    counts only where both sides have it: then what differs, differs outside of the
    model.
    """
    only_rounding = all(side.kind == "rounding" for side in sides)
    return [
        _of_side(side)
        for side in sides
        if side.kind in _CAUSES and (only_rounding or side.kind != "rounding")
    ]


def _of_side(side: LayerSide) -> Evidence:
    cause, score = _CAUSES[side.kind]
    first = next((stage for stage in side.stages if stage.wrong), None)
    if side.kind == "layer" and first is not None and (first.times or 0.0) <= LAYER:
        score = _FAINT
    return Evidence(
        cause=cause,
        score=score,
        signature="layers",
        sentence=side.sentence,
        numbers=_numbers(side, first),
    )


def _numbers(side: LayerSide, first: Stage | None) -> dict[str, Number]:
    """The first wrong stage; without one only the last stage's error."""
    return {
        "stage": None if first is None else first.name,
        "times": None if first is None else first.times,
        "error": (first or side.stages[-1]).error,
        "backend": side.backend,
    }
