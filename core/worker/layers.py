"""Question ``layers``: the residual stream of a loaded model, layer by layer, by
forward hooks. Runs inside engines.

A decoder stack of L layers has these stages: what enters the first layer (the
embedding, scaled where the family scales it), what enters each next one (after layer 0,
1, ...), what enters the final norm (after layer L-1), and what the final norm gives.
Taking what *enters* is right for every engine: vLLM's and SGLang's layers return
(hidden, residual) with the addition not yet done, fused into the norm of the next layer
(their sum here is taken in float32), and some engines change a layer's result in place
afterwards.

Hooks fire only in eager mode. A prompt may come in several chunks; rows are counted
from the first of them. With tensor parallelism every rank has the whole stream, and the
first one writes. Run on CPUs so far, not yet on a GPU.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from logdrift.core.errors import LogdriftError
from logdrift.core.session.layers import STREAM_FILE

Tensor = Any
FILE = STREAM_FILE
"""What a worker writes into its folder: ``stream`` f32[L+1, P, H], ``final`` f32[P, H]
where there is a final norm, and of the head ``logits`` f32[P, S] at ``head_ids``
i32[S], ``top_ids`` i32[P, K] and ``top_logits`` f32[P, K], best first.
"""
TOP = 20
MAX_BYTES = 256 << 20
"""Of ``stream`` at most. 512 positions of a small model, 101 of one with 80 layers of
8,192.
"""
HEAD_ROWS = 32
"""Rows that go through the head at a time: all logits of all positions are never held.
"""
_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "final_norm")
_LISTS = ("layers", "h", "blocks", "block")


class Stack:
    """The decoder ``layers`` of a model and its final ``norm`` (None: it has none)."""

    def __init__(self, layers: Any, norm: Any) -> None:
        self.layers = layers
        self.norm = norm

    @classmethod
    def of(cls, model: Any) -> Stack:
        """The shallowest list of layers; of several that deep, the one as long as the
        config says, or the longest.

        Raises LogdriftError where no module holds such a list.
        """
        wanted = _layer_count(model)
        found: list[tuple[bool, int, int, Any, Any]] = []
        for name, module in model.named_modules():
            for key in _LISTS:
                layers = getattr(module, key, None)
                if isinstance(layers, torch.nn.ModuleList) and len(layers):
                    found.append(
                        (
                            len(layers) != wanted,
                            name.count(".") + bool(name),
                            -len(layers),
                            module,
                            layers,
                        )
                    )
        if not found:
            raise LogdriftError(
                f"{type(model).__name__} holds no list of decoder layers: it cannot be"
                " taken apart"
            )
        *_, parent, layers = min(found, key=lambda each: each[:3])
        norm = next(
            (
                m
                for n in _NORMS
                if isinstance(m := getattr(parent, n, None), torch.nn.Module)
            ),
            None,
        )
        return cls(layers, norm)

    def fit(
        self, model: Any, first: int, last: int, *, prefix: bool
    ) -> tuple[int, int]:
        """The positions asked for, or as many as `MAX_BYTES` holds: the first ones
        (``prefix``), else the last ones.
        """
        text = _text_config(model)
        weight = getattr(self.norm, "weight", None)
        size = (
            int(
                getattr(text, "hidden_size", 0)
                or (weight.shape[-1] if weight is not None else 0)
            )
            or 1
        )
        room = max(1, MAX_BYTES // (4 * size * (len(self.layers) + 1)))
        if last - first < room:
            return first, last
        return (first, first + room - 1) if prefix else (last - room + 1, last)


def _layer_count(model: Any) -> int | None:
    count = getattr(_text_config(model), "num_hidden_layers", None)
    return count if isinstance(count, int) else None


def _text_config(model: Any) -> Any:
    config: Any = getattr(model, "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def entering(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """The stream that a layer or norm is called with, float32[T, H]: its hidden state,
    plus ``residual`` if it has one.
    """
    named = named_arguments(module, args, kwargs)
    owed = _owed(named)
    if owed is not None:
        return owed
    found = [value for value in named.values() if _is_float(value)]
    hidden = named.get("hidden_states", found[0] if found else None)
    if hidden is None:
        raise LogdriftError(f"{type(module).__name__} is called without a hidden state")
    # A forward(*args) names nothing: a second tensor of that shape is the residual.
    unnamed = (
        found[1]
        if "0" in named and len(found) > 1 and found[1].shape == hidden.shape
        else None
    )
    residual = named.get("residual", unnamed)
    total = _rows(hidden).float()
    return total + _rows(residual).float() if _is_float(residual) else total.clone()


def _owed(named: Mapping[str, Any]) -> Tensor | None:
    """The stream where SGLang keeps the residual in the batch (layers/layer_boundary),
    which gives a copy on request.
    """
    batch = named.get("forward_batch")
    if getattr(batch, "residual_stream", None) is None or "hidden_states" not in named:
        return None
    from sglang.srt.layers.layer_boundary.residual import (  # type: ignore[import-not-found,unused-ignore]
        batch as residual,
    )

    return residual.snapshot(named["hidden_states"], batch).float()


def named_arguments(
    module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of a module's forward by name; by their place (``0``, ``1``) where it
    does not name them.
    """
    try:
        signature = inspect.signature(module.forward)
        if any(
            each.kind is each.VAR_POSITIONAL for each in signature.parameters.values()
        ):
            raise TypeError
        return dict(signature.bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        return {**{str(i): value for i, value in enumerate(args)}, **kwargs}


def _is_float(value: Any) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.ndim >= 2
    )


