"""Session folder, format 1: names of files, and the manifest as frozen dataclasses.

The format is a promise (docs/session-format.md). Missing keys have defaults, so old sessions stay
readable; a newer format is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from core.errors import InputError
from core.facts import Batch, Facts

if TYPE_CHECKING:
    import numpy.typing as npt

FORMAT = 1
MANIFEST = "session.json"
PIECES = "pieces.json"
EVENTS = "events.jsonl"
LOCK = "lock"
PROMPTS = "prompts.safetensors"
LOGS = "logs"

Status = Literal["pending", "running", "complete", "failed"]


def sequence_part(index: int) -> str:
    """Relative name of the file that holds part ``index`` of the sequences."""
    return f"sequences/part-{index:05d}.safetensors"


def capture_part(label: str, index: int) -> str:
    """Relative name of the file that holds part ``index`` of a capture."""
    return f"captures/{label}/part-{index:05d}.safetensors"


def ids_digest(token_ids: npt.NDArray[Any]) -> str:
    """``sha256:`` and 64 hex digits of token ids as little-endian int32, one after the other: 3 ms for a million."""
    import hashlib  # a session opens without it

    return f"sha256:{hashlib.sha256(np.ascontiguousarray(token_ids, '<i4').data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Part:
    """One finished file. ``digest`` is ``sha256:`` and 64 hex digits of its bytes.

    ``ids_digest`` is `ids_digest` of the ids that a capture part scores, as they were sent to the engine; None for
    parts of the sequences and in sessions older than it.
    """

    file: str
    first_sequence: int
    sequences: int
    tokens: int
    digest: str
    ids_digest: str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the session's numbers belong to. Digests are ``sha256:...`` or None where not observed."""

    id: str
    revision: str | None = None
    vocab_size: int | None = None
    config_digest: str | None = None
    tokenizer_digest: str | None = None
    weights_digest: str | None = None


@dataclass(frozen=True, slots=True)
class SequencesInfo:
    """``planned`` sequences in all, ``generated_by`` the backend that sampled them (None: they were given)."""

    planned: int = 0
    generated_by: str | None = None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptureInfo:
    """One capture: which backend along which path, how far it got, and the facts as observed.

    ``batch`` is ``alone`` where every sequence was scored in a batch of its own, ``together`` where the sequences of a
    part were one batch.
    """

    label: str
    backend: str
    engine: str
    dtype: str
    path: str
    repeat: int = 1
    role: str = "rollout"
    status: Status = "pending"
    facts: Facts | None = None
    parts: tuple[Part, ...] = ()
    failure: str | None = None
    batch: Batch = "together"

    @property
    def sequences(self) -> int:
        """Finished sequences."""
        return sum(part.sequences for part in self.parts)

    @property
    def tokens(self) -> int:
        """Finished tokens, first tokens of sequences (which have no score) included."""
        return sum(part.tokens for part in self.parts)


@dataclass(frozen=True, slots=True)
class Manifest:
    """``session.json``: the list of everything that is finished.

    ``notes`` are sentences about where the numbers came from: what an import left out or joined.
    """

    id: str
    model: ModelInfo
    title: str = ""
    created: str = ""
    logdrift_version: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    sequences: SequencesInfo = field(default_factory=SequencesInfo)
    captures: tuple[CaptureInfo, ...] = ()
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def capture(self, label: str) -> CaptureInfo:
        """The capture called ``label``; InputError names those there are."""
        for capture in self.captures:
            if capture.label == label:
                return capture
        raise InputError(f"no capture {label!r}: the session has {', '.join(c.label for c in self.captures) or 'none'}")

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        for out, capture in zip(data["captures"], self.captures, strict=True):
            out["facts"] = capture.facts.to_json() if capture.facts is not None else None
        return {"format": self.format, **data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Raises InputError for another format, a missing key or a file name that leaves the folder."""
        found = data.get("format")
        if not isinstance(found, int) or found < 1:
            raise InputError("not a logdrift session: no format number in session.json")
        if found > FORMAT:
            raise InputError(f"session format {found} is newer than this logdrift knows ({FORMAT}): upgrade logdrift")
        try:
            sequences = dict(data.get("sequences") or {})
            return cls(
                **{
                    **_known(cls, data),
                    "model": ModelInfo(**_known(ModelInfo, data["model"])),
                    "sequences": SequencesInfo(**{**_known(SequencesInfo, sequences), "parts": _parts(sequences)}),
                    "captures": tuple(_capture(c) for c in data.get("captures", ())),
                    "notes": tuple(str(note) for note in data.get("notes") or ()),
                }
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"session.json is damaged: {type(error).__name__}: {error}") from None


def _capture(data: Mapping[str, Any]) -> CaptureInfo:
    facts = data.get("facts")
    return CaptureInfo(
        **{
            **_known(CaptureInfo, data),
            "label": _safe_name(str(data["label"])),
            "facts": Facts.from_json(facts) if facts else None,
            "parts": _parts(data),
        }
    )


def _parts(data: Mapping[str, Any]) -> tuple[Part, ...]:
    return tuple(Part(**{**_known(Part, part), "file": _safe_name(part["file"])}) for part in data.get("parts", ()))


def _safe_name(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise InputError(f"session.json names a file outside the session folder: {name!r}")
    return name


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    return {key: value for key, value in data.items() if key in names}


def read_manifest(folder: Path) -> Manifest:
    """Read ``session.json``. Raises InputError in one line that names the folder."""
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        hint = "no session.json in it" if folder.is_dir() else "no such folder"
        raise InputError(f"session {folder}: {hint}") from None
    except NotADirectoryError:
        raise InputError(f"session {folder}: a session is a folder, this is a file") from None
    except OSError as error:
        raise InputError(f"session {folder}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"session {folder}: session.json is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"session {folder}: session.json is not an object")
    try:
        return Manifest.from_json(data)
    except InputError as error:
        raise InputError(f"session {folder}: {error}") from None
