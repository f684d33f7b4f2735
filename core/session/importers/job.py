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


def session_of_lines(
    job: ImportJob, read: Callable[[Path, ImportContext], Iterator[Record]]
) -> tuple[str, ...]:
    """Make the session of the records of all files; each holds sequences of its own."""
    context = ImportContext()
    paths = [path for file in job.files for path in exported_files(Path(file))]
    records = [record for path in paths for record in read(path, context)]
    return session_of_records(job, records, context)


def session_of_records(
    job: ImportJob, records: Sequence[Record], context: ImportContext
) -> tuple[str, ...]:
    """Make the session, and return what was left out or joined, a sentence each."""
    drop_fillers(records, context.notes)
    drop_nan_fillers(records, context.notes)
    names = ", ".join(Path(file.rpartition("=")[2]).name for file in job.files)
    write_records(
        job.out,
        records,
        context,
        title=f"imported from {names}"[:_TITLE],
        model=job.model,
        facts=job.facts,
    )
    return context.notes.sentences()
