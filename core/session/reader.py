"""Reading a session: rows are read when they are asked for, nothing is unpickled, and a
session still being written opens too.

A `Session` is a snapshot of the manifest; `Session.refresh` gives a newer one when
there is one.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.files import PIECES_BYTES, lies_within, read_json
from logdrift.core.session.layout import (
    MANIFEST,
    PIECES,
    CaptureInfo,
    Manifest,
    Part,
    read_manifest,
)
from logdrift.core.session.lock import LockHolder, read_lock
from logdrift.core.session.schema import Unfit, checked, shown
from logdrift.core.session.tensors import Column, StoredTensor, stored_tensors
from logdrift.core.session.verify import Trust
from logdrift.core.session.visible import visible_bytes

if TYPE_CHECKING:
    # Not imported to open a session: together a tenth of what that costs.
    import numpy.typing as npt

    from logdrift.core.plan import CapturePlan
    from logdrift.core.session.loaded import Loaded

    Array = npt.NDArray[Any]

State = Literal["running", "complete", "partial", "failed"]

_TOKEN_IDS = ("int32", "int64")
_SCORES = ("float32", "float64")
_SEQUENCE_TENSORS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "token_ids": (1, _TOKEN_IDS),
    "offsets": (1, _TOKEN_IDS),
    "prompt_lengths": (1, _TOKEN_IDS),
    "mask": (1, ("uint8",)),
    "finish": (1, ("uint8",)),
}
"""Dimensions and dtypes of what a part of the sequences may hold; other tensors are of
a newer version.
"""
_CAPTURE_TENSORS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "logprob": (1, _SCORES),
    "rank": (1, _TOKEN_IDS),
    "top_ids": (2, _TOKEN_IDS),
    "top_logprobs": (2, _SCORES),
    "entropy": (1, _SCORES),
    "nan": (1, ("uint8",)),
}
"""The same for a part of a capture."""
_RANGES = {
    "logprob": (-65504.0, 65504.0),
    "top_logprobs": (-65504.0, 65504.0),
    "entropy": (-1.0, 65504.0),
}
"""What a finite number may be, in nats. A log-probability is at most 0, but for the
rounding of 16 bits, whose largest number is 65504: what lies beyond came from no
softmax, and overflows in what is made of it.
"""
_SEQUENCE_NEEDED = ("token_ids", "offsets", "prompt_lengths")
_CAPTURE_NEEDED = ("logprob", "rank", "top_ids", "top_logprobs")
_MOST_ID = 2**31 - 1
_CAPTURE_AGAIN = "capture it again with --resume, or copy the session again"
_COPY_AGAIN = "copy the session again from where it is whole"
_ONCE = ("decode", "recorded")
"""What was sampled cannot be captured again, since other ids would come; what was
recorded elsewhere neither.
"""


@dataclass(frozen=True)
class Sequences:
    """Token ids of all finished sequences.

    token_ids i32[N], offsets i64[S+1], prompt_lengths i32[S], mask u8[N] (1 = counts in
    metrics), finish u8[S] (`logdrift.core.session.writer.FINISH_CODES`).
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

    logprob f32[N], rank i32[N], top_ids i32[N, K], top_logprobs f32[N, K], entropy
    f32[N] or None. nan u8[N]: 1 where the score was computed and is NaN; None: nowhere,
    each NaN of ``logprob`` is a missing score.
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
        return self.top_ids.width


class Pieces(Mapping[int, bytes]):
    """id -> bytes of every id that occurs in the session."""

    def __init__(self, encoded: Mapping[str, str]) -> None:
        self._encoded = encoded
        self._shown: dict[int, str] = {}

    def __getitem__(self, token_id: int) -> bytes:
        try:
            return base64.b64decode(self._encoded[str(token_id)], validate=True)
        except (binascii.Error, ValueError):
            raise KeyError(token_id) from None

    def __iter__(self) -> Iterator[int]:
        return (int(key) for key in self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)

    def text(self, token_id: int) -> str:
        """The piece as text that is safe on a terminal; ``<id N>`` where the session
        does not know it.
        """
        shown = self._shown.get(token_id)
        if shown is None:
            piece = self.get(token_id)
            shown = f"<id {token_id}>" if piece is None else visible_bytes(piece)
            self._shown[token_id] = shown
        return shown


