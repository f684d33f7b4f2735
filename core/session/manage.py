"""Renaming and deleting session folders. Nothing outside of the folder is touched.

Both take the session's lock first, so a capture that is running cannot lose its folder,
and none can start meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.paths import refuse_shipped
from logdrift.core.session.layout import MANIFEST
from logdrift.core.session.lock import acquire, read_lock, release
from logdrift.core.session.visible import visible

_LONGEST = 200
"""Bytes of a name: file systems take 255, and temporary names add a few."""


@dataclass(frozen=True, slots=True)
class FolderSize:
    """What would be deleted: the number of ``files``, and their ``size`` in bytes.

    Links count as themselves, not as what they lead to.
    """

    files: int
    size: int


def check_name(name: str) -> str:
    """The name of a session folder, stripped. Raises InputError for what is not a
    single, visible folder name.
    """
    name = name.strip()
    if not name:
        raise InputError("the name is empty: give at least one character")
    if "/" in name or "\\" in name:
        raise InputError(
            f"{name!r} is a path: give a name, the folder of sessions stays the same"
        )
    if name.startswith("."):
        raise InputError(
            f"{name!r} begins with a dot, so it would not be listed: leave the dot out"
        )
    if visible(name) != name:
        raise InputError(
            f"{visible(name)!r} holds characters that cannot be seen: leave them out"
        )
    encoded = name.encode("utf-8", "replace")
    if len(encoded) > _LONGEST:
        raise InputError(f"the name is too long: give at most {_LONGEST} bytes")
    return name


def free_name(folder: Path, like: str) -> str:
    """``like`` as a name that passes `check_name`, with -2, -3, ... behind it where
    ``folder`` has that name already.
    """
    plain = visible(like)
    for slash in "/\\":
        plain = plain.replace(slash, "_")
    plain = plain.lstrip(".")
    name = check_name(plain or "imported")
    taken: set[str] = set()
    if folder.is_dir():
        taken = {entry.name for entry in folder.iterdir()}
    free = name
    number = 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def rename_session(folder: Path, name: str) -> Path:
    """Give a session folder another name beside its old one; its files stay as they
    are. Returns the new folder.

    Raises InputError where the session is being written, is gone, or the name is taken;
    LogdriftError where the disk refuses.
    """
    target = folder.with_name(check_name(name))
    if target == folder:
        return folder
    _check_session(folder)
    is_taken = os.path.lexists(target)
    if is_taken and not _same(folder, target):
        raise InputError(f"{visible(target.name)} exists already: give another name")
    with _held(folder):
        try:
            folder.rename(target)
        except OSError as error:
            raise LogdriftError(f"cannot rename {folder}: {error.strerror}") from None
        # The lock went along: it is given back where it is now.
        release(target)
    return target


def delete_session(folder: Path) -> None:
    """Delete a session folder and all in it; a link is deleted itself, never what it
    leads to.

    It disappears at once, by rename, so that a half deleted session is never seen.
    Raises InputError where the session is being written or is gone; LogdriftError
    naming what is left where the disk refuses.
    """
    _check_session(folder)
    if folder.is_symlink():
        holder = read_lock(folder)
        if holder is not None:
            raise InputError(
                f"session {folder} is being written by process {holder.pid}: wait for"
                " it or end it"
            )
        _remove_link(folder)
        return
    doomed = folder.with_name(f".{folder.name[:80]}.deleted-{uuid.uuid4().hex[:8]}")
    with _held(folder):
        try:
            folder.rename(doomed)
        except OSError as error:
            raise LogdriftError(f"cannot delete {folder}: {error.strerror}") from None
        release(doomed)
    try:
        # Does not follow links, and opens folders relative to their parent, so that
        # none can be swapped for a link.
        shutil.rmtree(doomed)
    except OSError as error:
        raise LogdriftError(
            f"{folder.name} is deleted but for {doomed}: {error.strerror}: delete it by"
            " hand"
        ) from None


def folder_size(folder: Path) -> FolderSize:
    """Files and bytes below a folder; what cannot be read is left out. Links are not
    followed.
    """
    if folder.is_symlink():
        return FolderSize(files=1, size=0)
    files = 0
    size = 0
    for root, folders, names in os.walk(folder):
        paths = [Path(root, name) for name in names]
        for name in folders:
            path = Path(root, name)
            if path.is_symlink():
                paths.append(path)
        for path in paths:
            with contextlib.suppress(OSError):
                status = path.lstat()
                files += 1
                if stat.S_ISREG(status.st_mode):
                    size += status.st_size
    return FolderSize(files, size)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    acquire(folder, uuid.uuid4().hex)
    try:
        yield
    finally:
        release(folder)


def _check_session(folder: Path) -> None:
    refuse_shipped(folder)
    if not os.path.lexists(folder):
        raise InputError(
            f"session {folder} is gone: it was renamed or deleted meanwhile"
        )
    if not os.path.lexists(folder / MANIFEST):
        raise InputError(f"session {folder}: no {MANIFEST} in it, so it is left alone")


def _remove_link(folder: Path) -> None:
    try:
        folder.unlink()
    except OSError as error:
        raise LogdriftError(
            f"cannot delete the link {folder}: {error.strerror}"
        ) from None


def _same(a: Path, b: Path) -> bool:
    """Whether two names are one folder: a file system without case takes ``Run`` for
    ``run``.
    """
    with contextlib.suppress(OSError):
        is_same = a.samefile(b)
        return is_same and not b.is_symlink()
    return False
