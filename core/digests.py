"""Digests of a model folder: its weights, its tokenizer and its configuration.

They say which model the numbers of a session belong to. Standard library only, and
files are read in blocks: no torch is needed, and a 100 GB folder needs no memory. A
digest is ``sha256:`` and 64 hex digits; None means that it could not be observed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_BLOCK = 1 << 20
_MAX_HEADER = 100_000_000  # the limit of the safetensors format itself
_LIMIT = 8 << 30
_PER_MACHINE = ("_name_or_path", "transformers_version")
"""Fields of a config that depend on where it was saved and by which version."""
_TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tekken.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)


class _Tensor(NamedTuple):
    """Where a tensor is stored: bytes ``start`` to ``stop`` of ``file``."""

    file: Path
    dtype: str
    shape: list[int]
    start: int
    stop: int


def file_digest(path: Path) -> str:
    """Digest of the bytes of one file. Raises OSError."""
    with path.open("rb") as file:
        hasher = hashlib.sha256()
        while block := file.read(_BLOCK):
            hasher.update(block)
    return f"sha256:{hasher.hexdigest()}"


def weights_digest(folder: Path) -> str | None:
    """Digest of the safetensors weights of a folder.

    It covers name, dtype, shape and bytes of each tensor, in order of names. How the
    tensors are spread over files and what a writer puts into file headers does not
    change it. None if the folder has no safetensors weights or they are incomplete.
    """
    try:
        tensors: dict[str, _Tensor] = {}
        for file in _weight_files(folder):
            tensors.update(_tensors(file))
        if not tensors:
            return None
        return _digest_of_tensors(tensors)
    except (*_UNREADABLE, struct.error):
        return None


def _digest_of_tensors(tensors: dict[str, _Tensor]) -> str:
    hasher = hashlib.sha256()
    with contextlib.ExitStack() as stack:
        open_files: dict[Path, BinaryIO] = {}
        for name in sorted(tensors):
            tensor = tensors[name]
            if tensor.file not in open_files:
                file = stack.enter_context(tensor.file.open("rb"))
                open_files[tensor.file] = file
            description = json.dumps([name, tensor.dtype, tensor.shape])
            hasher.update(description.encode())
            _update(hasher, open_files[tensor.file], tensor.start, tensor.stop)
    return f"sha256:{hasher.hexdigest()}"


def limited_weights_digest(folder: Path) -> str | None:
    """`weights_digest` of up to 8 GiB of weights, else None.

    Reading so much takes a minute at most; a 100 GB model would take many.
    """
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if 0 < size <= _LIMIT:
        return weights_digest(folder)
    return None


def config_digest(folder: Path) -> str | None:
    """Digest of ``config.json`` as canonical JSON, without `_PER_MACHINE`."""
    try:
        data = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key not in _PER_MACHINE}
    return _json_digest(data)


def tokenizer_digest(folder: Path) -> str | None:
    """Digest of what maps text to ids and back; chat template and BOS do not count.

    ``tokenizer.json`` counts by content: saving a tokenizer that has once padded or
    truncated writes that into the file, and releases of `tokenizers` write merges as
    pairs or as text. Without it, the other files count by bytes.
    """
    content: Any
    try:
        whole = folder / "tokenizer.json"
        if whole.is_file():
            content = _tokenizer_content(json.loads(whole.read_bytes()))
        else:
            files = [folder / name for name in _TOKENIZER_FILES]
            content = [(f.name, file_digest(f)) for f in files if f.is_file()]
    except _UNREADABLE:
        return None
    if not content:
        return None
    return _json_digest(content)


def _json_digest(value: Any) -> str:
    """The digest of a value however its file was written: sorted keys, no layout."""
    text = json.dumps(value, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _tokenizer_content(data: dict[str, Any]) -> dict[str, Any]:
    model = dict(data["model"])
    if "merges" in model:
        model["merges"] = [_merge_text(merge) for merge in model["merges"]]
    added = data.get("added_tokens") or ()
    return {
        "model": model,
        "added_tokens": sorted((token["id"], token["content"]) for token in added),
        "normalizer": data.get("normalizer"),
        "pre_tokenizer": data.get("pre_tokenizer"),
        "decoder": data.get("decoder"),
    }


def _merge_text(merge: str | list[str]) -> str:
    if isinstance(merge, str):
        return merge
    return " ".join(merge)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = json.loads(index.read_bytes())["weight_map"]
        return [folder / name for name in sorted(set(weight_map.values()))]
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    return sorted(folder.glob("*.safetensors"))


def _tensors(path: Path) -> dict[str, _Tensor]:
    """The tensors of a safetensors file by name, from its header.

    The format: length of the header as u64, the header as JSON, then the data.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _MAX_HEADER:
            raise ValueError(f"{path.name}: header of {length} bytes")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    base = 8 + length
    tensors = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        tensors[name] = _Tensor(
            file=path,
            dtype=entry["dtype"],
            shape=entry["shape"],
            start=base + start,
            stop=base + stop,
        )
    return tensors


def _update(hasher: Any, file: BinaryIO, start: int, stop: int) -> None:
    file.seek(start)
    left = stop - start
    while left > 0:
        block = file.read(min(_BLOCK, left))
        if not block:
            raise ValueError("the weights file is shorter than its header says")
        hasher.update(block)
        left -= len(block)
