"""The stack of decoder layers in a loaded model, and the residual stream that enters
one of them. Runs inside engines.

A decoder stack of L layers has these stages: what enters the first layer (the
embedding, scaled where the family scales it), what enters each next one (after layer 0,
1, ...), what enters the final norm (after layer L-1), and what the final norm gives.
Taking what *enters* is right for every engine: vLLM's and SGLang's layers return
(hidden, residual) with the addition not yet done, fused into the norm of the next layer
(their sum here is taken in float32), and some engines change a layer's result in place
afterwards.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from logdrift.core.errors import LogdriftError

Tensor = Any
Arguments = tuple[Any, ...]
"""The positional arguments of a call."""
MAX_BYTES = 256 << 20
"""The largest residual stream that is kept: 512 positions of a small model, 101 of one
with 80 layers of 8,192.
"""
_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "final_norm")
_LISTS = ("layers", "h", "blocks", "block")


@dataclass(frozen=True)
class _LayerList:
    """A list of modules that may be the decoder layers: ``parent`` is the module that
    holds it, ``depth`` how far below the model that is.
    """

    parent: Any
    layers: Any
    depth: int


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
        lists = _layer_lists(model)
        if not lists:
            raise LogdriftError(
                f"{type(model).__name__} holds no list of decoder layers: it cannot be"
                " taken apart"
            )
        configured = _layer_count(model)

        def preference(candidate: _LayerList) -> tuple[bool, int, int]:
            length = len(candidate.layers)
            return length != configured, candidate.depth, -length

        best = min(lists, key=preference)
        return cls(best.layers, _norm_of(best.parent))

    def fit(
        self, model: Any, first: int, last: int, *, prefix: bool
    ) -> tuple[int, int]:
        """The positions ``first .. last``, or as many of them as `MAX_BYTES` holds: the
        first ones (``prefix``), else the last ones.
        """
        stages = len(self.layers) + 1
        bytes_per_position = 4 * self._width(model) * stages
        room = max(1, MAX_BYTES // bytes_per_position)
        if last - first < room:
            return first, last
        if prefix:
            return first, first + room - 1
        return last - room + 1, last

    def _width(self, model: Any) -> int:
        """Numbers in one row of the stream; 1 where nothing says so."""
        configured = getattr(_text_config(model), "hidden_size", None)
        if configured:
            return int(configured)
        weight = getattr(self.norm, "weight", None)
        if weight is None:
            return 1
        return int(weight.shape[-1])


def _layer_lists(model: Any) -> list[_LayerList]:
    lists = []
    for name, module in model.named_modules():
        depth = len(name.split(".")) if name else 0
        for attribute in _LISTS:
            layers = getattr(module, attribute, None)
            if isinstance(layers, torch.nn.ModuleList) and len(layers):
                lists.append(_LayerList(module, layers, depth))
    return lists


def _norm_of(parent: Any) -> Any:
    """The final norm beside a list of layers; None where there is none."""
    for name in _NORMS:
        norm = getattr(parent, name, None)
        if isinstance(norm, torch.nn.Module):
            return norm
    return None


def _layer_count(model: Any) -> int | None:
    count = getattr(_text_config(model), "num_hidden_layers", None)
    if isinstance(count, int):
        return count
    return None


def _text_config(model: Any) -> Any:
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        return config.get_text_config()
    return config


def entering(module: Any, args: Arguments, kwargs: Mapping[str, Any]) -> Tensor:
    """The stream that a layer or norm is called with, float32[T, H]: its hidden state,
    plus ``residual`` if it has one.
    """
    named = named_arguments(module, args, kwargs)
    floats = [value for value in named.values() if _is_float(value)]
    first_float = floats[0] if floats else None
    hidden = named.get("hidden_states", first_float)
    if hidden is None:
        raise LogdriftError(f"{type(module).__name__} is called without a hidden state")
    total = rows_of(hidden).float()
    residual = named.get("residual", _unnamed_residual(named, floats, hidden))
    if not _is_float(residual):
        return total.clone()
    return total + rows_of(residual).float()


def _unnamed_residual(
    named: Mapping[str, Any], floats: list[Tensor], hidden: Tensor
) -> Tensor | None:
    """A forward(*args) names nothing: its second tensor of that shape is the
    residual.
    """
    if "0" not in named or len(floats) < 2:
        return None
    if floats[1].shape == hidden.shape:
        return floats[1]
    return None


def named_arguments(
    module: Any, args: Arguments, kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of a module's forward by name; by their place (``0``, ``1``) where it
    does not name them.
    """
    by_place = {str(place): value for place, value in enumerate(args)}
    by_place |= kwargs
    try:
        signature = inspect.signature(module.forward)
        if _takes_any_number(signature):
            return by_place
        bound = signature.bind(*args, **kwargs)
    except (TypeError, ValueError):
        return by_place
    return dict(bound.arguments)


def _takes_any_number(signature: inspect.Signature) -> bool:
    """Whether a function has a parameter ``*args``."""
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    return inspect.Parameter.VAR_POSITIONAL in kinds


def _is_float(value: Any) -> bool:
    """Whether an argument is a tensor of rows of floats."""
    if not isinstance(value, torch.Tensor):
        return False
    has_rows = value.ndim >= 2
    return has_rows and bool(value.is_floating_point())


def rows_of(value: Tensor) -> Tensor:
    """[T, H] of [T, H] or [1, T, H]."""
    width = value.shape[-1]
    return value.reshape(-1, width)


def first_of(output: Any) -> Tensor:
    """The hidden state that a layer or norm returns, alone or first in a tuple."""
    if isinstance(output, (tuple, list)):
        return output[0]
    return output
