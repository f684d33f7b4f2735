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
Edit = Callable[[Model, float], Any]
"""(model, size) -> a context in which the model has the fault."""


@contextmanager
def _restored(*tensors: Tensor) -> Iterator[None]:
    """Tensors that may be changed in place, and get their values back afterwards."""
    originals = [tensor.detach().clone() for tensor in tensors]
    try:
        with torch.no_grad():
            yield
    finally:
        with torch.no_grad():
            for tensor, original in zip(tensors, originals, strict=True):
                tensor.copy_(original)


def _layers(model: Model) -> Any:
    return model.net.model.layers


def _middle(model: Model) -> Any:
    layers = _layers(model)
    middle = len(layers) // 2
    return layers[middle]


def _matrices(module: Any) -> list[Tensor]:
    return [weight for weight in module.parameters() if weight.ndim == 2]


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def _with_noise(weights: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Each of ``weights`` with normal numbers of its shape, always the same ones."""
    generator = _seeded()
    for weight in weights:
        yield weight, torch.randn(weight.shape, generator=generator)


@contextmanager
def _scaled_tensor(model: Model, size: float) -> Iterator[None]:
    """One matrix of the middle layer times ``size``."""
    weight = _middle(model).mlp.down_proj.weight
    with _restored(weight):
        weight.mul_(size)
        yield


@contextmanager
def _initial_layer(model: Model, size: float) -> Iterator[None]:
    """The middle layer at initial values, normal with a deviation of 0.02."""
    weights = _matrices(_middle(model))
    with _restored(*weights):
        for weight, noise in _with_noise(weights):
            initial = noise * 0.02
            weight.copy_(initial)
        yield


@contextmanager
def _stale(model: Model, size: float) -> Iterator[None]:
    """Every number off by a relative ``size``, as after another step of training."""
    weights = list(model.net.parameters())
    with _restored(*weights):
        for weight, noise in _with_noise(weights):
            factor = 1 + size * noise
            weight.mul_(factor.to(weight.dtype))
        yield


@contextmanager
def other_head(model: Model, size: float) -> Iterator[None]:
    """Another tensor of the same size in place of the head, which is untied from the
    embedding for it.
    """
    head = model.net.lm_head
    original = head.weight
    numbers = original.detach().float()
    spread = float(numbers.std())
    noise = torch.randn(original.shape, generator=_seeded())
    drawn = noise * spread
    head.weight = torch.nn.Parameter(drawn.to(original.dtype), requires_grad=False)
    try:
        yield
    finally:
        head.weight = original


_INT8_LARGEST = 127
_FP8_LARGEST = 448


def _int8(weight: Tensor) -> Tensor:
    """Rounded to 8-bit integers, one scale a row."""
    values = weight.float()
    largest = values.abs().amax(-1, keepdim=True)
    step = largest / _INT8_LARGEST
    steps = (values / step).round()
    rounded = steps * step
    return rounded.to(weight.dtype)


def _fp8(weight: Tensor) -> Tensor:
    """Rounded to fp8 (e4m3), one scale for all."""
    values = weight.float()
    largest = values.abs().amax()
    scale = largest / _FP8_LARGEST
    in_range = values / scale
    stored = in_range.to(torch.float8_e4m3fn)
    rounded = stored.float() * scale
    return rounded.to(weight.dtype)


def _quantised(round_to: Callable[[Tensor], Tensor]) -> Edit:
    """Every matrix of every layer rounded by ``round_to``."""

    @contextmanager
    def edit(model: Model, size: float) -> Iterator[None]:
        weights = []
        for layer in _layers(model):
            weights += _matrices(layer)
        with _restored(*weights):
            for weight in weights:
                rounded = round_to(weight)
                weight.copy_(rounded)
            yield

    return edit


@contextmanager
def _kv_rounding(model: Model, size: float) -> Iterator[None]:
    """Keys (before RoPE) and values rounded to fp8."""

    def rounded(module: Any, inputs: Any, output: Tensor) -> Tensor:
        stored = output.to(torch.float8_e4m3fn)
        return stored.to(output.dtype)

    hooks = []
    for layer in _layers(model):
        attention = layer.self_attn
        for projection in (attention.k_proj, attention.v_proj):
            hook = projection.register_forward_hook(rounded)
            hooks.append(hook)
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
    exponents = -torch.arange(half) / half
    factors = torch.tensor(size).pow(exponents)
    with _restored(frequencies):
        frequencies.mul_(factors)
        yield


def _window_mask(length: int, window: int, dtype: Any) -> Tensor:
    """What is added to the attention scores, [1, 1, T, T]: 0 for a token's last
    ``window`` tokens up to itself, the lowest number of ``dtype`` for all others.
    """
    position = torch.arange(length)
    distance = position[:, None] - position
    visible = (distance >= 0) & (distance < window)
    lowest = torch.finfo(dtype).min
    mask = torch.where(visible, 0.0, lowest).to(dtype)
    return mask[None, None]


@contextmanager
def _window(model: Model, size: float) -> Iterator[None]:
    """A sliding window over every layer, as a mask that the forward pass gets."""
    base = model.net.model
    original = base.forward
    first_weight = next(base.parameters())
    layer_types = getattr(model.net.config, "layer_types", None) or ()
    has_mixed_layers = len(set(layer_types)) > 1

    def forward(input_ids: Tensor, **arguments: Any) -> Any:
        length = input_ids.shape[1]
        mask: Any = _window_mask(length, int(size), first_weight.dtype)
        if has_mixed_layers:
            mask = {"full_attention": mask, "sliding_attention": mask}
        return original(input_ids=input_ids, attention_mask=mask, **arguments)

    base.forward = forward
    try:
        yield
    finally:
        del base.forward


MODEL: dict[str, Edit] = {
    "rope-theta": _rope,
    "sliding-window": _window,
    "initial-layer": _initial_layer,
    "scaled-tensor": _scaled_tensor,
    "stale-weights": _stale,
    "int8-weights": _quantised(_int8),
    "fp8-weights": _quantised(_fp8),
    "kv-rounding": _kv_rounding,
}
"""Fault -> the context that plants it in a model with its size."""
