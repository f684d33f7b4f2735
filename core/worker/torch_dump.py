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
SLICED = ("log_probs", "rollout_log_probs", "entropy")
"""Fields of which miles' ranks hold their slices."""
OF_OTHER_MODELS = ("ref_log_probs", "teacher_log_probs", "mopd_teacher_log_probs")


class RefusedDump(Exception):
    """Why a file is not read: the reason, with the data that it needs."""

    def __init__(self, reason: str, **data: Any) -> None:
        super().__init__(reason)
        self.data = {"refused": reason, **data}


class CallVersions:
    """Stands for miles' ``WeightVersionsPerCall``: its fields without its code."""


class CallSpan:
    """Stands for miles' ``WeightVersionSpan``."""


class Dump(NamedTuple):
    """A loaded file and its number among the arguments."""

    file: int
    data: Mapping[str, Any]


def allowed() -> list[Any]:
    """What a file may name beside what torch allows: arrays and numbers of NumPy, and
    stand-ins for two plain records of miles. None of them runs code of the file.
    """
    import numpy as np

    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
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
    # The class of a dtype, which some files name.
    classes = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + "efd?"}
    return [*names, *classes]


def load(path: Path) -> Mapping[str, Any]:
    """A dump as plain data. Raises RefusedDump."""
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    with safe_globals(allowed()):
        try:
            asked = get_unsafe_globals_in_checkpoint(str(path))
        except Exception as error:
            raise RefusedDump("damaged", kind=type(error).__name__) from None
        if asked:
            raise RefusedDump("globals", names=sorted(asked))
        try:
            data: Any = torch.load(path, "cpu", weights_only=True, mmap=True)
        except Exception as error:
            raise RefusedDump("damaged", kind=type(error).__name__) from None
    is_dump = isinstance(data, dict) and ("samples" in data or "rollout_data" in data)
    if not is_dump:
        raise RefusedDump("other", type=type(data).__name__, keys=keys_of(data))
    return dict(data)


def keys_of(data: Any) -> list[str]:
    if isinstance(data, dict):
        return [str(key)[:40] for key in itertools.islice(data, 8)]
    return []


def messages(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """What is printed: the samples of each file, ranks of one step put side by side.
    Raises RefusedDump.
    """
    for _, group in itertools.groupby(enumerate(files), _step):
        ranks = []
        for file, path in group:
            try:
                dump = Dump(file, load(path))
            except RefusedDump as refused:
                refused.data["file"] = file
                raise
            if "rollout_data" in dump.data:
                ranks.append(dump)
            else:
                yield from samples(dump)
        yield from rows(ranks)


def _step(entry: tuple[int, Path]) -> tuple[Path, str]:
    """``folder/3_0.pt`` and ``folder/3_1.pt`` are two ranks of one step."""
    _, path = entry
    step, _, rank = path.stem.rpartition("_")
    return path.parent, step if rank.isdecimal() else path.stem


def samples(dump: Dump) -> Iterator[dict[str, Any]]:
    listed = dump.data["samples"]
    if not isinstance(listed, list | tuple):
        raise RefusedDump("samples", file=dump.file)
    if not all(isinstance(sample, dict) for sample in listed):
        raise RefusedDump("samples", file=dump.file)
    fields = [key for key in SLICED if any(one.get(key) is not None for one in listed)]
    for index, sample in enumerate(listed):
        others = [key for key in OF_OTHER_MODELS if sample.get(key) is not None]
        yield {
            "file": dump.file,
            "index": index,
            "sample": {key: plain(sample[key]) for key in NEEDED if key in sample},
            "fields": fields,
            "others": others,
        }


def rows(ranks: Sequence[Dump]) -> Iterator[dict[str, Any]]:
    """The samples that several ranks hold, each once, with the slices of every rank."""
    places: dict[Any, list[tuple[Dump, int]]] = {}
    for dump in ranks:
        seen: dict[Any, int] = {}
        columns = columns_of(dump)
        for row, tokens in enumerate(columns["tokens"]):
            indices = columns.get("sample_indices")
            index = None if indices is None else plain(indices[row])
            same = (index, tuple(plain(tokens)))
            seen[same] = seen.get(same, 0) + 1
            places.setdefault((same, seen[same]), []).append((dump, row))
    fields = []
    for key in SLICED:
        if any(dump.data["rollout_data"].get(key) is not None for dump in ranks):
            fields.append(key)
    for held in places.values():
        yield {**merged(held), "fields": fields}


def columns_of(dump: Dump) -> Mapping[str, Any]:
    """The columns of a rank. Raises RefusedDump where they are not as many as there are
    sequences.
    """
    columns = dump.data["rollout_data"]
    if not isinstance(columns, dict) or not hasattr(columns.get("tokens"), "__len__"):
        raise RefusedDump("columns", file=dump.file, column="tokens")
    count = len(columns["tokens"])
    for name in (*NEEDED, "sample_indices", "max_seq_lens"):
        column = columns.get(name)
        if column is not None and len(column) != count:
            raise RefusedDump("columns", file=dump.file, column=name)
    return columns


def merged(held: Sequence[tuple[Dump, int]]) -> dict[str, Any]:
    """One sample: what is whole from its first rank, what is sliced from all."""
    first, at = held[0]
    columns = first.data["rollout_data"]
    fields = {}
    for key in NEEDED:
        if key not in SLICED and columns.get(key) is not None:
            fields[key] = plain(columns[key][at])
    slices: dict[str, dict[int, Any]] = {}
    for dump, row in held:
        own = dump.data["rollout_data"]
        cp_rank = int(dump.data.get("cp_rank") or 0)
        for key in SLICED:
            # Only the last stage of a pipeline has computed a field.
            if own.get(key) is not None:
                slices.setdefault(key, {}).setdefault(cp_rank, plain(own[key][row]))
    longest = columns.get("max_seq_lens")
    others = [key for key in OF_OTHER_MODELS if columns.get(key) is not None]
    return {
        "file": first.file,
        "index": at,
        "row": fields,
        "slices": slices,
        "others": others,
        "cp_size": int(first.data.get("cp_size") or 1),
        "qkv_format": first.data.get("qkv_format") or "thd",
        "max_seq_len": None if longest is None else int(longest[at]),
    }


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
    if value is None or isinstance(value, bool | int | float | str):
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
