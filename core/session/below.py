"""Opening files below a folder without following a link out of it.

All files of a session that are written are opened here. The folder itself may be a
link: the user named it. What lies in it may have come from elsewhere, so every name
below is opened relative to its folder's descriptor with O_NOFOLLOW: a link put there at
any moment, also between a look and a write, is refused. Temporary files have names that
cannot be guessed and are created exclusively.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from logdrift.core.errors import InputError
from logdrift.core.session.files import lies_within

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE_MODE = 0o666
Root = Path | int
"""A folder, by its path or by its descriptor."""
_LINK = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)
"""What systems answer where O_NOFOLLOW meets a link; ENOTDIR where a folder was asked
for.
"""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
"""What systems answer where a disk has no hard links."""


@contextlib.contextmanager
def folder_at(
    root: Root, relative: str = ".", *, create: bool = False
) -> Iterator[int]:
    """A descriptor of the folder ``relative`` below ``root``.

    ``create`` makes the folders that are missing, never ``root`` itself. Raises
    InputError where a link is on the way, OSError where the folder is not there.
    """
    if isinstance(root, int):
        at = os.dup(root)
    else:
        at = os.open(root, _FOLDER_FLAGS)
    path = f"{root}/{relative}"
    flags = _FOLDER_FLAGS | os.O_NOFOLLOW
    try:
        for name in _names(relative):
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=at)
            below = _opened(name, flags, at, path)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


def open_below(
    root: Root, relative: str, flags: int, *, create_folders: bool = False
) -> int:
    """A descriptor of the file ``relative`` below ``root``, opened without following a
    link.

    Raises InputError where the file or a folder on the way is a link, OSError as
    `os.open` does.
    """
    parent, name = _split(relative)
    path = f"{root}/{relative}"
    safe_flags = flags | os.O_NOFOLLOW | os.O_CLOEXEC
    with folder_at(root, parent, create=create_folders) as at:
        return _opened(name, safe_flags, at, path)


def append(root: Root, relative: str) -> int:
    """A descriptor that appends to the file ``relative`` below ``root``; file and
    folders are made where they are missing.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    return open_below(root, relative, flags, create_folders=True)


def replace_file(root: Root, relative: str, data: bytes) -> None:
    """Write ``data`` to ``relative`` below ``root`` at once: a temporary file beside
    it, fsync, rename, fsync of the folder.

    Folders below ``root`` are made where they are missing. A link of that name is
    replaced, not followed. Raises InputError where a folder on the way is a link,
    OSError where the disk refuses; the old file is then intact.
    """
    parent, name = _split(relative)
    with folder_at(root, parent, create=True) as at:
        temporary = temporary_name(name)
        try:
            write_new(at, temporary, data)
            _rename(temporary, name, at)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=at)
            raise
        # The rename is durable once the folder is; some file systems refuse, and need
        # no help.
        with contextlib.suppress(OSError):
            os.fsync(at)


def _rename(old: str, new: str, at: int) -> None:
    """Rename a file in the folder ``at``."""
    os.replace(old, new, src_dir_fd=at, dst_dir_fd=at)


def write_new(at: int, name: str, data: bytes) -> None:
    """Write a file that is not there yet into the folder ``at``, and have it on the
    disk. Raises OSError.
    """
    file = os.open(name, _NEW_FILE_FLAGS, _NEW_FILE_MODE, dir_fd=at)
    with open(file, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(file)


def give_name(at: int, temporary: str, name: str) -> None:
    """Give a file in the folder ``at`` its name, unless a file has it: FileExistsError.

    The file is there whole from the first moment, also for those who look meanwhile. On
    a disk without hard links (exFAT, some networks) an empty one is there before it;
    of two processes that make it at once there, the later one's stays.
    """
    try:
        os.link(temporary, name, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        taken = os.open(name, _NEW_FILE_FLAGS, _NEW_FILE_MODE, dir_fd=at)
        os.close(taken)
        _rename(temporary, name, at)


def temporary_name(name: str) -> str:
    """``.NAME.RANDOM.tmp``, cut so that a file system takes it."""
    random = os.urandom(8)
    return f".{cut_name(name)}.{random.hex()}.tmp"


def cut_name(name: str, most: int = 200) -> str:
    """The first ``most`` bytes of a name: file systems take 255, and more follows."""
    encoded = name.encode("utf-8", "surrogateescape")
    return encoded[:most].decode("utf-8", "ignore")


def remove_temporary(
    root: Root, relative: str, *, below: bool, seconds: float = 0.0
) -> None:
    """Delete what killed processes were writing into the folder ``relative``, and into
    those ``below`` it.

    Whoever calls it knows that nobody writes there, or that nobody takes so many
    ``seconds`` to write a file.
    """
    newest = time.time() - seconds
    with contextlib.suppress(OSError, InputError), folder_at(root, relative) as top:
        for _, folders, files, at in os.fwalk(".", dir_fd=top):
            if not below:
                folders.clear()
            for file in files:
                if _is_temporary(file) and os.stat(file, dir_fd=at).st_mtime <= newest:
                    os.unlink(file, dir_fd=at)


def _is_temporary(file: str) -> bool:
    return file.startswith(".") and file.endswith(".tmp")


def refuse_links(root: Path, relative: str) -> None:
    """Raises InputError where ``relative`` below ``root``, or a folder on the way to
    it, is a link that leads out of ``root``. What is not there yet passes.
    """
    path = root
    for name in _names(relative):
        path = path / name
        if not path.is_symlink():
            continue
        if not lies_within(path, root):
            raise _leads_out(str(path))


def _opened(name: str, flags: int, at: int, path: str) -> int:
    """A descriptor of ``name`` in the folder ``at``; ``path`` is what errors call
    it.
    """
    try:
        return os.open(name, flags, _NEW_FILE_MODE, dir_fd=at)
    except OSError as error:
        may_be_link = error.errno in _LINK
        if may_be_link and _is_link(name, at):
            raise _leads_out(path) from None
        raise


def _is_link(name: str, at: int) -> bool:
    try:
        os.readlink(name, dir_fd=at)
    except OSError:
        return False
    return True


def _leads_out(path: str) -> InputError:
    return InputError(
        "is a link, or lies behind one, and may lead out of the session:"
        " replace it by what it leads to",
        file=path,
    )


def _split(relative: str) -> tuple[str, str]:
    *folders, name = _names(relative)
    return "/".join(folders) or ".", name


def _names(relative: str) -> tuple[str, ...]:
    path = PurePosixPath(relative)
    names = path.parts
    if path.is_absolute() or ".." in names:
        raise InputError(f"{relative!r} leads out of the session")
    return names
