"""Which layer is the first to differ? What `logdrift.core.investigate.layers` measures
in both engines, judged: `errors` (how far streams are apart), `broken` (where one is
not finite), `judge` (which stage is wrong), `evidence` (what that says of causes).
"""

from __future__ import annotations

from logdrift.core.diagnose.layers.evidence import layers_evidence
from logdrift.core.diagnose.layers.judge import LAYER, PART, compare_sides
from logdrift.core.diagnose.layers.result import (
    Kind,
    Layers,
    LayerSide,
    Stage,
    layers_of,
    understood,
)

__all__ = [
    "LAYER",
    "PART",
    "Kind",
    "LayerSide",
    "Layers",
    "Stage",
    "compare_sides",
    "layers_evidence",
    "layers_of",
    "understood",
]
