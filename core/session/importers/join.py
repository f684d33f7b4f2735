"""Captures of several files joined by the ids of their sequences: who generated, and
who scored the same ids.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.importers.answer_records import UNKNOWN_ID
from logdrift.core.session.importers.bad_lines import BadLines
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.records import ImportContext, Record, Records
from logdrift.core.session.importers.spool import (
    PackedTexts,
    Spool,
    both_captures,
    existing_folder,
    first_of_captures,
    texts_of,
)
from logdrift.core.session.scores import IdArray, later_rows

_Kept = Sequence[Record]
"""The records of one file, or of several joined, as often as they are asked for."""
RecordsOf = tuple[Path, Records]
"""A file and its records, which are read as they are asked for."""
RecordsOfFiles = Iterator[RecordsOf]
"""One capture each."""
_Waiting = dict[bytes, list[int]]
"""Where records stand in their file, by what is alike in those of one sequence."""
_ORDER = (
    "%s has its answers in another order than %s: they are joined by their token ids"
)
_BEHIND = (
    "{n} {token|tokens} that a server sampled behind the ids it was given to score"
    " {is|are} left out"
)
_ALONE = (
    "{n} {answer|answers} of %s {has|have} ids that no answer of the other files has:"
    " left out"
)
_UNBOUNDED = (
    "{n} {sequence does|sequences do} not say where the prompt ends: all tokens count"
    " as completion"
)
_NAMELESS = (
    "{n} {sequence begins|sequences begin} with {its|their} second token: no file names"
    " the first one (vLLM does with return_token_ids)"
)


def side_by_side(
    captures: Iterable[RecordsOf], context: ImportContext, out: Path
) -> Records:
    """The records of files, one capture each: the same sequences in every file. Those
    of several files are kept beside the new session ``out`` while they are joined, but
    for their ids.

    Raises InputError for sequences that are not the same, and what reading the files
    raises.
    """
    files = iter(captures)
    first = next(files, None)
    if first is None:
        return
    _, records = first
    second = next(files, None)
    if second is not None:
        several = itertools.chain((first, second), files)
        records = _joined(several, context, out)
    for record in records:
        with context.bad.left_out():
            yield _settled(record, context.notes)


def _joined(
    captures: Iterable[RecordsOf], context: ImportContext, out: Path
) -> Records:
    """The records of several files, those of one sequence as one."""
    folder = existing_folder(out)
    before: _Kept = ()
    first = ""
    for path, records in captures:
        added = Spool(folder)
        for record in records:
            added.add(record)
        if first:
            names = (first, path.name)
            before = _with_added(before, added, context, names)
        else:
            first = path.name
            before = added
    for record in before:
        captures_in_memory = dict(record.captures)
        pieces = texts_of(record)
        yield replace(record, captures=captures_in_memory, pieces=pieces)


def _with_added(
    before: _Kept,
    added: _Kept,
    context: ImportContext,
    names: tuple[str, str],
) -> _Kept:
    """The records of one more file joined with those of the files before; ``names``
    are those of the first file and of this one.
    """
    bad = context.bad
    differ = len(before) != len(added)
    if differ and not bad.skip:
        raise added[0].place.error(
            f"{len(added)} sequences, {before[0].place.words} has {len(before)}",
            "give the same",
        )
    pairs = _in_order(before, added)
    if pairs is None:
        pairs = _matched(before, added, bad)
        first, last = names
        context.notes.count(_ORDER % (last, first))
    merged = []
    for pair in pairs:
        with bad.left_out():
            record = _merged(pair, context.notes)
            merged.append(record)
    alone = len(added) - len(pairs)
    context.notes.count(_ALONE % names[1], alone)
    return merged


class _SameSequence(NamedTuple):
    """Two records of one sequence, which is their ``length`` leading ids."""

    a: Record
    b: Record
    length: int


_Pairs = Sequence[_SameSequence]


def _in_order(before: _Kept, added: _Kept) -> _Pairs | None:
    """Each of ``before`` with the one of ``added`` at its place; None where some of
    them are different sequences.
    """
    if len(before) != len(added):
        return None
    pairs = []
    same_places = zip(before, added, strict=True)
    for a, b in same_places:
        length = _common(a, b)
        if length == 0:
            return None
        pair = _SameSequence(a, b, length)
        pairs.append(pair)
    return pairs


def _lengths(record: Record) -> list[int]:
    """How many leading ids of a record may be a sequence: all, or those that it was
    given to score.
    """
    whole = len(record.token_ids)
    has_sampled = 0 < record.given < whole
    if has_sampled:
        return [whole, record.given]
    return [whole]


def _common(a: Record, b: Record) -> int:
    """How many leading ids make one sequence of both, 0 where they are two; what both
    sampled is never left out.
    """
    length_a = len(a.token_ids)
    length_b = len(b.token_ids)
    shortest = min(length_a, length_b)
    lengths_of_b = _lengths(b)
    for length in _lengths(a):
        cuts_both = length < shortest
        if cuts_both or length not in lengths_of_b:
            continue
        ids_a = a.token_ids[:length]
        ids_b = b.token_ids[:length]
        if _same(ids_a, ids_b):
            return length
    return 0


def _same(a: IdArray, b: IdArray) -> bool:
    """The ids are equal; the first one also where a file does not tell it."""
    first_a = a[0]
    first_b = b[0]
    is_known = UNKNOWN_ID not in (first_a, first_b)
    if is_known and first_a != first_b:
        return False
    rest_a = a[1:]
    rest_b = b[1:]
    return np.array_equal(rest_a, rest_b)


def _key(record: Record, length: int) -> bytes:
    """The first id is left out: a file may not tell it."""
    ids = record.token_ids[1:length]
    length_bytes = length.to_bytes(8, "little")
    return length_bytes + ids.tobytes()


def _matched(before: _Kept, added: _Kept, bad: BadLines) -> _Pairs:
    """Each of ``before`` with the first of ``added`` that is left and has its ids."""
    waiting: _Waiting = {}
    for index, record in enumerate(added):
        for length in _lengths(record):
            key = _key(record, length)
            same_ids = waiting.setdefault(key, [])
            same_ids.append(index)
    used: set[int] = set()
    pairs = []
    for a in before:
        with bad.left_out():
            index = _partner(a, added, waiting, used)
            used.add(index)
            b = added[index]
            pair = _SameSequence(a, b, _common(a, b))
            pairs.append(pair)
    return pairs


def _partner(a: Record, added: _Kept, waiting: _Waiting, used: Container[int]) -> int:
    """The first of ``added`` that is left and has the ids of ``a``. Raises InputError
    where there is none.
    """
    for index in _candidates(a, waiting):
        if index not in used and _common(a, added[index]):
            return index
    raise _unmatched(a, added)


def _candidates(record: Record, waiting: _Waiting) -> list[int]:
    """The records of the other file that may be the same sequence."""
    candidates: list[int] = []
    for length in _lengths(record):
        key = _key(record, length)
        candidates += waiting.get(key, ())
    return candidates


def _unmatched(a: Record, added: _Kept) -> InputError:
    """What to say of a sequence that no answer of the other file has."""
    reason = f"its token ids are not those of {a.place.words}"
    if len(added) > 1:
        reason += ", and no other answer of that file has them"
    if a.prompt_length and _lack_prompts(added):
        reason += "; its answers lack the ids of their prompts"
    return added[0].place.error(
        f"{reason}: scores of other tokens cannot be compared",
        "let one server generate, and have the other one score the same ids (echo or"
        " prompt_logprobs with max_tokens 1)",
    )


def _lack_prompts(records: _Kept) -> bool:
    """One of the records is a completion whose prompt is not in the file."""
    bounded = [record for record in records if record.bounded]
    return any(record.prompt_length == 0 for record in bounded)


def _merged(pair: _SameSequence, notes: Notes) -> Record:
    """One record with the captures of both. Raises InputError where they disagree on
    the end of the prompt.
    """
    length = pair.length
    a = _cut(pair.a, length, notes)
    b = _cut(pair.b, length, notes)
    both_bounded = a.bounded and b.bounded
    if both_bounded and a.prompt_length != b.prompt_length:
        raise b.place.error(
            f"its prompt has {b.prompt_length} tokens, that of {a.place.words}"
            f" {a.prompt_length}: the same ids were cut at two places"
        )
    bounded = b
    if a.bounded:
        bounded = a
    roles = a.roles
    if roles is None:
        roles = b.roles
    pieces = {**texts_of(a), **texts_of(b)}
    is_unknown = a.token_ids == UNKNOWN_ID
    token_ids = np.where(is_unknown, b.token_ids, a.token_ids)
    return replace(
        bounded,
        place=a.place,
        token_ids=token_ids,
        roles=roles,
        captures=both_captures(a.captures, b.captures),
        pieces=PackedTexts(pieces),
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
    captures = first_of_captures(record.captures, length)
    leading_ids = record.token_ids[:length]
    roles = record.roles
    if roles is not None:
        roles = roles[:length]
    return replace(
        record,
        token_ids=leading_ids,
        captures=captures,
        roles=roles,
        prompt_length=0,
        bounded=False,
        finish="unknown",
    )


def _settled(record: Record, notes: Notes) -> Record:
    """A record whose every id is known and whose boundary is settled. Raises InputError
    for one that must be refused.
    """
    if record.problem is not None:
        raise record.problem
    if not record.bounded:
        notes.count(_UNBOUNDED)
    if UNKNOWN_ID in record.token_ids[:1]:
        notes.count(_NAMELESS)
        return _from_second(record)
    return record


def _from_second(record: Record) -> Record:
    """The record without its first token, whose id is not known. Raises InputError
    where there is no other.
    """
    if len(record.token_ids) < 2:
        raise record.place.error(
            "names no token id", 'ask vLLM with "return_token_ids": true'
        )
    captures = {}
    for name, scores in record.captures.items():
        captures[name] = later_rows(scores, 1)
    behind = slice(1, None)
    roles = record.roles
    if roles is not None:
        roles = roles[behind]
    return replace(
        record,
        token_ids=record.token_ids[behind],
        prompt_length=max(0, record.prompt_length - 1),
        captures=captures,
        roles=roles,
    )
