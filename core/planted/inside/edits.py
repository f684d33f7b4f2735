"""What each fault does: to the logits, to the ids, to the context or to the model.
Everything is undone afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from logdrift.core.planted.inside.bench import TOP_K, Stand, eager
from logdrift.core.planted.inside.contexts import IDS
from logdrift.core.planted.inside.scoring import Rows, reduce_rows, score
from logdrift.core.planted.inside.weights import MODEL, other_head

Tensor = Any


@dataclass
class Planted:
    """Rows of every sequence, the ids that were really scored (None: those of the
    session) and the attention used.
    """

    rows: list[Rows]
    sent: list[np.ndarray] | None = None
    attention: str = "eager"


def plant(stand: Stand, name: str, size: float) -> Planted:
    """The rollout side of a fault: eager attention in the background's dtype, with the
    fault.
    """
    if name == "same-twice":
        return Planted(stand.trainer, attention="sdpa")
    if name in ("attention", "clean"):
        return Planted(stand.clean)
    if name in ("compute-dtype", "float16"):
        if stand.background == "float32":
            other = "bfloat16"
        else:
            other = "float32"
        return Planted(stand.in_dtype("float16" if name == "float16" else other))
    if name in _LOGITS:
        return Planted(_by_logits(stand, name, size))
    if name == "other-head":
        with other_head(stand.model, size):
            return Planted(_reduced(stand))
    with eager(stand.model):
        if name in IDS:
            return Planted(*IDS[name](stand, size))
        with MODEL[name](stand.model, size):
            if name == "sliding-window":
                return Planted(_windowed(stand, size))
            return Planted(score(stand.model, stand.ids, TOP_K))


def _windowed(stand: Stand, size: float) -> list[Rows]:
    """A window does nothing to what lies within it."""
    return [
        score(stand.model, [ids], TOP_K)[0] if len(ids) > size else rows
        for ids, rows in zip(stand.ids, stand.clean, strict=True)
    ]


def _reduced(
    stand: Stand,
    transform: Callable[..., Tensor] | None = None,
    normalised: bool = False,
) -> list[Rows]:
    """The clean hidden states through the head, and through ``transform``."""
    pairs = zip(stand.ids, stand.states, strict=True)
    return [
        reduce_rows(stand.model, ids, hidden, TOP_K, transform, normalised)
        for ids, hidden in pairs
    ]


def _by_logits(stand: Stand, name: str, size: float) -> list[Rows]:
    if name == "head-dtype":
        return _other_precision(stand)
    transform, normalised = _LOGITS[name]
    return _reduced(stand, partial(transform, size=size), normalised)


def _other_precision(stand: Stand) -> list[Rows]:
    """A float32 head over a bfloat16 body, or logits rounded to bfloat16 over a float32
    body.
    """
    if stand.background == "float32":
        return _reduced(stand, lambda x, i, at: x.bfloat16().float())
    weight = stand.model.net.lm_head.weight
    original = weight.data
    weight.data = original.float()
    try:
        return _reduced(stand)
    finally:
        weight.data = original


def _temperature(x: Tensor, ids: np.ndarray, at: int, size: float) -> Tensor:
    return x / size


def _scale(x: Tensor, ids: np.ndarray, at: int, size: float) -> Tensor:
    return x * size


def _softcap(x: Tensor, ids: np.ndarray, at: int, size: float) -> Tensor:
    return torch.tanh(x / size) * size


def _top_p(x: Tensor, ids: np.ndarray, at: int, size: float) -> Tensor:
    """Only the most likely ids that together hold ``size``. All are sorted only where
    the first 2,048 do not.
    """
    many = min(2048, x.shape[1])
    probability = x.softmax(-1)
    values, order = probability.topk(many, -1)
    if many < x.shape[1] and bool((values.sum(-1) <= size).any()):
        values, order = probability.sort(-1, descending=True)
    outside = values.cumsum(-1) - values > size
    inside = torch.zeros_like(x, dtype=torch.bool).scatter(1, order, ~outside)
    return x.masked_fill(~inside, -math.inf)


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
