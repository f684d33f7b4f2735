"""Files of answers, one capture each: their names, their records, and what they say of
their servers.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers import (
    engine_outputs,
    llamacpp_answers,
    openai_answers,
    request_outputs,
    sglang_answers,
)
from logdrift.core.session.importers.answer_records import ServerAnswer, record_of
from logdrift.core.session.importers.answers import answers, kind_of
from logdrift.core.session.importers.compressed import unpacked_name
from logdrift.core.session.importers.join import RecordsOfFiles
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.place import in_file
from logdrift.core.session.importers.records import (
    CaptureSource,
    ImportContext,
    Records,
)

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_DIFFER = "answers of %s differ in %s, which stays unknown"
_SHOWN_VERSIONS = 8


def captures_of(files: Sequence[str], context: ImportContext) -> RecordsOfFiles:
    """Each file and its records; ``NAME=FILE`` or ``FILE`` each. Raises InputError for
    a name that is taken, and a file without answers.
    """
    for name, path in named_files(files):
        records = _records(path, name, context)
        yield path, records


def named_files(files: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The capture's name and the path of each, ``NAME=FILE`` or ``FILE``. Raises
    InputError for a name that is taken.
    """
    names: set[str] = set()
    for file in files:
        name, equals, path = file.rpartition("=")
        if not equals:
            name = _default_name(path)
        if name in names:
            reason = f"another file is capture {name!r} already"
            raise InputError(reason, file=file, remedy="write NAME=FILE")
        names.add(name)
        yield name, Path(path)


def _default_name(path: str) -> str:
    """The name of a capture that was given none: that of its file."""
    file = unpacked_name(Path(path).name)
    stem = Path(file).stem
    name = _NOT_IN_NAMES.sub("-", stem)
    stripped = name.strip("-._")
    return stripped or "answers"


def _records(path: Path, name: str, context: ImportContext) -> Records:
    notes = context.notes
    observed: list[JsonObject] = []
    for document in answers(path, context):
        records = []
        with context.one_line():
            for one in _scored(*document):
                record = record_of(one, name, notes)
                records.append(record)
                observed.append(one.observed)
                del one
        del document
        yield from records
    if not observed:
        context.bad.raise_first()
        reason = "no answer in it"
        for note in notes.sentences():
            reason += f": {note}"
        raise in_file(path).error(reason)
    source = _source(observed, name, notes)
    context.sources[name] = source


def _scored(place: Place, answer: JsonObject) -> Iterator[ServerAnswer]:
    kind = kind_of(answer)
    if kind == "sglang":
        yield sglang_answers.scored(place, answer)
    elif kind == "openai":
        yield from openai_answers.scored(place, answer)
    elif kind == "vllm":
        yield from request_outputs.scored(place, answer)
    elif kind == "engine-outputs":
        yield engine_outputs.scored(place, answer)
    else:
        yield llamacpp_answers.scored(place, answer)


def _source(observed: Sequence[JsonObject], name: str, notes: Notes) -> CaptureSource:
    """What all answers say alike of their server; versions of weights are listed."""
    facts: dict[str, Any] = {}
    all_keys = itertools.chain.from_iterable(observed)
    for key in dict.fromkeys(all_keys):
        answers_say = [one.get(key) for one in observed]
        different = dict.fromkeys(answers_say)
        values = list(different)
        if len(values) == 1:
            facts[key] = values[0]
        elif key == "weight_version":
            versions = _versions(values)
            facts[key] = versions
        else:
            sentence = _DIFFER % (name, key)
            notes.count(sentence)
    engine = facts.get("engine")
    # An engine's name alone is what the format tells, and no observation of how it ran.
    if set(facts) <= {"engine"}:
        return CaptureSource(engine=engine)
    return CaptureSource(engine=engine, observed=facts)


def _versions(values: JsonList) -> str:
    """The first versions of weights, separated by commas."""
    known = []
    for version in values[:_SHOWN_VERSIONS]:
        if version is not None:
            text = str(version)
            known.append(text)
    return ",".join(known)
