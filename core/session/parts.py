"""Parts on disk: their tensors, and the checks that every part has to pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.contents import Sequences
from logdrift.core.session.files import lies_within
from logdrift.core.session.layout import MANIFEST, CaptureInfo, Part
from logdrift.core.session.tensors import Column, StoredTensor, stored_tensors

if TYPE_CHECKING:
    # Not imported to open a session: together a tenth of what that costs.
    import numpy.typing as npt

    Array = npt.NDArray[Any]

Tensors = Mapping[str, StoredTensor]
_TOKEN_IDS = ("int32", "int64")
_SCORES = ("float32", "float64")
_FLAGS = ("uint8",)
_MOST_ID = 2**31 - 1


class TensorKind(NamedTuple):
    """What a tensor has to be; the first of ``dtypes`` is the one that is written."""

    dimensions: int
    dtypes: tuple[str, ...]


class PartFormat(NamedTuple):
    """The tensors of a part by name, and those that it must hold. Others are of a newer
    version.
    """

    tensors: Mapping[str, TensorKind]
    needed: tuple[str, ...]


SEQUENCES_PART = PartFormat(
    {
        "token_ids": TensorKind(1, _TOKEN_IDS),
        "offsets": TensorKind(1, _TOKEN_IDS),
        "prompt_lengths": TensorKind(1, _TOKEN_IDS),
        "mask": TensorKind(1, _FLAGS),
        "finish": TensorKind(1, _FLAGS),
    },
    needed=("token_ids", "offsets", "prompt_lengths"),
)
CAPTURE_PART = PartFormat(
    {
        "logprob": TensorKind(1, _SCORES),
        "rank": TensorKind(1, _TOKEN_IDS),
        "top_ids": TensorKind(2, _TOKEN_IDS),
        "top_logprobs": TensorKind(2, _SCORES),
        "entropy": TensorKind(1, _SCORES),
        "nan": TensorKind(1, _FLAGS),
    },
    needed=("logprob", "rank", "top_ids", "top_logprobs"),
)
RANGES = {
    "logprob": (-65504.0, 65504.0),
    "top_logprobs": (-65504.0, 65504.0),
    "entropy": (-1.0, 65504.0),
}
"""Lowest and highest finite value, in nats.

