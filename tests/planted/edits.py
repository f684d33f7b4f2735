"""What each fault does: to the logits, to the ids, to the context or to the model. Everything is undone afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from tests.planted.scoring import Model, Rows, hidden_states, reduce_rows, score

Tensor = Any
TOP_K = 20


@dataclass
class Planted:
    """Rows of every sequence, the ids that were really scored (None: those of the session) and the attention used."""

    rows: list[Rows]
    sent: list[np.ndarray] | None = None
    attention: str = "eager"


def plant(bench: Any, name: str, size: float) -> Planted:
    """The rollout side of a fault: eager attention in the background's dtype, with the fault."""
    if name == "same-twice":
        return Planted(bench.trainer, attention="sdpa")
    if name in ("compute-dtype", "float16"):
        other = "bfloat16" if bench.background == "float32" else "float32"
        model = bench.model("float16" if name == "float16" else other)
    else:
        model = bench.model(bench.background)
    with ExitStack() as stack:
        stack.enter_context(_eager(model))
        if name in _LOGITS:
            return Planted(_by_logits(bench, model, name, size))
        if name in _MODEL:
            stack.enter_context(_MODEL[name](model, size))
            return Planted(score(model, bench.ids, TOP_K))
        if name in _IDS:
            return _IDS[name](bench, model, size)
        return Planted(score(model, bench.ids, TOP_K))


@contextmanager
def _eager(model: Model) -> Iterator[None]:
    model.attention("eager")
    try:
        yield
    finally:
        model.attention("sdpa")


# Logits: the body runs once for all of them.


def _by_logits(bench: Any, model: Model, name: str, size: float) -> list[Rows]:
    key = (id(model.net), "hidden")
    kept = bench.__dict__.setdefault("_hidden", {})
    if key not in kept:
        kept[key] = [hidden_states(model, ids) for ids in bench.ids]
    rows = []
    for ids, hidden in zip(bench.ids, kept[key], strict=True):
        if name == "head-dtype":
            rows.append(_other_head(model, ids, hidden))
            continue
        transform, normalised = _LOGITS[name]
        change = partial(transform, size=size)
        rows.append(reduce_rows(model, ids, hidden, TOP_K, change, normalised))
    return rows


def _other_head(model: Model, ids: np.ndarray, hidden: Tensor) -> Rows:
    """A float32 head over a bfloat16 body, or logits rounded to bfloat16 over a float32 body."""
    if model.dtype != "float32":
        weight = model.net.lm_head.weight
        original = weight.data
        weight.data = original.float()
        try:
            return reduce_rows(model, ids, hidden, TOP_K)
        finally:
            weight.data = original
    return reduce_rows(model, ids, hidden, TOP_K, lambda x, i, at: x.bfloat16().float())


def _temperature(x: Tensor, ids: np.ndarray, at: int, size: float) -> Tensor:
    return x / size


def _scale(x: Tensor, ids: np.ndarray, at: int, size: float) -> Tensor:
    return x * size


def _softcap(x: Tensor, ids: np.ndarray, at: int, size: float) -> Tensor:
    return torch.tanh(x / size) * size


def _top_p(x: Tensor, ids: np.ndarray, at: int, size: float) -> Tensor:
    values, order = x.softmax(-1).sort(-1, descending=True)
    outside = values.cumsum(-1) - values > size
    return x.masked_fill(torch.zeros_like(outside).scatter(1, order, outside), -math.inf)


def _repetition(x: Tensor, ids: np.ndarray, at: int, size: float) -> Tensor:
    out = x.clone()
    for row in range(len(x)):
        seen = torch.from_numpy(np.unique(ids[: at + row + 1]).astype(np.int64))
        values = x[row, seen]
        out[row, seen] = torch.where(values > 0, values / size, values * size)
    return out


def _bf16_log_softmax(x: Tensor, ids: np.ndarray, at: int, size: float) -> Tensor:
    return x.bfloat16().log_softmax(-1).float()


_LOGITS: dict[str, tuple[Callable[..., Tensor], bool]] = {
    "temperature": (_temperature, False),
    "temperature-small": (_temperature, False),
    "top-p": (_top_p, False),
    "repetition-penalty": (_repetition, False),
    "softcap": (_softcap, False),
    "logit-scale": (_scale, False),
    "bf16-log-softmax": (_bf16_log_softmax, True),
    "head-dtype": (_scale, False),
}


# The model: weights, positions, window, cache.


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
            weight.mul_((1 + size * torch.randn(weight.shape, generator=generator)).to(weight.dtype))
        yield


@contextmanager
def _other_head_tensor(model: Model, size: float) -> Iterator[None]:
    """Another tensor of the same size in place of the head, which is untied from the embedding for it."""
    head = model.net.lm_head
    original = head.weight
    generator = torch.Generator().manual_seed(3)
    spread = float(original.detach().float().std())
    drawn = (torch.randn(original.shape, generator=generator) * spread).to(original.dtype)
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
    return ((weight.float() / scale).to(torch.float8_e4m3fn).float() * scale).to(weight.dtype)


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
    """theta times ``size``: inverse frequencies theta ** (-2 i / d) become (theta size) ** (-2 i / d)."""
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
        mask = torch.where((ahead >= 0) & (ahead < int(size)), 0.0, torch.finfo(dtype).min).to(dtype)[None, None]
        given: Any = mask
        if len(set(getattr(model.net.config, "layer_types", None) or ())) > 1:
            given = {"full_attention": mask, "sliding_attention": mask}
        return original(input_ids=input_ids, attention_mask=given, **arguments)

    base.forward = forward
    try:
        yield
    finally:
        del base.forward


