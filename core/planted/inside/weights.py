"""Faults of the model itself: weights, positions, window, cache. Each is a context that
undoes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from logdrift.core.planted.inside.scoring import Model

Tensor = Any


@contextmanager
def _restored(*tensors: Tensor) -> Iterator[None]:
    kept = [tensor.detach().clone() for tensor in tensors]
    try:
        with torch.no_grad():
            yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, kept, strict=True):
                tensor.copy_(value)


def _layers(model: Model) -> Any:
    return model.net.model.layers


def _middle(model: Model) -> Any:
    return _layers(model)[len(_layers(model)) // 2]


def _matrices(module: Any) -> list[Tensor]:
    return [p for p in module.parameters() if p.ndim == 2]


@contextmanager
def _scaled_tensor(model: Model, size: float) -> Iterator[None]:
    weight = _middle(model).mlp.down_proj.weight
    with _restored(weight):
        weight.mul_(size)
        yield


@contextmanager
def _initial_layer(model: Model, size: float) -> Iterator[None]:
    weights = _matrices(_middle(model))
    with _restored(*weights):
        generator = torch.Generator().manual_seed(3)
        for weight in weights:
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.02)
        yield


@contextmanager
def _stale(model: Model, size: float) -> Iterator[None]:
    weights = list(model.net.parameters())
    with _restored(*weights):
        generator = torch.Generator().manual_seed(3)
        for weight in weights:
            weight.mul_(
                (1 + size * torch.randn(weight.shape, generator=generator)).to(
                    weight.dtype
                )
            )
        yield


@contextmanager
def other_head(model: Model, size: float) -> Iterator[None]:
    """Another tensor of the same size in place of the head, which is untied from the
    embedding for it.
    """
    head = model.net.lm_head
    original = head.weight
    generator = torch.Generator().manual_seed(3)
    spread = float(original.detach().float().std())
    drawn = (torch.randn(original.shape, generator=generator) * spread).to(
        original.dtype
    )
    head.weight = torch.nn.Parameter(drawn, requires_grad=False)
    try:
        yield
    finally:
        head.weight = original


def _int8(weight: Tensor) -> Tensor:
    step = weight.float().abs().amax(-1, keepdim=True) / 127
    return ((weight.float() / step).round() * step).to(weight.dtype)


def _fp8(weight: Tensor) -> Tensor:
    scale = weight.float().abs().amax() / 448
    return ((weight.float() / scale).to(torch.float8_e4m3fn).float() * scale).to(
        weight.dtype
    )


def _quantised(round_to: Callable[[Tensor], Tensor]) -> Callable[[Model, float], Any]:
    @contextmanager
    def edit(model: Model, size: float) -> Iterator[None]:
        weights = [w for layer in _layers(model) for w in _matrices(layer)]
        with _restored(*weights):
            for weight in weights:
                weight.copy_(round_to(weight))
            yield

    return edit


@contextmanager
def _kv_rounding(model: Model, size: float) -> Iterator[None]:
    """Keys (before RoPE) and values rounded to fp8."""

    def rounded(module: Any, inputs: Any, output: Tensor) -> Tensor:
        return output.to(torch.float8_e4m3fn).to(output.dtype)

    hooks = [
        getattr(layer.self_attn, name).register_forward_hook(rounded)
        for layer in _layers(model)
        for name in ("k_proj", "v_proj")
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _rope(model: Model, size: float) -> Iterator[None]:
    """theta times ``size``: inverse frequencies theta ** (-2 i / d) become (theta size)
    ** (-2 i / d).
    """
    rotary = model.net.model.rotary_emb
    frequencies = rotary.inv_freq
    half = len(frequencies)
    with _restored(frequencies):
        frequencies.mul_(torch.tensor(size).pow(-torch.arange(half) / half))
        yield


@contextmanager
def _window(model: Model, size: float) -> Iterator[None]:
    """A sliding window over every layer, as a mask that the forward pass gets."""
    base = model.net.model
    original = base.forward

    def forward(input_ids: Tensor, **arguments: Any) -> Any:
        length = input_ids.shape[1]
        ahead = torch.arange(length)[:, None] - torch.arange(length)
        dtype = next(base.parameters()).dtype
        mask = torch.where(
            (ahead >= 0) & (ahead < int(size)), 0.0, torch.finfo(dtype).min
        ).to(dtype)[None, None]
        attention_mask: Any = mask
        if len(set(getattr(model.net.config, "layer_types", None) or ())) > 1:
            attention_mask = {"full_attention": mask, "sliding_attention": mask}
        return original(input_ids=input_ids, attention_mask=attention_mask, **arguments)

    base.forward = forward
    try:
        yield
    finally:
        del base.forward


MODEL: dict[str, Callable[[Model, float], Any]] = {
    "rope-theta": _rope,
    "sliding-window": _window,
    "initial-layer": _initial_layer,
    "scaled-tensor": _scaled_tensor,
    "stale-weights": _stale,
    "int8-weights": _quantised(_int8),
    "fp8-weights": _quantised(_fp8),
    "kv-rounding": _kv_rounding,
}