@dataclass(frozen=True)
class Session:
    """A snapshot of a session folder. Arrays are read when first asked for.

    ``patient``: nothing is read of a part before its digest was compared. Else the main
    thread, which draws a screen, does not wait for that: it is done meanwhile, `verify`
    waits for it, and `capture` refuses a damaged part from the moment on that it is
    known.
    """

    folder: Path
    manifest: Manifest
    _stamp: tuple[int, int] = (0, 0)
    patient: bool = True
    _captures: dict[str, Capture] = field(default_factory=dict, repr=False)
    _trusts: dict[str, Trust] = field(default_factory=dict, repr=False)
    _loaded: dict[str, Loaded] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return Path(os.path.realpath(self.folder)).name

    @property
    def captures(self) -> tuple[CaptureInfo, ...]:
        return self.manifest.captures

    @cached_property
    def plan(self) -> CapturePlan | None:
        """The plan, or None where it was not made by a capture (imported sessions)."""
        from logdrift.core.plan import CapturePlan

        return CapturePlan.from_json(self.manifest.plan) if self.manifest.plan else None

    @cached_property
    def sequences(self) -> Sequences:
        """All finished sequences; lengths and offsets are checked against each
        other.
        """
        listed = self.manifest.sequences.parts
        stored = [
            self._stored(part, _SEQUENCE_TENSORS, _SEQUENCE_NEEDED) for part in listed
        ]
        trust = self._trust("", listed, stored, _COPY_AGAIN)
        self._hook(trust)()
        parts = [
            {name: tensor[:] for name, tensor in tensors.items()} for tensors in stored
        ]
        return _join_sequences(self.folder, listed, parts)

    @cached_property
    def pieces(self) -> Pieces:
        """Raises InputError for a file that is not an object of texts."""
        path = self.folder / PIECES
        try:
            data = read_json(path, PIECES_BYTES, flat=True)
        except (FileNotFoundError, NotADirectoryError):
            return Pieces({})
        return Pieces(checked(_pieces, data, str(path)))

    def capture(self, label: str) -> Capture:
        """The arrays of a capture. Raises InputError for an unknown label, a part that
        does not fit the sequences, and one that is known to be damaged.
        """
        if label not in self._captures:
            self._captures[label] = self._open_capture(self.manifest.capture(label))
        if (problem := self.damage() or self.damage(label)) is not None:
            raise InputError(problem)
        return self._captures[label]

    def loaded(self, label: str) -> Loaded | None:
        """What the capture's backend loaded, by name; None where the session has only
        digests of it.

        Raises InputError for an unknown label and a file that is missing or damaged.
        """
        from logdrift.core.session.loaded import read_loaded

        entry = self.manifest.capture(label).loaded
        if entry is None:
            return None
        if entry.file not in self._loaded:
            self._loaded[entry.file] = read_loaded(self.folder, entry)
        return self._loaded[entry.file]

    def _open_capture(self, info: CaptureInfo) -> Capture:
        parts = [
            self._stored(part, _CAPTURE_TENSORS, _CAPTURE_NEEDED) for part in info.parts
        ]
        count = min(info.sequences, len(self.sequences))
        for part, tensors in zip(info.parts, parts, strict=True):
            _check_rows(self.folder / part.file, tensors, self.sequences, part)
        _check_widths(self.folder, info, parts)
        trust = self._trust(
            info.label,
            info.parts,
            parts,
            _COPY_AGAIN if info.path in _ONCE else _CAPTURE_AGAIN,
        )

        trusted = self._hook(trust)

        def column(name: str) -> Column:
            return Column(
                [tensors[name] for tensors in parts], trusted, _RANGES.get(name)
            )

        return Capture(
            info,
            count,
            logprob=column("logprob"),
            rank=column("rank"),
            top_ids=column("top_ids"),
            top_logprobs=column("top_logprobs"),
            entropy=(
                column("entropy")
                if parts and all("entropy" in tensors for tensors in parts)
                else None
            ),
            nan=_nan_column(parts, trusted),
        )

    def _stored(
        self,
        part: Part,
        known: Mapping[str, tuple[int, tuple[str, ...]]],
        needed: Sequence[str],
    ) -> dict[str, StoredTensor]:
        """The tensors of a part that this version knows, of the dtypes that they have
        by the format.
        """
        path = self.folder / part.file
        if not lies_within(path, self.folder):
            raise InputError(f"{path}: leads out of the session folder")
        found = {
            name: tensor
            for name, tensor in stored_tensors(path).items()
            if name in known
        }
        for name in needed:
            if name not in found:
                raise InputError(f"{path}: has no tensor {name!r}")
        for name, tensor in found.items():
            dimensions, dtypes = known[name]
            if tensor.ndim != dimensions or tensor.dtype.name not in dtypes:
                raise InputError(
                    f"{path}: {name} is {tensor.dtype.name} with {tensor.ndim}"
                    f" dimensions, not {dtypes[0]} with {dimensions}"
                )
        return found

    def _trust(
        self,
        label: str,
        parts: Sequence[Part],
        stored: Sequence[Mapping[str, StoredTensor]],
        fix: str,
    ) -> Trust:
        files = [
            (next(iter(tensors.values())).file, part.digest)
            for part, tensors in zip(parts, stored, strict=True)
        ]
        trust = self._trusts[label] = Trust(files, fix)
        return trust

    def _hook(self, trust: Trust) -> Callable[[], None]:
        """What is called before a part is read."""
        return trust.wait if self.patient else trust.wait_off_screen

    def verify(self, *labels: str) -> None:
        """Wait until the sequences and these captures are known to be as they were
        written.

        Raises InputError that names the damaged part. Not for an event loop: about a
        second for a gigabyte.
        """
        _ = self.sequences
        self._trusts[""].wait()
        for label in labels:
            self.capture(label)
            self._trusts[label].wait()

    def damage(self, label: str = "") -> str | None:
        """What is known by now to be wrong with a capture, or, without a label, with
        the sequences; None for nothing.
        """
        trust = self._trusts.get(label)
        return None if trust is None else trust.problem

    @property
    def damaged(self) -> frozenset[str]:
        """Labels of the captures that are known by now to be damaged; "" stands for the
        sequences.
        """
        return frozenset(
            label
            for label, trust in list(self._trusts.items())
            if trust.problem is not None
        )

    @property
    def lock(self) -> LockHolder | None:
        """Who is writing this session at this moment, if anybody."""
        return read_lock(self.folder)

    @property
    def state(self) -> State:
        """``running`` while a live writer holds it, else what the manifest says of
        sequences and captures.
        """
        if self.lock is not None:
            return "running"
        info = self.manifest.sequences
        if any(c.status == "failed" for c in self.captures):
            return "failed"
        done = sum(part.sequences for part in info.parts) >= info.planned
        return (
            "complete"
            if done and all(c.status == "complete" for c in self.captures)
            else "partial"
        )

    def refresh(self) -> Session:
        """This session as it is now: itself where the manifest has not changed, a new
        snapshot otherwise.
        """
        return (
            self
            if _stamp(self.folder) == self._stamp
            else open_session(self.folder, patient=self.patient)
        )


