"""Captures of several files joined by the ids of their sequences: who generated, and
who scored the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.importers.answer_files import captures_of
from logdrift.core.session.importers.answer_records import UNKNOWN_ID
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.records import ImportContext, Record
from logdrift.core.session.scores import IdArray, first_rows

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


def side_by_side(files: Sequence[str], context: ImportContext) -> list[Record]:
    """The records of files of answers, ``NAME=FILE`` or ``FILE`` each: the same
    sequences in every file.

    Raises InputError for a name that is taken, a file without answers, and sequences
    that are not the same.
    """
    joined: list[Record] = []
    first = ""
    for path, records in captures_of(files, context):
        if joined:
            names = (path.name, first)
            joined = _join(joined, records, context.notes, names)
        else:
            joined = records
            first = path.name
    return [_settled(record, context.notes) for record in joined]


def _join(
    before: Sequence[Record],
    added: Sequence[Record],
    notes: Notes,
    files: tuple[str, str],
) -> list[Record]:
    """Each record of ``before`` with its one of ``added``; ``files`` are their names,
    that of ``added`` first.
    """
    if len(before) != len(added):
        raise added[0].place.error(
            f"{len(added)} sequences, {before[0].place.words} has {len(before)}",
            "give the same",
        )
    pairs = [(a, b, _common(a, b)) for a, b in zip(before, added, strict=True)]
    if any(length == 0 for _, _, length in pairs):
        pairs = _matched(before, added)
        notes.count(_ORDER % files)
    return [_merged(a, b, length, notes) for a, b, length in pairs]


def _lengths(record: Record) -> list[int]:
    """How many leading ids of a record may be a sequence: all, or those that it was
    given to score.
    """
    whole = len(record.token_ids)
    if 0 < record.given < whole:
        return [whole, record.given]
    return [whole]


def _common(a: Record, b: Record) -> int:
    """How many leading ids make one sequence of both, 0 where they are two; what both
    sampled is never left out.
    """
    for length in _lengths(a):
        both_cut = length < len(a.token_ids) and length < len(b.token_ids)
        if length not in _lengths(b) or both_cut:
            continue
        if _same(a.token_ids[:length], b.token_ids[:length]):
            return length
    return 0


def _same(a: IdArray, b: IdArray) -> bool:
    first = UNKNOWN_ID in (a[0], b[0]) or a[0] == b[0]
    return bool(first) and np.array_equal(a[1:], b[1:])


def _key(record: Record, length: int) -> bytes:
    """The first id is left out: a file may not tell it."""
    return length.to_bytes(8, "little") + record.token_ids[1:length].tobytes()


def _matched(
    before: Sequence[Record], added: Sequence[Record]
) -> list[tuple[Record, Record, int]]:
    """Each of ``before`` with the first of ``added`` that is left and has its ids."""
    waiting: dict[bytes, list[int]] = {}
    for index, record in enumerate(added):
        for length in _lengths(record):
            waiting.setdefault(_key(record, length), []).append(index)
    used: set[int] = set()
    pairs = []
    for a in before:
        for index in _candidates(a, waiting):
            length = _common(a, added[index])
            if index not in used and length:
                used.add(index)
                pairs.append((a, added[index], length))
                break
        else:
            raise _unmatched(a, added)
    return pairs


def _candidates(record: Record, waiting: dict[bytes, list[int]]) -> list[int]:
    keys = [_key(record, length) for length in _lengths(record)]
    return [index for key in keys for index in waiting.get(key, ())]


def _unmatched(a: Record, added: Sequence[Record]) -> InputError:
    """What to say of a sequence that no answer of the other file has."""
    without_prompt = any(one.prompt_length == 0 and one.bounded for one in added)
    reason = f"its token ids are not those of {a.place.words}"
    if len(added) > 1:
        reason += ", and no other answer of that file has them"
    if without_prompt and a.prompt_length:
        reason += "; its answers lack the ids of their prompts"
    return added[0].place.error(
        f"{reason}: scores of other tokens cannot be compared",
        "let one server generate, and have the other one score the same ids (echo or"
        " prompt_logprobs with max_tokens 1)",
    )


def _merged(a: Record, b: Record, length: int, notes: Notes) -> Record:
    a = _cut(a, length, notes)
    b = _cut(b, length, notes)
    if a.bounded and b.bounded and a.prompt_length != b.prompt_length:
        raise b.place.error(
            f"its prompt has {b.prompt_length} tokens, that of {a.place.words}"
            f" {a.prompt_length}: the same ids were cut at two places"
        )
    return replace(
        a if a.bounded else b,
        place=a.place,
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
    captures = {
        name: first_rows(scores, length) for name, scores in record.captures.items()
    }
    return replace(
        record,
        token_ids=record.token_ids[:length],
        captures=captures,
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
    if UNKNOWN_ID in record.token_ids[:1]:
        raise record.place.error(
            "prompt_logprobs do not name the first id",
            'ask vLLM with "return_token_ids": true, or give the answers of the server'
            " that generated as well",
        )
    if not record.bounded:
        notes.count(_UNBOUNDED)
    return record
