"""Faults of the ids and of the context in which they are scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from logdrift.core.planted.inside.bench import TOP_K, CleanSides
from logdrift.core.planted.inside.scoring import (
    COLUMNS,
    Ids,
    hidden_states,
    of_one_length,
    reduce_rows,
    score,
)
from logdrift.core.planted.sizes import PROMPT
from logdrift.core.worker.base import Scores

Sent = tuple[list[Scores], list[Ids] | None]
"""The scores of every sequence, and the ids that were really scored, None where those
are the session's own.
"""
_TEMPLATE = 8
"""Tokens at the start that stand for a chat template."""


def _moved(scores: Scores, length: int, target: slice, source: slice) -> Scores:
    """``length`` entries, unscored but for ``target``, which are the entries ``source``
    of ``scores``.
    """
    top_k = scores.top_ids.shape[1]
    moved = Scores.empty(length, top_k, entropy=True)
    for name in COLUMNS:
        from_column = getattr(scores, name)
        to_column = getattr(moved, name)
        to_column[target] = from_column[source]
    return moved


def _prefixed(clean: CleanSides, prefix: Callable[[Ids], Ids]) -> Sent:
    """Every sequence behind a prefix; its first token, which then has a score, stays
    unscored as everywhere.
    """
    sent = []
    for ids in clean.ids:
        longer = np.concatenate([prefix(ids), ids])
        sent.append(longer.astype(np.int32))
    sent_scores = score(clean.model, sent, TOP_K)
    target = slice(1, None)
    moved = []
    for ids, scores in zip(clean.ids, sent_scores, strict=True):
        length = len(ids)
        added = len(scores.logprob) - length
        source = slice(added + 1, None)
        moved.append(_moved(scores, length, target, source))
    return moved, sent


def _bos(clean: CleanSides, size: float) -> Sent:
    """A start token in front, which the trainer does not see."""
    config = clean.model.net.config
    start = config.bos_token_id
    if start is None:
        start = 1
    prefix = np.array([start])
    return _prefixed(clean, lambda ids: prefix)


def _template_twice(clean: CleanSides, size: float) -> Sent:
    def template(ids: Ids) -> Ids:
        return ids[:_TEMPLATE]

    return _prefixed(clean, template)


def _changed(clean: CleanSides, change: Callable[[Ids], None]) -> Sent:
    """The first and the last sequence with other ids; the others are those of the clean
    side.
    """
    scores = list(clean.rollout)
    sent = [ids.copy() for ids in clean.ids]
    last = len(sent) - 1
    for number in {0, last}:
        ids = sent[number]
        change(ids)
        (changed,) = score(clean.model, [ids], TOP_K)
        scores[number] = changed
    return scores, sent


def _edited(clean: CleanSides, size: float) -> Sent:
    """Another id at ``size`` of the length."""
    vocab = clean.model.vocab
    step = 1 + vocab // 3

    def change(ids: Ids) -> None:
        at = int(len(ids) * size)
        other_id = ids[at] + step
        ids[at] = other_id % vocab

    return _changed(clean, change)


def _swapped(clean: CleanSides, size: float) -> Sent:
    """Two neighbours in the other order, from ``size`` of the length on."""

    def change(ids: Ids) -> None:
        first = int(len(ids) * size) + 3
        while ids[first] == ids[first + 1]:
            first += 1
        second = first + 1
        ids[[first, second]] = ids[[second, first]]

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
        length = len(scores.logprob)
        moved.append(_moved(scores, length, target, source))
    return moved, None


def _truncated(clean: CleanSides, size: float) -> Sent:
    """The first part of each prompt was cut, so its tokens have no score and the others
    have less context.
    """
    cut = int(PROMPT * size)
    target = slice(cut + 1, None)
    source = slice(1, None)
    sent = [ids[cut:] for ids in clean.ids]
    sent_scores = score(clean.model, sent, TOP_K)
    moved = []
    for ids, scores in zip(clean.ids, sent_scores, strict=True):
        moved.append(_moved(scores, len(ids), target, source))
    return moved, sent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Padding:
    """How a batch is filled up to its longest sequence: on the ``left`` or on the
    right, and whether an attention mask hides the padding.
    """

    left: bool
    masked: bool

    def around(self, fill: int) -> tuple[int, int]:
        """How many of ``fill`` padding tokens stand before and behind a sequence."""
        if self.left:
            return fill, 0
        return 0, fill


def _padded(padding: _Padding, clean: CleanSides, size: float) -> Sent:
    """One batch of all sequences, filled up to the longest.

    Positions count the padding, as they do without position ids; padding that is not
    masked is attended to as well.
    """
    lengths = [len(ids) for ids in clean.ids]
    longest = max(lengths)
    by_sequence: dict[int, Scores] = {}
    # Sequences of one length at a time: the numbers are those of the one batch.
    for length, numbers in of_one_length(clean.ids).items():
        around = padding.around(longest - length)
        before, _ = around
        sequences = [clean.ids[number] for number in numbers]
        states = _padded_states(clean, sequences, around, masked=padding.masked)
        for place, number in enumerate(numbers):
            ids = sequences[place]
            own_rows = states[place][before:]
            scores = reduce_rows(clean.model, ids, own_rows, TOP_K)
            by_sequence[number] = scores
    in_order = [by_sequence[number] for number in range(len(lengths))]
    return in_order, None


def _padded_states(
    clean: CleanSides,
    sequences: list[Ids],
    around: tuple[int, int],
    *,
    masked: bool,
) -> list[Any]:
    """The hidden states of sequences of one length, padded by ``around`` tokens before
    and behind.
    """
    config = clean.model.net.config
    pad_id = getattr(config, "pad_token_id", None) or 0
    padded = [np.pad(ids, around, constant_values=pad_id) for ids in sequences]
    count = len(sequences)
    length = len(sequences[0])
    positions = torch.arange(length + sum(around))
    arguments = {"position_ids": positions[None]}
    if masked:
        is_own = np.pad(np.ones(length, np.int64), around)
        mask = torch.from_numpy(is_own)
        arguments["attention_mask"] = mask.expand(count, -1)
    return hidden_states(clean.model, padded, **arguments)


IDS: dict[str, Callable[[CleanSides, float], Sent]] = {
    "bos": _bos,
    "template-twice": _template_twice,
    "id-edited": _edited,
    "ids-swapped": _swapped,
    "off-by-one": _off_by_one,
    "truncated-context": _truncated,
    "left-padding": partial(_padded, _Padding(left=True, masked=True)),
    "pads-attended": partial(_padded, _Padding(left=True, masked=False)),
    "batch-shape": partial(_padded, _Padding(left=False, masked=True)),
}
"""Fault -> what plants it with its size."""