def open_session(folder: Path | str, *, patient: bool = True) -> Session:
    """Open a session folder; ``patient`` is explained in `Session`.

    Raises InputError in one line where it is not one, or of a newer format.
    """
    path = Path(folder)
    stamp = _stamp(path)
    return Session(path, _without_ghosts(path, read_manifest(path)), stamp, patient)


def _without_ghosts(folder: Path, manifest: Manifest) -> Manifest:
    """Captures that a killed supervisor left as ``running`` are pending: nobody runs
    them.
    """
    if (
        any(c.status == "running" for c in manifest.captures)
        and read_lock(folder) is None
    ):
        captures = tuple(
            replace(c, status="pending") if c.status == "running" else c
            for c in manifest.captures
        )
        return replace(manifest, captures=captures)
    return manifest


def _stamp(folder: Path) -> tuple[int, int]:
    with contextlib.suppress(OSError):
        status = (folder / MANIFEST).stat()
        return status.st_mtime_ns, status.st_ino
    return 0, 0


def _nan_column(
    parts: Sequence[Mapping[str, StoredTensor]], trusted: Callable[[], None]
) -> Column | None:
    """The flags of all parts; a part without the tensor has nothing to flag."""
    if not any("nan" in part for part in parts):
        return None
    nothing = np.uint8(0)
    return Column(
        [
            part.get("nan", np.broadcast_to(nothing, len(part["logprob"])))
            for part in parts
        ],
        trusted,
    )


