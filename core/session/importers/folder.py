"""Format ``session``: a session folder from elsewhere, checked whole and copied."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.importers.write import new_folder
from logdrift.core.session.layout import (
    EVENTS,
    LOGS,
    MANIFEST,
    PIECES,
    PROMPTS,
    LoadedFile,
    Part,
)
from logdrift.core.session.loaded import read_entry
from logdrift.core.session.reader import Session, open_session

_KEPT = (MANIFEST, PIECES, PROMPTS, EVENTS, LOGS, "why")


def copy_session(source: Path, out: Path) -> None:
    """Copy what a session's manifest lists, and its text, log and findings; the
    original stays as it is.

    Links are not followed and not copied. Raises InputError where it is no session, is
    being written, or a part is missing or damaged (by its digest).
    """
    session = open_session(source)
    if session.lock is not None:
        raise InputError(
            f"session {source} is being written by process {session.lock.pid}: wait for"
            " it or end it"
        )
    parts = _parts(session)
    _ = (
        session.pieces
    )  # read once: a file that is copied has to be one that can be read
    for entry in _loaded(session):
        read_entry(session.folder, entry)
    with new_folder(out) as folder:
        for part in parts:
            target = folder / part.file
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_part(session, part, target)
        for entry in _loaded(session):
            target = folder / entry.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read_entry(session.folder, entry))
        for name in _KEPT:
            found = session.folder / name
            if found.is_symlink() or not (found.is_file() or found.is_dir()):
                continue
            if found.is_dir():
                shutil.copytree(
                    found, folder / name, ignore=_links, copy_function=shutil.copyfile
                )
            else:
                shutil.copyfile(found, folder / name)


def _parts(session: Session) -> list[Part]:
    """Every part, after the arrays of all of them were opened: what does not fit is
    said before anything is copied.
    """
    session.sequences  # noqa: B018 - checks offsets and lengths
    for info in session.captures:
        session.capture(info.label)
    return [
        *session.manifest.sequences.parts,
        *(part for info in session.captures for part in info.parts),
    ]


def _loaded(session: Session) -> list[LoadedFile]:
    """The files that say by name what was loaded, each once."""
    return list(
        dict.fromkeys(
            info.loaded for info in session.captures if info.loaded is not None
        )
    )


def _copy_part(session: Session, part: Part, target: Path) -> None:
    source = session.folder / part.file
    shutil.copyfile(source, target)
    with open(target, "rb") as file:
        found = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    if part.digest and found != part.digest:
        raise InputError(
            f"{source}: is damaged: its digest is not the one in {MANIFEST}"
        )


def _links(folder: str, names: list[str]) -> list[str]:
    paths = {name: Path(folder, name) for name in names}
    return [
        name
        for name, path in paths.items()
        if path.is_symlink() or not (path.is_file() or path.is_dir())
    ]
