"""Sessions made of what others have written: another folder of logdrift's, or a file
with log-probabilities.

A new format is one module here, with a function that gives `Record`, and one line in
``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.session.importers import folder, jsonl, prime_rl
from logdrift.core.session.importers.answers import kind_of, unwrapped, wraps
from logdrift.core.session.importers.documents import NotJson, documents
from logdrift.core.session.importers.fillers import drop_nan_fillers
from logdrift.core.session.importers.first import drop_fillers
from logdrift.core.session.importers.foreign import refuse_line
from logdrift.core.session.importers.join import side_by_side
from logdrift.core.session.importers.records import Notes, Reading, Record
from logdrift.core.session.importers.write import write_records
from logdrift.core.session.layout import MANIFEST


@dataclass(frozen=True, slots=True)
class Format:
    """``words`` for the help; ``read`` gives the records of a file, where each file
    holds sequences of its own.
    """

    words: str
    read: Callable[[Path, Reading], Iterator[Record]] | None = None


FORMATS: dict[str, Format] = {
    "session": Format("a session folder from elsewhere, copied and checked"),
    "jsonl": Format("one sequence a line, with any number of captures", jsonl.read),
    "prime-rl": Format(
        "token exports of prime-rl: rank_R.jsonl, or a step_N folder of them",
        prime_rl.read,
    ),
    "openai": Format(
        "answers of an OpenAI-compatible server with token ids, streams and batches"
        " too; NAME=FILE, one capture each"
    ),
    "sglang": Format(
        "native answers of SGLang's /generate; NAME=FILE, one capture each, joined with"
        " others by ids"
    ),
}


def import_session(
    format_name: str,
    files: Sequence[str],
    out: Path,
    model: Path | None = None,
    facts: Sequence[str] = (),
) -> tuple[str, ...]:
    """Make the session folder ``out`` of ``files``, and return what was left out or
    joined, a sentence each.

    ``model`` is a folder whose tokenizer tells the text of ids; ``facts`` are what the
    user knows of the numbers, ``NAME.FACT=VALUE`` each (`logdrift.core.told.TELLABLE`).
    Nothing is written where something is wrong. Raises InputError for a format, file,
    line or fact that does not do, and where ``out`` exists; LogdriftError where the
    disk refuses.
    """
    if format_name not in FORMATS:
        raise InputError(f"format {format_name!r} is unknown: use {', '.join(FORMATS)}")
    if format_name == "session":
        if len(files) != 1:
            raise InputError(
                "import session takes one folder: give each an --out of its own"
            )
        if facts:
            raise InputError(
                f"--fact {facts[0]}: a session has its facts already: leave --fact out"
            )
        folder.copy_session(Path(files[0]), out)
        return ()
    reading = Reading()
    read = FORMATS[format_name].read
    if read is None:
        records = side_by_side(files, reading)
    else:
        paths = [path for file in files for path in _files(Path(file))]
        records = [record for path in paths for record in read(path, reading)]
    drop_fillers(records, reading.notes)
    drop_nan_fillers(records, reading.notes)
    names = ", ".join(Path(file.rpartition("=")[2]).name for file in files)
    write_records(out, records, reading, f"imported from {names}"[:200], model, facts)
    return reading.notes.sentences()


def guess_format(path: Path) -> str:
    """The format of a folder or file, by what is in it. Raises InputError where it
    looks like none, and says what it is.
    """
    if (path / MANIFEST).exists():
        return "session"
    none = (
        f"{path}: is neither a session nor"
        f" {', '.join(name for name in FORMATS if name != 'session')} (docs/import.md)"
    )
    try:
        where, data = next(documents(_files(path)[0]), (str(path), {}))
    except NotJson:
        raise InputError(none) from None
    for key, name in (("captures", "jsonl"), ("schema_version", "prime-rl")):
        if key in data:
            return name
    kind = kind_of(_first_answer(where, data, path))
    if kind is not None:
        return "sglang" if kind == "sglang" else "openai"
    refuse_line(data, jsonl.KEYS, where)
    raise InputError(none)


def _first_answer(where: str, data: dict[str, Any], path: Path) -> dict[str, Any]:
    """What an object is wrapped around, where it is; else the object itself."""
    if not wraps(data):
        return data
    return next(
        (answer for _, answer in unwrapped(where, data, path.name, Notes())), data
    )


def _files(path: Path) -> list[Path]:
    """A file, or the exports in a folder, all ranks of a step."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("rank_*.jsonl"))
    if not found:
        raise InputError(
            f"{path}: no {MANIFEST} and no rank_*.jsonl in"
            f" it{prime_rl.steps_below(path)}"
        )
    return found
