"""Run by vLLM's interpreter: everything that `VllmBackend` must refuse in one line, as
JSON.

python vllm_refusals.py MODEL OUT.json EMPTY_FOLDER
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# As a worker does it: `core` alone, nothing else of the tool may leak into the engine's
# interpreter.
runpy.run_path(str(ROOT / "core" / "worker" / "launch.py"))

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def main(model: str, out: str, empty: str) -> None:
    result = {
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
        "forked": imported_in("fork"),
        "spawned": imported_in("spawn"),
    }
    Path(out).write_text(json.dumps(result))


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


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
