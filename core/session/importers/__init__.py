"""Sessions made of what others have written: another folder of logdrift's, or a file with log-probabilities.

A new format is one module here, with a function that gives `Record`, and one line in ``FORMATS``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.session.importers import folder, jsonl, openai, prime_rl
from core.session.importers.fillers import drop_nan_fillers
from core.session.importers.first import drop_fillers
from core.session.importers.foreign import refuse_binary
from core.session.importers.records import Reading, Record
from core.session.importers.write import write_records
from core.session.layout import MANIFEST


@dataclass(frozen=True, slots=True)
class Format:
    """``words`` for the help; ``read`` gives the records of a file, where each file holds sequences of its own."""

    words: str
    read: Callable[[Path, Reading], Iterator[Record]] | None = None


FORMATS: dict[str, Format] = {
    "session": Format("a session folder from elsewhere, copied and checked"),
    "jsonl": Format("one sequence a line, with any number of captures", jsonl.read),
    "prime-rl": Format("token exports of prime-rl: rank_R.jsonl, or a step_N folder of them", prime_rl.read),
    "openai": Format("answers of an OpenAI-compatible server with token ids; NAME=FILE, one capture each"),
}


def import_session(
    format_name: str, files: Sequence[str], out: Path, model: Path | None = None, facts: Sequence[str] = ()
) -> tuple[str, ...]:
    """Make the session folder ``out`` of ``files``, and return what was left out or joined, a sentence each.

    ``model`` is a folder whose tokenizer tells the text of ids; ``facts`` are what the user knows of the numbers,
    ``NAME.FACT=VALUE`` each (`told.TELLABLE`). Nothing is written where something is wrong. Raises InputError for a
    format, file, line or fact that does not do, and where ``out`` exists; LogdriftError where the disk refuses.
    """
    if format_name not in FORMATS:
        raise InputError(f"format {format_name!r} is unknown: use {', '.join(FORMATS)}")
    if format_name == "session":
        if len(files) != 1:
            raise InputError("import session takes one folder: give each an --out of its own")
        if facts:
            raise InputError(f"--fact {facts[0]}: a session has its facts already: leave --fact out")
        folder.copy_session(Path(files[0]), out)
        return ()
    reading = Reading()
    read = FORMATS[format_name].read
    if read is None:
        records = _side_by_side(files)
    else:
        paths = [path for file in files for path in _files(Path(file))]
        records = [record for path in paths for record in read(path, reading)]
    drop_fillers(records, reading.notes)
    drop_nan_fillers(records, reading.notes)
    names = ", ".join(Path(file).name for file in files)
    write_records(out, records, reading, f"imported from {names}"[:200], model, facts)
    return reading.notes.sentences()


def guess_format(path: Path) -> str:
    """The format of a folder or file, by what is in it. Raises InputError where it looks like none."""
    if (path / MANIFEST).exists():
        return "session"
    file_of_it = _files(path)[0]
    refuse_binary(file_of_it)
    try:
        with open(file_of_it, "rb") as file:
            first = next((line for line in file if line.strip()), b"")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        data = json.loads(first)
        keys = set(data) if isinstance(data, dict) else set()
    except (ValueError, RecursionError):
        keys = {"choices"} if b'"choices"' in file_of_it.read_bytes()[: 1 << 20] else set()  # an answer over many lines
    found = {"captures": "jsonl", "schema_version": "prime-rl", "choices": "openai"}
    for key, name in found.items():
        if key in keys:
            return name
    raise InputError(f"{path}: is neither a session nor {', '.join(found.values())} (docs/import.md)")


def _files(path: Path) -> list[Path]:
    """A file, or the exports in a folder, all ranks of a step."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("rank_*.jsonl"))
    if not found:
        raise InputError(f"{path}: no {MANIFEST} and no rank_*.jsonl in it{prime_rl.steps_below(path)}")
    return found


def _side_by_side(files: Sequence[str]) -> list[Record]:
    """Files of one capture each, joined by order and by ids: the same sequences in every file."""
    joined: list[Record] = []
    names: set[str] = set()
    for file in files:
        name, equals, path = file.rpartition("=")
        name = name if equals else Path(path).stem
        if name in names:
            raise InputError(f"{file}: another file is capture {name!r} already: write NAME=FILE")
        names.add(name)
        found = list(openai.read(Path(path), name))
        if not found:
            raise InputError(f"{path}: no answer in it")
        joined = [_merged(a, b) for a, b in _pairs(joined, found)] if joined else found
    return joined


def _pairs(known: Sequence[Record], found: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    if len(known) != len(found):
        raise InputError(f"{found[0].where}: {len(found)} sequences, {known[0].where} has {len(known)}: give the same")
    yield from zip(known, found, strict=True)


def _merged(a: Record, b: Record) -> Record:
    if a.prompt_length != b.prompt_length or not np.array_equal(a.token_ids, b.token_ids):
        raise InputError(
            f"{b.where}: its token ids are not those of {a.where}: scores of other tokens cannot be compared; let one "
            "server generate, and have the other one score the same ids (echo)"
        )
    return replace(a, captures={**a.captures, **b.captures}, pieces={**a.pieces, **b.pieces})
