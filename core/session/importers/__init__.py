"""Sessions made of what others have written: another folder of logdrift's, or a file
with log-probabilities.

A new format is one module with ``guess`` and ``run`` (`formats.Importer`), and one line
in `formats.FORMATS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.paths import refuse_shipped
from logdrift.core.session.importers import formats
from logdrift.core.session.importers.foreign import refuse_line
from logdrift.core.session.importers.job import ImportJob
from logdrift.core.session.importers.start import Start


def import_session(
    format_name: str,
    files: Sequence[str],
    out: Path,
    model: Path | None = None,
    facts: Sequence[str] = (),
) -> tuple[str, ...]:
    """Make the session folder ``out`` of ``files``, and return what was left out or
    joined, a sentence each.

    ``model`` and ``facts`` are those of `job.ImportJob`. Nothing is written where
    something is wrong. Raises InputError for a format, file, line or fact that does not
    do, and where ``out`` exists; LogdriftError where the disk refuses.
    """
    refuse_shipped(out)
    job = ImportJob(files, out, model, facts)
    for one in formats.FORMATS:
        if one.name == format_name:
            return one.load().run(job)
    raise InputError(
        f"format {format_name!r} is unknown",
        remedy=f"use {', '.join(formats.format_names())}",
    )


def guess_format(path: Path) -> str:
    """The format of a folder or file, by what is in it. Raises InputError where it
    looks like none, and says what it is.
    """
    start = Start(path)
    for one in formats.FORMATS:
        if one.load().guess(start):
            return one.name
    place, first = start.first
    refuse_line(first, place)
    names = ", ".join(formats.format_names())
    raise InputError(f"is none of {names} (docs/import.md)", file=path)
