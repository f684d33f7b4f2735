"""The scores of one sequence: one record for engines, imported files and parts.

Position convention, everywhere: entry ``i`` scores ``token_ids[i]`` given the ids
before it. The first token of a sequence has no score. Unscored entries are NaN
(logprob, entropy), 0 (rank) and id -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.session.weight_versions import (
    VersionSpans,
    first_spans,
    version_column,
    version_names,
)

Array = npt.NDArray[Any]
IdArray = npt.NDArray[np.int32]
FlagArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One sequence of T tokens along one path, all natural logarithms (nats).

    logprob f32[T]; rank i32[T], 1 + number of more likely ids, 0 = unknown; top_ids
    i32[T, K] and top_logprobs f32[T, K], best first, padded with id -1 and NaN; entropy
    f32[T] or None where nothing gives it.

    nan u8[T] tells the two kinds of NaN in ``logprob`` apart: 1 where the score was
    computed and the number was NaN, 0 elsewhere; None where none was. Such an entry of
    an engine has no rank, no alternatives and no entropy.

    versions are spans of T tokens in all: the weights with which this backend sampled
    them; None where nothing tells.
    """

    logprob: FloatArray
    rank: IdArray
    top_ids: IdArray
    top_logprobs: FloatArray
    entropy: FloatArray | None = None
    nan: FlagArray | None = None
    versions: VersionSpans | None = None

    @classmethod
    def empty(cls, length: int, top_k: int, *, entropy: bool = False) -> Scores:
        """All entries unscored, writable: backends fill it in."""
        table = (length, top_k)
        entropies = None
        if entropy:
            entropies = _unscored(length)
        return cls(
            logprob=_unscored(length),
            rank=_zeros(length, np.int32),
            top_ids=np.full(table, -1, np.int32),
            top_logprobs=_unscored(table),
            entropy=entropies,
            nan=_zeros(length, np.uint8),
        )


def _unscored(shape: int | tuple[int, int]) -> FloatArray:
    return np.full(shape, np.nan, np.float32)


COLUMNS = ("logprob", "rank", "top_ids", "top_logprobs", "entropy", "nan")
"""The fields of `Scores` with a value for each token, which are also the names of a
part's tensors.
"""


def first_rows(scores: Scores, length: int) -> Scores:
    """The entries of the first ``length`` tokens, as views."""
    first = _cut(scores, slice(length))
    if scores.versions is None:
        return first
    return replace(first, versions=first_spans(scores.versions, length))


def later_rows(scores: Scores, start: int) -> Scores:
    """The entries of the tokens from ``start`` on, as views, without versions."""
    return _cut(scores, slice(start, None))


def _cut(scores: Scores, rows: slice) -> Scores:
    """The entries of these tokens, as views, without versions."""
    entropy = scores.entropy
    if entropy is not None:
        entropy = entropy[rows]
    nan = scores.nan
    if nan is not None:
        nan = nan[rows]
    return Scores(
        logprob=scores.logprob[rows],
        rank=scores.rank[rows],
        top_ids=scores.top_ids[rows],
        top_logprobs=scores.top_logprobs[rows],
        entropy=entropy,
        nan=nan,
    )


def part_tensors(scores: Sequence[Scores], width: int) -> dict[str, Array]:
    """The tensors of a capture's part: the rows of every sequence, with alternatives
    filled up to ``width`` columns.

    ``entropy`` is there where any sequence has one, ``nan`` where any score is NaN,
    ``versions`` (places in `part_versions`) where any token's version is known.
    """
    logprobs = [one.logprob for one in scores]
    ranks = [one.rank for one in scores]
    top_ids = []
    top_logprobs = []
    entropies = []
    flags = []
    for one in scores:
        ids = widened(one.top_ids, width, -1)
        top_ids.append(ids)
        values = widened(one.top_logprobs, width, np.nan)
        top_logprobs.append(values)
        entropies.append(_entropy(one))
        flags.append(_nan(one))
    tensors = {
        "logprob": _joined(logprobs, np.float32),
        "rank": _joined(ranks, np.int32),
        "top_ids": _joined(top_ids, np.int32),
        "top_logprobs": _joined(top_logprobs, np.float32),
    }
    have_entropy = [one.entropy is not None for one in scores]
    if any(have_entropy):
        tensors["entropy"] = _joined(entropies, np.float32)
    all_flags = _joined(flags, np.uint8)
    if all_flags.any():
        tensors["nan"] = all_flags
    names = part_versions(scores)
    if names:
        spans = [one.versions for one in scores]
        lengths = [len(logprob) for logprob in logprobs]
        tensors["versions"] = version_column(spans, lengths, names)
    return tensors


def part_versions(scores: Sequence[Scores]) -> tuple[str, ...]:
    """The names of the versions that the tensor ``versions`` of a part refers to."""
    return version_names(one.versions for one in scores)


def _joined(arrays: Sequence[Array], dtype: Any) -> Array:
    whole = np.concatenate(arrays)
    return whole.astype(dtype, copy=False)


def widened(rows: Array, width: int, filler: float) -> Array:
    """``rows`` of a table with columns of ``filler`` added up to ``width``."""
    missing = width - rows.shape[1]
    if not missing:
        return rows
    no_rows = (0, 0)
    columns = (0, missing)
    return np.pad(rows, (no_rows, columns), constant_values=filler)


def _entropy(scores: Scores) -> FloatArray:
    if scores.entropy is None:
        return _unscored(len(scores.logprob))
    return scores.entropy


def _nan(scores: Scores) -> FlagArray:
    if scores.nan is None:
        length = len(scores.logprob)
        return np.zeros(length, np.uint8)
    return scores.nan


def _zeros(length: int, dtype: Any) -> Array:
    return np.zeros(length, dtype)
