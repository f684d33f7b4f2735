"""One import: what is asked for, and how records become a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from logdrift.core.session.importers.bad_lines import BadLines
from logdrift.core.session.importers.records import ImportContext, Record, Records
from logdrift.core.session.importers.start import exported_files
from logdrift.core.session.importers.write import Given, write_records

Sentences = tuple[str, ...]
"""What an import says at its end: what was changed, joined or left out."""
_TITLE = 200
"""Characters of a title."""


@dataclass(frozen=True, slots=True)
class ImportJob:
    """The session folder ``out`` is to be made of ``files``.

    ``model`` is a folder whose tokenizer tells the text of ids; ``facts`` are what the
    user knows of the numbers, ``NAME.FACT=VALUE`` each (`logdrift.core.told.TELLABLE`).
    Where ``skip_bad`` is True, a line that cannot be imported is left out.
    """

    files: Sequence[str]
    out: Path
    model: Path | None = None
    facts: Sequence[str] = ()
    skip_bad: bool = False

    def context(self) -> ImportContext:
        """What this import finds out, nothing yet."""
        bad = BadLines(self.skip_bad)
        return ImportContext(bad=bad)


Reader = Callable[[Path, ImportContext], Records]
"""The records of one file, in bounded memory; what it says of backends is added to the
context.
"""


def session_of_lines(job: ImportJob, read: Reader) -> Sentences:
    """Make the session of the records of all files; each holds sequences of its own."""
    context = job.context()
    records = _records(job, read, context)
    return session_of_records(job, records, context)


def _records(job: ImportJob, read: Reader, context: ImportContext) -> Records:
    for file in job.files:
        given = Path(file)
        for path in exported_files(given):
            yield from read(path, context)


def session_of_records(
    job: ImportJob, records: Iterable[Record], context: ImportContext
) -> Sentences:
    """Make the session, and return what was left out or joined, a sentence each.

    Each record is written and forgotten before the next one is asked for.
    """
    title = _title(job.files)
    given = Given(title, job.model, job.facts)
    return write_records(job.out, records, context, given)


def _title(files: Sequence[str]) -> str:
    """The title of a session of files, ``NAME=FILE`` or ``FILE`` each."""
    names = []
    for file in files:
        _, _, path = file.rpartition("=")
        name = Path(path).name
        names.append(name)
    joined = ", ".join(names)
    title = f"imported from {joined}"
    return title[:_TITLE]
