"""Writing a session folder: a crash at any instant loses at most the part in flight.

A file is written under a temporary name, flushed to disk, renamed, and only then listed
in the manifest, which is itself replaced by rename. Parts are written by workers, the
manifest only by the supervisor.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_tensors

from logdrift.core.credentials import masked, masked_text, secret_values
from logdrift.core.errors import CannotWrite
from logdrift.core.session import below
from logdrift.core.session.below import folder_at, refuse_links
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.files import (
    NO_ID,
    PIECES_BYTES,
    JsonObject,
    read_json,
    sealed,
    with_digest,
)
from logdrift.core.session.layout import (
    EVENTS,
    MANIFEST,
    PIECES,
    LoadedFile,
    Manifest,
    Part,
)
from logdrift.core.session.loaded import Loaded, entry_of
from logdrift.core.session.lock import Gone, check_held
from logdrift.core.session.message_roles import UNKNOWN
from logdrift.core.session.scores import Array, FlagArray, IdArray

FINISH_CODES = {"unknown": 0, "stop": 1, "length": 2}
"""How a completion ended, as stored in ``finish`` u8[S] of a sequences part."""


def replace_file(
    folder: Path, file: str, data: bytes, token: str | None = None
) -> None:
    """Write ``data`` to ``file`` below ``folder`` atomically: temporary name beside it,
    fsync, rename, fsync of the folder.

    ``folder`` must exist; folders below it are made. No link below it is followed.
    ``token`` is that of the lock under which this is written. Raises LogdriftError
    naming file and reason (disk full, no permission), `lock.Gone` where the folder does
    not hold that lock any more, InputError where a link is in the way; the old file is
    then intact.
    """
    try:
        with folder_at(folder) as at:
            if token is not None:
                check_held(at, folder, token)
            below.replace_file(at, file, data)
    except OSError as error:
        is_locked = token is not None
        if is_locked and not folder.exists():
            raise Gone(folder) from None
        path = folder / file
        reason = error.strerror or error
        raise CannotWrite(
            f"cannot write {path}: {reason}",
            remedy=(
                "what was finished before is kept; fix the disk and go on with --resume"
            ),
        ) from error


def write_part(
    folder: Path,
    file: str,
    tensors: Mapping[str, Array],
    first_sequence: int,
    sequences: int,
    tokens: int,
    token: str | None = None,
) -> Part:
    """Write one safetensors part under ``folder/file`` and return its manifest entry.
    The caller lists it; ``token`` and errors are those of `replace_file`.
    """
    contiguous = {}
    for name, tensor in tensors.items():
        contiguous[name] = np.ascontiguousarray(tensor)
    data = save_tensors(contiguous)
    replace_file(folder, file, data, token)
    digest = hashlib.sha256(data).hexdigest()
    return Part(
        file=file,
        first_sequence=first_sequence,
        sequences=sequences,
        tokens=tokens,
        digest=f"sha256:{digest}",
    )


def write_loaded(
    folder: Path, backend: str, loaded: Loaded, token: str | None = None
) -> LoadedFile:
    """Write what a backend loaded, by name, and return its manifest entry. The caller
    lists it; ``token`` and errors are those of `replace_file`.
    """
    entry, data = entry_of(backend, loaded)
    replace_file(folder, entry.file, data, token)
    return entry


def sequence_tensors(
    token_ids: Sequence[IdArray],
    prompt_lengths: Sequence[int],
    finish: Sequence[str],
    masks: Sequence[FlagArray | None] | None = None,
    roles: Sequence[FlagArray | None] | None = None,
) -> dict[str, Array]:
    """Tensors of a sequences part: token_ids i32[N], offsets i64[S+1], prompt_lengths
    i32[S], mask u8[N], finish u8[S], and roles u8[N] where any sequence has them.
    """
    lengths = [len(ids) for ids in token_ids]
    no_ids = np.empty(0, np.int32)
    ids = np.concatenate([*token_ids, no_ids])
    ends = np.cumsum(lengths)
    offsets = np.concatenate([[0], ends])
    codes = [FINISH_CODES[reason] for reason in finish]
    if not masks:
        masks = [None] * len(lengths)
    tensors: dict[str, Array] = {
        "token_ids": ids.astype(np.int32),
        "offsets": offsets.astype(np.int64),
        "prompt_lengths": np.asarray(prompt_lengths, np.int32),
        "mask": _joined_flags(lengths, masks, 1),
        "finish": np.asarray(codes, np.uint8),
    }
    if roles and any(one is not None for one in roles):
        tensors["roles"] = _joined_flags(lengths, roles, UNKNOWN)
    return tensors


def training_tensors(
    steps: Sequence[int], rewards: Sequence[float]
) -> dict[str, Array]:
    """Tensors of a sequences part that a trainer tells: steps i64[S] and rewards
    f32[S], each where any sequence has one (`contents.NO_STEP`, NaN: unknown).
    """
    all_steps = np.array(steps, np.int64)
    all_rewards = np.array(rewards, np.float32)
    tensors: dict[str, Array] = {}
    if (all_steps != NO_STEP).any():
        tensors["steps"] = all_steps
    if not np.isnan(all_rewards).all():
        tensors["rewards"] = all_rewards
    return tensors


def _joined_flags(
    lengths: Sequence[int], columns: Sequence[FlagArray | None], filler: int
) -> FlagArray:
    """u8[N]; ``filler`` for each token of a sequence that has no column."""
    joined = [np.empty(0, np.uint8)]
    for length, column in zip(lengths, columns, strict=True):
        if column is None:
            column = np.full(length, filler, np.uint8)
        joined.append(column)
    return np.concatenate(joined)


def write_manifest(folder: Path, manifest: Manifest, token: str | None = None) -> None:
    """Replace ``session.json``; ``token`` and errors are those of `replace_file`."""
    content = sealed(manifest.to_json())
    replace_file(folder, MANIFEST, content, token)


def merge_pieces(
    folder: Path, new: Mapping[int, bytes], token: str | None = None
) -> None:
    """Add id -> bytes entries to ``pieces.json``. Written before the part that needs
    them is listed; ``token`` and errors are those of `replace_file`, and InputError
    where what is there is damaged.
    """
    refuse_links(folder, PIECES)
    path = folder / PIECES
    pieces: dict[str, str] = {}
    if path.exists():
        pieces = read_json(path, PIECES_BYTES, flat=True)
        pieces.pop(NO_ID, None)
    known = len(pieces)
    for token_id, piece in new.items():
        encoded = base64.b64encode(piece).decode()
        pieces.setdefault(str(token_id), encoded)
    if len(pieces) > known:
        text = json.dumps(pieces, separators=(",", ":"))
        content = with_digest(text.encode(), NO_ID)
        replace_file(folder, PIECES, content, token)


def append_event(folder: Path, event: JsonObject, token: str | None = None) -> None:
    """Append one line to ``events.jsonl``. Events are narration: a full disk must not
    stop a capture for them.

    Credentials in it are hidden. Raises `lock.Gone` where the folder does not hold the
    lock with this ``token`` any more, InputError where ``events.jsonl`` is a link.
    """
    line = _event_line(event)
    try:
        with folder_at(folder) as at:
            if token is not None:
                check_held(at, folder, token)
            descriptor = below.append(at, EVENTS)
            with open(descriptor, "ab") as file:
                file.write(line)
    except OSError:
        is_locked = token is not None
        if is_locked and not folder.exists():
            raise Gone(folder) from None


def _event_line(event: JsonObject) -> bytes:
    """An event as its line of the file, with credentials hidden."""
    safe = {}
    for name, value in event.items():
        without_known = _without_known(value)
        safe[name] = masked(without_known, name)
    text = json.dumps(safe, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _without_known(value: Any) -> Any:
    """A text with the credentials of the environment hidden; other values as they
    are.
    """
    if not isinstance(value, str):
        return value
    secrets = secret_values(os.environ)
    return masked_text(value, secrets)
