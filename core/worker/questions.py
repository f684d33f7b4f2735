"""Questions that are put to a loaded model, and who answers them:
`logdrift.core.investigate.ask` asks, the worker looks here.

An answer is a function ``(backend, arguments, out) -> mapping`` that runs in the worker
after the backend has been opened. The mapping is JSON-ready; arrays are written below
the folder ``out`` with safetensors. Most answers need the model itself, which lives
elsewhere for some engines: ``backend.inspect("module:function", arguments)`` runs
``function(model, arguments)`` there and gives what each rank answered.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logdrift.core.errors import LogdriftError

_LAYERS = "logdrift.core.worker.layers:layers"
_WEIGHTS = "logdrift.core.worker.weights:weights"

QUESTIONS: dict[str, dict[str, str]] = {
    "weights": {"transformers": _WEIGHTS, "vllm": _WEIGHTS, "sglang": _WEIGHTS},
    "layers": {
        "transformers": "logdrift.core.engines.transformers.layers:layers",
        "vllm": _LAYERS,
        "sglang": _LAYERS,
    },
}
"""Question -> engine -> ``module:function``. The module is imported only where it is
asked.
"""


def resolve(path: str) -> Any:
    """The function behind ``module:function``."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def answer(
    engine: str, question: str, backend: Any, arguments: Mapping[str, Any], out: Path
) -> dict[str, Any]:
    """Put ``question`` to an opened backend. Raises LogdriftError where its engine has
    no answer.
    """
    path = QUESTIONS.get(question, {}).get(engine)
    if path is None:
        known = ", ".join(
            name for name, engines in QUESTIONS.items() if engine in engines
        )
        raise LogdriftError(
            f"{engine} cannot be asked for {question!r}: it can be asked for"
            f" {known or 'nothing'}"
        )
    return dict(resolve(path)(backend, arguments, out))
