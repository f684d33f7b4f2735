"""Folders that a killed process may leave: their names say who made them, and the next
one of their kind removes those whose process is gone.

One is made beside its place and renamed, so that it appears whole or not at all; the
other is for files that are of use for a moment.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from logdrift.core.errors import CannotWrite, InputError
from logdrift.core.session.below import cut_name
from logdrift.core.session.layout import MANIFEST
from logdrift.core.session.lock import process_start

_MADE_BY = re.compile(
    r".*-(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,10})-(?P<started>\d{1,20})-[0-9a-z_]{8}",
    re.DOTALL,
)
"""Name of a folder that says who makes it: host, process, and when that was started."""
_NEW = ".{name}.importing-"
"""What becomes a session, by an import or a capture."""
_BRIEF = "logdrift-"


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A scratch folder that becomes ``out`` in the end, and is gone where something
    fails.

    It is made beside ``out``, or in it where that is an empty folder, and what killed
    processes have left there goes first. Folders above ``out`` are made, and go again
    where something fails. Raises InputError where ``out`` exists, CannotWrite where the
    disk refuses.
    """
    is_there = out.is_dir()
    place = out if is_there else out.parent
    _remove_abandoned(place, _NEW.format(name="*"))
    _refuse_taken(out)
    scratch = (
        place / f"{_NEW.format(name=cut_name(out.name, 120))}{_maker()}-{_unique()}"
    )
    made = _missing(out.parent)
    try:
        scratch.mkdir(parents=True)
        yield scratch
        if is_there:
            _move_up(scratch)
        else:
            _give_name(scratch, out)
    except OSError as error:
        reason = error.strerror or error
        raise CannotWrite(f"cannot write {out}: {reason}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _remove_empty(made)


def _give_name(scratch: Path, out: Path) -> None:
    """Raises InputError where another process was faster to make ``out``."""
    try:
        scratch.rename(out)
    except OSError:
        _refuse_taken(out)
        raise


def _move_up(scratch: Path) -> None:
    """Move what a folder holds to the one above, the manifest last: it is what makes a
    session of a folder.

    A folder that was there may be one of the few that its user may write to, or the
    place of another disk, and cannot be replaced.
    """
    entries = sorted(scratch.iterdir(), key=lambda path: path.name == MANIFEST)
    for path in entries:
        path.rename(scratch.parent / path.name)


@contextlib.contextmanager
def brief_folder() -> Iterator[Path]:
    """A temporary folder for files that are of use for a moment.

    What killed processes have left goes first. Raises OSError where the disk refuses.
    """
    parent = Path(tempfile.gettempdir())
    _remove_abandoned(parent, _BRIEF)
    start = f"{_BRIEF}{_maker()}-"
    with tempfile.TemporaryDirectory(prefix=start, dir=parent) as folder:
        yield Path(folder)


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


def _refuse_taken(out: Path) -> None:
    if _is_taken(out):
        raise InputError(f"{out} exists already", remedy="give another --out")


def _is_taken(out: Path) -> bool:
    """Something is there already, other than an empty folder."""
    if not out.exists():
        return False
    if not out.is_dir():
        return True
    return any(out.iterdir())


def _here() -> str:
    """This host in eight hex digits, with its namespace of processes: those of another
    one, such as a container beside this one, are not seen.
    """
    place = socket.gethostname()
    with contextlib.suppress(OSError):
        place += str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(place.encode()):08x}"


def _unique() -> str:
    return uuid.uuid4().hex[:8]


def _maker() -> str:
    """This process, as the names of its folders say it."""
    pid = os.getpid()
    started = process_start(pid) or 0
    return f"{_here()}-{pid}-{started}"


def _remove_abandoned(folder: Path, start: str) -> None:
    """Folders whose names have this start and say that a process of this host made
    them, which is gone.
    """
    for path in folder.glob(f"{start}*"):
        made_by = _MADE_BY.fullmatch(path.name)
        if made_by is None:
            continue
        if made_by["host"] != _here():
            continue
        pid = int(made_by["pid"])
        started = int(made_by["started"])
        if process_start(pid) != started:
            shutil.rmtree(path, ignore_errors=True)
