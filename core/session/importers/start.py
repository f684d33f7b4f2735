"""How a file or folder begins: what its format is guessed from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.importers.answers import (
    LISTS_OF_ANSWERS,
    has_failed,
    kind_of,
    unwrapped,
    wraps,
)
from logdrift.core.session.importers.bad_lines import BadLines
from logdrift.core.session.importers.compressed import text_files, unpacked_name
from logdrift.core.session.importers.documents import (
    Document,
    Documents,
    NotJson,
    documents,
)
from logdrift.core.session.importers.place import in_file
from logdrift.core.session.importers.records import ImportContext
from logdrift.core.session.layout import MANIFEST

_SHOWN_STEPS = 5


@dataclass(frozen=True)
class Start:
    """The beginning of ``path``, read when it is first asked for: what is bad is left
    out where ``skip_bad`` is True.
    """

    path: Path
    skip_bad: bool = False

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
        nothing: Document = (in_file(self.path), {})
        return next(self._objects(), nothing)

    def has(self, key: str) -> bool:
        """The first object has this key."""
        _, data = self.first
        return key in data

    @cached_property
    def answer_kind(self) -> str | None:
        """The kind of a server's answer (`answers.KINDS`) that the first object is, or
        holds; of requests that failed none is looked at.
        """
        for document in self._objects():
            _, data = document
            if wraps(data):
                for _, answer in unwrapped(*document, self.path.name, self._context()):
                    return kind_of(answer)
            elif not has_failed(data):
                return kind_of(data)
        return None

    def _objects(self) -> Documents:
        """The JSON objects up to what is no JSON."""
        file = exported_files(self.path)[0]
        bad = self._context().bad
        try:
            yield from documents(file, bad, LISTS_OF_ANSWERS)
        except NotJson:
            return

    def _context(self) -> ImportContext:
        return ImportContext(bad=BadLines(self.skip_bad))


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
