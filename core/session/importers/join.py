"""Files of one capture each, joined by the ids of their sequences: who generated, and
who scored the same ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.importers import llamacpp, openai, sglang
from logdrift.core.session.importers.answers import answers
from logdrift.core.session.importers.records import (
    Notes,
    Reading,
    Record,
    Scores,
    Source,
)
from logdrift.core.session.importers.scored import UNKNOWN_ID, Scored, record_of

_ORDER = (
    "%s has its answers in another order than %s: they are joined by their token ids"
)
_BEHIND = (
    "{n} {token|tokens} that a server sampled behind the ids it was given to score"
    " {is|are} left out"
)
_UNBOUNDED = (
    "{n} {sequence does|sequences do} not say where the prompt ends: all tokens count"
    " as completion"
)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_DIFFER = "answers of %s differ in %s, which stays unknown"


def side_by_side(files: Sequence[str], reading: Reading) -> list[Record]:
    """The records of files of answers, ``NAME=FILE`` or ``FILE`` each: the same
    sequences in every file.

    Raises InputError for a name that is taken, a file without answers, and sequences
    that are not the same.
    """
    joined: list[Record] = []
    first = ""
    for name, path in _named(files):
        found = list(_records(path, name, reading))
        if not found:
            failed = "".join(f": {said}" for said in reading.notes.sentences())
            raise InputError(f"{path}: no answer in it{failed}")
        first = first or path.name
        joined = (
            _join(joined, found, reading.notes, (path.name, first)) if joined else found
        )
    return [_settled(record, reading.notes) for record in joined]


def _named(files: Sequence[str]) -> Iterator[tuple[str, Path]]:
    names: set[str] = set()
    for file in files:
        name, equals, path = file.rpartition("=")
        name = (
            name
            if equals
            else _NOT_IN_NAMES.sub("-", Path(path).stem).strip("-._") or "answers"
        )
        if name in names:
            raise InputError(
                f"{file}: another file is capture {name!r} already: write NAME=FILE"
            )
        names.add(name)
        yield name, Path(path)


def _records(path: Path, name: str, reading: Reading) -> Iterator[Record]:
    observed: list[dict[str, Any]] = []
    for where, answer in answers(path, reading.notes):
        for one in _scored(where, answer):
            observed.append(one.observed)
            yield record_of(one, name, reading.notes)
    reading.sources[name] = _source(observed, name, reading.notes)


def _scored(where: str, answer: dict[str, Any]) -> Iterator[Scored]:
    if "meta_info" in answer:
        yield sglang.scored(where, answer)
    elif "choices" in answer:
        yield from openai.scored(where, answer)
    else:
        yield llamacpp.scored(where, answer)


def _source(observed: Sequence[dict[str, Any]], name: str, notes: Notes) -> Source:
    """What all answers say alike of their server; versions of weights are listed."""
    facts: dict[str, Any] = {}
    for key in dict.fromkeys(key for one in observed for key in one):
        values = list(dict.fromkeys(one.get(key) for one in observed))
        if len(values) == 1:
            facts[key] = values[0]
        elif key == "weight_version":
            facts[key] = ",".join(
                str(value) for value in values[:8] if value is not None
            )
        else:
            notes.count(_DIFFER % (name, key))
    engine = facts.get("engine")
    # An engine's name alone is what the format tells, and no observation of how it ran.
    return Source(engine=engine, observed=facts if set(facts) - {"engine"} else {})


# ---- joining


def _join(
    known: Sequence[Record],
    found: Sequence[Record],
    notes: Notes,
    files: tuple[str, str],
) -> list[Record]:
    if len(known) != len(found):
        raise InputError(
            f"{found[0].where}: {len(found)} sequences, {known[0].where} has"
            f" {len(known)}: give the same"
        )
    pairs = [(a, b, _common(a, b)) for a, b in zip(known, found, strict=True)]
    if any(length == 0 for _, _, length in pairs):
        pairs = _matched(known, found)
        notes.count(_ORDER % files)
    return [_merged(a, b, length, notes) for a, b, length in pairs]


def _lengths(record: Record) -> list[int]:
    """How many leading ids of a record may be a sequence: all, or those that it was
    given to score.
    """
    whole = len(record.token_ids)
    return [whole, record.given] if 0 < record.given < whole else [whole]


def _common(a: Record, b: Record) -> int:
    """How many leading ids make one sequence of both, 0 where they are two; what both
    sampled is never left out.
    """
    for left in _lengths(a):
        for right in _lengths(b):
            both_cut = left < len(a.token_ids) and right < len(b.token_ids)
            if (
                left == right
                and not both_cut
                and _same(a.token_ids[:left], b.token_ids[:left])
            ):
                return left
    return 0


def _same(a: Any, b: Any) -> bool:
    first = UNKNOWN_ID in (a[0], b[0]) or a[0] == b[0]
    return bool(first) and np.array_equal(a[1:], b[1:])


def _key(record: Record, length: int) -> bytes:
    """The first id is left out: a file may not tell it."""
    return length.to_bytes(8, "little") + record.token_ids[1:length].tobytes()


def _matched(
    known: Sequence[Record], found: Sequence[Record]
) -> list[tuple[Record, Record, int]]:
    """Each of ``known`` with the first of ``found`` that is left and has its ids."""
    waiting: dict[bytes, list[int]] = {}
    for index, record in enumerate(found):
        for length in _lengths(record):
            waiting.setdefault(_key(record, length), []).append(index)
    used: set[int] = set()
    pairs = []
    for a in known:
        candidates = [
            index
            for length in _lengths(a)
            for index in waiting.get(_key(a, length), ())
        ]
        at = next(
            (
                index
                for index in candidates
                if index not in used and _common(a, found[index])
            ),
            None,
        )
        if at is None:
            raise InputError(_nobody(a, found))
        used.add(at)
        pairs.append((a, found[at], _common(a, found[at])))
    return pairs


def _nobody(a: Record, found: Sequence[Record]) -> str:
    """What to say of a sequence that no answer of the other file has."""
    prompts = [
        record for record in found if record.prompt_length == 0 and record.bounded
    ]
    bare = (
        "; its answers lack the ids of their prompts"
        if prompts and a.prompt_length
        else ""
    )
    others = (
        f", and no other answer of that file has them{bare}" if len(found) > 1 else bare
    )
    return (
        f"{found[0].where}: its token ids are not those of {a.where}{others}: scores of"
        " other tokens cannot be compared; let one server generate, and have the other"
        " one score the same ids (echo or prompt_logprobs with max_tokens 1)"
    )


def _merged(a: Record, b: Record, length: int, notes: Notes) -> Record:
    a, b = (_cut(record, length, notes) for record in (a, b))
    if a.bounded and b.bounded and a.prompt_length != b.prompt_length:
        raise InputError(
            f"{b.where}: its prompt has {b.prompt_length} tokens, that of {a.where}"
            f" {a.prompt_length}: the same ids were cut at two places"
        )
    bounded = a if a.bounded else b
    return replace(
        bounded,
        where=a.where,
        token_ids=np.where(a.token_ids == UNKNOWN_ID, b.token_ids, a.token_ids),
        captures={**a.captures, **b.captures},
        pieces={**a.pieces, **b.pieces},
        model=a.model or b.model,
        problem=a.problem or b.problem,
        given=0,
    )


def _cut(record: Record, length: int, notes: Notes) -> Record:
    """The record of its first ``length`` ids, which are all that it was given to
    score.
    """
    behind = len(record.token_ids) - length
    if not behind:
        return record
    notes.count(_BEHIND, behind)
    captures = {name: _head(scores, length) for name, scores in record.captures.items()}
    return replace(
        record,
        token_ids=record.token_ids[:length],
        captures=captures,
        prompt_length=0,
        bounded=False,
        finish="unknown",
    )


def _head(scores: Scores, length: int) -> Scores:
    return Scores(
        logprob=scores.logprob[:length],
        rank=scores.rank[:length],
        top_ids=scores.top_ids[:length],
        top_logprobs=scores.top_logprobs[:length],
        entropy=None if scores.entropy is None else scores.entropy[:length],
        nan=None if scores.nan is None else scores.nan[:length],
    )


def _settled(record: Record, notes: Notes) -> Record:
    """A record whose every id is known and whose boundary is settled. Raises InputError
    for one that must be refused.
    """
    if record.problem is not None:
        raise InputError(record.problem)
    if UNKNOWN_ID in record.token_ids[:1]:
        raise InputError(
            f"{record.where}: prompt_logprobs do not name the first id: ask vLLM with"
            ' "return_token_ids": true, or give the answers of the server that'
            " generated as well"
        )
    if not record.bounded:
        notes.count(_UNBOUNDED)
    return record
