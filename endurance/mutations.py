"""Every way in which one file can be damaged, and the choice of one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from endurance.byte_mutations import BYTES, NO_FILES, TORN
from endurance.json_mutations import JSON
from endurance.tensor_mutations import TENSORS

Mutate = Callable[[Path, random.Random], str]
"""Damages one file, and says how."""


@dataclass(frozen=True)
class Mutation:
    """What was done to ``file`` of a session or an import. ``made_so``: its digest fits
    what the file holds now, so nobody can tell it from a file that was written so.
    ``rewritten``: a program has read it and written something else. ``torn``: some
    bytes are others, and no program has written it so.
    """

    file: str
    how: str
    made_so: bool
    rewritten: bool = False
    torn: bool = False

    def __str__(self) -> str:
        return f"{self.file}: {self.how}"


def mutate(folder: Path, chance: random.Random) -> Mutation:
    """Damage one file of a session, or of whatever is in a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    path = chance.choices(files, [_weight(path) for path in files])[0]
    chosen = chance.choice(_kinds(path, chance))
    said = chosen(path, chance)
    return Mutation(
        file=path.relative_to(folder).as_posix(),
        how=f"{chosen.__name__}: {said}",
        made_so=chosen in TENSORS,
        rewritten=chosen in JSON,
        torn=chosen in TORN,
    )


def _weight(path: Path) -> int:
    """How often a file is damaged: the manifest and what is found out later have the
    most to be wrong, and are few.
    """
    if path.name == "session.json":
        return 6
    return 3 if path.suffix in (".json", ".jsonl") else 1


def _kinds(path: Path, chance: random.Random) -> Sequence[Mutate]:
    if path.suffix in (".json", ".jsonl") or path.name == "lock":
        return chance.choices((JSON, BYTES, NO_FILES), (6, 3, 1))[0]
    if path.suffix == ".safetensors":
        return chance.choices((TENSORS, BYTES, NO_FILES), (5, 5, 1))[0]
    return chance.choices((BYTES, NO_FILES), (3, 1))[0]
