"""Parts on disk: which tensors they hold, and the checks that every part has to pass
before a number of it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
_MOST_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PartFormat:
    """Dimensions and dtypes of what a part may hold, by name, and what it must hold;
    other tensors are of a newer version.
    """

    tensors: Mapping[str, tuple[int, tuple[str, ...]]]
    needed: tuple[str, ...]


SEQUENCES_PART = PartFormat(
    {
        "token_ids": (1, _TOKEN_IDS),
        "offsets": (1, _TOKEN_IDS),
        "prompt_lengths": (1, _TOKEN_IDS),
        "mask": (1, ("uint8",)),
        "finish": (1, ("uint8",)),
    },
    needed=("token_ids", "offsets", "prompt_lengths"),
)
CAPTURE_PART = PartFormat(
    {
        "logprob": (1, _SCORES),
        "rank": (1, _TOKEN_IDS),
        "top_ids": (2, _TOKEN_IDS),
        "top_logprobs": (2, _SCORES),
        "entropy": (1, _SCORES),
        "nan": (1, ("uint8",)),
    },
    needed=("logprob", "rank", "top_ids", "top_logprobs"),
)
RANGES = {
    "logprob": (-65504.0, 65504.0),
    "top_logprobs": (-65504.0, 65504.0),
    "entropy": (-1.0, 65504.0),
}
"""What a finite number may be, in nats. A log-probability is at most 0, but for the
rounding of 16 bits, whose largest number is 65504: what lies beyond came from no
softmax, and overflows in what is made of it.
"""


def stored_part(folder: Path, part: Part, form: PartFormat) -> dict[str, StoredTensor]:
    """The tensors of a part that this version knows, of the dtypes that they have by
    the format. Raises InputError.
    """
    path = folder / part.file
    if not lies_within(path, folder):
        raise InputError("leads out of the session folder", file=path)
    tensors = {
        name: tensor
        for name, tensor in stored_tensors(path).items()
        if name in form.tensors
    }
    for name in form.needed:
        if name not in tensors:
            raise InputError(f"has no tensor {name!r}", file=path)
    for name, tensor in tensors.items():
        dimensions, dtypes = form.tensors[name]
        if tensor.ndim != dimensions or tensor.dtype.name not in dtypes:
            raise InputError(
                f"{name} is {tensor.dtype.name} with {tensor.ndim} dimensions, not"
                f" {dtypes[0]} with {dimensions}",
                file=path,
            )
    return tensors


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
    return Sequences(
        token_ids=_joined([one.token_ids for one in pieces], np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        prompt_lengths=_joined([one.prompt_lengths for one in pieces], np.int32),
        mask=_joined([one.mask for one in pieces], np.uint8),
        finish=_joined([one.finish for one in pieces], np.uint8),
    )


def _checked_sequences(
    path: Path, part: Part, tensors: Mapping[str, Array]
) -> Sequences:
    ids = tensors["token_ids"]
    prompt_lengths = tensors["prompt_lengths"]
    if not _fit(tensors["offsets"], prompt_lengths, len(ids)):
        raise InputError("offsets and prompt lengths do not fit its ids", file=path)
    if len(prompt_lengths) != part.sequences or len(ids) != part.tokens:
        raise InputError(
            f"has {len(prompt_lengths)} sequences with {len(ids)} tokens, {MANIFEST}"
            f" lists {part.sequences} with {part.tokens}",
            file=path,
        )
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) <= _MOST_ID:
        raise InputError(f"holds a token id below 0 or above {_MOST_ID}", file=path)
    mask = tensors.get("mask", np.ones(len(ids), np.uint8))
    finish = tensors.get("finish", np.zeros(len(prompt_lengths), np.uint8))
    if len(mask) != len(ids) or len(finish) != len(prompt_lengths):
        raise InputError("mask or finish does not fit its ids", file=path)
    return Sequences(ids, tensors["offsets"], prompt_lengths, mask, finish)


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
    return not ((prompt_lengths < 0).any() or (prompt_lengths > lengths).any())


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
        _check_widths(folder / part.file, tensors, parts[0]["top_ids"].shape[1])


def _check_rows(path: Path, tensors: Tensors, sequences: Sequences, part: Part) -> None:
    """A capture part must have one row for each token of its sequences: anything else
    would misplace numbers.
    """
    last = part.first_sequence + part.sequences
    if last > len(sequences):
        raise InputError(
            f"scores sequences up to {last}, the session has {len(sequences)}",
            file=path,
        )
    expected = int(sequences.offsets[last] - sequences.offsets[part.first_sequence])
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
    ids = tensors["top_ids"].shape[1]
    logprobs = tensors["top_logprobs"].shape[1]
    if (ids, logprobs) != (width, width):
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
    no_flag = np.uint8(0)
    columns = [
        tensors.get("nan", np.broadcast_to(no_flag, len(tensors["logprob"])))
        for tensors in parts
    ]
    return Column(columns, trusted)
