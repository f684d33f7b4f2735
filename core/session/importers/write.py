"""Records of an importer as a session folder, which appears whole or not at all.

Records are written as they come, part by part, and are not kept. What neither file nor
user states stays unknown, so the gate says caution: the numbers of a file were not
observed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.importers.captures import UNKNOWN, captures_of, with_versions
from logdrift.core.session.importers.fillers import Fillers
from logdrift.core.session.importers.parts import WrittenParts
from logdrift.core.session.importers.records import ImportContext, Record
from logdrift.core.session.importers.texts import Texts
from logdrift.core.session.layout import (
    CaptureInfo,
    Manifest,
    ModelInfo,
    SequencesInfo,
)
from logdrift.core.session.scratch import new_folder
from logdrift.core.session.writer import merge_pieces, write_manifest
from logdrift.core.version import __version__


@dataclass(frozen=True, slots=True)
class Given:
    """What the user gives beside the files: the session's ``title``, the folder of the
    ``model`` that knows the text of ids, and ``facts`` (`flags.told_by_flags`).
    """

    title: str
    model: Path | None = None
    facts: Sequence[str] = ()


def write_records(
    out: Path, records: Iterable[Record], context: ImportContext, given: Given
) -> tuple[str, ...]:
    """Write a session of ``records``, and return what was left out or joined, a
    sentence each.

    Raises InputError for captures that not every sequence has, for a name that does not
    do, for a bad model or fact, and where there is no record at all.
    """
    with new_folder(out) as folder:
        session = _NewSession(folder, given.model)
        for record in records:
            with context.bad.left_out():
                session.add(record)
        manifest = session.finished(context, given)
        write_manifest(folder, manifest)
    return manifest.notes


class _NewSession:
    """A session that grows by records."""

    def __init__(self, folder: Path, model: Path | None) -> None:
        self._folder = folder
        self._parts = WrittenParts(folder)
        self._texts = Texts(model)
        self._fillers = Fillers()
        self._model_name: str | None = None

    def add(self, record: Record) -> None:
        """Take one sequence. Raises InputError where its captures are not those of the
        ones before it.
        """
        self._parts.add(record)
        self._texts.see(record)
        self._fillers.see(record)
        if self._model_name is None:
            self._model_name = record.model

    def finished(self, context: ImportContext, given: Given) -> Manifest:
        """Write what is left, and return the manifest. Raises InputError."""
        if not self._parts.names:
            context.bad.raise_first()
            raise _nothing_in_it(context)
        names = self._parts.names
        infos = captures_of(names, context.sources, given.facts)
        corrections = self._fillers.corrections(context.notes)
        parts = self._parts.finished(corrections)
        pieces = self._texts.pieces()
        merge_pieces(self._folder, pieces)
        captures = []
        for name, info in infos.items():
            of_capture = parts[name]
            capture = info._replace(parts=tuple(of_capture))
            capture = with_versions(capture)
            captures.append(capture)
        return self._manifest(captures, context, given)

    def _manifest(
        self, captures: Sequence[CaptureInfo], context: ImportContext, given: Given
    ) -> Manifest:
        now = datetime.now(timezone.utc)
        model_name = self._model_name or UNKNOWN
        if given.model is not None:
            model_name = str(given.model)
        sequences = SequencesInfo(
            planned=self._parts.sequences,
            generated_by=None,
            parts=tuple(self._parts.of_sequences),
        )
        return Manifest(
            id=uuid.uuid4().hex,
            title=given.title,
            created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            logdrift_version=__version__,
            model=ModelInfo(id=model_name),
            sequences=sequences,
            captures=tuple(captures),
            notes=context.sentences(),
        )


def _nothing_in_it(context: ImportContext) -> InputError:
    """What to say of files without a sequence: why all were left out, if they were."""
    left_out = "; ".join(context.sentences())
    return InputError(
        "no sequence in it: nothing is imported",
        remedy=left_out or None,
    )
