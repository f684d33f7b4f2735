"""What `VllmBackend` must refuse in one line, and what its children must be able to
import. Imported by vllm_capture.py.
"""

from __future__ import annotations

import importlib
import multiprocessing
from typing import Any


def refusals(model: str, empty: str) -> dict[str, str]:
    """What is said of each plan that cannot be captured."""
    return {
        "unknown option": refused(model, {"enforce_eagre": True}),
        "plan's option": refused(model, {"dtype": "float16"}),
        "logits mode": refused(model, {"logprobs_mode": "raw_logits"}),
        "processed and forced": refused(
            model, {"logprobs_mode": "processed_logprobs"}, paths=("forced_decode",)
        ),
        "too long to score": refused(model, {"max_model_len": 64}, max_length=64),
        "longer than the model": refused(model, {}, max_length=8193, paths=("decode",)),
        "bad value": refused(model, {"kv_cache_dtype": "int3"}),
        "no model": refused(empty, {}),
        "hub id": refused("nobody-at-all/no-such-model", {}),
    }


def importable() -> dict[str, str]:
    """The forced-decode module in children: asked before this process has computed
    anything, since the threads of a library do not survive a fork.
    """
    importlib.import_module("vllm")
    return {"forked": imported_in("fork"), "spawned": imported_in("spawn")}


def refused(model: str, options: dict[str, Any], **other: Any) -> str:
    from logdrift.core.engines.vllm.backend import VllmBackend
    from logdrift.core.errors import LogdriftError
    from logdrift.core.plan import BackendSpec, SamplingSpec
    from logdrift.core.worker.base import BackendSettings

    wish = {"paths": ("prefill",), "max_length": 64, **other}
    spec = BackendSpec("mu", "vllm", "bfloat16", options=options)
    try:
        backend = VllmBackend(
            BackendSettings(
                model, None, spec, SamplingSpec(), top_k=5, max_prompts=1, **wish
            )
        )
        backend.open()
    except LogdriftError as error:
        return f"{error.exit_code} {error}"
    backend.close()
    return "not refused"


def imported_in(method: str) -> str:
    """The forced-decode module in a child, as vLLM starts its engine core and
    workers.
    """
    context = multiprocessing.get_context(method)
    queue: Any = context.Queue()
    child = context.Process(target=_import_forced, args=(queue,))
    child.start()
    answer = queue.get(timeout=120)
    child.join()
    return str(answer)


def _import_forced(queue: Any) -> None:
    try:
        module = importlib.import_module("logdrift.core.engines.vllm.forced")
        queue.put(f"{module.ForcedIds.__module__}:{module.ForcedIds.__name__}")
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")