def _rows(value: Tensor) -> Tensor:
    """[T, H] of [T, H] or [1, T, H]."""
    return value.reshape(-1, value.shape[-1])


def first_of(output: Any) -> Tensor:
    """The hidden state that a layer or norm returns, alone or first in a tuple."""
    return output[0] if isinstance(output, (tuple, list)) else output


class Taps:
    """Hooks on a stack that keep rows ``first .. last`` (both included) of one sequence
    of ``length`` tokens.

    Nothing is kept before `arm` and after the whole sequence has passed, so a decoded
    token behind it is not mistaken for it. What goes wrong in a hook is raised by
    `arrays`: an exception in the engine's own pass would end it.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._length = self._at = 0
        self._wanted = (0, -1)
        self._kept: dict[int, list[Tensor]] = {}
        self._error: Exception | None = None
        self.rows: list[Tensor] = []
        """The final norm's rows as the engine holds them: what its head takes."""
        last = len(stack.layers)
        self._handles = [
            layer.register_forward_pre_hook(self._before(index), with_kwargs=True)
            for index, layer in enumerate(stack.layers)
        ]
        if stack.norm is not None:
            self._handles.append(
                stack.norm.register_forward_pre_hook(
                    self._before(last), with_kwargs=True
                )
            )
            self._handles.append(stack.norm.register_forward_hook(self._after_norm))
        else:
            self._handles.append(
                stack.layers[-1].register_forward_hook(self._after_last)
            )

    @property
    def done(self) -> bool:
        """Whether the whole sequence has passed the last stage."""
        return self._length > 0 and self._at >= self._length

    def arm(self, length: int, first: int, last: int) -> None:
        """Keep these rows of the next sequence."""
        self._length, self._at, self._wanted = length, 0, (first, last)
        self._kept, self.rows = {}, []

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """``stream`` and ``final`` of `FILE`. Raises LogdriftError where not every
        stage gave every row.
        """
        if self._error is not None:
            raise LogdriftError(
                f"the layers could not be read: {type(self._error).__name__}:"
                f" {self._error}"
            )
        count = self._wanted[1] - self._wanted[0] + 1
        stages = [
            torch.cat(self._kept[stage]).numpy() if stage in self._kept else None
            for stage in self._stages()
        ]
        if not self.done or any(
            stage is None or len(stage) != count for stage in stages
        ):
            seen = sum(stage is not None for stage in stages)
            raise LogdriftError(
                f"the hooks saw {seen} of {len(stages)} stages and {self._at} of"
                f" {self._length} tokens: the model does not run layer by layer in"
                " eager mode"
            )
        out = {"stream": np.stack([stage for stage in stages if stage is not None])}
        if self.rows:
            out["final"] = torch.cat([row.float().cpu() for row in self.rows]).numpy()
        return out

    def _stages(self) -> range:
        return range(len(self._stack.layers) + 1)

    def _slice(self, rows: int) -> slice:
        """Which rows of this chunk are wanted."""
        if rows > self._length - self._at:
            raise LogdriftError(
                f"the engine ran {rows} rows where {self._length - self._at} of the"
                " sequence are left"
            )
        first, last = self._wanted
        return slice(max(0, first - self._at), max(0, min(rows, last + 1 - self._at)))

    def _guard(self, keep: Callable[[], None]) -> None:
        if self._error is None and self._length and not self.done:
            try:
                keep()
            except Exception as error:
                self._error = error

    def _before(self, stage: int) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            self._guard(lambda: self._keep(stage, entering(module, args, kwargs)))

        return hook

    def _keep(self, stage: int, stream: Tensor) -> None:
        stream = _rows(stream)
        self._kept.setdefault(stage, []).append(
            stream[self._slice(len(stream))].float().cpu()
        )

    def _after_norm(self, module: Any, args: Any, output: Any) -> None:
        def keep() -> None:
            found = _rows(first_of(output))
            self.rows.append(found[self._slice(len(found))].clone())
            self._at += len(found)

        self._guard(keep)

    def _after_last(self, module: Any, args: Any, output: Any) -> None:
        def keep() -> None:
            found = _rows(first_of(output))
            self._keep(len(self._stack.layers), found)
            self._at += len(found)

        self._guard(keep)


