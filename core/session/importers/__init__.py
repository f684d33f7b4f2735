"""Sessions made of what others have written: another folder of logdrift's, or a file
with log-probabilities.

A new format is one module with ``guess`` and ``run`` (`formats.Importer`), and one line
in `formats.FORMATS`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.paths import refuse_shipped
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers import formats
from logdrift.core.session.importers.collector import collector_at_rest
from logdrift.core.session.importers.foreign import refuse_line
from logdrift.core.session.importers.formats import Format
from logdrift.core.session.importers.job import ImportJob
from logdrift.core.session.importers.start import Start

_SHOWN_KEYS = 6
_SHOWN_LETTERS = 30


def import_session(
    format_name: str,
    files: Sequence[str],
    out: Path,
    model: Path | None = None,
    facts: Sequence[str] = (),
    skip_bad: bool = False,
) -> tuple[str, ...]:
    """Make the session folder ``out`` of ``files``, and return what was left out or
    joined, a sentence each.

    ``model``, ``facts`` and ``skip_bad`` are those of `job.ImportJob`. Nothing is
    written where something is wrong. Raises InputError for a format, file, line or fact
    that does not do, and where ``out`` exists; LogdriftError where the disk refuses.
    """
    refuse_shipped(out)
    job = ImportJob(
        files=files,
        out=out,
        model=model,
        facts=facts,
        skip_bad=skip_bad,
    )
    for one in formats.FORMATS:
        if one.name == format_name:
            with collector_at_rest():
                return one.load().run(job)
    raise InputError(
        f"format {format_name!r} is unknown",
        remedy=f"use {', '.join(formats.format_names())}",
    )


def guess_format(path: Path) -> str:
    """The format of a folder or file, by what is in it. Raises InputError where it
    looks like none, and says what it is.
    """
    return _guessed(path).name


def guess_formats(files: Sequence[str], skip_bad: bool = False) -> str:
    """The one format of ``files``, ``FILE`` or ``NAME=FILE`` each; answers of several
    servers are read by the format of the first. Where ``skip_bad`` is True what is bad
    in front is not looked at. Raises InputError where a file is not there, or looks
    like no format or like another one than the first.
    """
    first, *rest = [_path_of(file) for file in files]
    wanted = _guessed(first, skip_bad)
    for path in rest:
        found = _guessed(path, skip_bad)
        if found.kind != wanted.kind:
            raise InputError(
                f"looks like {found.name}, {first} like {wanted.name}",
                file=path,
                remedy="import each format as a session of its own",
            )
    return wanted.name


def _path_of(file: str) -> Path:
    """The path in ``FILE`` or ``NAME=FILE``. Raises InputError where nothing is
    there.
    """
    path = Path(file)
    if not path.exists():
        _, _, after_name = file.rpartition("=")
        path = Path(after_name)
    if path.exists():
        return path
    names = formats.format_names()
    remedy = None
    if file in names:
        remedy = f"give a file behind the format {file}"
    elif near := difflib.get_close_matches(file, names, n=1):
        remedy = f"did you mean the format {near[0]!r}?"
    raise InputError("no such file or folder", file=path, remedy=remedy)


def _guessed(path: Path, skip_bad: bool = False) -> Format:
    start = Start(path, skip_bad)
    for one in formats.FORMATS:
        if one.load().guess(start):
            return one
    place, first = start.first
    refuse_line(first, place)
    names = ", ".join(formats.format_names())
    raise InputError(
        f"is none of {names}: {_begins(first)}",
        file=path,
        remedy="name its format in front of it, or write jsonl (docs/import.md)",
    )


def _begins(first: JsonObject) -> str:
    """What a file begins with, as far as that was understood."""
    if not first:
        return "it begins with no JSON object"
    keys = [str(key)[:_SHOWN_LETTERS] for key in first]
    shown = ", ".join(keys[:_SHOWN_KEYS])
    return f"it begins with an object that has {shown}"
