"""Short sequences packed by length: batches that waste little on padding.

A pack is filled up behind the last token of each sequence. A causal model's tokens look
back only, so no token of a sequence sees what stands behind it, and no mask is needed;
the filled-up rows are dropped before the head. What remains is the shape of the batch,
by which matrix products round (docs/engines.md); models whose positions follow the
longest sequence are not packed (`rope`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from logdrift.core.session.scores import COLUMNS, Scores
from logdrift.core.worker.base import AskedSequence, IdArray, Take

Tensor = Any

AHEAD = 8
"""Packs' worth of tokens that are looked at together, so that sequences of nearly one
length are found.
"""


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """What of a backbone's output the head is applied to: ``hidden`` holds a state for
    each of ``ids`` [1, N], the ids that it was computed at, and row i predicts
    ``targets`` [i]. Score ``first + i`` is that of row i.
    """

    hidden: Any
    ids: Tensor
    targets: Tensor
    first: int


def packs(
    take: Take, tokens: Callable[[], int], most: int
) -> Iterator[list[AskedSequence]]:
    """Sequences in packs of at most ``tokens`` tokens, padding included, and ``most``
    sequences, unless one is longer by itself; the longest of those that are looked at
    together come first.
    """
    while ahead := _ahead(take, AHEAD * tokens()):
        ahead.sort(key=lambda one: len(one.ids), reverse=True)
        while ahead:
            longest = max(1, len(ahead[0].ids))
            size = max(1, min(most, tokens() // longest))
            yield ahead[:size]
            del ahead[:size]


def _ahead(take: Take, tokens: int) -> list[AskedSequence]:
    """The next sequences, up to so many tokens."""
    ahead: list[AskedSequence] = []
    while tokens > 0 and (one := take()) is not None:
        ahead.append(one)
        tokens -= len(one.ids)
    return ahead


def padded(sequences: Sequence[IdArray], device: Any) -> Tensor:
    """int64[B, T]: the ids of each sequence, and id 0 behind them."""
    longest = max(map(len, sequences))
    rows = np.zeros((len(sequences), longest), np.int64)
    for row, ids in zip(rows, sequences, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(rows).to(device)


def rows_of(hidden: Tensor, tokens: Tensor, sequences: Sequence[IdArray]) -> ScoredRows:
    """The rows of a pack that predict a token of a sequence, end to end, of its last
    hidden state [B, T, H].
    """
    _, width = tokens.shape
    at = [
        np.arange(len(ids) - 1) + place * width for place, ids in enumerate(sequences)
    ]
    index = torch.from_numpy(np.concatenate(at)).to(tokens.device)
    flat = tokens.flatten()
    return ScoredRows(
        hidden=hidden.flatten(0, 1)[index.to(hidden.device)][None],
        ids=flat[index][None],
        targets=flat[index + 1],
        first=0,
    )


def apart(joined: Scores, sequences: Sequence[IdArray], top_k: int) -> list[Scores]:
    """The scores of each sequence, from those of all rows of a pack."""
    found = []
    start = 0
    for ids in sequences:
        scores = Scores.empty(len(ids), top_k, entropy=True)
        stop = start + len(ids) - 1
        for name in COLUMNS:
            getattr(scores, name)[1:] = getattr(joined, name)[start:stop]
        found.append(scores)
        start = stop
    return found