def head_arrays(
    logits: Callable[[int, int], Tensor], rows: int, head_ids: npt.ArrayLike
) -> dict[str, npt.NDArray[Any]]:
    """The head's part of `FILE`. ``logits`` gives [stop - start, V] of rows ``start ..
    stop``.
    """
    ids = np.asarray(head_ids, np.int32)
    wanted = torch.as_tensor(ids.astype(np.int64))
    picked, top_ids, top_logits = [], [], []
    for start in range(0, rows, HEAD_ROWS):
        chunk = logits(start, min(rows, start + HEAD_ROWS)).float()
        picked.append(chunk[:, wanted.to(chunk.device)].cpu())
        best = chunk.topk(min(TOP, chunk.shape[-1]), dim=-1)
        top_ids.append(best.indices.to(torch.int32).cpu())
        top_logits.append(best.values.cpu())
    joined = (torch.cat(each).numpy() for each in (picked, top_ids, top_logits))
    return {
        "head_ids": ids,
        **dict(zip(("logits", "top_ids", "top_logits"), joined, strict=True)),
    }


def write(out: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Write `FILE` into ``out``, whole or not at all, and return its path."""
    from safetensors.numpy import save_file

    out.mkdir(parents=True, exist_ok=True)
    temporary = out / f".{FILE}.tmp"
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary
    )
    temporary.replace(out / FILE)
    return out / FILE


@dataclass
class _Armed:
    """What `arm` leaves in the process that holds the model, until `collect`."""

    taps: Taps
    head_ids: list[int]
    handles: list[Any] = field(default_factory=list)
    head: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    head_error: str | None = None


_armed: _Armed | None = None


def arm(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
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
    taps = Taps(stack)
    taps.arm(last + 1, first, last)
    _armed = _Armed(taps, [int(i) for i in arguments["head_ids"]])
    for module in model.modules():
        if (
            type(module).__name__ == "LogitsProcessor"
            and hasattr(module, "_get_logits")
            and hasattr(module, "forward")
        ):
            _armed.handles.append(
                module.register_forward_pre_hook(_at_head(_armed), with_kwargs=True)
            )
    return {"first": first, "last": last}


def _at_head(armed: _Armed) -> Callable[..., None]:
    """SGLang's head needs its batch, so it is applied to our rows where it is applied
    to the engine's own.
    """

    def hook(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        named = named_arguments(module, args, kwargs)
        if (
            not armed.taps.done
            or armed.head
            or armed.head_error
            or "logits_metadata" not in named
        ):
            return
        try:
            from sglang.srt.layers.logits_processor import (  # type: ignore[import-not-found,unused-ignore]
                LogitsMetadata,
            )

            given = named["logits_metadata"]
            batch = (
                given
                if isinstance(given, LogitsMetadata)
                else LogitsMetadata.from_forward_batch(given)
            )
            rows = torch.cat(armed.taps.rows)
            armed.head = head_arrays(
                lambda a, b: module._get_logits(
                    rows[a:b], named["lm_head"], batch, use_logits_buffer=False
                ),
                len(rows),
                armed.head_ids,
            )
        except (
            Exception
        ) as error:  # whatever the head does: an exception here would end the engine
            armed.head_error = f"{type(error).__name__}: {error}"

    return hook


def collect(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Take the hooks off and write `FILE` into ``out``. ``{"error": ...}`` where they
    did not see the whole sequence.
    """
    global _armed
    armed, _armed = _armed, None
    if armed is None:
        return {"error": "the model is not hooked"}
    armed.taps.remove()
    for handle in armed.handles:
        handle.remove()
    try:
        arrays = armed.taps.arrays()
    except LogdriftError as error:
        return {"error": str(error)}
    if (
        not armed.head
        and not armed.head_error
        and armed.taps.rows
        and hasattr(model, "compute_logits")
    ):
        rows = torch.cat(armed.taps.rows)
        armed.head = head_arrays(
            lambda a, b: model.compute_logits(rows[a:b]), len(rows), armed.head_ids
        )
    distributed = (
        torch.distributed.is_available() and torch.distributed.is_initialized()
    )
    if not distributed or torch.distributed.get_rank() == 0:
        write(Path(arguments["out"]), {**arrays, **armed.head})
    return {
        "layers": len(arrays["stream"]) - 1,
        "norm": "final" in arrays,
        "head_error": armed.head_error,
    }


def layers(backend: Any, arguments: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Answer for vLLM and SGLang (`logdrift.core.worker.questions`). Path
    ``prefill``, one sequence alone.

    ``token_ids``; ``first`` and ``last`` position wanted, both included; ``prefix``,
    whether the first or the last of them are kept where not all fit (`Stack.fit`);
    ``head_ids``. Writes ``out`` / `FILE` and answers ``layers``, ``norm``,
    ``head_error`` and the ``first`` and ``last`` position kept.
    """
    wanted = {name: arguments[name] for name in ("first", "last", "prefix", "head_ids")}
    kept = _checked(backend.inspect("logdrift.core.worker.layers:arm", wanted))
    ids = np.asarray(arguments["token_ids"][: kept["last"] + 1], np.int32)
    backend.score([ids], lambda sequences, tokens: None)
    return {
        **kept,
        **_checked(
            backend.inspect("logdrift.core.worker.layers:collect", {"out": str(out)})
        ),
    }


def _checked(answers: list[dict[str, Any]]) -> dict[str, Any]:
    if not answers:
        raise LogdriftError("no process of the engine answered")
    for answer in answers:
        if "error" in answer:
            raise LogdriftError(str(answer["error"]))
    return answers[0]
