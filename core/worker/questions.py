"""Questions that are put to a loaded model: `logdrift.core.investigate.ask` asks, the
worker looks here, and the engine's ``about.answers`` names the function that answers.

An answer is a function ``(backend, arguments, out) -> mapping`` that runs in the worker
after the backend has been opened. The mapping is JSON-ready; arrays are written below
the folder ``out`` with safetensors. Most answers need the model itself, which lives
elsewhere for some engines: ``backend.inspect("module:function", arguments)`` runs
``function(model, arguments)`` there and gives what each rank answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logdrift.core.engines import ENGINES
from logdrift.core.engines.about import resolve
from logdrift.core.errors import LogdriftError


def answer(
    engine: str, question: str, backend: Any, arguments: Mapping[str, Any], out: Path
) -> dict[str, Any]:
    """Put ``question`` to an opened backend. Raises LogdriftError where its engine has
    no answer.
    """
    answers = ENGINES[engine].answers
    if question not in answers:
        raise LogdriftError(
            f"{engine} cannot be asked for {question!r}: it can be asked for"
            f" {', '.join(answers) or 'nothing'}"
        )
    return dict(resolve(answers[question])(backend, arguments, out))
