"""``why/layers`` of a session: what `logdrift.core.investigate.layers` found, as
``NAME.json`` and ``NAME.safetensors``.

The JSON is `logdrift.core.diagnose.layers.Layers`; the tensors are ``errors/BACKEND``
and ``times/BACKEND``, f32[stages, positions]. The residual streams themselves are not
kept: they are hundreds of megabytes for a large model.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.below import refuse_links
from logdrift.core.session.files import RECORD_BYTES, JsonObject, read_json, sealed
from logdrift.core.session.tensors import read_tensors

if TYPE_CHECKING:
    import numpy.typing as npt

FOLDER = "why/layers"
STREAM_FILE = "layers.safetensors"
"""What a worker writes while it is asked (`logdrift.core.worker.layers`)."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._#-]{0,200}")


@dataclass(frozen=True)
class SavedLayers:
    """``data`` is the JSON; ``file`` holds the tensors; ``saved`` is when it was
    written, in seconds since 1970.
    """

    name: str
    data: JsonObject
    file: Path
    saved: float

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """All of them; InputError where the file is missing or damaged."""
        return read_tensors(self.file)


def save_layers(
    session: Path,
    name: str,
    data: JsonObject,
    tensors: Mapping[str, npt.NDArray[Any]],
) -> Path:
    """Write both files, the JSON last, each whole or not at all, and return the JSON's
    path.

    Raises LogdriftError naming file and reason where the session cannot be written.
    """
    from safetensors.numpy import save

    from logdrift.core.session.writer import replace_file

    if not _NAME.fullmatch(name):
        raise InputError(f"why/layers: a file cannot be called {name!r}")
    whole = {}
    for key, array in tensors.items():
        whole[key] = np.ascontiguousarray(array)
    replace_file(session, f"{FOLDER}/{name}.safetensors", save(whole))
    replace_file(session, f"{FOLDER}/{name}.json", sealed(data))
    return session / FOLDER / f"{name}.json"


def saved_layers(session: Path) -> list[SavedLayers]:
    """What is saved, the newest first. A file that is not readable JSON is left out: it
    explains nothing.
    """
    readable = []
    for path in _files(session):
        with contextlib.suppress(InputError):
            layers = _saved(path)
            if layers is not None:
                readable.append(layers)
    readable.sort(key=lambda layers: layers.saved, reverse=True)
    return readable


def damaged_layers(session: Path) -> list[InputError]:
    """What is wrong with each file that is there and cannot be read. `saved_layers`
    leaves them out, and an answer may not be gone unsaid.
    """
    errors = []
    for path in _files(session):
        try:
            _saved(path)
        except InputError as error:
            errors.append(error)
    return errors


def _files(session: Path) -> list[Path]:
    """The JSON files of a session's answers, by name, none that leads out of it."""
    with contextlib.suppress(OSError):
        entries = sorted((session / FOLDER).iterdir())
        paths = [path for path in entries if path.suffix == ".json"]
        return [path for path in paths if not _is_left_alone(session, path)]
    return []


def _is_left_alone(session: Path, path: Path) -> bool:
    tensors = path.with_suffix(".safetensors")
    return path.name.startswith(".") or _leads_out(session, path, tensors)


def _saved(path: Path) -> SavedLayers | None:
    """What lies at ``path``; None where that is no answer, or gone by now. Raises
    InputError for a damaged file.
    """
    try:
        data = read_json(path, RECORD_BYTES)
        when = path.stat().st_mtime
    except OSError:
        return None
    if isinstance(data, dict):
        return SavedLayers(path.stem, data, path.with_suffix(".safetensors"), when)
    return None


def _leads_out(session: Path, *files: Path) -> bool:
    try:
        for file in files:
            refuse_links(session, f"{FOLDER}/{file.name}")
    except InputError:
        return True
    return False
