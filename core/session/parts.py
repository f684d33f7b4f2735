"""Parts on disk: their tensors, and the checks that every part has to pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.contents import NO_STEP, Sequences
from logdrift.core.session.files import lies_within
from logdrift.core.session.layout import MANIFEST, CaptureInfo, Part
from logdrift.core.session.tensors import (
    Column,
    Renumbered,
    Rows,
    StoredTensor,
    stored_tensors,
)

if TYPE_CHECKING:
    # Not imported to open a session: together a tenth of what that costs.
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Arrays = Mapping[str, Array]

Tensors = Mapping[str, StoredTensor]
Check = Callable[[], None]
"""Called before a part is read; raises InputError where it is known to be damaged."""
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
        "roles": TensorKind(1, _FLAGS),
        "steps": TensorKind(1, ("int64",)),
        "rewards": TensorKind(1, ("float32",)),
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
        "versions": TensorKind(1, _TOKEN_IDS),
    },
    needed=("logprob", "rank", "top_ids", "top_logprobs"),
)
RANGES = {
    "logprob": (-65504.0, 65504.0),
    "top_logprobs": (-65504.0, 65504.0),
    "entropy": (-1.0, 65504.0),
}
"""Lowest and highest finite value, in nats.

65504 is the largest finite float16. What lies beyond came from no softmax, and
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
    tensors = {}
    for name, tensor in stored_tensors(path).items():
        if name in form.tensors:
            tensors[name] = tensor
    for name in form.needed:
        if name not in tensors:
            raise InputError(f"has no tensor {name!r}", file=path)
    for name, tensor in tensors.items():
        kind = form.tensors[name]
        _check_kind(name, tensor, kind, path)
    return tensors


def _check_kind(name: str, tensor: StoredTensor, kind: TensorKind, path: Path) -> None:
    dtype = tensor.dtype.name
    dimensions = tensor.ndim
    has_dimensions = dimensions == kind.dimensions
    if has_dimensions and dtype in kind.dtypes:
        return
    raise InputError(
        f"{name} is {dtype} with {dimensions} dimensions, not"
        f" {kind.dtypes[0]} with {kind.dimensions}",
        file=path,
    )


# ---- sequences


def join_sequences(
    folder: Path, listed: Sequence[Part], parts: Sequence[Arrays]
) -> Sequences:
    """The sequences of all parts, after each was checked against itself and against
    what the manifest lists. Raises InputError.
    """
    checked = []
    for part, tensors in zip(listed, parts, strict=True):
        path = folder / part.file
        sequences = _checked_sequences(path, part, tensors)
        checked.append(sequences)
    token_ids = [one.token_ids for one in checked]
    lengths = [np.diff(one.offsets) for one in checked]
    prompt_lengths = [one.prompt_lengths for one in checked]
    masks = [one.mask for one in checked]
    finish = [one.finish for one in checked]
    all_lengths = _joined(lengths, np.int64)
    ends = np.cumsum(all_lengths)
    offsets = np.concatenate([[0], ends])
    return Sequences(
        token_ids=_joined(token_ids, np.int32),
        offsets=offsets.astype(np.int64),
        prompt_lengths=_joined(prompt_lengths, np.int32),
        mask=_joined(masks, np.uint8),
        finish=_joined(finish, np.uint8),
        roles=_joined_roles(checked),
        steps=_joined_known([one.steps for one in checked], lengths, NO_STEP),
        rewards=_joined_known([one.rewards for one in checked], lengths, np.nan),
    )


def _joined_known(
    columns: Sequence[Array | None], lengths: Sequence[Array], unknown: float
) -> Array | None:
    """One value a sequence, ``unknown`` where a part has none; None where no part
    has.
    """
    known = [column for column in columns if column is not None]
    if not known:
        return None
    filled = []
    for column, of_part in zip(columns, lengths, strict=True):
        if column is None:
            column = np.full(len(of_part), unknown, known[0].dtype)
        filled.append(column)
    return np.concatenate(filled)


def _joined_roles(parts: Sequence[Sequences]) -> Array | None:
    """The roles of all parts, unknown where a part has none; None where no part has."""
    if all(part.roles is None for part in parts):
        return None
    columns = []
    for part in parts:
        roles = part.roles
        if roles is None:
            roles = np.zeros(part.tokens, np.uint8)
        columns.append(roles)
    return _joined(columns, np.uint8)