def _join_sequences(
    folder: Path, listed: Sequence[Part], parts: Sequence[Mapping[str, Array]]
) -> Sequences:
    ids, lengths, prompts, masks, finish = [], [], [], [], []
    for entry, part in zip(listed, parts, strict=True):
        where = folder / entry.file
        token_ids, offsets, prompt_lengths = (
            part["token_ids"],
            part["offsets"],
            part["prompt_lengths"],
        )
        # What is not ascending may overflow when it is subtracted.
        whole = (
            len(offsets) == len(prompt_lengths) + 1
            and offsets[0] == 0
            and offsets[-1] == len(token_ids)
        )
        if not whole or (offsets[1:] < offsets[:-1]).any():
            raise InputError(f"{where}: offsets and prompt lengths do not fit its ids")
        steps = np.diff(offsets)
        if (prompt_lengths < 0).any() or (prompt_lengths > steps).any():
            raise InputError(f"{where}: offsets and prompt lengths do not fit its ids")
        if len(prompt_lengths) != entry.sequences or len(token_ids) != entry.tokens:
            raise InputError(
                f"{where}: has {len(prompt_lengths)} sequences with {len(token_ids)}"
                f" tokens, {MANIFEST} lists {entry.sequences} with {entry.tokens}"
            )
        if len(token_ids) and (
            int(token_ids.min()) < 0 or int(token_ids.max()) > _MOST_ID
        ):
            raise InputError(f"{where}: holds a token id below 0 or above {_MOST_ID}")
        ids.append(token_ids)
        lengths.append(steps)
        prompts.append(prompt_lengths)
        masks.append(part.get("mask", np.ones(len(token_ids), np.uint8)))
        finish.append(part.get("finish", np.zeros(len(prompt_lengths), np.uint8)))
        if len(masks[-1]) != len(token_ids) or len(finish[-1]) != len(prompt_lengths):
            raise InputError(f"{where}: mask or finish does not fit its ids")
    return Sequences(
        _cat(ids, np.int32),
        np.concatenate([[0], np.cumsum(_cat(lengths, np.int64))]).astype(np.int64),
        _cat(prompts, np.int32),
        _cat(masks, np.uint8),
        _cat(finish, np.uint8),
    )


def _cat(arrays: Sequence[Array], dtype: Any) -> Array:
    joined = (
        arrays[0] if len(arrays) == 1 else np.concatenate([*arrays, np.empty(0, dtype)])
    )
    return joined.astype(dtype, copy=False)


def _check_rows(
    path: Path, tensors: Mapping[str, StoredTensor], sequences: Sequences, part: Part
) -> None:
    """A capture part must have one row for each token of its sequences: anything else
    would misplace numbers.
    """
    last = part.first_sequence + part.sequences
    if last > len(sequences):
        raise InputError(
            f"{path}: scores sequences up to {last}, the session has {len(sequences)}"
        )
    expected = int(sequences.offsets[last] - sequences.offsets[part.first_sequence])
    for name, tensor in tensors.items():
        if len(tensor) != expected:
            raise InputError(
                f"{path}: {name} has {len(tensor)} rows for {expected} tokens"
            )
    if part.tokens != expected:
        raise InputError(
            f"{path}: has {expected} tokens, {MANIFEST} lists {part.tokens}"
        )


def _check_widths(
    folder: Path, info: CaptureInfo, parts: Sequence[Mapping[str, StoredTensor]]
) -> None:
    """All parts of a capture keep the same number of alternatives, with one
    log-probability for each.
    """
    for part, tensors in zip(info.parts, parts, strict=True):
        widths = [tensors[name].shape[1] for name in ("top_ids", "top_logprobs")]
        widest = parts[0]["top_ids"].shape[1]
        if widths != [widest, widest]:
            raise InputError(
                f"{folder / part.file}: top_ids and top_logprobs have {widths[0]} and"
                f" {widths[1]} columns, {widest} are expected"
            )


def _pieces(value: Any) -> dict[str, str]:
    """An object of texts by id. The texts stay encoded: few of them are ever asked
    for.
    """
    if not isinstance(value, dict):
        raise Unfit("is not an object")
    digits = "".join(value)
    if (
        "" not in value
        and digits.isdigit()
        and digits.isascii()
        and set(map(type, value.values())) <= {str}
    ):
        # as it always is: a vocabulary has 100,000 entries, and the first screen waits
        return value
    for key, text in value.items():
        if not isinstance(text, str):
            raise Unfit(f"is {shown(text)}: a text is expected").inside(key[:40])
        if not (key.isascii() and key.isdigit()):
            raise Unfit(f"{shown(key)} is not a token id")
    return value
