"""An answer of a server as a record: ids that it was given, ids that it sampled, and a
row for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.importers.lists import each_once, most_likely
from logdrift.core.session.importers.records import (
    Notes,
    Record,
    Scores,
    alternatives,
    logprobs_of,
    ranks_of,
    scores_of,
)
from logdrift.core.session.importers.rows import Row

UNKNOWN_ID = -1
"""Stands for an id that a file does not tell, until another file that is joined with it
does.
"""

_SAMPLED = (
    "{n} {answer|answers} of %s only {scores|score} what {it was|they were} given: the"
    " token sampled behind it is left out"
)
_GENERATED = (
    "{n} {token|tokens} of %s {was|were} sampled behind the ids that it scores as a"
    " prefill: left out"
)
_PROMPTS = (
    "{n} {score|scores} of prompts {is|are} left out of %s: decoding has none; import"
    " the file once more as %s/prefill"
)
_BARE = (
    "{n} {answer|answers} of %s {does|do} not hold the ids of {its prompt|their"
    " prompts}: {its sequence is|their sequences are} the completion alone"
)
_NAMELESS = (
    "{n} {list|lists} of alternatives of %s {is|are} left out: {it names|they name}"
    ' texts, not ids (ask vLLM with "return_tokens_as_token_ids": true)'
)
_UNREAD = "{n} {answer|answers} of %s {has|have} %s, which is not read"
_ALONE = (
    "{n} {list|lists} of alternatives of %s {is|are} left out: {it holds|they hold} the"
    " token itself alone"
)


def filled(data: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """Those of ``keys`` under which something is."""
    return [key for key in keys if data.get(key)]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a server was ``given`` and what it sampled (``new``): ids, and as many rows
    of each.

    ``unread`` names what the answer holds and nothing here reads; ``problem`` says what
    contradicts itself in it.
    """

    where: str
    given: Sequence[int]
    given_rows: Sequence[Row]
    new: Sequence[int]
    new_rows: Sequence[Row]
    finish: str = "unknown"
    model: str | None = None
    observed: dict[str, Any] = field(default_factory=dict)
    unread: Sequence[str] = ()
    problem: str | None = None

    @property
    def scores_given(self) -> bool:
        return any(row.logprob is not None for row in self.given_rows)


def record_of(answer: Scored, name: str, notes: Notes) -> Record:
    """The record of an answer, its numbers as capture ``name``. Raises InputError for
    an answer without a token.
    """
    answer, scoring = _without_what_the_path_has_not(answer, name, notes)
    ids = [*answer.given, *answer.new]
    if not ids:
        raise InputError(
            f"{answer.where}: holds no token: ask with logprobs, and with echo or"
            " prompt_logprobs to score"
        )
    if not answer.given:
        notes.count(_BARE % name)
    for key in answer.unread:
        notes.count(_UNREAD % (name, key))
    rows = [*answer.given_rows, *answer.new_rows]
    return Record(
        where=answer.where,
        token_ids=np.asarray(ids, np.int32),
        prompt_length=0 if scoring else len(answer.given),
        captures={name: _scores(rows, ids, answer, name, notes)},
        finish="unknown" if scoring else answer.finish,
        pieces={
            i: row.piece
            for i, row in zip(ids, rows, strict=True)
            if row.piece is not None and i != UNKNOWN_ID
        },
        model=answer.model,
        given=len(answer.given) if answer.scores_given else 0,
        bounded=not scoring,
        problem=answer.problem,
    )


def _without_what_the_path_has_not(
    answer: Scored, name: str, notes: Notes
) -> tuple[Scored, bool]:
    """(answer, whether it only scores what it was given): a prefill samples nothing, a
    decode scores no prompt.

    A server samples at least one token, so a single one behind ids that were scored is
    no completion.
    """
    path = name.partition("#")[0].partition("/")[2]
    if not answer.scores_given:
        return answer, False
    if path in ("decode", "forced_decode") and answer.new:
        number = sum(row.logprob is not None for row in answer.given_rows)
        notes.count(_PROMPTS % (name, name.partition("/")[0]), number)
        return replace(answer, given_rows=[Row()] * len(answer.given)), False
    if path != "prefill" and len(answer.new) > 1:
        return answer, False
    if len(answer.new) == 1:
        notes.count(_SAMPLED % name)
    else:
        notes.count(_GENERATED % name, len(answer.new))
    return replace(answer, new=[], new_rows=[]), True


def _scores(
    rows: Sequence[Row], ids: Sequence[int], answer: Scored, name: str, notes: Notes
) -> Scores:
    where = answer.where
    plain = scores_of(
        [row.logprob for row in rows], where, "logprob", first=not answer.given
    )
    lists = [
        _alternatives(row, target, where, name, notes)
        for row, target in zip(rows, ids, strict=True)
    ]
    listed = [(row, target) for row, target in zip(lists, ids, strict=True) if row]
    if listed and all([i for i, _ in row] == [target] for row, target in listed):
        notes.count(_ALONE % name, len(listed))
        lists = [[] for _ in lists]
    top_ids, top_logprobs = alternatives(lists)
    rank = ranks_of([row.rank for row in rows], where, "rank")
    return replace(plain, rank=rank, top_ids=top_ids, top_logprobs=top_logprobs)


def _alternatives(
    row: Row, target: int, where: str, name: str, notes: Notes
) -> list[tuple[int, float]]:
    """Those of a row by id; where one has none all are left out, or the rest would pass
    for the whole.
    """
    ids = [token_id for token_id, _ in row.top if token_id is not None]
    if len(ids) < len(row.top):
        notes.count(_NAMELESS % name)
        return []
    values = logprobs_of(
        [value for _, value in row.top], where, "top_logprobs", first=True
    )
    entries = list(zip(ids, values.tolist(), strict=True))
    place = f"{where}: a list of alternatives"
    return (
        each_once(entries, place) if row.sure else most_likely(entries, target, place)
    )