_MODEL: dict[str, Callable[[Model, float], Any]] = {
    "rope-theta": _rope,
    "sliding-window": _window,
    "other-head": _other_head_tensor,
    "initial-layer": _initial_layer,
    "scaled-tensor": _scaled_tensor,
    "stale-weights": _stale,
    "int8-weights": _quantised(_int8),
    "fp8-weights": _quantised(_fp8),
    "kv-rounding": _kv_rounding,
}


# The ids and the context.


def _part(rows: Rows, start: int, length: int) -> Rows:
    """Entries ``start : start + length`` with the first unscored, as every first token is."""
    out = empty_like(rows, length)
    for name in ("logprob", "rank", "top_ids", "top_logprobs", "entropy"):
        source = getattr(rows, name)[start : start + length]
        getattr(out, name)[1:] = source[1:]
    return out


def empty_like(rows: Rows, length: int) -> Rows:
    """``length`` unscored entries."""
    return Rows.empty(length, rows.top_ids.shape[1], entropy=True)


def _prefixed(bench: Any, model: Model, prefix: Callable[[np.ndarray], np.ndarray]) -> Planted:
    sent = [np.concatenate([prefix(ids), ids]).astype(np.int32) for ids in bench.ids]
    rows = score(model, sent, TOP_K)
    return Planted(
        [_part(row, len(full) - len(ids), len(ids)) for row, full, ids in zip(rows, sent, bench.ids, strict=True)], sent
    )


def _bos(bench: Any, model: Model, size: float) -> Planted:
    start = model.net.config.bos_token_id
    return _prefixed(bench, model, lambda ids: np.array([1 if start is None else start]))


def _template_twice(bench: Any, model: Model, size: float) -> Planted:
    return _prefixed(bench, model, lambda ids: ids[:8])


def _changed(bench: Any, model: Model, change: Callable[[np.ndarray], None]) -> Planted:
    sent = [ids.copy() for ids in bench.ids]
    for ids in (sent[0], sent[-1]):
        change(ids)
    return Planted(score(model, sent, TOP_K), sent)


def _edited(bench: Any, model: Model, size: float) -> Planted:
    def change(ids: np.ndarray) -> None:
        at = int(len(ids) * size)
        ids[at] = (ids[at] + 1 + model.vocab // 3) % model.vocab

    return _changed(bench, model, change)


def _swapped(bench: Any, model: Model, size: float) -> Planted:
    def change(ids: np.ndarray) -> None:
        at = int(len(ids) * size) + 3
        while ids[at] == ids[at + 1]:
            at += 1
        ids[[at, at + 1]] = ids[[at + 1, at]]

    return _changed(bench, model, change)


def _off_by_one(bench: Any, model: Model, size: float) -> Planted:
    """Every entry one place further on (or back): what was computed is right, and said of the wrong token."""
    out = []
    for rows in score(model, bench.ids, TOP_K):
        moved = empty_like(rows, len(rows.logprob))
        for name in ("logprob", "rank", "top_ids", "top_logprobs", "entropy"):
            source, target = getattr(rows, name), getattr(moved, name)
            if size > 0:
                target[2:] = source[1:-1]
            else:
                target[1:-1] = source[2:]
        out.append(moved)
    return Planted(out)


def _truncated(bench: Any, model: Model, size: float) -> Planted:
    """The first part of each prompt was cut, so its tokens have no score and the others have less context."""
    out, sent = [], []
    for ids in bench.ids:
        cut = int(20 * size)
        rows = score(model, [ids[cut:]], TOP_K)[0]
        whole = empty_like(rows, len(ids))
        for name in ("logprob", "rank", "top_ids", "top_logprobs", "entropy"):
            getattr(whole, name)[cut + 1 :] = getattr(rows, name)[1:]
        out.append(whole)
        sent.append(ids[cut:])
    return Planted(out, sent)


def _padded(bench: Any, model: Model, *, left: bool, masked: bool) -> Planted:
    """One batch of all sequences, filled up to the longest."""
    longest = max(len(ids) for ids in bench.ids)
    pad = getattr(model.net.config, "pad_token_id", None) or 0
    out = []
    for ids in bench.ids:  # one row at a time: the same numbers as in one batch, in less memory
        fill = longest - len(ids)
        whole = np.pad(ids, (fill, 0) if left else (0, fill), constant_values=pad)
        mask = torch.from_numpy(np.pad(np.ones(len(ids), np.int64), (fill, 0) if left else (0, fill)))[None]
        positions = torch.arange(longest)[None]  # without position ids: padding counts
        arguments = {"attention_mask": mask} if masked else {}
        hidden = hidden_states(model, whole, position_ids=positions, **arguments)
        out.append(reduce_rows(model, ids, hidden[fill if left else 0 :], TOP_K))
    return Planted(out)


_IDS: dict[str, Callable[[Any, Model, float], Planted]] = {
    "bos": _bos,
    "template-twice": _template_twice,
    "id-edited": _edited,
    "ids-swapped": _swapped,
    "off-by-one": _off_by_one,
    "truncated-context": _truncated,
    "left-padding": lambda bench, model, size: _padded(bench, model, left=True, masked=True),
    "pads-attended": lambda bench, model, size: _padded(bench, model, left=True, masked=False),
    "batch-shape": lambda bench, model, size: _padded(bench, model, left=False, masked=True),
}
