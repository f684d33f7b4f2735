"""Faults of the ids and of the context in which they are scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from logdrift.core.planted.inside.bench import TOP_K, CleanSides
from logdrift.core.planted.inside.scoring import (
    COLUMNS,
    hidden_states,
    of_one_length,
    reduce_rows,
    score,
)
from logdrift.core.planted.sizes import PROMPT
from logdrift.core.worker.base import Scores

Sent = tuple[list[Scores], list[np.ndarray] | None]
"""The scores of every sequence, and the ids that were really scored, None where those
are the session's own.
"""
_TEMPLATE = 8
"""Tokens at the start that stand for a chat template."""


def _moved(scores: Scores, length: int, target: slice, source: slice) -> Scores:
    """``length`` entries, unscored but for ``target``, which are the entries ``source``
    of ``scores``.
    """
    moved = Scores.empty(length, scores.top_ids.shape[1], entropy=True)
    for name in COLUMNS:
        getattr(moved, name)[target] = getattr(scores, name)[source]
    return moved


def _prefixed(clean: CleanSides, prefix: Callable[[np.ndarray], np.ndarray]) -> Sent:
    """Every sequence behind a prefix; its first token, which then has a score, stays
    unscored as everywhere.
    """
    sent = [np.concatenate([prefix(ids), ids]).astype(np.int32) for ids in clean.ids]
    moved = []
    for ids, scores in zip(clean.ids, score(clean.model, sent, TOP_K), strict=True):
        length = len(ids)
        added = len(scores.logprob) - length
        source = slice(added + 1, None)
        moved.append(_moved(scores, length, slice(1, None), source))
    return moved, sent


def _bos(clean: CleanSides, size: float) -> Sent:
    """A start token in front, which the trainer does not see."""
    start = clean.model.net.config.bos_token_id
    if start is None:
        start = 1
    return _prefixed(clean, lambda ids: np.array([start]))


def _template_twice(clean: CleanSides, size: float) -> Sent:
    return _prefixed(clean, lambda ids: ids[:_TEMPLATE])


def _changed(clean: CleanSides, change: Callable[[np.ndarray], None]) -> Sent:
    """The first and the last sequence with other ids; the others are those of the clean
    side.
    """
    scores = list(clean.rollout)
    sent = [ids.copy() for ids in clean.ids]
    for i in {0, len(sent) - 1}:
        change(sent[i])
        (scores[i],) = score(clean.model, [sent[i]], TOP_K)
    return scores, sent


def _edited(clean: CleanSides, size: float) -> Sent:
    """Another id at ``size`` of the length."""
    vocab = clean.model.vocab

    def change(ids: np.ndarray) -> None:
        at = int(len(ids) * size)
        ids[at] = (ids[at] + 1 + vocab // 3) % vocab

    return _changed(clean, change)


def _swapped(clean: CleanSides, size: float) -> Sent:
    """Two neighbours in the other order, from ``size`` of the length on."""

    def change(ids: np.ndarray) -> None:
        at = int(len(ids) * size) + 3
        while ids[at] == ids[at + 1]:
            at += 1
        ids[[at, at + 1]] = ids[[at + 1, at]]

    return _changed(clean, change)


def _off_by_one(clean: CleanSides, size: float) -> Sent:
    """Every entry one place later, or earlier where ``size`` is negative: what was
    computed is right, and recorded for the wrong token.
    """
    later = slice(2, None)
    earlier = slice(1, -1)
    if size > 0:
        target = later
        source = earlier
    else:
        target = earlier
        source = later
    moved = []
    for scores in clean.rollout:
        moved.append(_moved(scores, len(scores.logprob), target, source))
    return moved, None


def _truncated(clean: CleanSides, size: float) -> Sent:
    """The first part of each prompt was cut, so its tokens have no score and the others
    have less context.
    """
    cut = int(PROMPT * size)
    sent = [ids[cut:] for ids in clean.ids]
    target = slice(cut + 1, None)
    moved = []
    for ids, scores in zip(clean.ids, score(clean.model, sent, TOP_K), strict=True):
        moved.append(_moved(scores, len(ids), target, slice(1, None)))
    return moved, sent


def _padded(clean: CleanSides, *, left: bool, masked: bool) -> Sent:
    """One batch of all sequences, filled up to the longest, on the left or on the
    right.

    Positions count the padding, as they do without position ids; where the padding is
    not ``masked``, it is attended to as well.
    """
    longest = max(len(ids) for ids in clean.ids)
    by_sequence: dict[int, Scores] = {}
    # Sequences of one length at a time: the numbers are those of the one batch.
    for length, numbers in of_one_length(clean.ids).items():
        fill = longest - length
        before = fill if left else 0
        around = (before, fill - before)
        sequences = [clean.ids[i] for i in numbers]
        states = _padded_states(clean, sequences, around, masked=masked)
        for i, hidden in zip(numbers, states, strict=True):
            own_rows = hidden[before:]
            by_sequence[i] = reduce_rows(clean.model, clean.ids[i], own_rows, TOP_K)
    return [by_sequence[i] for i in range(len(clean.ids))], None


def _padded_states(
    clean: CleanSides,
    sequences: list[np.ndarray],
    around: tuple[int, int],
    *,
    masked: bool,
) -> list[Any]:
    """The hidden states of sequences of one length, padded by ``around`` tokens before
    and behind.
    """
    pad_id = getattr(clean.model.net.config, "pad_token_id", None) or 0
    padded = [np.pad(ids, around, constant_values=pad_id) for ids in sequences]
    arguments = {}
    if masked:
        mask = np.pad(np.ones(len(sequences[0]), np.int64), around)
        of_batch = torch.from_numpy(mask)[None].expand(len(sequences), -1)
        arguments["attention_mask"] = of_batch
    positions = torch.arange(len(padded[0]))[None]
    return hidden_states(clean.model, padded, position_ids=positions, **arguments)


IDS: dict[str, Callable[[CleanSides, float], Sent]] = {
    "bos": _bos,
    "template-twice": _template_twice,
    "id-edited": _edited,
    "ids-swapped": _swapped,
    "off-by-one": _off_by_one,
    "truncated-context": _truncated,
    "left-padding": lambda clean, size: _padded(clean, left=True, masked=True),
    "pads-attended": lambda clean, size: _padded(clean, left=True, masked=False),
    "batch-shape": lambda clean, size: _padded(clean, left=False, masked=True),
}
"""Fault -> what plants it with its size."""
