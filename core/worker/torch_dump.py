"""Reads dumps that slime and miles made with ``torch.save``, and prints what is in them
as JSON, a line each: ``python -I torch_dump.py FILE...``.

Run by path inside the interpreter that holds torch; nothing imports it, and it uses
nothing of logdrift. torch's restricted reader (``weights_only``) builds tensors,
numbers, texts and lists; a file that asks for anything else is refused before it is
opened.

A line is ``{"file": n, "sample": {...}}``, for ranks of one step ``{"file": n, "row":
{...}}``, or ``{"file": n, "refused": reason}``, which is the last.
"""

from __future__ import annotations

import codecs
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

NEEDED = (
    "tokens",
    "response_length",
    "response_lengths",
    "loss_mask",
    "loss_masks",
    "rollout_log_probs",
    "log_probs",
    "entropy",
    "weight_versions",
    "legacy_weight_versions",
    "status",
)
"""What is printed of a sample."""
COLUMNS = (*NEEDED, "sample_indices", "max_seq_lens")
"""What is read of the columns of a rank."""
SLICED = ("log_probs", "rollout_log_probs", "entropy")
"""Fields of which miles' ranks hold their slices."""
_DTYPES = "bBhHiIlLqQefd?"
"""Of numbers and truth values, by NumPy's letters."""
PLAIN = (bool, int, float, str)
OF_OTHER_MODELS = ("ref_log_probs", "teacher_log_probs", "mopd_teacher_log_probs")


_SHOWN_KEYS = 8
_LONGEST_KEY = 40


Message = dict[str, Any]
"""What is printed as one line."""
Columns = Mapping[str, Any]
"""Values by the names of fields: of one sample, or of all that a rank holds."""


class RefusedDump(Exception):
    """Why a file is not read: the reason, with the data that it needs."""

    def __init__(self, reason: str, **data: Any) -> None:
        super().__init__(reason)
        self.data = {"refused": reason, **data}


Slices = dict[int, Any]
"""Those of one field by rank of context parallelism."""


class CallVersions:
    """Stands for miles' ``WeightVersionsPerCall``: its fields without its code."""


class CallSpan:
    """Stands for miles' ``WeightVersionSpan``."""


class Dump(NamedTuple):
    """A loaded file and its number among the arguments."""

    file: int
    data: Columns


def allowed() -> list[Any]:
    """What a file may name beside what torch allows: arrays and numbers of NumPy, and
    stand-ins for two plain records of miles. None of them runs code of the file.
    """
    import numpy as np

    array: Any = np.empty(0)
    number: Any = np.float64(0)
    reconstruct, *_ = array.__reduce__()
    scalar, *_ = number.__reduce__()
    names = [
        (codecs.encode, "_codecs.encode"),
        (np.ndarray, "numpy.ndarray"),
        (np.dtype, "numpy.dtype"),
        (CallVersions, "miles.utils.types.WeightVersionsPerCall"),
        (CallSpan, "miles.utils.types.WeightVersionSpan"),
    ]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names.append((reconstruct, f"{module}._reconstruct"))
        names.append((scalar, f"{module}.scalar"))
    # Some files name the class of a dtype.
    dtypes = map(np.dtype, _DTYPES)
    classes = set(map(type, dtypes))
    return [*names, *classes]


def load(path: Path) -> Columns:
    """A dump as plain data. Raises RefusedDump."""
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    data: Any = None
    with safe_globals(allowed()):
        try:
            asked = get_unsafe_globals_in_checkpoint(str(path))
            if not asked:
                data = torch.load(
                    path,
                    "cpu",
                    weights_only=True,
                    mmap=True,
                )
        except Exception as error:
            kind = type(error).__name__
            raise RefusedDump("damaged", kind=kind) from None
    if asked:
        raise RefusedDump("globals", names=sorted(asked))
    if not isinstance(data, dict):
        kind = type(data).__name__
        raise RefusedDump("other", type=kind, keys=[])
    if "samples" in data or "rollout_data" in data:
        return data
    first_keys = itertools.islice(data, _SHOWN_KEYS)
    keys = [str(key)[:_LONGEST_KEY] for key in first_keys]
    raise RefusedDump("other", type="dict", keys=keys)


def messages(files: Sequence[Path]) -> Iterator[Message]:
    """What is printed: the samples of each file, ranks of one step put side by side.
    Raises RefusedDump.
    """
    numbered = enumerate(files)
    for _, group in itertools.groupby(numbered, _step):
        ranks = []
        for file, path in group:
            try:
                data = load(path)
            except RefusedDump as refused:
                refused.data["file"] = file
                raise
            dump = Dump(file, data)
            if "rollout_data" in data:
                ranks.append(dump)
            else:
                yield from samples(dump)
        yield from rows(ranks)


def _step(entry: tuple[int, Path]) -> tuple[Path, str]:
    """``folder/3_0.pt`` and ``folder/3_1.pt`` are two ranks of one step."""
    _, path = entry
    step, _, rank = path.stem.rpartition("_")
    if rank.isdecimal():
        return path.parent, step
    return path.parent, path.stem


