"""Question ``layers`` for Transformers: its residual stream, and what its layers make
of another engine's.

The second, the *replay*, is what finds a wrong layer: one pass in which every layer is
given, instead of its predecessor's result, what the other engine's layer was given.
Errors of earlier layers then cannot add up: what is left is that one layer's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from logdrift.core.engines.transformers.head import Head, hidden_of, with_hidden
from logdrift.core.errors import LogdriftError
from logdrift.core.worker.layers import write
from logdrift.core.worker.stack import Stack, first_of
from logdrift.core.worker.taps import Taps, head_arrays

Tensor = Any


def layers(backend: Any, arguments: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Answer the question (`logdrift.core.worker.questions`).

    As `logdrift.core.worker.layers.ask`, and ``replay``: names and files of other
    engines, as `logdrift.core.worker.layers.FILE` describes, which must begin at
    position 0. Each replay is answered by ``out/NAME.safetensors``.
    """
    model = backend._model
    head = backend._head
    if model is None or head is None:
        raise LogdriftError("transformers: the backend is not open")
    backend._check([np.asarray(arguments["token_ids"], np.int32)], 0)
    stack = Stack.of(model)
    first, last = stack.fit(
        model,
        int(arguments["first"]),
        int(arguments["last"]),
        prefix=bool(arguments["prefix"]),
    )
    ids = arguments["token_ids"][: last + 1]
    tokens = torch.as_tensor(ids, dtype=torch.int64, device=backend._device)[None]
    with torch.inference_mode():
        _own(head, stack, tokens, first, arguments["head_ids"], out)
        for name, file in dict(arguments.get("replay") or {}).items():
            replay(head, stack, tokens, Path(file), out / f"{name}.safetensors")
    return {
        "layers": len(stack.layers),
        "norm": stack.norm is not None,
        "head_error": None,
        "first": first,
        "last": last,
    }


def _own(
    head: Head, stack: Stack, tokens: Tensor, first: int, head_ids: list[int], out: Path
) -> None:
    """Write the stream and the logits of positions ``first`` to the last one."""
    length = tokens.shape[1]
    taps = Taps(stack)
    try:
        taps.arm(length, first, last=length - 1)
        backbone = head.backbone(tokens)
        arrays = taps.arrays()
    finally:
        taps.remove()

    def logits_of(start: int, stop: int) -> Tensor:
        return head.logits(backbone, tokens, first + start, first + stop)

    arrays |= head_arrays(logits_of, length - first, head_ids)
    write(out, arrays)


def replay(head: Head, stack: Stack, tokens: Tensor, file: Path, out: Path) -> None:
    """One pass over another engine's ``stream`` f32[L+1, T, H], and what it differs by.

    Writes ``difference`` f32[L, T] (norm of: its stream after layer k, minus what layer
    k here makes of its stream before), ``step`` f32[L, T] (norm of what layer k here
    adds), ``size`` f32[L, T] (norm of its stream after layer k), and where there are
    such, ``final_difference`` and ``final_size`` f32[T] of the final norm,
    ``logits_difference``, ``logits_size`` f32[T] of the head (the difference centred:
    one shift of all logits changes no probability).
    """
    from safetensors.numpy import load_file, save_file

    recorded = load_file(file)
    stream = recorded["stream"]
    if stream.shape[0] != len(stack.layers) + 1 or stream.shape[1] != tokens.shape[1]:
        raise LogdriftError(
            f"{file.name}: {stream.shape[0] - 1} layers and {stream.shape[1]}"
            f" positions, here are {len(stack.layers)} and {tokens.shape[1]}: another"
            " architecture, or not from position 0 on"
        )
    hooks = _Replay(stack, recorded)
    try:
        backbone = head.backbone(tokens)
    finally:
        hooks.remove()
    arrays = {name: np.stack(rows) for name, rows in hooks.by_layer.items()}
    arrays |= hooks.final
    if "final" in recorded and "logits" in recorded and head.method == "chunks":
        arrays |= _head(head, backbone, tokens, recorded)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays, out)


class _Replay:
    """Hooks that feed every layer, and the norm, the recorded stream in place of its
    own input, and keep how far its output is from the record.
    """

    def __init__(self, stack: Stack, recorded: Mapping[str, npt.NDArray[Any]]) -> None:
        self._recorded = recorded
        self._stream = recorded["stream"]
        self.by_layer: dict[str, list[npt.NDArray[Any]]] = {
            "difference": [],
            "step": [],
            "size": [],
        }
        """f32[T] of each layer, as `replay` has them."""
        self.final: dict[str, npt.NDArray[Any]] = {}
        self._handles: list[Any] = []
        for index, layer in enumerate(stack.layers):
            self._hook(layer, self._stream[index], self._after_layer(index))
        if stack.norm is not None:
            self._hook(stack.norm, self._stream[-1], self._after_norm)

    def _hook(
        self, module: Any, stream: npt.NDArray[Any], after: Callable[..., None]
    ) -> None:
        before = module.register_forward_pre_hook(_instead(stream), with_kwargs=True)
        self._handles += [before, module.register_forward_hook(after)]

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _after_layer(self, index: int) -> Callable[..., None]:
        before = self._stream[index]
        after = self._stream[index + 1]

        def hook(module: Any, args: Any, output: Any) -> None:
            computed = first_of(output)[0].float().cpu().numpy()
            self.by_layer["difference"].append(_norm(after - computed))
            self.by_layer["step"].append(_norm(computed - before))
            self.by_layer["size"].append(_norm(after))

        return hook

    def _after_norm(self, module: Any, args: Any, output: Any) -> None:
        if "final" not in self._recorded:
            return
        computed = first_of(output)[0].float().cpu().numpy()
        self.final = {
            "final_difference": _norm(self._recorded["final"] - computed),
            "final_size": _norm(computed),
        }


def _instead(stream: npt.NDArray[Any]) -> Callable[..., Any]:
    """A pre-hook that feeds the module this stream in place of its own input, in the
    dtype and on the device of that.
    """

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (_like(stream, args[0]), *args[1:]), kwargs
        replaced = _like(stream, kwargs["hidden_states"])
        return args, {**kwargs, "hidden_states": replaced}

    return hook


def _like(array: npt.NDArray[Any], tensor: Tensor) -> Tensor:
    """``array`` as a tensor with the shape, dtype and device of ``tensor``."""
    moved = torch.from_numpy(array).to(tensor.device, tensor.dtype)
    return moved.reshape(tensor.shape)


def _head(
    head: Head, backbone: Any, tokens: Tensor, recorded: Mapping[str, Any]
) -> dict[str, npt.NDArray[Any]]:
    """The head's part of `replay`: the recorded final rows through the head here."""
    final = _like(recorded["final"], hidden_of(backbone))
    rows = with_hidden(backbone, final)

    def logits_of(start: int, stop: int) -> Tensor:
        return head.logits(rows, tokens, start, stop)

    arrays = head_arrays(logits_of, tokens.shape[1], recorded["head_ids"])
    logits = arrays["logits"]
    difference = recorded["logits"] - logits
    shift = difference.mean(axis=1, keepdims=True)
    return {
        "logits_difference": _norm(difference - shift),
        "logits_size": _norm(logits),
    }


def _norm(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    squares: npt.NDArray[np.float64] = np.square(rows, dtype=np.float64).sum(axis=-1)
    return np.sqrt(squares).astype(np.float32)
