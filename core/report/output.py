"""Writing a report to a file: whole or not at all, and never into the session that it
reports on.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from logdrift.core.errors import CannotWrite, InputError, LogdriftError
from logdrift.core.session.lock import process_start


def check_output(path: Path, session: Path) -> None:
    """Refuse (InputError) a folder, a file in a folder that is not there, and anything
    inside the session folder.
    """
    try:
        folder = session.resolve()
        within = path.resolve().is_relative_to(folder)
        os.stat(path.parent)
    except FileNotFoundError:
        within = False  # refused below
    except (OSError, ValueError, RuntimeError) as error:
        reason = f"no file can be written there: {error}"
        raise _output_error(path, reason, "give another name") from None
    if path.is_dir():
        raise _output_error(path, "is a folder", "give a file name")
    if not path.parent.is_dir():
        reason = f"folder {path.parent} does not exist"
        raise _output_error(path, reason, "make it first")
    if within:
        reason = "lies in the session folder, which a report never changes"
        raise _output_error(path, reason, "write it elsewhere")


def write_output(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8: a regular file is replaced at once, a device or pipe is
    written to.

    Raises LogdriftError naming the file and the reason; an old file is then intact.
    """
    data = text.encode("utf-8", "backslashreplace")
    with replaced_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of ``path`` once it is whole; a device or
    pipe is written to as it is.

    What killed processes have left beside it goes first. Raises LogdriftError naming
    the file and the reason; an old file is then intact, whatever ends the writing.
    """
    target = path.resolve()
    try:
        is_device = target.exists() and not target.is_file()
        if is_device:
            with open(target, "wb") as file:
                yield file
            return
        _remove_abandoned(target)
        with _new_file(target) as file:
            yield file
    except OSError as error:
        raise CannotWrite(
            f"cannot write {path}: {error.strerror or error}",
            remedy="give another file with -o",
        ) from None


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[BinaryIO]:
    """A file beside ``target`` that takes its place at the end of the block.

    Others may write into the folder too (``/tmp``): nobody can know its name before it
    is there, and one that is there already, a link for one, is never opened.
    """
    chance = secrets.token_hex(8)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{chance}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_abandoned(target: Path) -> None:
    """Half files of processes that are gone, also those of older versions."""
    name = re.escape(target.name)
    abandoned = re.compile(rf"\.{name}\.(\d+)(-[0-9a-f]+)?\.tmp")
    for path in target.parent.iterdir():
        made_by = abandoned.fullmatch(path.name)
        if made_by is None:
            continue
        pid = int(made_by[1])
        if process_start(pid) is None:
            with contextlib.suppress(OSError):  # another user's
                path.unlink()


def without_flag(error: LogdriftError) -> str:
    """The words of an error of this module for a screen, which has no flag ``-o``."""
    if isinstance(error, CannotWrite):
        return error.reason
    parts = [error.file, error.reason, error.remedy]
    return ": ".join(filter(None, parts))


def _output_error(path: Path, reason: str, remedy: str) -> InputError:
    return InputError(reason, where=f"-o {path}", file=path, remedy=remedy)
