"""The session folder of a recording, which the first of several processes makes."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.below import (
    folder_at,
    give_name,
    remove_temporary,
    temporary_name,
    write_new,
)
from logdrift.core.session.files import MANIFEST_BYTES, read_json, sealed
from logdrift.core.session.importers.tokenizer import pieces_of
from logdrift.core.session.layout import (
    MANIFEST,
    PIECES,
    STREAMS,
    CaptureInfo,
    Manifest,
    ModelInfo,
)
from logdrift.core.session.writer import merge_pieces
from logdrift.core.version import __version__

_LARGEST_VOCABULARY = 1 << 20
_LONGEST_WRITE = 3600.0
"""Seconds. Other processes write beside this one; a file takes them some seconds, on
the slowest disk minutes.
"""


@dataclass(slots=True)
class SessionFolder:
    """``folder`` becomes a session when it is first written to. ``model`` is its name;
    where it is a folder, its tokenizer gives the text of ids.
    """

    folder: Path
    model: str
    title: str
    notes: tuple[str, ...] = ()
    _made: bool = False

    def check(self) -> None:
        """Raise InputError where something else than a recording is there."""
        folder = self.folder
        if not folder.exists() or (folder / STREAMS).is_dir():
            return
        is_empty = folder.is_dir() and not any(folder.iterdir())
        if not is_empty:
            raise InputError(
                f"{folder} is there and is no recording",
                remedy="give another folder",
            )

    def make(self, captures: Iterable[CaptureInfo]) -> None:
        """Make the folder and its manifest, if no process has done so. Raises OSError,
        CannotWrite.
        """
        if self._made:
            return
        (self.folder / STREAMS).mkdir(parents=True, exist_ok=True)
        remove_temporary(self.folder, ".", below=True, seconds=_LONGEST_WRITE)
        self._write_pieces()
        model = ModelInfo(id=self.model or "unknown")
        now = datetime.now(timezone.utc)
        manifest = Manifest(
            id=uuid.uuid4().hex,
            model=model,
            title=self.title,
            created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            logdrift_version=__version__,
            notes=self.notes,
        )
        content = sealed(manifest.to_json())
        _write_once(self.folder, MANIFEST, content)
        self._made = True

    def highest_level(self) -> int:
        """The highest level of all processes' streams; one that cannot be read at this
        moment has none.
        """
        levels = [0]
        with contextlib.suppress(OSError):
            for path in (self.folder / STREAMS).glob("[!.]*.json"):
                with contextlib.suppress(OSError, InputError, KeyError, TypeError):
                    data = read_json(path, MANIFEST_BYTES)
                    levels.append(int(data["level"]))
        return max(levels)

    def _write_pieces(self) -> None:
        """The text of the whole vocabulary: any of its ids may come."""
        model = Path(self.model)
        is_there = (self.folder / PIECES).exists()
        if is_there or not self.model or not (model / "tokenizer.json").is_file():
            return
        vocabulary = range(_LARGEST_VOCABULARY)
        merge_pieces(self.folder, pieces_of(model, vocabulary))


def _write_once(folder: Path, name: str, data: bytes) -> None:
    """Write a file that appears whole, unless another process has written it."""
    with folder_at(folder) as at:
        temporary = temporary_name(name)
        write_new(at, temporary, data)
        try:
            with contextlib.suppress(FileExistsError):
                give_name(at, temporary, name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=at)
