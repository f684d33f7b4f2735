"""Rows that were measured before: opening a trend again measures what has changed.

They are kept for this user, in ``$XDG_STATE_HOME/logdrift/trend``, a file for each
folder and pair and scope that was asked for, and never in the folder itself: what a
stranger's folder brings along is measured. A row is found by a digest of all that it
was made of: the manifest, names, sizes and times of the parts and of saved experiments,
what was asked, and the version of logdrift. It is a convenience: whatever goes wrong
with it, rows are measured.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from logdrift.core.config import state_folder
from logdrift.core.errors import InputError
from logdrift.core.session.below import replace_file
from logdrift.core.session.contents import Capture, Sequences
from logdrift.core.session.files import MANIFEST_BYTES, read_file, read_json
from logdrift.core.session.layout import LOCK, MANIFEST, STREAMS
from logdrift.core.session.schema import Unfit, items
from logdrift.core.session.tensors import Column
from logdrift.core.trend.row import RowName, TrendRow
from logdrift.core.trend.wish import TrendWish
from logdrift.core.version import __version__

if TYPE_CHECKING:
    from logdrift.core.trend.found import StepOfSession

SCHEMA = 2
"""Raised with what a row holds, or how it is measured. 2: no step of a model's own
name.
"""
_MOST_BYTES = 256 << 20
"""A row takes less than a kilobyte: more than any folder has is not read."""
_SAVED = "why"
"""Where experiments and checks of the weights are saved, which answers rest on."""
_LOOKED_AT = ("sequences", "captures", STREAMS, _SAVED)
"""The folders of a session whose files rows are made of."""
Rows = tuple[TrendRow, ...]


def session_key(folder: Path, wanted: TrendWish) -> str:
    """The digest of all that the rows of a session are made of; "" where its manifest
    cannot be read.
    """
    try:
        manifest = read_file(folder / MANIFEST, MANIFEST_BYTES)
    except (OSError, InputError):
        return ""
    is_held = os.path.exists(folder / LOCK)
    named = (SCHEMA, __version__, folder.name, wanted.pair, wanted.scope, is_held)
    digest = hashlib.sha256(repr(named).encode())
    digest.update(manifest)
    for name in _LOOKED_AT:
        for stamp in _stamps(folder / name):
            digest.update(repr(stamp).encode())
    return digest.hexdigest()


def _stamps(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of each file in a folder and below it."""
    with contextlib.suppress(OSError):
        entries = sorted(os.scandir(folder), key=_name)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _stamps(Path(entry.path))
                continue
            status = entry.stat(follow_symlinks=False)
            yield entry.path, status.st_size, status.st_mtime_ns


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def step_key(step: StepOfSession, wanted: TrendWish) -> str:
    """The digest of what a step of a recording is made of: a session that grows leaves
    its earlier steps as they are.
    """
    session = step.selected
    # Its notes count the sequences of the whole recording: no row rests on them.
    manifest = session.manifest._replace(notes=())
    captures = [session.capture(label) for label in step.labels]
    names = [capture.version_names for capture in captures]
    named = (SCHEMA, __version__, session.name, wanted.scope, step.step, names)
    digest = hashlib.sha256(repr(named).encode())
    digest.update(repr(manifest).encode())
    for stamp in _stamps(session.folder / _SAVED):
        digest.update(repr(stamp).encode())
    for array in _arrays(session.sequences, captures):
        digest.update(_bytes(array))
    return digest.hexdigest()


def _arrays(
    sequences: Sequences, captures: Iterable[Capture]
) -> Iterator[npt.NDArray[Any]]:
    """All that is stored of some sequences and of their captures."""
    for field in fields(sequences):
        array = getattr(sequences, field.name)
        if array is not None:
            yield array
    for capture in captures:
        for value in capture:
            if isinstance(value, Column):
                yield value.whole()


def _bytes(array: npt.NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array).tobytes()


class KeptRows:
    """The rows of the sessions of a folder, by their keys. A session, or a step of it,
    has one key at a time.
    """

    def __init__(self, folder: Path, wanted: TrendWish) -> None:
        self._path = _file(folder, wanted)
        self._read: dict[str, Rows] | None = None
        self._used: dict[str, Rows] = {}
        self._keys: dict[RowName, str] = {}
        self._changed = False

    def get(self, key: str, name: RowName) -> Rows | None:
        """The rows of a key; None where they are to be measured."""
        if self._read is None:
            self._read = _read(self._path)
        rows = self._used.get(key)
        if rows is None:
            rows = self._read.get(key)
        if rows is not None and key:
            self._use(key, name, rows)
        return rows

    def put(self, key: str, name: RowName, rows: Sequence[TrendRow]) -> None:
        """Keep rows that were measured."""
        if key:
            self._use(key, name, tuple(rows))
            self._changed = True

    def _use(self, key: str, name: RowName, rows: Rows) -> None:
        """Rows of a key, in place of those that this name had before: a recording that
        is followed has another key with each step.
        """
        before = self._keys.get(name)
        if before is not None and before != key:
            self._used.pop(before, None)
        self._keys[name] = key
        self._used[key] = rows

    def save(self) -> None:
        """Write what is used and has changed; what was kept of sessions that are gone
        is dropped. A disk that refuses is no error.
        """
        if not self._changed or self._path is None:
            return
        self._changed = False
        rows = {}
        for key, kept in self._used.items():
            rows[key] = [row.to_json() for row in kept]
        text = json.dumps({"schema": SCHEMA, "rows": rows})
        with contextlib.suppress(OSError, InputError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path.parent, self._path.name, text.encode())


def _file(folder: Path, wanted: TrendWish) -> Path | None:
    state = state_folder()
    if state is None:
        return None
    real = os.path.realpath(folder)
    digest = hashlib.sha256(os.fsencode(real))
    digest.update(repr((wanted.pair, wanted.scope)).encode())
    return state / "trend" / f"{digest.hexdigest()[:32]}.json"


_rows = items(TrendRow.from_json)


def _read(path: Path | None) -> dict[str, Rows]:
    """What is kept, without what is of another form."""
    if path is None:
        return {}
    try:
        data = read_json(path, _MOST_BYTES)
        listed = dict(data["rows"])
    except (OSError, InputError, ValueError, TypeError, KeyError):
        return {}
    kept: dict[str, Rows] = {}
    for key, rows in listed.items():
        with contextlib.suppress(Unfit):
            kept[key] = _rows(rows)
    return kept
