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
    tokens = torch.as_tensor(
        arguments["token_ids"][: last + 1], dtype=torch.int64, device=backend._device
    )[None]
    with torch.inference_mode():
        _own(head, stack, tokens, first, arguments["head_ids"], out)
        for name, file in dict(arguments.get("replay") or {}).items():
            replay(head, stack, tokens, Path(file), out / f"{name}.safetensors")
    found = {
        "layers": len(stack.layers),
        "norm": stack.norm is not None,
        "head_error": None,
    }
    return {**found, "first": first, "last": last}


def _own(
    head: Head, stack: Stack, tokens: Tensor, first: int, head_ids: list[int], out: Path
) -> None:
    count = tokens.shape[1] - first
    taps = Taps(stack)
    try:
        taps.arm(first + count, first, first + count - 1)
        backbone = head.backbone(tokens)
        arrays = taps.arrays()
    finally:
        taps.remove()
    arrays |= head_arrays(
        lambda start, stop: head.logits(backbone, tokens, first + start, first + stop),
        count,
        head_ids,
    )
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
    """Hooks that give every layer, and the norm, the recorded stream in place of what
    it was to be given, and keep how far what it makes of that is from the record.
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
            made = first_of(output)[0].float().cpu().numpy()
            self.by_layer["difference"].append(_norm(after - made))
            self.by_layer["step"].append(_norm(made - before))
            self.by_layer["size"].append(_norm(after))

        return hook

    def _after_norm(self, module: Any, args: Any, output: Any) -> None:
        if "final" in self._recorded:
            made = first_of(output)[0].float().cpu().numpy()
            difference = self._recorded["final"] - made
            self.final = {
                "final_difference": _norm(difference),
                "final_size": _norm(made),
            }


def _instead(stream: npt.NDArray[Any]) -> Callable[..., Any]:
    """A pre-hook that gives the module this stream, in the dtype and on the device of
    what it was to be given.
    """

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (_like(stream, args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": _like(stream, kwargs["hidden_states"])}

    return hook


def _like(stream: npt.NDArray[Any], given: Tensor) -> Tensor:
    return torch.from_numpy(stream).to(given.device, given.dtype).reshape(given.shape)


def _head(
    head: Head, backbone: Any, tokens: Tensor, given: Mapping[str, Any]
) -> dict[str, npt.NDArray[Any]]:
    rows = with_hidden(backbone, _like(given["final"], hidden_of(backbone)))
    made = head_arrays(
        lambda start, stop: head.logits(rows, tokens, start, stop),
        tokens.shape[1],
        given["head_ids"],
    )["logits"]
    apart = given["logits"] - made
    return {
        "logits_difference": _norm(apart - apart.mean(axis=1, keepdims=True)),
        "logits_size": _norm(made),
    }


def _norm(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    squares: npt.NDArray[np.float64] = np.square(rows, dtype=np.float64).sum(axis=-1)
    return np.sqrt(squares).astype(np.float32)
