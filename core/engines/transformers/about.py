"""What is true of Transformers, for every part of logdrift. Standard library only."""

from __future__ import annotations

from logdrift.core.engines.about import Engine
from logdrift.core.engines.transformers.knobs import KNOBS

ABOUT = Engine(
    name="transformers",
    module="logdrift.core.engines.transformers.backend",
    attribute="TransformersBackend",
    package="transformers",
    distributions=("transformers",),
    paths=("decode", "prefill"),
    default_role="trainer",
    knobs=KNOBS,
)
