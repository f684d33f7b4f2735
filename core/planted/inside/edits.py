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

from logdrift.core.planted.inside.bench import TOP_K, CleanSides, eager
from logdrift.core.planted.inside.contexts import IDS
from logdrift.core.planted.inside.scoring import Transform, reduce_rows, score
from logdrift.core.planted.inside.weights import MODEL, other_head
from logdrift.core.worker.base import Scores

Tensor = Any


@dataclass
class Planted:
    """The faulty rollout: ``scores`` of every sequence, the ids that were really scored
    (None: those of the session) and the attention used.
    """

    scores: list[Scores]
    sent: list[np.ndarray] | None = None
    attention: str = "eager"


def plant(clean: CleanSides, name: str, size: float) -> Planted:
    """The rollout with the fault ``name`` of that size: eager attention, in the
    background's dtype.
    """
    if name == "same-twice":
        return Planted(clean.trainer, attention="sdpa")
    if name in ("attention", "clean"):
        return Planted(clean.rollout)
    if name == "float16":
        return Planted(clean.rollout_in("float16"))
    if name == "compute-dtype":
        return Planted(clean.rollout_in(_other_dtype(clean.background)))
    if name == "head-dtype":
        return Planted(_other_head_dtype(clean))
    if name in _LOGITS:
        return Planted(_through_head(clean, _LOGITS[name], size))
    if name == "other-head":
        with other_head(clean.model, size):
            return Planted(_through_head(clean))
    with eager(clean.model):
        if name in IDS:
            scores, sent = IDS[name](clean, size)
            return Planted(scores, sent)
        with MODEL[name](clean.model, size):
            return Planted(_rescored(clean, name, size))


def _other_dtype(background: str) -> str:
    if background == "float32":
        return "bfloat16"
    return "float32"


def _rescored(clean: CleanSides, name: str, size: float) -> list[Scores]:
    """Every sequence through the model as it is now."""
    if name != "sliding-window":
        return score(clean.model, clean.ids, TOP_K)
    # A window does nothing to what lies within it.
    scores = list(clean.rollout)
    for i, ids in enumerate(clean.ids):
        if len(ids) > size:
            (scores[i],) = score(clean.model, [ids], TOP_K)
    return scores


@dataclass(frozen=True)
class _LogitFault:
    """A fault of the logits. ``change`` maps logits [rows, V], the sequence's ids, the
    first row's position and the size to new logits; where it is ``normalised``, to
    log-probabilities.
    """

    change: Callable[..., Tensor]
    normalised: bool = False


def _through_head(
    clean: CleanSides, fault: _LogitFault | None = None, size: float = 0.0
) -> list[Scores]:
    """The clean hidden states through the head as it is now, and through ``fault``."""
    transform: Transform | None = None
    normalised = False
    if fault is not None:
        transform = partial(fault.change, size=size)
        normalised = fault.normalised
    scores = []
    for ids, hidden in zip(clean.ids, clean.states, strict=True):
        scores.append(
            reduce_rows(
                clean.model,
                ids,
                hidden,
                TOP_K,
                transform=transform,
                normalised=normalised,
            )
        )
    return scores


def _other_head_dtype(clean: CleanSides) -> list[Scores]:
    """A float32 head over a bfloat16 body, or logits rounded to bfloat16 over a float32
    body.
    """
    if clean.background == "float32":
        return _through_head(clean, _LogitFault(_bfloat16))
    weight = clean.model.net.lm_head.weight
    original = weight.data
    weight.data = original.float()
    try:
        return _through_head(clean)
    finally:
        weight.data = original


def _bfloat16(logits: Tensor, ids: np.ndarray, first_row: int, size: float) -> Tensor:
    return logits.bfloat16().float()


def _temperature(
    logits: Tensor, ids: np.ndarray, first_row: int, size: float
) -> Tensor:
    return logits / size


def _scale(logits: Tensor, ids: np.ndarray, first_row: int, size: float) -> Tensor:
    return logits * size


def _softcap(logits: Tensor, ids: np.ndarray, first_row: int, size: float) -> Tensor:
    return torch.tanh(logits / size) * size


_MOST_LIKELY = 2048
"""Ids of a row that `_top_p` sorts first."""


def _top_p(logits: Tensor, ids: np.ndarray, first_row: int, size: float) -> Tensor:
    """Only the most likely ids that together hold ``size``. All are sorted only where
    the first `_MOST_LIKELY` do not hold it.
    """
    vocab = logits.shape[1]
    probability = logits.softmax(-1)
    values, order = probability.topk(min(_MOST_LIKELY, vocab), -1)
    too_few = values.shape[1] < vocab and bool((values.sum(-1) <= size).any())
    if too_few:
        values, order = probability.sort(-1, descending=True)
    mass_before = values.cumsum(-1) - values
    kept = mass_before <= size
    inside = torch.zeros_like(logits, dtype=torch.bool).scatter(1, order, kept)
    return logits.masked_fill(~inside, -math.inf)


def _repetition(logits: Tensor, ids: np.ndarray, first_row: int, size: float) -> Tensor:
    """A penalty on every id that stands in the context of the row."""
    penalised = logits.clone()
    for row in range(len(logits)):
        context = ids[: first_row + row + 1]
        seen = torch.from_numpy(np.unique(context).astype(np.int64))
        values = logits[row, seen]
        penalised[row, seen] = torch.where(values > 0, values / size, values * size)
    return penalised


def _bf16_log_softmax(
    logits: Tensor, ids: np.ndarray, first_row: int, size: float
) -> Tensor:
    return logits.bfloat16().log_softmax(-1).float()


_LOGITS: dict[str, _LogitFault] = {
    "temperature": _LogitFault(_temperature),
    "temperature-small": _LogitFault(_temperature),
    "top-p": _LogitFault(_top_p),
    "repetition-penalty": _LogitFault(_repetition),
    "softcap": _LogitFault(_softcap),
    "logit-scale": _LogitFault(_scale),
    "bf16-log-softmax": _LogitFault(_bf16_log_softmax, normalised=True),
}
