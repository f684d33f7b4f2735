"""How a file or folder begins: what its format is guessed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.session.importers.answers import kind_of, unwrapped, wraps
from logdrift.core.session.importers.documents import Document, NotJson, documents
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.place import in_file
from logdrift.core.session.layout import MANIFEST

_SHOWN_STEPS = 5


@dataclass(frozen=True)
class Start:
    """The beginning of ``path``, read when it is first asked for."""

    path: Path

    @property
    def is_session(self) -> bool:
        """It is a folder with a manifest."""
        return (self.path / MANIFEST).exists()

    @cached_property
    def first(self) -> Document:
        """The first JSON object and its place; nothing where there is none, or no JSON.
        Raises InputError for a folder without exports, and for a file of another kind
        that is recognised.
        """
        file = exported_files(self.path)[0]
        try:
            return next(documents(file), (in_file(self.path), {}))
        except NotJson:
            return in_file(self.path), {}

    def has(self, key: str) -> bool:
        """The first object has this key."""
        return key in self.first[1]

    @cached_property
    def answer_kind(self) -> str | None:
        """The kind of a server's answer (`answers.KINDS`) that the first object is, or
        holds.
        """
        return kind_of(next(self._answers(), self.first[1]))

    def _answers(self) -> Iterator[dict[str, Any]]:
        """What the first object is wrapped around, where it is."""
        place, data = self.first
        if wraps(data):
            for _, answer in unwrapped(place, data, self.path.name, Notes()):
                yield answer


def exported_files(path: Path) -> list[Path]:
    """A file itself, or the exports in a folder, all ranks of a step."""
    if not path.is_dir():
        return [path]
    ranks = sorted(path.glob("rank_*.jsonl"))
    if not ranks:
        reason = f"no {MANIFEST} and no rank_*.jsonl in it"
        raise InputError(reason, file=path, remedy=_steps_below(path))
    return ranks


def _steps_below(folder: Path) -> str | None:
    """Which folders of steps to give instead; None where there are none."""
    for parent in (folder, folder / "token_exports"):
        steps = {path.parent.name for path in parent.glob("step_*/rank_*.jsonl")}
        if steps:
            return f"give one of {_named(steps)} in {parent}"
    return None


def _named(steps: set[str]) -> str:
    in_order = sorted(steps, key=lambda name: (len(name), name))
    named = ", ".join(in_order[:_SHOWN_STEPS])
    more = len(in_order) - _SHOWN_STEPS
    if more > 0:
        return f"{named} and {more} more"
    return named
