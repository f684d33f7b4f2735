"""A folder that appears whole or not at all: made beside its place, and renamed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.session.lock import process_start

_SCRATCH = re.compile(
    r"\..*\.importing-(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,10})-(?P<started>\d{1,20})-[0-9a-f]{8}",
    re.DOTALL,
)
"""Name of a scratch folder: it says who makes it, so that one that a killed import has
left is known.
"""


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A scratch folder beside ``out`` that becomes it in the end, and is gone where
    something fails.

    What killed imports have left beside ``out`` goes first. Folders above ``out`` are
    made, and go again where something fails. Raises InputError where ``out`` exists,
    LogdriftError where the disk refuses.
    """
    if _is_taken(out):
        raise InputError(f"{out} exists already", remedy="give another --out")
    _remove_abandoned(out.parent)
    process = f"{_here()}-{os.getpid()}-{_started()}"
    unique = uuid.uuid4().hex[:8]
    name = f".{out.name[:80]}.importing-{process}-{unique}"
    scratch = out.with_name(name)
    made = _missing(out.parent)
    try:
        scratch.mkdir(parents=True)
        yield scratch
        scratch.rename(out)  # an empty folder of that name is replaced
    except OSError as error:
        reason = error.strerror or error
        raise LogdriftError(f"cannot write {out}: {reason}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _remove_empty(made)


def _missing(folder: Path) -> list[Path]:
    """A folder and those above it that do not exist, the innermost first."""
    missing = []
    for path in (folder, *folder.parents):
        if path.exists():
            break
        missing.append(path)
    return missing


def _remove_empty(folders: Iterable[Path]) -> None:
    """Remove these folders, unless something is in them."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _is_taken(out: Path) -> bool:
    """Something is there already, other than an empty folder."""
    if not out.exists():
        return False
    if not out.is_dir():
        return True
    return any(out.iterdir())


def _here() -> str:
    """This host in eight hex digits: a process of another one is not seen."""
    host = socket.gethostname()
    return f"{zlib.crc32(host.encode()):08x}"


def _started() -> int:
    return process_start(os.getpid()) or 0


def _remove_abandoned(folder: Path) -> None:
    """Scratch folders of imports of this host whose process is gone."""
    for path in folder.glob(".*.importing-*"):
        made_by = _SCRATCH.fullmatch(path.name)
        if made_by is None:
            continue
        if made_by["host"] != _here():
            continue
        pid = int(made_by["pid"])
        started = int(made_by["started"])
        if process_start(pid) != started:
            shutil.rmtree(path, ignore_errors=True)
