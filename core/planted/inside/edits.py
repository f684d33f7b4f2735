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
from logdrift.core.planted.inside.scoring import (
    HeadRows,
    Ids,
    Transform,
    reduce_rows,
    score,
)
from logdrift.core.planted.inside.weights import MODEL, other_head
from logdrift.core.worker.base import Scores

Tensor = Any


@dataclass
class Planted:
    """The faulty rollout: ``scores`` of every sequence, the ids that were really scored
    (None: those of the session) and the attention used.
    """

    scores: list[Scores]
    sent: list[Ids] | None = None
    attention: str = "eager"


def plant(clean: CleanSides, name: str, size: float) -> Planted:
    """The rollout with the fault ``name`` of that size: eager attention, in the
    background's dtype.
    """
    if name == "same-twice":
        return Planted(clean.trainer, attention="sdpa")
    if name in _OTHER_PRECISION:
        rollout = _OTHER_PRECISION[name](clean)
        return Planted(rollout)
    if name in _LOGITS:
        fault = _LOGITS[name]
        return Planted(_through_head(clean, fault, size))
    if name == "other-head":
        with other_head(clean.model, size):
            return Planted(_through_head(clean))
    with eager(clean.model):
        if name in IDS:
            scores, sent = IDS[name](clean, size)
            return Planted(scores, sent)
        plant_in_model = MODEL[name]
        with plant_in_model(clean.model, size):
            return Planted(_rescored(clean, name, size))


def _clean(clean: CleanSides) -> list[Scores]:
    return clean.rollout


def _in_float16(clean: CleanSides) -> list[Scores]:
    return clean.rollout_in("float16")


def _in_other_dtype(clean: CleanSides) -> list[Scores]:
    other = _other_dtype(clean.background)
    return clean.rollout_in(other)


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
            (rescored,) = score(clean.model, [ids], TOP_K)
            scores[i] = rescored
    return scores


@dataclass(frozen=True)
class _LogitFault:
    """A fault of the logits. ``change`` maps rows of the head and the size to new
    logits [rows, V]; where it is ``normalised``, to log-probabilities.
    """

    change: Callable[[HeadRows, float], Tensor]
    normalised: bool = False

    def of_size(self, size: float) -> Transform:
        """The fault with its size, as `reduce_rows` takes it."""

        def transform(rows: HeadRows) -> Tensor:
            return self.change(rows, size)

        return transform


def _through_head(
    clean: CleanSides, fault: _LogitFault | None = None, size: float = 0.0
) -> list[Scores]:
    """The clean hidden states through the head as it is now, and through ``fault``."""
    transform: Transform | None = None
    normalised = False
    if fault is not None:
        transform = fault.of_size(size)
        normalised = fault.normalised
    reduce = partial(
        reduce_rows,
        clean.model,
        top_k=TOP_K,
        transform=transform,
        normalised=normalised,
    )
    scores = []
    for ids, hidden in zip(clean.ids, clean.states, strict=True):
        scores.append(reduce(ids, hidden))
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


def _bfloat16(rows: HeadRows, size: float) -> Tensor:
    return rows.logits.bfloat16().float()


def _temperature(rows: HeadRows, size: float) -> Tensor:
    return rows.logits / size


def _scale(rows: HeadRows, size: float) -> Tensor:
    return rows.logits * size


def _softcap(rows: HeadRows, size: float) -> Tensor:
    capped = torch.tanh(rows.logits / size)
    return capped * size


_MOST_LIKELY = 2048
"""Ids of a row that top-p looks at first."""


def _top_p(rows: HeadRows, size: float) -> Tensor:
    """Only the most likely ids that together hold ``size``."""
    logits = rows.logits
    probability = logits.softmax(-1)
    values, order = _most_likely(probability, size)
    mass_before = values.cumsum(-1) - values
    kept = mass_before <= size
    inside = torch.zeros_like(logits, dtype=torch.bool)
    inside = inside.scatter(1, order, kept)
    return logits.masked_fill(~inside, -math.inf)


def _most_likely(probability: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """The probabilities of the most likely ids, descending, and those ids: the first
    `_MOST_LIKELY` where these hold ``mass`` in every row, else all.
    """
    vocab = probability.shape[1]
    count = min(_MOST_LIKELY, vocab)
    values, order = probability.topk(count, -1)
    held = values.sum(-1)
    too_few = count < vocab and bool((held <= mass).any())
    if too_few:
        values, order = probability.sort(-1, descending=True)
    return values, order


def _repetition(rows: HeadRows, size: float) -> Tensor:
    """A penalty on every id that stands in the context of the row."""
    logits = rows.logits
    penalised = logits.clone()
    for row in range(len(logits)):
        end = rows.first_row + row + 1
        context = np.unique(rows.ids[:end])
        seen = torch.from_numpy(context.astype(np.int64))
        values = logits[row, seen]
        lower = torch.where(values > 0, values / size, values * size)
        penalised[row, seen] = lower
    return penalised


def _bf16_log_softmax(rows: HeadRows, size: float) -> Tensor:
    logprobs = rows.logits.bfloat16().log_softmax(-1)
    return logprobs.float()


_OTHER_PRECISION: dict[str, Callable[[CleanSides], list[Scores]]] = {
    "attention": _clean,
    "clean": _clean,
    "float16": _in_float16,
    "compute-dtype": _in_other_dtype,
    "head-dtype": _other_head_dtype,
}
"""Rollouts that differ from the trainer in attention or precision alone."""
_LOGITS: dict[str, _LogitFault] = {
    "temperature": _LogitFault(_temperature),
    "temperature-small": _LogitFault(_temperature),
    "top-p": _LogitFault(_top_p),
    "repetition-penalty": _LogitFault(_repetition),
    "softcap": _LogitFault(_softcap),
    "logit-scale": _LogitFault(_scale),
    "bf16-log-softmax": _LogitFault(_bf16_log_softmax, normalised=True),
}
