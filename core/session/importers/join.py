"""Captures of several files joined by the ids of their sequences: who generated, and
who scored the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

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
    captures = captures_of(files, context)
    start = next(captures, None)
    if start is None:
        return []
    first, joined = start
    for path, records in captures:
        if len(joined) != len(records):
            raise records[0].place.error(
                f"{len(records)} sequences, {joined[0].place.words} has {len(joined)}",
                "give the same",
            )
        pairs = _in_order(joined, records)
        if pairs is None:
            pairs = _matched(joined, records)
            context.notes.count(_ORDER % (path.name, first.name))
        joined = [_merged(pair, context.notes) for pair in pairs]
    return [_settled(record, context.notes) for record in joined]


class _SameSequence(NamedTuple):
    """Two records of one sequence, which is their ``length`` leading ids."""

    a: Record
    b: Record
    length: int


def _in_order(
    before: Sequence[Record], added: Sequence[Record]
) -> list[_SameSequence] | None:
    """Each of ``before`` with the one of ``added`` at its place; None where some of
    them are different sequences.
    """
    pairs = []
    for a, b in zip(before, added, strict=True):
        length = _common(a, b)
        if length == 0:
            return None
        pairs.append(_SameSequence(a, b, length))
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
    shortest = min(len(a.token_ids), len(b.token_ids))
    for length in _lengths(a):
        cuts_both = length < shortest
        if cuts_both or length not in _lengths(b):
            continue
        if _same(a.token_ids[:length], b.token_ids[:length]):
            return length
    return 0


def _same(a: IdArray, b: IdArray) -> bool:
    """The ids are equal; the first one also where a file does not tell it."""
    first_fits = UNKNOWN_ID in (a[0], b[0]) or a[0] == b[0]
    return bool(first_fits) and np.array_equal(a[1:], b[1:])


def _key(record: Record, length: int) -> bytes:
    """The first id is left out: a file may not tell it."""
    ids = record.token_ids[1:length]
    return length.to_bytes(8, "little") + ids.tobytes()


def _matched(before: Sequence[Record], added: Sequence[Record]) -> list[_SameSequence]:
    """Each of ``before`` with the first of ``added`` that is left and has its ids."""
    waiting: dict[bytes, list[int]] = {}
    for index, record in enumerate(added):
        for length in _lengths(record):
            key = _key(record, length)
            waiting.setdefault(key, []).append(index)
    used: set[int] = set()
    pairs = []
    for a in before:
        for index in _candidates(a, waiting):
            length = _common(a, added[index])
            if index not in used and length:
                used.add(index)
                pairs.append(_SameSequence(a, added[index], length))
                break
        else:
            raise _unmatched(a, added)
    return pairs


def _candidates(record: Record, waiting: dict[bytes, list[int]]) -> list[int]:
    """The records of the other file that may be the same sequence."""
    candidates: list[int] = []
    for length in _lengths(record):
        candidates += waiting.get(_key(record, length), ())
    return candidates


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


def _merged(pair: _SameSequence, notes: Notes) -> Record:
    """One record with the captures of both. Raises InputError where they disagree on
    the end of the prompt.
    """
    a = _cut(pair.a, pair.length, notes)
    b = _cut(pair.b, pair.length, notes)
    both_bounded = a.bounded and b.bounded
    if both_bounded and a.prompt_length != b.prompt_length:
        raise b.place.error(
            f"its prompt has {b.prompt_length} tokens, that of {a.place.words}"
            f" {a.prompt_length}: the same ids were cut at two places"
        )
    bounded = a if a.bounded else b
    untold = a.token_ids == UNKNOWN_ID
    return replace(
        bounded,
        place=a.place,
        token_ids=np.where(untold, b.token_ids, a.token_ids),
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
