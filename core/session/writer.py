"""Writing a session folder so that a crash at any instant loses at most the part in flight.

A file is written under a temporary name, flushed to disk, renamed, and only then listed in the manifest,
which is itself replaced by rename. Parts are written by workers, the manifest only by the supervisor.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save as save_tensors

from core.errors import LogdriftError
from core.session.layout import EVENTS, MANIFEST, PIECES, Manifest, Part

FINISH_CODES = {"unknown": 0, "stop": 1, "length": 2}
"""How a completion ended, as stored in ``finish`` u8[S] of a sequences part."""


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically: temporary name in the same folder, fsync, rename, fsync of the folder.

    Raises LogdriftError naming file and reason (disk full, no permission); the old file is then intact.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise LogdriftError(
            f"cannot write {path}: {error.strerror or error}: what was finished before is kept; "
            "mend the disk and go on with --resume"
        ) from error


def _sync_folder(folder: Path) -> None:
    # The rename itself is only durable once the folder is; some network file systems refuse this and need no help.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_part(
    folder: Path, file: str, tensors: Mapping[str, npt.NDArray[Any]], first_sequence: int, sequences: int, tokens: int
) -> Part:
    """Write one safetensors part under ``folder/file`` and return its manifest entry. The caller lists it."""
    data = save_tensors({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    replace_file(folder / file, data)
    return Part(file, first_sequence, sequences, tokens, "sha256:" + hashlib.sha256(data).hexdigest())


def sequence_tensors(
    token_ids: Sequence[npt.NDArray[np.int32]],
    prompt_lengths: Sequence[int],
    finish: Sequence[str],
    masks: Sequence[npt.NDArray[np.uint8] | None] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Tensors of a sequences part: token_ids i32[N], offsets i64[S+1], prompt_lengths i32[S], mask u8[N], finish u8[S]."""
    lengths = [len(ids) for ids in token_ids]
    given = masks if masks is not None else [None] * len(token_ids)
    return {
        "token_ids": np.concatenate([*token_ids, np.empty(0, np.int32)]).astype(np.int32),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "prompt_lengths": np.asarray(prompt_lengths, np.int32),
        "mask": np.concatenate(
            [np.ones(n, np.uint8) if m is None else m for n, m in zip(lengths, given, strict=True)]
            + [np.empty(0, np.uint8)]
        ),
        "finish": np.asarray([FINISH_CODES[f] for f in finish], np.uint8),
    }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace ``session.json``."""
    text = json.dumps(manifest.to_json(), ensure_ascii=False, indent=1)
    replace_file(folder / MANIFEST, text.encode("utf-8", "backslashreplace"))


def merge_pieces(folder: Path, new: Mapping[int, bytes]) -> None:
    """Add id -> bytes entries to ``pieces.json``. Written before the part that needs them is listed."""
    path = folder / PIECES
    known: dict[str, str] = json.loads(path.read_bytes()) if path.exists() else {}
    added = {str(i): base64.b64encode(piece).decode() for i, piece in new.items() if str(i) not in known}
    if added:
        replace_file(path, json.dumps({**known, **added}, separators=(",", ":")).encode())


def append_event(folder: Path, event: Mapping[str, Any]) -> None:
    """Append one line to ``events.jsonl``. Events are narration: a full disk must not stop a capture for them."""
    line = json.dumps(event, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    with contextlib.suppress(OSError), open(folder / EVENTS, "ab") as file:
        file.write(line)
