"""Rows of a session, one a token and capture, some at a time.

docs/export.md is the schema; here every column is an array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.export.choice import ExportChoice
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.message_roles import MESSAGE_ROLES, UNKNOWN
from logdrift.core.session.reader import Capture, Sequences
from logdrift.core.session.tensors import Column
from logdrift.core.session.weight_versions import UNKNOWN_VERSION
from logdrift.core.session.writer import FINISH_CODES

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

ROWS = 1 << 17
"""Rows at a time: with 20 alternatives 30 MB, and a row group of parquet."""
COLUMNS = (
    "sequence",
    "position",
    "step",
    "reward",
    "token_id",
    "text",
    "segment",
    "counts",
    "finish",
    "message_role",
    "capture",
    "role",
    "weight_version",
    "score",
    "logprob",
    "rank",
    "entropy",
    "top_ids",
    "top_logprobs",
    "delta",
)
"""The columns of every format with rows (docs/export.md)."""
SEGMENTS = ("prompt", "completion")
FINISHES = tuple(FINISH_CODES)
SCORES = ("missing", "finite", "impossible", "nan")
"""What a log-probability is; ``impossible`` is -inf."""
_MISSING, _FINITE, _IMPOSSIBLE, _NAN = range(len(SCORES))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TokenRows:
    """R rows of one capture.

    sequence, position, token_id, rank i32[R] (rank 0: unknown); step i64[R]
    (`NO_STEP`: unknown), reward f32[R] (NaN: unknown); logprob f32[R] and
    entropy f32[R] or None, nats, NaN where there is none; segment, finish, score and
    message_role u8[R] are places in `SEGMENTS`, `FINISHES`, `SCORES` and
    `logdrift.core.session.message_roles`; counts bool[R]; top_ids i32[R, K] and
    top_logprobs f32[R, K] end in -1; delta f32[R] or None, nats; weight_version i32[R]
    are places in ``version_names``, -1 where it is not known.
    """

    capture: CaptureInfo
    sequence: Array
    position: Array
    step: Array
    reward: Array
    token_id: Array
    segment: Array
    counts: Array
    finish: Array
    score: Array
    logprob: Array
    rank: Array
    entropy: Array | None
    top_ids: Array
    top_logprobs: Array
    delta: Array | None
    message_role: Array
    weight_version: Array
    version_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.token_id)


def token_rows(choice: ExportChoice) -> Iterator[TokenRows]:
    """The rows of every capture, one capture after the other, each in the order of its
    sequences. Raises InputError for a damaged part.
    """
    for label in choice.labels:
        capture = choice.session.capture(label)
        for start in range(0, capture.tokens, ROWS):
            stop = min(start + ROWS, capture.tokens)
            rows = _rows(choice, capture, start, stop)
            if choice.kept is not None:
                kept = choice.kept[start:stop]
                rows = chosen(rows, kept)
            if len(rows):
                yield rows


def _rows(choice: ExportChoice, capture: Capture, start: int, stop: int) -> TokenRows:
    """The tokens ``start`` to ``stop`` of the session, as ``capture`` scored them."""
    sequences = choice.session.sequences
    part = slice(start, stop)
    tokens = np.arange(start, stop)
    behind = np.searchsorted(sequences.offsets, tokens, "right")
    sequence = behind - 1
    position = tokens - sequences.offsets[sequence]
    prompt = sequences.prompt_lengths[sequence]
    is_completion = position >= prompt
    logprob = _column(capture.logprob, start, stop, np.float32)
    entropy = None
    if capture.entropy is not None:
        entropy = _column(capture.entropy, start, stop, np.float32)
    return TokenRows(
        capture=capture.info,
        sequence=sequence.astype(np.int32),
        position=position.astype(np.int32),
        step=_of_sequence(sequences.steps, sequence, NO_STEP),
        reward=_of_sequence(sequences.rewards, sequence, np.float32(np.nan)),
        token_id=sequences.token_ids[part],
        segment=is_completion.astype(np.uint8),
        counts=sequences.mask[part] == 1,
        finish=_known(sequences.finish[sequence], FINISHES),
        score=_score(capture, logprob, start, stop),
        logprob=logprob,
        rank=_column(capture.rank, start, stop, np.int32),
        entropy=entropy,
        top_ids=_column(capture.top_ids, start, stop, np.int32),
        top_logprobs=_column(capture.top_logprobs, start, stop, np.float32),
        delta=_delta(choice, start, stop),
        message_role=_message_roles(sequences, part),
        weight_version=_versions(capture, start, stop),
        version_names=capture.version_names,
    )


def _column(column: Column, start: int, stop: int, dtype: Any) -> Array:
    """Rows of a column in the dtype of the session format; sessions that others have
    written may be wider.
    """
    return column.rows(start, stop).astype(dtype, copy=False)


def _of_sequence(values: Array | None, sequence: Array, unknown: Any) -> Array:
    """The value of each token's sequence; ``unknown`` where nothing tells."""
    if values is None:
        return np.full(len(sequence), unknown)
    return values[sequence]


def _message_roles(sequences: Sequences, part: slice) -> Array:
    """From whose message each token is; unknown where the session does not tell."""
    if sequences.roles is None:
        return np.full_like(sequences.mask[part], UNKNOWN)
    return _known(sequences.roles[part], MESSAGE_ROLES)


def _known(codes: Array, words: Sequence[str]) -> Array:
    """The codes with 0, unknown, in place of what a newer version has written."""
    is_known = codes < len(words)
    return np.where(is_known, codes, 0)


def _versions(capture: Capture, start: int, stop: int) -> Array:
    """The version of the weights of each token, as a place in the capture's names."""
    if capture.versions is None:
        return np.full(stop - start, UNKNOWN_VERSION, np.int32)
    return capture.versions.rows(start, stop)


def _score(capture: Capture, logprob: Array, start: int, stop: int) -> Array:
    score = np.full(len(logprob), _FINITE, np.uint8)
    score[np.isneginf(logprob)] = _IMPOSSIBLE
    is_nan = np.isnan(logprob)
    score[is_nan] = _MISSING
    if capture.nan is not None:
        computed = capture.nan.rows(start, stop) == 1
        score[is_nan & computed] = _NAN
    return score


def _delta(choice: ExportChoice, start: int, stop: int) -> Array | None:
    """The deltas of a pair; NaN behind the tokens that both captures have."""
    pair = choice.pair
    if pair is None:
        return None
    delta = np.full(stop - start, np.nan, np.float32)
    known = pair.delta[start:stop]
    delta[: len(known)] = known
    return delta


def chosen(rows: TokenRows, which: Array | slice) -> TokenRows:
    """Some of the rows."""
    values: dict[str, Any] = {}
    for field in fields(rows):
        value = getattr(rows, field.name)
        if isinstance(value, np.ndarray):
            value = value[which]
        values[field.name] = value
    return TokenRows(**values)