def _checked_sequences(path: Path, part: Part, tensors: Arrays) -> Sequences:
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
    counts = (sequences, tokens)
    if counts != (part.sequences, part.tokens):
        raise InputError(
            f"has {sequences} sequences with {tokens} tokens, {MANIFEST}"
            f" lists {part.sequences} with {part.tokens}",
            file=path,
        )
    if not _are_ids(ids):
        raise InputError(f"holds a token id below 0 or above {_MOST_ID}", file=path)
    everything = np.ones(tokens, np.uint8)
    unknown = np.zeros(sequences, np.uint8)
    mask = tensors.get("mask", everything)
    finish = tensors.get("finish", unknown)
    mask_fits = len(mask) == tokens
    finish_fits = len(finish) == sequences
    if not mask_fits or not finish_fits:
        raise InputError("mask or finish does not fit its ids", file=path)
    roles = tensors.get("roles")
    if roles is not None and len(roles) != tokens:
        raise InputError("roles do not fit its ids", file=path)
    steps = tensors.get("steps")
    rewards = tensors.get("rewards")
    for column in (steps, rewards):
        if column is not None and len(column) != sequences:
            raise InputError("steps or rewards do not fit its sequences", file=path)
    return Sequences(
        token_ids=ids,
        offsets=offsets,
        prompt_lengths=prompt_lengths,
        mask=mask,
        finish=finish,
        roles=roles,
        steps=steps,
        rewards=rewards,
    )


def _are_ids(values: Array) -> bool:
    """All values are possible ids of tokens."""
    if not len(values):
        return True
    lowest = values.min()
    highest = values.max()
    return bool(lowest >= 0 and highest <= _MOST_ID)


def _fit(offsets: Array, prompt_lengths: Array, tokens: int) -> bool:
    """Offsets ascend from 0 to ``tokens``, and no prompt is longer than its
    sequence.
    """
    sequences = len(prompt_lengths)
    if len(offsets) != sequences + 1:
        return False
    if offsets[0] != 0:
        return False
    if offsets[-1] != tokens:
        return False
    # What does not ascend may overflow when it is subtracted.
    starts = offsets[:-1]
    stops = offsets[1:]
    if (stops < starts).any():
        return False
    lengths = stops - starts
    is_positive = prompt_lengths >= 0
    is_within = prompt_lengths <= lengths
    fits = is_positive & is_within
    return bool(fits.all())


def _joined(arrays: Sequence[Array], dtype: Any) -> Array:
    if len(arrays) == 1:
        (array,) = arrays
        return array.astype(dtype, copy=False)
    # With none of its own, the array has a dtype all the same.
    nothing = np.empty(0, dtype)
    whole = np.concatenate([*arrays, nothing])
    return whole.astype(dtype, copy=False)


# ---- captures


def check_capture(
    folder: Path, info: CaptureInfo, parts: Sequence[Tensors], sequences: Sequences
) -> None:
    """Every part of a capture fits the sequences, and all have the same number of
    alternatives. Raises InputError.
    """
    pairs = zip(info.parts, parts, strict=True)
    listed = list(pairs)
    for part, tensors in listed:
        path = folder / part.file
        _check_rows(path, tensors, sequences, part)
    for part, tensors in listed:
        path = folder / part.file
        first_ids = parts[0]["top_ids"]
        _check_widths(path, tensors, first_ids.shape[1])


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
    start_token = int(sequences.offsets[first])
    stop_token = int(sequences.offsets[stop])
    expected = stop_token - start_token
    for name, tensor in tensors.items():
        rows = len(tensor)
        if rows != expected:
            raise InputError(f"{name} has {rows} rows for {expected} tokens", file=path)
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


def column_of(name: str, parts: Sequence[Tensors], before_read: Check) -> Column:
    """A column of all parts; ``before_read`` is called before one is read."""
    tensors = [part[name] for part in parts]
    limits = RANGES.get(name)
    return Column(tensors, before_read, limits)


def entropy_column(parts: Sequence[Tensors], before_read: Check) -> Column | None:
    """The entropies; None where a part has none."""
    if not parts:
        return None
    all_have_it = all("entropy" in tensors for tensors in parts)
    if not all_have_it:
        return None
    return column_of("entropy", parts, before_read)


def nan_column(parts: Sequence[Tensors], before_read: Check) -> Column | None:
    """The flags of all parts; a part without the tensor has nothing to flag."""
    have_nan = ["nan" in tensors for tensors in parts]
    if not any(have_nan):
        return None
    columns = []
    for tensors in parts:
        rows = len(tensors["logprob"])
        zero = np.uint8(0)
        no_flags = np.broadcast_to(zero, rows)
        flags = tensors.get("nan", no_flags)
        columns.append(flags)
    return Column(columns, before_read)


def versions_column(
    listed: Sequence[Part], parts: Sequence[Tensors], before_read: Check
) -> tuple[Column | None, tuple[str, ...]]:
    """The version of each token as a place in the names of all parts, and these names;
    a part without the tensor knows none.
    """
    have_versions = ["versions" in tensors for tensors in parts]
    if not any(have_versions):
        return None, ()
    # Imported here: most sessions open without it.
    from logdrift.core.session.weight_versions import UNKNOWN_VERSION

    places: dict[str, int] = {}
    for part in listed:
        for name in part.versions:
            places.setdefault(name, len(places))
    columns: list[Rows] = []
    for part, tensors in zip(listed, parts, strict=True):
        rows = len(tensors["logprob"])
        unknown = np.int32(UNKNOWN_VERSION)
        column: Rows = np.broadcast_to(unknown, rows)
        if "versions" in tensors:
            own_places = [places[name] for name in part.versions]
            column = Renumbered(tensors["versions"], own_places)
        columns.append(column)
    return Column(columns, before_read), tuple(places)
