"""Parts of a session as its manifest lists them: the record, the names of their files,
and that none is left out, doubled or another's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from logdrift.core.errors import InputError
from logdrift.core.session.files import JsonObject
from logdrift.core.session.schema import COUNT, Unfit, built, record, shown, text


def sequence_part(index: int) -> str:
    """Relative name of the file that holds part ``index`` of the sequences."""
    return f"sequences/part-{index:05d}.safetensors"


def capture_part(label: str, index: int) -> str:
    """Relative name of the file that holds part ``index`` of a capture."""
    return f"captures/{label}/part-{index:05d}.safetensors"


class Part(NamedTuple):
    """One finished file. ``digest`` is ``sha256:`` and 64 hex digits of its bytes, ""
    where a session of others has none.

    ``ids_digest`` is that of `logdrift.core.session.sent_ids` of the ids that a capture
    part scores; None for parts of the sequences and in sessions older than it.
    ``versions`` are the names that the part's tensor of that name refers to.
    """

    file: str
    first_sequence: int
    sequences: int
    tokens: int
    digest: str = ""
    ids_digest: str | None = None
    versions: tuple[str, ...] = ()


def file_name(value: Any) -> str:
    """A name that stays in the session folder."""
    name = text(value)
    path = PurePosixPath(name)
    leads_out = path.is_absolute() or ".." in path.parts
    has_other_meaning = "\\" in name or "\0" in name
    if leads_out or has_other_meaning or not path.parts:
        raise Unfit(f"names a file outside the session folder: {shown(name)}")
    return name


def _digest(value: Any) -> str:
    if value is None:
        return ""
    return text(value)


read_part = built(
    record(
        Part,
        file=file_name,
        first_sequence=COUNT,
        sequences=COUNT,
        tokens=COUNT,
        digest=_digest,
    ),
    Part,
)
"""A part of the manifest's JSON; raises `schema.Unfit`."""


def part_of(data: JsonObject) -> Part:
    """A part as a worker tells it. Raises `schema.Unfit`."""
    part: Part = read_part(data)
    return part


def folder_of(label: str) -> PurePosixPath:
    """Where the parts of a capture stand, by name."""
    return PurePosixPath(capture_part(label, 0)).parent


def check_folders(
    label: str, parts: Iterable[Part], folders: Mapping[PurePosixPath, str]
) -> None:
    """Refuse (InputError) parts of a capture that stand in the folder of another one:
    exchanged, each would be shown with the numbers of the other. ``folders`` has the
    label of each folder.
    """
    for part in parts:
        folder = PurePosixPath(part.file).parent
        owner = folders.get(folder, label)
        if owner != label:
            raise InputError(
                f"session.json lists {part.file} for {label}: it is a part of {owner}"
            )


def check_parts_of(
    owner: str,
    parts: tuple[Part, ...],
    ahead: tuple[Part, ...],
    owners: dict[PurePosixPath, str],
) -> None:
    """Refuse (InputError) parts of the sequences or of one capture, the ``owner``, that
    leave a sequence out or have one twice, and files that another owner has. Adds
    their files to ``owners``.
    """
    expected = 0
    for part in parts:
        if part.first_sequence != expected:
            raise _misplaced(owner, part, f"not at {expected}")
        expected += part.sequences
    for part in ahead:
        if part.first_sequence <= expected:
            raise _misplaced(owner, part, f"not behind {expected}")
        expected = part.first_sequence + part.sequences - 1
    for part in (*parts, *ahead):
        _check_file(owner, part, owners)


def _misplaced(owner: str, part: Part, where: str) -> InputError:
    return InputError(
        f"session.json: {part.file} of {owner} begins at sequence"
        f" {part.first_sequence}, {where}"
    )


def _check_file(owner: str, part: Part, owners: dict[PurePosixPath, str]) -> None:
    file = PurePosixPath(part.file)
    if file in owners:
        raise InputError(
            f"session.json lists {part.file} twice: for {owners[file]} and for {owner}"
        )
    owners[file] = owner
