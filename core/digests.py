"""Digests of a model folder: which weights, tokenizer and configuration the numbers of
a session belong to.

Standard library only and streaming, so the tool needs no torch and a 100 GB folder
needs no memory. All digests are ``sha256:`` and 64 hex digits; None means it could not
be observed.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

_BLOCK = 1 << 20
_MAX_HEADER = 100_000_000  # the limit of the safetensors format itself
_LIMIT = 8 << 30
_PER_MACHINE = ("_name_or_path", "transformers_version")


def file_digest(path: Path) -> str:
    """Digest of the bytes of one file. Raises OSError."""
    with path.open("rb") as file:
        hasher = hashlib.sha256()
        while block := file.read(_BLOCK):
            hasher.update(block)
    return f"sha256:{hasher.hexdigest()}"


def weights_digest(folder: Path) -> str | None:
    """Digest of all safetensors weights: name, dtype, shape and bytes of each tensor,
    in order of names.

    How the tensors are spread over files and what a writer puts into file headers does
    not change it. None if the folder has no safetensors weights or they cannot be read
    whole.
    """
    try:
        files = _weight_files(folder)
        tensors = {
            name: (file, *entry)
            for file in files
            for name, entry in _tensors(file).items()
        }
        if not tensors:
            return None
        hasher = hashlib.sha256()
        handles: dict[Path, BinaryIO] = {}
        try:
            for name in sorted(tensors):
                file, dtype, shape, start, stop = tensors[name]
                hasher.update(json.dumps([name, dtype, shape]).encode())
                handle = handles.get(file) or handles.setdefault(file, file.open("rb"))
                _update(hasher, handle, start, stop)
        finally:
            for handle in handles.values():
                handle.close()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None
    return f"sha256:{hasher.hexdigest()}"


def limited_weights_digest(folder: Path) -> str | None:
    """`weights_digest` of up to 8 GiB, which is a minute of reading at most, not the
    many of a 100 GB model; else None.
    """
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if 0 < size <= _LIMIT:
        return weights_digest(folder)
    return None


def config_digest(folder: Path) -> str | None:
    """Digest of ``config.json`` as canonical JSON, without where it was loaded from and
    which library wrote it.
    """
    try:
        data = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key not in _PER_MACHINE}
    return f"sha256:{hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()}"


def tokenizer_digest(folder: Path) -> str | None:
    """Digest of what decides which text an id is, and of how text is cut. Neither the
    chat template nor the BOS is.

    ``tokenizer.json`` counts by content: saving a tokenizer that has once padded or
    truncated writes that into the file, and releases of `tokenizers` write merges as
    pairs or as text. Without it, the other files count by bytes.
    """
    try:
        if (folder / "tokenizer.json").is_file():
            found: Any = _tokenizer_content(
                json.loads((folder / "tokenizer.json").read_bytes())
            )
        else:
            names = [
                "added_tokens.json",
                "merges.txt",
                "special_tokens_map.json",
                "tekken.json",
                "tokenizer.model",
                "tokenizer_config.json",
                "vocab.json",
                "vocab.txt",
            ]
            found = [
                (name, file_digest(folder / name))
                for name in names
                if (folder / name).is_file()
            ]
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None
    text = json.dumps(found, sort_keys=True)
    if found:
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return None


def _tokenizer_content(data: dict[str, Any]) -> dict[str, Any]:
    model = dict(data["model"])
    if "merges" in model:
        model["merges"] = [
            merge if isinstance(merge, str) else " ".join(merge)
            for merge in model["merges"]
        ]
    added = sorted(
        (token["id"], token["content"]) for token in data.get("added_tokens") or ()
    )
    cut = {name: data.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")}
    return {"model": model, "added_tokens": added, **cut}


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        return [folder / name for name in names]
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    return sorted(folder.glob("*.safetensors"))


def _tensors(path: Path) -> dict[str, tuple[str, list[int], int, int]]:
    """{name: (dtype, shape, first byte, end byte)} from the header: u64 length, JSON,
    then the data.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _MAX_HEADER:
            raise ValueError(f"{path.name}: header of {length} bytes")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    base = 8 + length
    return {
        name: (
            entry["dtype"],
            entry["shape"],
            base + entry["data_offsets"][0],
            base + entry["data_offsets"][1],
        )
        for name, entry in header.items()
    }


def _update(hasher: Any, file: BinaryIO, start: int, stop: int) -> None:
    file.seek(start)
    left = stop - start
    while left > 0:
        block = file.read(min(_BLOCK, left))
        if not block:
            raise ValueError("the weights file is shorter than its header says")
        hasher.update(block)
        left -= len(block)
