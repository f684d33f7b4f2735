"""What each backend had loaded when it was checked: ``why/identity/BACKEND.json``.

The reader of sessions ignores the folder ``why``. A file is written whole under a
temporary name and renamed.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.session.below import folder_at, refuse_links
from logdrift.core.session.files import (
    RECORD_BYTES,
    JsonObject,
    parse_json,
    read_file,
    sealed,
)
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.schema import (
    Unfit,
    anything,
    fields,
    items,
    loose_number,
    maybe,
    record,
    text,
    whole,
)
from logdrift.core.session.writer import replace_file

IDENTITY = "why/identity"
FAILED = "failed"
"""Folder in `IDENTITY` for the backends whose last check failed: an older reader does
not look there.
"""
SCHEMA = 1
_SAME = ("weights_digest", "dtype", "quantization", "tensor_parallel")
"""Facts that must still be those of the capture, or what was loaded for the check is
not what the capture ran with.
"""


@dataclass(frozen=True, slots=True)
class LoadedTensor:
    """One tensor of the session's model, as an engine has it.

    ``name`` is the name on disk. ``same`` is None where it could not be read, for
    ``reason``. ``how`` is ``digest`` (its bytes were read) or ``probe`` (its module was
    asked: ``columns`` of ``of`` columns read, and a random input within ``units`` of
    the dtype's rounding, ``limit`` allowed). ``digest`` is of the tensor as loaded, in
    ``dtype``; ``file_digest`` of the one on disk, in ``file_dtype``. ``l2`` (relative)
    and ``share`` (of entries that are another number) say by how much it differs;
    ``own`` whether it is the one of the backend's own model folder. ``kind`` is what
    kind of difference the numbers allow, as `logdrift.core.worker.weights_kind` found
    it: ``{"kind": ...}`` and its numbers.
    """

    name: str
    same: bool | None = None
    how: str | None = None
    loaded: str = ""
    dtype: str | None = None
    file_dtype: str | None = None
    shape: tuple[int, ...] = ()
    digest: str | None = None
    file_digest: str | None = None
    l2: float | None = None
    share: float | None = None
    units: float | None = None
    limit: float | None = None
    columns: int = 0
    of: int = 0
    reason: str | None = None
    note: str | None = None
    own: bool | None = None
    kind: JsonObject | None = None


ConfigDifference = tuple[str, Any, Any]
"""A field of the model's configuration, its value in the file, and as loaded."""


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """Every tensor that a backend loaded against the files of the session's model.

    ``tied``: ``{loaded, config, file_has_head}``, head and input embedding are one
    tensor in the engine, by the config. ``config`` is the model's configuration as the
    engine has it, flat, ``config_differs`` are ``[field, file, loaded]``. ``extra`` are
    loaded parameters without a tensor on disk. ``facts`` are those of the run that was
    asked. ``taken`` is when, UTC. ``files_digest`` is of the session's model at that
    time, ``own_model`` whether the backend has a model of its own.
    """

    backend: str
    engine: str
    tensors: tuple[LoadedTensor, ...] = ()
    tied: JsonObject = field(default_factory=dict)
    config: JsonObject = field(default_factory=dict)
    config_differs: tuple[ConfigDifference, ...] = ()
    extra: tuple[str, ...] = ()
    ranks: int = 1
    own_model: bool = False
    facts: JsonObject = field(default_factory=dict)
    files_digest: str | None = None
    taken: str = ""

    @property
    def differing(self) -> tuple[LoadedTensor, ...]:
        """Those that are not the ones on disk, the largest difference first."""
        others = [tensor for tensor in self.tensors if tensor.same is False]
        others.sort(key=_distance, reverse=True)
        return tuple(others)

    @property
    def unread(self) -> tuple[LoadedTensor, ...]:
        """Those that could not be read."""
        tensors = [tensor for tensor in self.tensors if tensor.same is None]
        return tuple(tensors)

    @property
    def as_on_disk(self) -> bool:
        """Every tensor was read, and is the one on disk."""
        if not self.tensors:
            return False
        return all(tensor.same for tensor in self.tensors)

    def outdated(self, info: CaptureInfo, files_digest: str | None) -> str | None:
        """Why this does not hold for the capture ``info``; None: it does.

        ``files_digest`` is that of the manifest.
        """
        digests = {self.files_digest, files_digest}
        both_known = None not in digests
        if both_known and len(digests) == 2:
            return "the files of the session's model have changed since the capture"
        if info.facts is None:
            return None
        then = info.facts.to_json()
        for name in _SAME:
            before = then.get(name)
            now = self.facts.get(name)
            if before is None or now is None:
                continue
            if before != now:
                return f"{name} is another than in the capture"
        return None

    @classmethod
    def from_json(cls, data: JsonObject) -> LoadedWeights:
        """Inverse of what `write_identity` writes; keys this version does not know are
        left out.

        Raises `logdrift.core.session.schema.Unfit` for a value of another type.
        """
        return cls(**_loaded(data))


def _distance(tensor: LoadedTensor) -> float:
    """By how much a tensor differs; 0 where that is not known."""
    return tensor.l2 or 0.0


def _difference(value: Any) -> ConfigDifference:
    """``[field, file, loaded]``."""
    entries = items(anything)(value)
    if len(entries) != 3:
        raise Unfit("is not a field and its two values")
    name, in_file, loaded = entries
    return text(name), in_file, loaded


_tensor = record(
    LoadedTensor,
    shape=items(whole(0)),
    l2=maybe(loose_number),
    share=maybe(loose_number),
    units=maybe(loose_number),
    limit=maybe(loose_number),
    columns=whole(0),
    of=whole(0),
)


def _loaded_tensor(value: Any) -> LoadedTensor:
    return LoadedTensor(**_tensor(value))


_loaded = record(
    LoadedWeights,
    tensors=items(_loaded_tensor),
    config_differs=items(_difference),
    ranks=whole(1),
)


def identity_file(folder: Path, backend: str) -> Path:
    """Where the check of ``backend`` lies in the session ``folder``."""
    return folder / IDENTITY / f"{backend}.json"


def write_identity(folder: Path, data: JsonObject) -> LoadedWeights:
    """Save what a backend answered, with ``backend`` and ``engine``. Raises
    LogdriftError where the disk refuses.
    """
    weights = LoadedWeights.from_json(data)
    backend = weights.backend
    saved = {"schema": SCHEMA, **data}
    _write(folder, f"{IDENTITY}/{backend}.json", saved)
    _forget_failure(folder, backend)
    return weights


def _write(folder: Path, file: str, data: JsonObject) -> None:
    replace_file(folder, file, sealed(data))


def write_failure(
    folder: Path, backend: str, engine: str, error: str, taken: str
) -> None:
    """Save that the check of ``backend`` failed, and why; what an earlier check found
    stays. LogdriftError where the file cannot be written.
    """
    data = {
        "schema": SCHEMA,
        "backend": backend,
        "engine": engine,
        "error": error,
        "taken": taken,
    }
    _write(folder, f"{IDENTITY}/{FAILED}/{backend}.json", data)


def saved_failures(folder: Path) -> dict[str, str]:
    """Why the last check of a backend failed, by backend; none of those that have been
    checked since.
    """
    reasons = {}
    failed = folder / IDENTITY / FAILED
    for path in sorted(failed.glob("*.json")):
        try:
            content = read_file(path, RECORD_BYTES)
            failure = _failure(parse_json(content))
            reasons[path.stem] = failure["error"]
        except (InputError, OSError, ValueError):
            reasons[path.stem] = f"the record of its failure is damaged: {path.name}"
    return reasons


_version = fields({"schema": whole(1)})
_failure = fields({"error": text}, required=frozenset({"error"}))


def _forget_failure(folder: Path, backend: str) -> None:
    failed = f"{IDENTITY}/{FAILED}"
    with contextlib.suppress(OSError), folder_at(folder, failed) as at:
        os.unlink(f"{backend}.json", dir_fd=at)


def read_identity(folder: Path, backend: str) -> LoadedWeights | None:
    """What the last check of ``backend`` found; None where there was none. Raises
    InputError for a damaged file.
    """
    path = identity_file(folder, backend)
    refuse_links(folder, f"{IDENTITY}/{backend}.json")
    try:
        content = read_file(path, RECORD_BYTES)
        data = parse_json(content)
        version = _version(data)
        if version.get("schema", 1) > SCHEMA:
            raise InputError(
                "is of a newer logdrift: upgrade, or check again with --identity",
                file=path,
            )
        return LoadedWeights.from_json(data)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise InputError(
            "is damaged: delete it, and check again with logdrift why"
            f" --identity ({error})",
            file=path,
        ) from None


def saved_identities(folder: Path) -> dict[str, LoadedWeights]:
    """All checks of a session by backend, in the order of names."""
    checks = {}
    files = (folder / IDENTITY).glob("*.json")
    for path in sorted(files):
        weights = read_identity(folder, path.stem)
        if weights is not None:
            checks[path.stem] = weights
    return checks
