"""Writing a report to a file: whole or not at all, and never into the session that it
reports on.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from logdrift.core.errors import InputError, LogdriftError


def check_output(path: Path, session: Path) -> None:
    """Refuse (InputError) a folder, a file in a folder that is not there, and anything
    inside the session folder.
    """
    try:
        within = path.resolve().is_relative_to(session.resolve())
        os.stat(path.parent)
    except FileNotFoundError:
        within = False  # said below
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"-o {path}: no file can be written there: {error}: give another name"
        ) from None
    if path.is_dir():
        raise InputError(f"-o {path}: is a folder: give a file name")
    if not path.parent.is_dir():
        raise InputError(
            f"-o {path}: folder {path.parent} does not exist: make it first"
        )
    if within:
        raise InputError(
            f"-o {path}: lies in the session folder, which a report never changes:"
            " write it elsewhere"
        )


def write_output(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8: a regular file is replaced at once, a device or pipe is
    written to.

    Raises LogdriftError naming the file and the reason; an old file is then intact.
    """
    data = text.encode("utf-8", "backslashreplace")
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
            return
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise LogdriftError(
            f"cannot write {path}: {error.strerror or error}: give another file with -o"
        ) from None
