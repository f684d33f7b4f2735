"""Reading a session: everything is mapped, nothing is unpickled, and a session still being written opens too.

A `Session` is a snapshot of the manifest; `Session.refresh` gives a newer one when there is one.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from core.errors import InputError
from core.session.layout import MANIFEST, PIECES, CaptureInfo, Manifest, Part, read_manifest
from core.session.lock import LockHolder, read_lock
from core.session.visible import visible_bytes

if TYPE_CHECKING:
    # Not imported to open a session: together a tenth of what that costs.
    import numpy.typing as npt

    from core.plan import CapturePlan

    Array = npt.NDArray[Any]

State = Literal["running", "complete", "partial", "failed"]

_DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64, "U8": np.uint8}
_MAX_HEADER = 1 << 20


def map_tensors(path: Path) -> dict[str, Array]:
    """Every tensor of a safetensors file as a read-only view of the mapped file: no copy, pages on demand.

    `safetensors.numpy` copies (150 ms for 328 MB against 0.3 ms for this), so the header is parsed here.
    Raises InputError for anything that is not a whole, well-formed file.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            mapped: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        header_size = int.from_bytes(mapped[:8], "little")
        if size < 8 or header_size > min(_MAX_HEADER, size - 8):
            raise ValueError("header does not fit the file")
        header = json.loads(mapped[8 : 8 + header_size])
        header.pop("__metadata__", None)
        return {name: _view(mapped, 8 + header_size, size, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a whole safetensors file: {error}") from None


def _view(mapped: Any, base: int, size: int, entry: Mapping[str, Any]) -> Array:
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    shape = tuple(int(n) for n in entry["shape"])
    start, end = (base + int(n) for n in entry["data_offsets"])
    count = int(np.prod(shape, dtype=np.int64))
    if min((0, *shape)) < 0 or not base <= start <= end <= size or end - start != count * dtype.itemsize:
        raise ValueError("a tensor does not fit the file")
    return np.frombuffer(mapped, dtype, count, start).reshape(shape)


class Column:
    """One tensor of a capture or of the sequences, over all parts: ``rows`` for a slice, ``whole`` for everything."""

    def __init__(self, parts: Sequence[Array]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def rows(self, start: int, stop: int) -> Array:
        """Rows ``start:stop``; a view where they lie within one part, a copy of just these rows otherwise."""
        first = int(np.searchsorted(self.starts, start, "right")) - 1
        if first < len(self.parts) and stop <= self.starts[first + 1]:
            return self.parts[first][start - self.starts[first] : stop - self.starts[first]]
        return np.concatenate(
            [
                part[max(0, start - low) : max(0, stop - low)]
                for part, low in zip(self.parts, self.starts[:-1], strict=True)
            ]
        )

    def whole(self) -> Array:
        """All rows. Zero-copy for a single part; otherwise one copy, kept."""
        return self._whole

    @cached_property
    def _whole(self) -> Array:
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(list(self.parts))


@dataclass(frozen=True)
class Sequences:
    """Token ids of all finished sequences.

    token_ids i32[N], offsets i64[S+1], prompt_lengths i32[S], mask u8[N] (1 = counts in metrics),
    finish u8[S] (`core.session.writer.FINISH_CODES`).
    """

    token_ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    prompt_lengths: npt.NDArray[np.int32]
    mask: npt.NDArray[np.uint8]
    finish: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.prompt_lengths)

    @property
    def tokens(self) -> int:
        return len(self.token_ids)

    def bounds(self, sequence: int) -> tuple[int, int]:
        """(start, stop) of a sequence in the flat arrays."""
        return int(self.offsets[sequence]), int(self.offsets[sequence + 1])

    def ids(self, sequence: int) -> npt.NDArray[np.int32]:
        start, stop = self.bounds(sequence)
        return self.token_ids[start:stop]


@dataclass(frozen=True)
class Capture:
    """A capture's arrays over its finished sequences, flat in the order of `Sequences`.

    logprob f32[N], rank i32[N], top_ids i32[N, K], top_logprobs f32[N, K], entropy f32[N] or None.
    nan u8[N]: 1 where the score was computed and is NaN; None: nowhere, each NaN of ``logprob`` is a missing score.
    """

    info: CaptureInfo
    sequences: int
    logprob: Column
    rank: Column
    top_ids: Column
    top_logprobs: Column
    entropy: Column | None
    nan: Column | None = None

    @property
    def tokens(self) -> int:
        return len(self.logprob)

    @property
    def top_k(self) -> int:
        return int(self.top_ids.parts[0].shape[1]) if self.top_ids.parts else 0


class Pieces(Mapping[int, bytes]):
    """id -> bytes of every id that occurs in the session."""

    def __init__(self, encoded: Mapping[str, str]) -> None:
        self._encoded = encoded
        self._shown: dict[int, str] = {}

    def __getitem__(self, token_id: int) -> bytes:
        try:
            return base64.b64decode(self._encoded[str(token_id)], validate=True)
        except binascii.Error:
            raise KeyError(token_id) from None

    def __iter__(self) -> Iterator[int]:
        return (int(key) for key in self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)

    def text(self, token_id: int) -> str:
        """The piece as text that is safe on a terminal; ``<id N>`` where the session does not know it."""
        shown = self._shown.get(token_id)
        if shown is None:
            piece = self.get(token_id)
            shown = f"<id {token_id}>" if piece is None else visible_bytes(piece)
            self._shown[token_id] = shown
        return shown


@dataclass(frozen=True)
class Session:
    """A snapshot of a session folder. Arrays are mapped when first asked for."""

    folder: Path
    manifest: Manifest
    _stamp: tuple[int, int] = (0, 0)
    _captures: dict[str, Capture] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def captures(self) -> tuple[CaptureInfo, ...]:
        return self.manifest.captures

    @cached_property
    def plan(self) -> CapturePlan | None:
        """The plan, or None where it was not made by a capture (imported sessions)."""
        from core.plan import CapturePlan

        return CapturePlan.from_json(self.manifest.plan) if self.manifest.plan else None

    @cached_property
    def sequences(self) -> Sequences:
        """All finished sequences; lengths and offsets are checked against each other."""
        parts = [self._load(part) for part in self.manifest.sequences.parts]
        return _join_sequences(self.folder, parts)

    @cached_property
    def pieces(self) -> Pieces:
        path = self.folder / PIECES
        try:
            data = json.loads(path.read_bytes())
        except FileNotFoundError:
            return Pieces({})
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {error}") from None
        if not isinstance(data, dict):
            raise InputError(f"{path}: is not an object")
        return Pieces(data)

    def capture(self, label: str) -> Capture:
        """The arrays of a capture. Raises InputError for an unknown label or a part that does not fit the sequences."""
        if label not in self._captures:
            self._captures[label] = self._open_capture(self.manifest.capture(label))
        return self._captures[label]

    def _open_capture(self, info: CaptureInfo) -> Capture:
        parts = [self._load(part) for part in info.parts]
        count = min(info.sequences, len(self.sequences))
        for part, tensors in zip(info.parts, parts, strict=True):
            _check_rows(self.folder / part.file, tensors, self.sequences, part)
        entropy = [p["entropy"] for p in parts if "entropy" in p]
        return Capture(
            info,
            count,
            logprob=Column([p["logprob"] for p in parts]),
            rank=Column([p["rank"] for p in parts]),
            top_ids=Column([p["top_ids"] for p in parts]),
            top_logprobs=Column([p["top_logprobs"] for p in parts]),
            entropy=Column(entropy) if parts and len(entropy) == len(parts) else None,
            nan=_nan_column(parts),
        )

    def _load(self, part: Part) -> dict[str, Array]:
        path = self.folder / part.file
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"{path}: leads out of the session folder")
        return map_tensors(path)

    @property
    def lock(self) -> LockHolder | None:
        """Who is writing this session at this moment, if anybody."""
        return read_lock(self.folder)

    @property
    def state(self) -> State:
        """``running`` while a live writer holds it, else what the manifest says of sequences and captures."""
        if self.lock is not None:
            return "running"
        info = self.manifest.sequences
        if any(c.status == "failed" for c in self.captures):
            return "failed"
        done = sum(part.sequences for part in info.parts) >= info.planned
        return "complete" if done and all(c.status == "complete" for c in self.captures) else "partial"

    def refresh(self) -> Session:
        """This session as it is now: itself where the manifest has not changed, a new snapshot otherwise."""
        return self if _stamp(self.folder) == self._stamp else open_session(self.folder)


def open_session(folder: Path | str) -> Session:
    """Open a session folder. Raises InputError in one line where it is not one, or of a newer format."""
    path = Path(folder)
    stamp = _stamp(path)
    return Session(path, _without_ghosts(path, read_manifest(path)), stamp)


def _without_ghosts(folder: Path, manifest: Manifest) -> Manifest:
    """Captures that a killed supervisor left as ``running`` are pending: nobody runs them."""
    if any(c.status == "running" for c in manifest.captures) and read_lock(folder) is None:
        captures = tuple(replace(c, status="pending") if c.status == "running" else c for c in manifest.captures)
        return replace(manifest, captures=captures)
    return manifest


def _stamp(folder: Path) -> tuple[int, int]:
    with contextlib.suppress(OSError):
        status = (folder / MANIFEST).stat()
        return status.st_mtime_ns, status.st_ino
    return 0, 0


def _nan_column(parts: Sequence[Mapping[str, Array]]) -> Column | None:
    """The flags of all parts; a part without the tensor has nothing to flag."""
    if not any("nan" in part for part in parts):
        return None
    return Column([part.get("nan", np.broadcast_to(np.uint8(0), len(part["logprob"]))) for part in parts])


def _join_sequences(folder: Path, parts: Sequence[Mapping[str, Array]]) -> Sequences:
    ids, lengths, prompts, masks, finish = [], [], [], [], []
    for part in parts:
        try:
            token_ids, offsets, prompt_lengths = part["token_ids"], part["offsets"], part["prompt_lengths"]
        except KeyError as error:
            raise InputError(f"session {folder}: a sequences part has no {error}") from None
        steps = np.diff(offsets)
        whole = len(offsets) == len(prompt_lengths) + 1 and offsets[0] == 0 and offsets[-1] == len(token_ids)
        if not whole or (steps < 0).any() or (prompt_lengths < 0).any() or (prompt_lengths > steps).any():
            raise InputError(f"session {folder}: offsets and prompt lengths of a sequences part do not fit its ids")
        ids.append(token_ids)
        lengths.append(steps)
        prompts.append(prompt_lengths)
        masks.append(part.get("mask", np.ones(len(token_ids), np.uint8)))
        finish.append(part.get("finish", np.zeros(len(prompt_lengths), np.uint8)))
        if len(masks[-1]) != len(token_ids) or len(finish[-1]) != len(prompt_lengths):
            raise InputError(f"session {folder}: mask or finish of a sequences part does not fit its ids")
    return Sequences(
        _cat(ids, np.int32),
        np.concatenate([[0], np.cumsum(_cat(lengths, np.int64))]).astype(np.int64),
        _cat(prompts, np.int32),
        _cat(masks, np.uint8),
        _cat(finish, np.uint8),
    )


def _cat(arrays: Sequence[Array], dtype: Any) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate([*arrays, np.empty(0, dtype)]).astype(dtype, copy=False)


def _check_rows(path: Path, tensors: Mapping[str, Array], sequences: Sequences, part: Part) -> None:
    """A capture part must have one row for each token of its sequences: anything else would misplace numbers."""
    for name in ("logprob", "rank", "top_ids", "top_logprobs"):
        if name not in tensors:
            raise InputError(f"{path}: has no tensor {name!r}")
    last = part.first_sequence + part.sequences
    if last > len(sequences):
        raise InputError(f"{path}: scores sequences up to {last}, the session has {len(sequences)}")
    expected = int(sequences.offsets[last] - sequences.offsets[part.first_sequence])
    for name, tensor in tensors.items():
        if len(tensor) != expected:
            raise InputError(f"{path}: {name} has {len(tensor)} rows for {expected} tokens")
