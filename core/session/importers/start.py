"""How a file or folder begins: what its format is guessed from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.answers import (
    LISTS_OF_ANSWERS,
    kind_of,
    unwrapped,
    wraps,
)
from logdrift.core.session.importers.compressed import text_files, unpacked_name
from logdrift.core.session.importers.documents import (
    Document,
    NotJson,
    documents,
)
from logdrift.core.session.importers.place import in_file
from logdrift.core.session.importers.records import ImportContext
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
        nothing: Document = (in_file(self.path), {})
        objects = documents(file, lists=LISTS_OF_ANSWERS)
        try:
            return next(objects, nothing)
        except NotJson:
            return nothing

    def has(self, key: str) -> bool:
        """The first object has this key."""
        _, data = self.first
        return key in data

    @cached_property
    def answer_kind(self) -> str | None:
        """The kind of a server's answer (`answers.KINDS`) that the first object is, or
        holds.
        """
        _, data = self.first
        answer = next(self._answers(), data)
        return kind_of(answer)

    def _answers(self) -> Iterator[JsonObject]:
        """What the first object is wrapped around, where it is."""
        place, data = self.first
        if not wraps(data):
            return
        inside = unwrapped(place, data, self.path.name, ImportContext())
        for _, answer in inside:
            yield answer


def exported_files(path: Path) -> list[Path]:
    """A file itself, or the exports in a folder, all ranks of a step."""
    if not path.is_dir():
        return [path]
    ranks = sorted(text_files(path, "rank_*.jsonl"))
    if not ranks:
        reason = f"no {MANIFEST} and no rank_*.jsonl in it"
        steps = _steps_below(path)
        raise InputError(reason, file=path, remedy=steps)
    return ranks


def _steps_below(folder: Path) -> str | None:
    """Which folders of steps to give instead; None where there are none."""
    for parent in (folder, folder / "token_exports"):
        exports = parent.glob("step_*/rank_*.jsonl*")
        steps = {export.parent.name for export in exports}
        if steps:
            return f"give one of {_named(steps)} in {parent}"
    return None


def _named(steps: set[str]) -> str:
    in_order = sorted(steps, key=by_number)
    named = ", ".join(in_order[:_SHOWN_STEPS])
    more = len(in_order) - _SHOWN_STEPS
    if more > 0:
        return f"{named} and {more} more"
    return named


def by_number(name: str) -> tuple[int, str]:
    """Sorts step_9 before step_10."""
    return len(name), name


def in_order(paths: Iterable[Path]) -> Sequence[Path]:
    """Files of one folder by the numbers at the ends of their names."""
    by_name = {unpacked_name(path.name): path for path in paths}
    names = sorted(by_name, key=by_number)
    return [by_name[name] for name in names]
