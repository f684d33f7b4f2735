"""One import: what is asked for, and how records become a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from logdrift.core.session.importers.first_tokens import drop_fillers
from logdrift.core.session.importers.nan_fillers import drop_nan_fillers
from logdrift.core.session.importers.records import ImportContext, Record
from logdrift.core.session.importers.start import exported_files
from logdrift.core.session.importers.write import write_records

_TITLE = 200
"""Characters of a title."""


@dataclass(frozen=True, slots=True)
class ImportJob:
    """The session folder ``out`` is to be made of ``files``.

    ``model`` is a folder whose tokenizer tells the text of ids; ``facts`` are what the
    user knows of the numbers, ``NAME.FACT=VALUE`` each (`logdrift.core.told.TELLABLE`).
    """

    files: Sequence[str]
    out: Path
    model: Path | None = None
    facts: Sequence[str] = ()


Reader = Callable[[Path, ImportContext], Iterator[Record]]
"""The records of one file; what it says of backends is added to the context."""


def session_of_lines(job: ImportJob, read: Reader) -> tuple[str, ...]:
    """Make the session of the records of all files; each holds sequences of its own."""
    context = ImportContext()
    records: list[Record] = []
    for file in job.files:
        for path in exported_files(Path(file)):
            records += read(path, context)
    return session_of_records(job, records, context)


def session_of_records(
    job: ImportJob, records: Sequence[Record], context: ImportContext
) -> tuple[str, ...]:
    """Make the session, and return what was left out or joined, a sentence each."""
    drop_fillers(records, context.notes)
    drop_nan_fillers(records, context.notes)
    write_records(
        job.out,
        records,
        context,
        title=_title(job.files),
        model=job.model,
        facts=job.facts,
    )
    return context.notes.sentences()


def _title(files: Sequence[str]) -> str:
    """The title of a session of files, ``NAME=FILE`` or ``FILE`` each."""
    names = []
    for file in files:
        _, _, path = file.rpartition("=")
        names.append(Path(path).name)
    joined = ", ".join(names)
    title = f"imported from {joined}"
    return title[:_TITLE]
