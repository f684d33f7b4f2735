"""Question ``layers``: the residual stream of a loaded model, layer by layer, and the
head's logits, by forward hooks (`logdrift.core.worker.taps`).

What is common: an engine's own ``layers.py`` asks through `ask`, which runs its ``arm``
and ``collect`` in the process that holds the model. They are made of `arm` and
`collect` here, and of how that engine's head is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from logdrift.core.errors import LogdriftError
from logdrift.core.session.layers import STREAM_FILE
from logdrift.core.worker import stack as stacks
from logdrift.core.worker.stack import Stack
from logdrift.core.worker.taps import Entering, Taps, Tensor, head_arrays

FILE = STREAM_FILE
"""What a worker writes into its folder: ``stream`` f32[L+1, P, H], ``final`` f32[P, H]
where there is a final norm, and of the head ``logits`` f32[P, S] at ``head_ids``
i32[S], ``top_ids`` i32[P, K] and ``top_logits`` f32[P, K], best first.
"""


@dataclass
class Armed:
    """What `arm` leaves in the process that holds the model, until `collect`."""

    taps: Taps
    head_ids: list[int]
    handles: list[Any] = field(default_factory=list)
    """Further hooks, of an engine whose head is read where it is applied."""
    head: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    head_error: str | None = None

    def read_head(self, logits: Callable[[Tensor], Tensor]) -> None:
        """Put the final norm's rows through the head; ``logits`` gives [R, V] of
        [R, H].
        """
        rows = torch.cat(self.taps.rows)

        def logits_of(start: int, stop: int) -> Tensor:
            return logits(rows[start:stop])

        self.head = head_arrays(logits_of, len(rows), self.head_ids)


_armed: Armed | None = None


def arm(
    model: Any,
    arguments: Mapping[str, Any],
    *,
    entering: Entering = stacks.entering,
    hook_head: Callable[[Any, Armed], None] | None = None,
) -> dict[str, Any]:
    """Hook ``model`` for the next sequence: ``first``, ``last``, ``prefix``,
    ``head_ids``. Answers which positions will be kept, or ``{"error": ...}`` where it
    has no stack of layers.
    """
    global _armed
    try:
        stack = Stack.of(model)
    except LogdriftError as error:
        return {"error": str(error)}
    first, last = stack.fit(
        model,
        int(arguments["first"]),
        int(arguments["last"]),
        prefix=bool(arguments["prefix"]),
    )
    length = last + 1
    taps = Taps(stack, entering)
    taps.arm(length, first, last)
    head_ids = [int(token_id) for token_id in arguments["head_ids"]]
    _armed = Armed(taps, head_ids)
    if hook_head is not None:
        hook_head(model, _armed)
    return {"first": first, "last": last}


def collect(
    arguments: Mapping[str, Any], logits: Callable[[Tensor], Tensor] | None = None
) -> dict[str, Any]:
    """Take the hooks off and write `FILE` into ``out``. ``{"error": ...}`` where they
    did not see the whole sequence.

    ``logits`` gives [R, V] of rows [R, H], on an engine whose head can be called by
    itself. The first of several tensor-parallel ranks writes.
    """
    global _armed
    armed = _armed
    _armed = None
    if armed is None:
        return {"error": "the model is not hooked"}
    armed.taps.remove()
    for handle in armed.handles:
        handle.remove()
    try:
        arrays = armed.taps.arrays()
    except LogdriftError as error:
        return {"error": str(error)}
    if logits is not None and armed.taps.rows:
        armed.read_head(logits)
    if _is_first_rank():
        out = Path(arguments["out"])
        write(out, arrays | armed.head)
    stages = len(arrays["stream"])
    return {
        "layers": stages - 1,
        "norm": "final" in arrays,
        "head_error": armed.head_error,
    }


def _is_first_rank() -> bool:
    distributed = torch.distributed
    if not distributed.is_available():
        return True
    if not distributed.is_initialized():
        return True
    return bool(distributed.get_rank() == 0)


def write(out: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Write `FILE` into ``out``, whole or not at all, and return its path."""
    from safetensors.numpy import save_file

    out.mkdir(parents=True, exist_ok=True)
    path = out / FILE
    temporary = out / f".{FILE}.tmp"
    contiguous = {}
    for name, array in arrays.items():
        contiguous[name] = np.ascontiguousarray(array)
    save_file(contiguous, temporary)
    temporary.replace(path)
    return path


def ask(
    backend: Any, arguments: Mapping[str, Any], out: Path, module: str
) -> dict[str, Any]:
    """Answer the question through ``arm`` and ``collect`` of ``module``, on path
    ``prefill``, with one sequence alone.

    ``arguments``: ``token_ids``; the ``first`` and ``last`` position to keep, both
    included; ``prefix``, whether the first or the last of them are kept where not all
    fit (`Stack.fit`); ``head_ids``. Writes ``out`` / `FILE` and answers ``layers``,
    ``norm``, ``head_error`` and the ``first`` and ``last`` position kept.
    """
    names = ("first", "last", "prefix", "head_ids")
    window = {name: arguments[name] for name in names}
    kept = _first_rank(backend.inspect(f"{module}:arm", window))
    length = kept["last"] + 1
    ids = np.asarray(arguments["token_ids"][:length], np.int32)
    backend.score([ids], _no_progress)
    answers = backend.inspect(f"{module}:collect", {"out": str(out)})
    collected = _first_rank(answers)
    return {**kept, **collected}


def _no_progress(sequences: int, tokens: int) -> None:
    """One sequence is no progress worth a message."""


def _first_rank(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The first rank's answer. Raises LogdriftError where any rank failed."""
    if not answers:
        raise LogdriftError("no process of the engine answered")
    for answer in answers:
        if "error" in answer:
            raise LogdriftError(str(answer["error"]))
    return answers[0]