65504 is the largest number of 16 bits. What lies beyond came from no softmax, and
would overflow in the metrics. A log-probability is at most 0 but for rounding.
"""


def stored_part(folder: Path, part: Part, form: PartFormat) -> dict[str, StoredTensor]:
    """The tensors of a part that this version knows.

    Raises InputError for a file that leads out of the session, a tensor that is
    missing, and one of another dtype or number of dimensions.
    """
    path = folder / part.file
    if not lies_within(path, folder):
        raise InputError("leads out of the session folder", file=path)
    stored = stored_tensors(path)
    tensors = {name: stored[name] for name in stored if name in form.tensors}
    for name in form.needed:
        if name not in tensors:
            raise InputError(f"has no tensor {name!r}", file=path)
    for name, tensor in tensors.items():
        _check_kind(name, tensor, form.tensors[name], path)
    return tensors


def _check_kind(name: str, tensor: StoredTensor, kind: TensorKind, path: Path) -> None:
    dtype = tensor.dtype.name
    if tensor.ndim != kind.dimensions or dtype not in kind.dtypes:
        raise InputError(
            f"{name} is {dtype} with {tensor.ndim} dimensions, not"
            f" {kind.dtypes[0]} with {kind.dimensions}",
            file=path,
        )


# ---- sequences


def join_sequences(
    folder: Path, listed: Sequence[Part], parts: Sequence[Mapping[str, Array]]
) -> Sequences:
    """The sequences of all parts, after each was checked against itself and against
    what the manifest lists. Raises InputError.
    """
    pieces = [
        _checked_sequences(folder / part.file, part, tensors)
        for part, tensors in zip(listed, parts, strict=True)
    ]
    lengths = _joined([np.diff(one.offsets) for one in pieces], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(
        token_ids=_joined([one.token_ids for one in pieces], np.int32),
        offsets=offsets.astype(np.int64),
        prompt_lengths=_joined([one.prompt_lengths for one in pieces], np.int32),
        mask=_joined([one.mask for one in pieces], np.uint8),
        finish=_joined([one.finish for one in pieces], np.uint8),
    )


def _checked_sequences(
    path: Path, part: Part, tensors: Mapping[str, Array]
) -> Sequences:
    """The sequences of one part. Raises InputError where they contradict themselves or
    the manifest.
    """
    ids = tensors["token_ids"]
    offsets = tensors["offsets"]
    prompt_lengths = tensors["prompt_lengths"]
    tokens = len(ids)
    sequences = len(prompt_lengths)
    if not _fit(offsets, prompt_lengths, tokens):
        raise InputError("offsets and prompt lengths do not fit its ids", file=path)
    if sequences != part.sequences or tokens != part.tokens:
        raise InputError(
            f"has {sequences} sequences with {tokens} tokens, {MANIFEST}"
            f" lists {part.sequences} with {part.tokens}",
            file=path,
        )
    if tokens and (ids.min() < 0 or ids.max() > _MOST_ID):
        raise InputError(f"holds a token id below 0 or above {_MOST_ID}", file=path)
    mask = tensors.get("mask", np.ones(tokens, np.uint8))
    finish = tensors.get("finish", np.zeros(sequences, np.uint8))
    if len(mask) != tokens or len(finish) != sequences:
        raise InputError("mask or finish does not fit its ids", file=path)
    return Sequences(
        token_ids=ids,
        offsets=offsets,
        prompt_lengths=prompt_lengths,
        mask=mask,
        finish=finish,
    )


def _fit(offsets: Array, prompt_lengths: Array, tokens: int) -> bool:
    """Offsets ascend from 0 to ``tokens``, and no prompt is longer than its
    sequence.
    """
    if len(offsets) != len(prompt_lengths) + 1:
        return False
    if offsets[0] != 0 or offsets[-1] != tokens:
        return False
    # What does not ascend may overflow when it is subtracted.
    if (offsets[1:] < offsets[:-1]).any():
        return False
    lengths = np.diff(offsets)
    fits = (prompt_lengths >= 0) & (prompt_lengths <= lengths)
    return bool(fits.all())


def _joined(arrays: Sequence[Array], dtype: Any) -> Array:
    if len(arrays) == 1:
        return arrays[0].astype(dtype, copy=False)
    whole = np.concatenate([*arrays, np.empty(0, dtype)])
    return whole.astype(dtype, copy=False)


# ---- captures


def check_capture(
    folder: Path, info: CaptureInfo, parts: Sequence[Tensors], sequences: Sequences
) -> None:
    """Every part of a capture fits the sequences, and all have the same number of
    alternatives. Raises InputError.
    """
    for part, tensors in zip(info.parts, parts, strict=True):
        _check_rows(folder / part.file, tensors, sequences, part)
    for part, tensors in zip(info.parts, parts, strict=True):
        _, width = parts[0]["top_ids"].shape
        _check_widths(folder / part.file, tensors, width)


def _check_rows(path: Path, tensors: Tensors, sequences: Sequences, part: Part) -> None:
    """A capture part must have one row for each token of its sequences: anything else
    would misplace numbers.
    """
    first = part.first_sequence
    stop = first + part.sequences
    if stop > len(sequences):
        raise InputError(
            f"scores sequences up to {stop}, the session has {len(sequences)}",
            file=path,
        )
    expected = int(sequences.offsets[stop] - sequences.offsets[first])
    for name, tensor in tensors.items():
        if len(tensor) != expected:
            raise InputError(
                f"{name} has {len(tensor)} rows for {expected} tokens", file=path
            )
    if part.tokens != expected:
        raise InputError(
            f"has {expected} tokens, {MANIFEST} lists {part.tokens}", file=path
        )


def _check_widths(path: Path, tensors: Tensors, width: int) -> None:
    """A part keeps ``width`` alternatives, with one log-probability for each."""
    _, ids = tensors["top_ids"].shape
    _, logprobs = tensors["top_logprobs"].shape
    if ids != width or logprobs != width:
        raise InputError(
            f"top_ids and top_logprobs have {ids} and {logprobs} columns, {width} are"
            " expected",
            file=path,
        )


def column_of(
    name: str, parts: Sequence[Tensors], trusted: Callable[[], None]
) -> Column:
    """A column of all parts; ``trusted`` is called before one is read."""
    return Column([tensors[name] for tensors in parts], trusted, RANGES.get(name))


def entropy_column(
    parts: Sequence[Tensors], trusted: Callable[[], None]
) -> Column | None:
    """The entropies; None where a part has none."""
    if not parts or any("entropy" not in tensors for tensors in parts):
        return None
    return column_of("entropy", parts, trusted)


def nan_column(parts: Sequence[Tensors], trusted: Callable[[], None]) -> Column | None:
    """The flags of all parts; a part without the tensor has nothing to flag."""
    if not any("nan" in tensors for tensors in parts):
        return None
    columns = []
    for tensors in parts:
        rows = len(tensors["logprob"])
        no_flags = np.broadcast_to(np.uint8(0), rows)
        columns.append(tensors.get("nan", no_flags))
    return Column(columns, trusted)
