"""What must hold of a session that was killed: it opens, its finished parts are those
of the undisturbed one, and once it went on nothing tells the two apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from logdrift.core.errors import LogdriftError
from logdrift.core.session.layout import LOCK, LOGS, MANIFEST, Part
from logdrift.core.session.reader import Session, open_session

Digests = dict[str, str]
"""The digest of a file by its name below the session's folder."""


class Lost(Exception):
    """What must hold does not."""


FAULTS = (Lost, LogdriftError, OSError, ValueError, AssertionError)
"""What a session that does not hold raises where it is looked at."""


def finished_parts(session: Session) -> Iterator[Part]:
    """Every part that the manifest lists."""
    yield from session.manifest.sequences.parts
    for capture in session.captures:
        yield from capture.parts


def digests(folder: Path) -> Digests:
    """The parts that a session lists, with what is on the disk of them. Raises `Lost`
    where that is not what the manifest says.
    """
    found = {}
    for part in finished_parts(open_session(folder)):
        content = (folder / part.file).read_bytes()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if digest != part.digest:
            raise Lost(f"{part.file} is listed and damaged")
        found[part.file] = digest
    return found


def check_opens(folder: Path, undisturbed: Digests) -> None:
    """A session that nobody writes any more, with some of the undisturbed parts."""
    if not folder.exists():
        return
    if not (folder / MANIFEST).exists():
        raise Lost(f"a folder without a session: {sorted(folder.iterdir())}")
    state = open_session(folder).state
    if state == "running":
        raise Lost("it looks as if it was still being written")
    _check_known(digests(folder), undisturbed)


def check_complete(folder: Path, undisturbed: Digests) -> None:
    """A session with all of the undisturbed parts, and nothing else beside them."""
    state = open_session(folder).state
    if state != "complete":
        raise Lost(f"it went on, and is {state}")
    found = digests(folder)
    _check_known(found, undisturbed)
    missing = sorted(undisturbed.keys() - found.keys())
    if missing:
        raise Lost(f"parts are missing: {missing}")
    left = left_beside(folder)
    if left:
        raise Lost(f"left behind: {left}")


def _check_known(found: Digests, undisturbed: Digests) -> None:
    for file, digest in found.items():
        if undisturbed.get(file) != digest:
            raise Lost(f"{file} is not that of the undisturbed session")


def left_beside(folder: Path) -> list[str]:
    """Locks, notes of workers and temporary files below and beside a session."""
    left = [path.name for path in folder.parent.iterdir() if path.name.startswith(".")]
    for path in folder.rglob("*"):
        is_note = path.parent.name == LOGS and path.suffix == ".pid"
        is_hidden = path.name.startswith(".")
        if is_note or is_hidden or path.name == LOCK:
            left.append(str(path.relative_to(folder)))
    return sorted(left)
