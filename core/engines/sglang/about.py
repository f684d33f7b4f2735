"""What is true of SGLang, for every part of logdrift. Standard library only."""

from __future__ import annotations

from logdrift.core.engines.about import Engine
from logdrift.core.engines.sglang.knobs import KNOBS

ABOUT = Engine(
    name="sglang",
    module="logdrift.core.engines.sglang.backend",
    attribute="SglangBackend",
    package="sglang",
    distributions=("sglang",),
    paths=("decode", "prefill"),
    default_role="rollout",
    knobs=KNOBS,
)
