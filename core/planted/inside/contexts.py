"""Faults of the ids and of the context in which they are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from logdrift.core.planted.inside.bench import TOP_K, Stand
from logdrift.core.planted.inside.scoring import Rows, hidden_states, reduce_rows, score
from logdrift.core.planted.sizes import PROMPT
from logdrift.core.worker.base import Scores

Sent = tuple[list[Rows], list[np.ndarray] | None]
"""Rows of every sequence, and the ids that were really scored where they are others."""
_COLUMNS = ("logprob", "rank", "top_ids", "top_logprobs", "entropy")


def _empty_like(rows: Rows, length: int) -> Rows:
    """``length`` unscored entries."""
    return Scores.empty(length, rows.top_ids.shape[1], entropy=True)


def _moved(rows: Rows, length: int, target: slice, source: slice) -> Rows:
    """``length`` entries, unscored but for ``target``, which are the entries ``source``
    of ``rows``.
    """
    out = _empty_like(rows, length)
    for name in _COLUMNS:
        getattr(out, name)[target] = getattr(rows, name)[source]
    return out


def _prefixed(stand: Stand, prefix: Callable[[np.ndarray], np.ndarray]) -> Sent:
    """Every sequence behind a prefix; its first token, which then has a score, stays
    unscored as everywhere.
    """
    sent = [np.concatenate([prefix(ids), ids]).astype(np.int32) for ids in stand.ids]
    out = []
    for rows, full, ids in zip(
        score(stand.model, sent, TOP_K), sent, stand.ids, strict=True
    ):
        out.append(
            _moved(
                rows, len(ids), slice(1, None), slice(len(full) - len(ids) + 1, None)
            )
        )
    return out, sent


def _bos(stand: Stand, size: float) -> Sent:
    start = stand.model.net.config.bos_token_id
    return _prefixed(stand, lambda ids: np.array([1 if start is None else start]))


def _template_twice(stand: Stand, size: float) -> Sent:
    return _prefixed(stand, lambda ids: ids[:8])


def _changed(stand: Stand, change: Callable[[np.ndarray], None]) -> Sent:
    """The first and the last sequence with other ids; the others are those of the clean
    side.
    """
    rows = list(stand.clean)
    sent = [ids.copy() for ids in stand.ids]
    for i in {0, len(sent) - 1}:
        change(sent[i])
        rows[i] = score(stand.model, [sent[i]], TOP_K)[0]
    return rows, sent


def _edited(stand: Stand, size: float) -> Sent:
    vocab = stand.model.vocab

    def change(ids: np.ndarray) -> None:
        at = int(len(ids) * size)
        ids[at] = (ids[at] + 1 + vocab // 3) % vocab

    return _changed(stand, change)


def _swapped(stand: Stand, size: float) -> Sent:
    def change(ids: np.ndarray) -> None:
        at = int(len(ids) * size) + 3
        while ids[at] == ids[at + 1]:
            at += 1
        ids[[at, at + 1]] = ids[[at + 1, at]]

    return _changed(stand, change)


def _off_by_one(stand: Stand, size: float) -> Sent:
    """Every entry one place further on (or back): what was computed is right, and said
    of the wrong token.
    """
    later = slice(2, None)
    earlier = slice(1, -1)
    target, source = (later, earlier) if size > 0 else (earlier, later)
    return [
        _moved(rows, len(rows.logprob), target, source) for rows in stand.clean
    ], None


def _truncated(stand: Stand, size: float) -> Sent:
    """The first part of each prompt was cut, so its tokens have no score and the others
    have less context.
    """
    cut = int(PROMPT * size)
    sent = [ids[cut:] for ids in stand.ids]
    scored = zip(score(stand.model, sent, TOP_K), stand.ids, strict=True)
    return [
        _moved(rows, len(ids), slice(cut + 1, None), slice(1, None))
        for rows, ids in scored
    ], sent


def _padded(stand: Stand, *, left: bool, masked: bool) -> Sent:
    """One batch of all sequences, filled up to the longest; without position ids, so
    padding counts.
    """
    longest = max(len(ids) for ids in stand.ids)
    padded: dict[int, Rows] = {}
    for length in dict.fromkeys(len(ids) for ids in stand.ids):
        # Rows of one length: the numbers of the one batch.
        fill = longest - length
        around = (fill, 0) if left else (0, fill)
        rows = [i for i, ids in enumerate(stand.ids) if len(ids) == length]
        states = _padded_states(stand, rows, around, masked=masked)
        for i, hidden in zip(rows, states, strict=True):
            own = hidden[around[0] :]
            padded[i] = reduce_rows(stand.model, stand.ids[i], own, TOP_K)
    return [padded[i] for i in range(len(stand.ids))], None


def _padded_states(
    stand: Stand, rows: list[int], around: tuple[int, int], *, masked: bool
) -> Iterable[Any]:
    """The hidden states of sequences of one length, padded by ``around`` tokens before
    and behind.
    """
    pad = getattr(stand.model.net.config, "pad_token_id", None) or 0
    whole = [np.pad(stand.ids[i], around, constant_values=pad) for i in rows]
    arguments = {}
    if masked:
        own = np.ones((1, len(stand.ids[rows[0]])), np.int64)
        mask = torch.from_numpy(np.pad(own, ((0, 0), around)))
        arguments["attention_mask"] = mask.expand(len(rows), -1)
    positions = torch.arange(len(whole[0]))[None]
    return hidden_states(stand.model, whole, position_ids=positions, **arguments)


IDS: dict[str, Callable[[Stand, float], Sent]] = {
    "bos": _bos,
    "template-twice": _template_twice,
    "id-edited": _edited,
    "ids-swapped": _swapped,
    "off-by-one": _off_by_one,
    "truncated-context": _truncated,
    "left-padding": lambda stand, size: _padded(stand, left=True, masked=True),
    "pads-attended": lambda stand, size: _padded(stand, left=True, masked=False),
    "batch-shape": lambda stand, size: _padded(stand, left=False, masked=True),
}
