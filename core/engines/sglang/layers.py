"""Question ``layers`` for SGLang: it may keep the residual in the batch, and its head
needs the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from logdrift.core.worker import layers as common
from logdrift.core.worker import stack
from logdrift.core.worker.layers import Armed
from logdrift.core.worker.stack import Arguments, named_arguments

Tensor = Any


def layers(backend: Any, arguments: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Answer the question (`logdrift.core.worker.layers.ask`)."""
    return common.ask(backend, arguments, out, __name__)


def arm(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Runs beside the model (`logdrift.core.worker.layers.arm`)."""
    return common.arm(model, arguments, entering=entering, hook_head=hook_head)


def collect(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Runs beside the model (`logdrift.core.worker.layers.collect`)."""
    return common.collect(arguments)


def entering(module: Any, args: Arguments, kwargs: Mapping[str, Any]) -> Tensor:
    """The stream that a layer or norm is called with, float32[T, H].

    Where SGLang keeps the residual in the batch (layers/layer_boundary), it gives a
    copy of the stream on request.
    """
    named = named_arguments(module, args, kwargs)
    hidden = named.get("hidden_states")
    batch = named.get("forward_batch")
    kept_stream = getattr(batch, "residual_stream", None)
    if hidden is None or kept_stream is None:
        return stack.entering(module, args, kwargs)
    from sglang.srt.layers.layer_boundary.residual import (  # type: ignore[import-not-found,unused-ignore]
        batch as residual,
    )

    return residual.snapshot(hidden, batch).float()


def hook_head(model: Any, armed: Armed) -> None:
    """The head needs its batch, so it is applied to our rows where it is applied to the
    engine's own.
    """
    hook = _at_head(armed)
    for module in model.modules():
        if _is_logits_processor(module):
            handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            armed.handles.append(handle)


def _is_logits_processor(module: Any) -> bool:
    if type(module).__name__ != "LogitsProcessor":
        return False
    return hasattr(module, "_get_logits") and hasattr(module, "forward")


def _at_head(armed: Armed) -> Callable[..., None]:
    def hook(module: Any, args: Arguments, kwargs: Mapping[str, Any]) -> None:
        is_tried = armed.head or armed.head_error
        if is_tried or not armed.taps.done:
            return
        named = named_arguments(module, args, kwargs)
        if "logits_metadata" in named:
            _read_head(armed, module, named)

    return hook


def _read_head(armed: Armed, processor: Any, named: Mapping[str, Any]) -> None:
    """Put our rows through the head with the arguments that the engine ``named``."""
    try:
        batch = _metadata(named["logits_metadata"])
        head = named["lm_head"]

        def logits_of(rows: Tensor) -> Tensor:
            return processor._get_logits(rows, head, batch, use_logits_buffer=False)

        armed.read_head(logits_of)
    # Whatever the head does: an exception here would end the engine.
    except Exception as error:
        kind = type(error).__name__
        armed.head_error = f"{kind}: {error}"


def _metadata(batch: Any) -> Any:
    from sglang.srt.layers.logits_processor import (  # type: ignore[import-not-found,unused-ignore]
        LogitsMetadata,
    )

    if isinstance(batch, LogitsMetadata):
        return batch
    return LogitsMetadata.from_forward_batch(batch)
