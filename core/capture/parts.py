"""The finished parts of a session on disk: which of them are whole, what a killed
writer left beside them, and how many of their scores are NaN.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.below import remove_temporary
from logdrift.core.session.layout import LOGS, CaptureInfo, Manifest, Part
from logdrift.core.session.tensors import stored_tensors

_ONCE = {
    "decode": "sampling again would change the ids under every capture",
    "recorded": "no engine can give again what the prompts recorded",
}
"""Paths whose numbers cannot be made again, and why."""


def with_whole_parts(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with every capture cut at its first part that is missing or damaged,
    to be captured again.

    A damaged part of the sequences, or of the capture that sampled them, cannot be made
    again without changing the ids under every capture: InputError.
    """
    for part in manifest.sequences.finished:
        if not _is_whole(folder, part):
            raise _damaged(folder, part)
    planned = {backend["name"] for backend in manifest.plan.get("backends") or ()}
    captures = []
    for capture in manifest.captures:
        once = _why_once(capture, planned)
        captures.append(_cut(folder, capture, once))
    return manifest._replace(captures=tuple(captures))


def _why_once(capture: CaptureInfo, planned: Collection[str]) -> str | None:
    """Why the numbers of a capture cannot be made again; None where they can."""
    if capture.path in _ONCE:
        return _ONCE[capture.path]
    if capture.backend not in planned:
        return "no backend of the plan can give it again"
    return None


def _cut(folder: Path, capture: CaptureInfo, once: str | None) -> CaptureInfo:
    damaged = [part for part in capture.finished if not _is_whole(folder, part)]
    if not damaged:
        return capture
    if once is not None:
        raise _damaged(folder, damaged[0], f", and {once}")
    first = min(part.first_sequence for part in damaged)
    before = [part for part in capture.parts if part.first_sequence < first]
    gone = (*before, *damaged)
    behind = [part for part in capture.finished if part not in gone]
    return capture._replace(parts=tuple(before), ahead=tuple(behind), status="pending")


def _damaged(folder: Path, part: Part, why: str = "") -> InputError:
    return InputError(
        f"{part.file} is missing or damaged{why}",
        where=f"session {folder}",
        file=folder,
        remedy="start a new session",
    )


def _is_whole(folder: Path, part: Part) -> bool:
    path = folder / part.file
    try:
        with open(path, "rb") as file:
            hasher = hashlib.file_digest(file, "sha256")
    except OSError:
        return False
    if not part.digest:  # a session of others has none
        return True
    digest = f"sha256:{hasher.hexdigest()}"
    return digest == part.digest


def remove_unwritten(folder: Path) -> None:
    """Delete files that a killed writer had begun. Whoever holds the lock, with no
    worker started yet, is the only writer.
    """
    for name in (".", "sequences", "facts", LOGS):
        remove_temporary(folder, name, below=False)
    remove_temporary(folder, "captures", below=True)


def nan_tokens(folder: Path, capture: CaptureInfo) -> int:
    """How many scores of a capture are NaN: worth a word while its engine can still be
    set right.
    """
    number = 0
    for part in capture.parts:
        tensors = stored_tensors(folder / part.file)
        if "nan" in tensors:
            is_nan = tensors["nan"][:]
            number += int(is_nan.sum())
    return number
