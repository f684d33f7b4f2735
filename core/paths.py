"""Paths as people write them: with ``~``, pasted, cut off, with a byte too many."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.visible import visible

_SHOWN = 60
"""Characters of a path that an error names: one that is far too long says nothing by
its end.
"""


def samples_folder() -> Path:
    """Where the package keeps its samples: they are read there, and nothing is written
    beside them by looking at them.
    """
    return Path(__file__).parent.parent / "samples"


def refuse_shipped(folder: Path) -> None:
    """Raise InputError where ``folder`` is, or would be, a sample of the package: what
    comes with it stays as it is.
    """
    if _is_shipped(folder):
        raise InputError(
            f"{visible(folder.name)} lies among the samples that come with logdrift,"
            " which stay as they are: copy the folder and work there"
        )


def _is_shipped(folder: Path) -> bool:
    """Whether it is a sample, or lies among them. Asked of the files: anyone may give a
    session the name of a sample.
    """
    samples = samples_folder()
    try:
        if folder.parent.samefile(samples):
            return True
        return any(sample.samefile(folder) for sample in samples.iterdir())
    except OSError:
        return False


def user_path(text: str) -> Path:
    """The path that somebody typed, ``~`` and ``~name`` as a shell takes them; it need
    not exist.

    Raises InputError where no file can have this path: an unknown user, a zero byte, a
    name or path that is too long.
    """
    if "\0" in text:
        raise InputError(
            f"{_named(text)} holds a zero byte, which no file name can: type it again"
        )
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        user = text.partition("/")[0]
        raise InputError(
            f"there is no user {_named(user[1:])}: write the path without"
            f" {_named(user)}"
        ) from None
    try:
        os.lstat(path)
    except UnicodeEncodeError:
        raise InputError(
            f"{_named(text)} has characters that no file name can have: type it again"
        ) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(
                f"{_named(text)} is longer than a path can be: shorten it"
            ) from None
    return path


def _named(text: str) -> str:
    return visible(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
