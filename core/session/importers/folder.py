"""Format ``session``: a session folder from elsewhere, checked whole and copied."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.files import EVENTS_BYTES, AnyPath
from logdrift.core.session.importers.job import ImportJob, Sentences
from logdrift.core.session.importers.start import Start
from logdrift.core.session.layout import (
    EVENTS,
    LOGS,
    MANIFEST,
    PIECES,
    PROMPTS,
    STREAMS,
    LoadedFile,
    Part,
)
from logdrift.core.session.loaded import read_entry
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.scratch import new_folder
from logdrift.core.session.tensors import stored_tensors

_KEPT = (MANIFEST, PIECES, PROMPTS, EVENTS, LOGS, STREAMS, "why")


def guess(start: Start) -> bool:
    """A folder with a manifest."""
    return start.is_session


def run(job: ImportJob) -> Sentences:
    """Copy the one session; nothing is left out. Raises InputError."""
    if len(job.files) != 1:
        raise InputError(
            "import session takes one folder", remedy="give each an --out of its own"
        )
    if job.facts:
        raise InputError(
            f"--fact {job.facts[0]}: a session has its facts already",
            remedy="leave --fact out",
        )
    source = Path(job.files[0])
    copy_session(source, job.out)
    return ()


def copy_session(source: Path, out: Path) -> None:
    """Copy what a session's manifest lists, and its text, log and findings; the
    original stays as it is.

    Links are not followed and not copied. Raises InputError where it is no session, is
    being written, or a part is missing or damaged (by its digest).
    """
    session = open_session(source)
    if session.lock is not None:
        raise InputError(
            f"session {source} is being written by process {session.lock.pid}",
            remedy="wait for it or end it",
        )
    parts = _parts(session)
    # Read once: a file that is copied has to be one that can be read.
    _ = session.pieces
    loaded = {}
    for entry in _loaded(session):
        loaded[entry.file] = read_entry(session.folder, entry)
    with new_folder(out) as folder:
        for part in parts:
            target = _target(folder, part.file)
            _copy_part(session, part, target)
        for file, data in loaded.items():
            target = _target(folder, file)
            target.write_bytes(data)
        for name in _KEPT:
            _copy_kept(session.folder / name, folder / name)


def _target(folder: Path, file: str) -> Path:
    """The path of a file in the new session, its folder made."""
    target = folder / file
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _copy_kept(source: Path, target: Path) -> None:
    """A file or folder that a session may have."""
    if source.is_symlink():
        return
    if source.is_dir():
        shutil.copytree(source, target, ignore=_links, copy_function=_copy_file)
    elif source.is_file():
        _copy_file(source, target)


def _copy_file(source: AnyPath, target: AnyPath) -> None:
    """Raises InputError for a file that is larger than what it holds: one that takes
    nothing of a disk may say that it has any size.
    """
    path = Path(source)
    if path.suffix == ".safetensors":
        stored_tensors(path)
    else:
        size = path.stat().st_size
        if size > EVENTS_BYTES:
            reason = f"has {size:,} bytes, at most {EVENTS_BYTES:,} are expected"
            raise InputError(reason, file=path)
    shutil.copyfile(path, target)


def _parts(session: Session) -> list[Part]:
    """Every part, after the arrays of all of them were opened: what does not fit is
    refused before anything is copied.
    """
    session.sequences  # noqa: B018 - checks offsets and lengths
    parts = list(session.manifest.sequences.finished)
    for info in session.captures:
        session.capture(info.label)
        parts += info.finished
    return parts


def _loaded(session: Session) -> list[LoadedFile]:
    """The files that say by name what was loaded, each once."""
    files: list[LoadedFile] = []
    for info in session.captures:
        file = info.loaded
        if file is not None and file not in files:
            files.append(file)
    return files


def _copy_part(session: Session, part: Part, target: Path) -> None:
    source = session.folder / part.file
    shutil.copyfile(source, target)
    with open(target, "rb") as file:
        hasher = hashlib.file_digest(file, "sha256")
    digest = f"sha256:{hasher.hexdigest()}"
    is_known = part.digest != ""
    if is_known and digest != part.digest:
        reason = f"is damaged: its digest is not the one in {MANIFEST}"
        raise InputError(reason, file=source)


def _links(folder: str, names: list[str]) -> list[str]:
    """Those of ``names`` that are neither files nor folders: what is not copied."""
    links = []
    for name in names:
        path = Path(folder, name)
        if not _is_plain(path):
            links.append(name)
    return links


def _is_plain(path: Path) -> bool:
    if path.is_symlink():
        return False
    return path.is_file() or path.is_dir()
