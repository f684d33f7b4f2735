"""Question ``layers`` for Transformers: its residual stream, and what its layers make
of another engine's.

The second, the *replay*, is what finds a wrong layer: one pass in which every layer is
given, instead of its predecessor's result, what the other engine's layer was given.
Errors of earlier layers then cannot add up: what is left is that one layer's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
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
Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Hook = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class _Pass:
    """What runs: the loaded model's ``head`` and ``stack`` of layers on ``tokens``
    int64[1, T].
    """

    head: Head
    stack: Stack
    tokens: Tensor

    @property
    def length(self) -> int:
        return int(self.tokens.shape[1])

    def backbone(self) -> Any:
        """The backbone's output, with the hooks that are on the stack."""
        return self.head.backbone(self.tokens)

    def logits(self, backbone: Any, first: int, stop: int) -> Tensor:
        """The head's logits of positions ``first .. stop - 1``."""
        return self.head.logits(backbone, self.tokens, first, stop)


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
    token_ids = arguments["token_ids"]
    sequence = np.asarray(token_ids, np.int32)
    backend._check([sequence], 0)
    stack = Stack.of(model)
    requested_first = int(arguments["first"])
    requested_last = int(arguments["last"])
    prefix = bool(arguments["prefix"])
    first, last = stack.fit(model, requested_first, requested_last, prefix=prefix)
    kept_ids = token_ids[: last + 1]
    device = backend._device
    tokens = torch.as_tensor(kept_ids, dtype=torch.int64, device=device)
    own = _Pass(head=head, stack=stack, tokens=tokens[None])
    replays = arguments.get("replay") or {}
    with torch.inference_mode():
        arrays = _own_arrays(own, first, arguments["head_ids"])
        write(out, arrays)
        for name, file in replays.items():
            recorded = Path(file)
            answer = out / f"{name}.safetensors"
            _replay(own, recorded, answer)
    return {
        "layers": len(stack.layers),
        "norm": stack.norm is not None,
        "head_error": None,
        "first": first,
        "last": last,
    }


def _own_arrays(own: _Pass, first: int, head_ids: list[int]) -> Arrays:
    """The stream and the logits of positions ``first`` to the last one."""
    length = own.length
    last = length - 1
    taps = Taps(own.stack)
    try:
        taps.arm(length, first, last=last)
        backbone = own.backbone()
        arrays = taps.arrays()
    finally:
        taps.remove()

    def logits_of(start: int, stop: int) -> Tensor:
        return own.logits(backbone, first + start, first + stop)

    rows = length - first
    return arrays | head_arrays(logits_of, rows, head_ids)


def _replay(own: _Pass, file: Path, out: Path) -> None:
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
    _check_stages(own, recorded["stream"], file)
    hooks = _Replay(own.stack, recorded)
    try:
        backbone = own.backbone()
    finally:
        hooks.remove()
    arrays = hooks.arrays()
    has_head = recorded.keys() >= {"final", "logits"}
    in_chunks = own.head.method == "chunks"
    if has_head and in_chunks:
        arrays |= _head_differences(own, backbone, recorded)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays, out)


def _check_stages(own: _Pass, stream: Array, file: Path) -> None:
    """Raise LogdriftError unless a recorded stream has the stages and positions of this
    pass.
    """
    stages, positions, _ = stream.shape
    layers_there = stages - 1
    layers_here = len(own.stack.layers)
    there = (layers_there, positions)
    here = (layers_here, own.length)
    if there == here:
        return
    raise LogdriftError(
        f"{file.name}: {layers_there} layers and {positions}"
        f" positions, here are {layers_here} and {own.length}: another"
        " architecture, or not from position 0 on"
    )


class _Replay:
    """Hooks that feed every layer, and the norm, the recorded stream in place of its
    own input, and keep how far its output is from the record.
    """

    def __init__(self, stack: Stack, recorded: Mapping[str, Array]) -> None:
        self._stream = recorded["stream"]
        self._final = recorded.get("final")
        self._differences: list[Array] = []
        self._steps: list[Array] = []
        self._sizes: list[Array] = []
        self._of_norm: Arrays = {}
        self._handles: list[Any] = []
        for index, layer in enumerate(stack.layers):
            entering = self._stream[index]
            after = self._after_layer(index)
            self._hook(layer, entering, after)
        if stack.norm is not None:
            leaving = self._stream[-1]
            self._hook(stack.norm, leaving, self._after_norm)

    def _hook(self, module: Any, stream: Array, after: Hook) -> None:
        """Feed ``module`` this stream, and call ``after`` with its output."""
        feed = _instead(stream)
        before_hook = module.register_forward_pre_hook(feed, with_kwargs=True)
        after_hook = module.register_forward_hook(after)
        self._handles += [before_hook, after_hook]

    def arrays(self) -> Arrays:
        """f32[L, T] of the layers and f32[T] of the norm, as `_replay` has them."""
        of_layers = {
            "difference": np.stack(self._differences),
            "step": np.stack(self._steps),
            "size": np.stack(self._sizes),
        }
        return of_layers | self._of_norm

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _after_layer(self, index: int) -> Hook:
        before = self._stream[index]
        after = self._stream[index + 1]
        size = _norm(after)

        def hook(module: Any, args: Any, output: Any) -> None:
            computed = _rows(output)
            difference = after - computed
            step = computed - before
            self._differences.append(_norm(difference))
            self._steps.append(_norm(step))
            self._sizes.append(size)

        return hook

    def _after_norm(self, module: Any, args: Any, output: Any) -> None:
        if self._final is None:
            return
        computed = _rows(output)
        difference = self._final - computed
        self._of_norm = {
            "final_difference": _norm(difference),
            "final_size": _norm(computed),
        }


def _rows(output: Any) -> Array:
    """f32[T, H]: the hidden state that a layer or norm returns for one sequence."""
    hidden = first_of(output)[0]
    on_cpu = hidden.float().cpu()
    rows: Array = on_cpu.numpy()
    return rows


def _instead(stream: Array) -> Hook:
    """A pre-hook that feeds the module this stream in place of its own input, in the
    dtype and on the device of that.
    """

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            own_input, *others = args
            fed = _like(stream, own_input)
            return (fed, *others), kwargs
        own_input = kwargs["hidden_states"]
        fed = _like(stream, own_input)
        return args, kwargs | {"hidden_states": fed}

    return hook


def _like(array: Array, tensor: Tensor) -> Tensor:
    """``array`` as a tensor with the shape, dtype and device of ``tensor``."""
    on_cpu = torch.from_numpy(array)
    moved = on_cpu.to(tensor.device, tensor.dtype)
    return moved.reshape(tensor.shape)


def _head_differences(own: _Pass, backbone: Any, recorded: Mapping[str, Any]) -> Arrays:
    """The head's part of `_replay`: the recorded final rows through the head here."""
    hidden = hidden_of(backbone)
    final = _like(recorded["final"], hidden)
    replayed = with_hidden(backbone, final)
    head_ids = recorded["head_ids"]
    logits_of = partial(own.logits, replayed)
    arrays = head_arrays(logits_of, own.length, head_ids)
    logits = arrays["logits"]
    difference = recorded["logits"] - logits
    shift = difference.mean(axis=1, keepdims=True)
    return {
        "logits_difference": _norm(difference - shift),
        "logits_size": _norm(logits),
    }


def _norm(rows: Array) -> Array:
    """f32[T]: the L2 of each row, summed in float64."""
    squares = np.square(rows, dtype=np.float64)
    total = squares.sum(axis=-1)
    norms: Array = np.sqrt(total)
    return norms.astype(np.float32)