def samples(dump: Dump) -> Iterator[Message]:
    listed = dump.data["samples"]
    if not isinstance(listed, list | tuple):
        raise RefusedDump("samples", file=dump.file)
    are_objects = [isinstance(sample, dict) for sample in listed]
    if not all(are_objects):
        raise RefusedDump("samples", file=dump.file)
    fields = filled(SLICED, listed)
    for index, sample in enumerate(listed):
        others = filled(OF_OTHER_MODELS, [sample])
        yield {
            "file": dump.file,
            "index": index,
            "sample": needed_of(sample),
            "fields": fields,
            "others": others,
        }


def needed_of(sample: Columns) -> Columns:
    """What is printed of a sample."""
    needed = {}
    for key in NEEDED:
        if key in sample:
            value = sample[key]
            needed[key] = plain(value)
    return needed


def filled(keys: Sequence[str], objects: Sequence[Columns]) -> list[str]:
    """Those of ``keys`` under which some object has something."""
    found = []
    for key in keys:
        values = [one.get(key) for one in objects]
        if any(value is not None for value in values):
            found.append(key)
    return found


class Held(NamedTuple):
    """A sample as one rank holds it: a row of the columns of a dump."""

    dump: Dump
    columns: Columns
    row: int

    def value(self, key: str) -> Any:
        """What a column has for the sample; None where there is no such column."""
        column = self.columns.get(key)
        if column is None:
            return None
        return plain(column[self.row])


def rows(ranks: Sequence[Dump]) -> Iterator[Message]:
    """The samples that several ranks hold, each once, with the slices of every rank."""
    places: dict[Any, list[Held]] = {}
    all_columns = []
    for dump in ranks:
        columns = columns_of(dump)
        all_columns.append(columns)
        seen: Counter[Any] = Counter()
        count = len(columns["tokens"])
        for row in range(count):
            held = Held(dump, columns, row)
            tokens = held.value("tokens")
            index = held.value("sample_indices")
            same = (index, tuple(tokens))
            # Two leaves of one rollout may be alike to the last token.
            seen[same] += 1
            key = (same, seen[same])
            of_sample = places.setdefault(key, [])
            of_sample.append(held)
    fields = filled(SLICED, all_columns)
    for of_sample in places.values():
        message = merged(of_sample)
        yield {**message, "fields": fields}


def columns_of(dump: Dump) -> Columns:
    """The columns of a rank. Raises RefusedDump where they are not as many as there are
    sequences.
    """
    columns = dump.data["rollout_data"]
    tokens: Any = None
    if isinstance(columns, dict):
        tokens = columns.get("tokens")
    if not hasattr(tokens, "__len__"):
        raise RefusedDump("columns", file=dump.file, column="tokens")
    count = len(tokens)
    for name in COLUMNS:
        column = columns.get(name)
        if column is not None and len(column) != count:
            raise RefusedDump("columns", file=dump.file, column=name)
    known: Columns = columns
    return known


def merged(ranks: Sequence[Held]) -> Message:
    """One sample: what is whole from its first rank, what is sliced from all."""
    first = ranks[0]
    whole = {}
    for key in NEEDED:
        value = first.value(key)
        if key not in SLICED and value is not None:
            whole[key] = value
    data = first.dump.data
    others = filled(OF_OTHER_MODELS, [first.columns])
    cp_size = data.get("cp_size") or 1
    qkv_format = data.get("qkv_format") or "thd"
    return {
        "file": first.dump.file,
        "index": first.row,
        "row": whole,
        "slices": slices_of(ranks),
        "others": others,
        "cp_size": int(cp_size),
        "qkv_format": qkv_format,
        "max_seq_len": first.value("max_seq_lens"),
    }


def slices_of(ranks: Sequence[Held]) -> Mapping[str, Slices]:
    """The slices of each field by rank of context parallelism. Ranks of tensor
    parallelism hold the same; only the last stage of a pipeline has computed a field.
    """
    slices: dict[str, Slices] = {}
    for held in ranks:
        data = held.dump.data
        cp_rank = int(data.get("cp_rank") or 0)
        for key in SLICED:
            value = held.value(key)
            if value is not None:
                by_rank = slices.setdefault(key, {})
                by_rank.setdefault(cp_rank, value)
    return slices


def plain(value: Any) -> Any:
    """Tensors, arrays and the stand-ins as lists and objects."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, CallVersions | CallSpan):
        return plain(vars(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, PLAIN):
        return value
    return str(type(value))


def main(arguments: Sequence[str]) -> None:
    """Print the messages; what is refused is the last of them."""
    files = [Path(argument) for argument in arguments]
    try:
        for message in messages(files):
            print(json.dumps(message))
    except RefusedDump as refused:
        print(json.dumps(refused.data))


if __name__ == "__main__":
    main(sys.argv[1:])
