"""An answer of a server as a record: ids that it was given, ids that it sampled, and a
score for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.beside import flattened
from logdrift.core.session.importers.columns import (
    logprobs_of,
    ranks_of,
    scores_of,
)
from logdrift.core.session.importers.likely import (
    LikelyTable,
    ListedIds,
    likely_table,
)
from logdrift.core.session.importers.named_ids import ids_named
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.packed_lists import (
    NO_ALTERNATIVES,
    Alternatives,
)
from logdrift.core.session.importers.records import Pieces, Record
from logdrift.core.session.importers.scored_tokens import (
    IdList,
    ScoredToken,
    ScoredTokens,
)
from logdrift.core.session.scores import FloatArray, IdArray, Scores
from logdrift.core.session.weight_versions import VersionSpan, VersionSpans

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


_LIST = "a list of alternatives"
_Rows = Sequence[Alternatives]
"""The alternatives of each token of an answer."""


def filled(data: JsonObject, keys: Sequence[str]) -> list[str]:
    """Those of ``keys`` under which something is."""
    return [key for key in keys if data.get(key)]


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What a server was ``given`` and what it sampled (``new``): ids, and as
    many scored tokens.

    ``unread`` names what the answer holds and nothing here reads; ``remarks`` are
    sentences for notes, with ``%s`` for the capture's name; ``problem`` says what
    contradicts itself in it. ``versions`` of the weights are those of ``new``.
    """

    place: Place
    given: IdList
    given_tokens: ScoredTokens
    new: IdList
    new_tokens: ScoredTokens
    finish: str = "unknown"
    model: str | None = None
    observed: JsonObject = field(default_factory=dict)
    unread: Sequence[str] = ()
    remarks: Sequence[str] = ()
    problem: InputError | None = None
    versions: VersionSpans | None = None

    @property
    def scores_given(self) -> bool:
        """Some of what was given has a score."""
        logprobs = [token.logprob for token in self.given_tokens]
        return any(logprob is not None for logprob in logprobs)

    @property
    def ids(self) -> IdList:
        """What was given, then what was sampled."""
        return [*self.given, *self.new]

    @property
    def tokens(self) -> ScoredTokens:
        """As many as `ids`."""
        return [*self.given_tokens, *self.new_tokens]


def record_of(answer: ServerAnswer, name: str, notes: Notes) -> Record:
    """The record of an answer, its numbers as capture ``name``. Raises InputError for
    an answer without a token.
    """
    answer, scoring = _without_what_the_path_has_not(answer, name, notes)
    if not answer.ids:
        raise answer.place.error(
            "holds no token",
            "ask with logprobs, and with echo or prompt_logprobs to score",
        )
    if not answer.given:
        notes.count(_BARE % name)
    for key in answer.unread:
        notes.count(_UNREAD % (name, key))
    for remark in answer.remarks:
        notes.count(remark % name)
    given = len(answer.given)
    scored_in_front = 0
    if answer.scores_given:
        scored_in_front = given
    scores = _scores(answer, name, notes)
    record = Record(
        place=answer.place,
        token_ids=np.asarray(answer.ids, np.int32),
        prompt_length=given,
        captures={name: scores},
        finish=answer.finish,
        pieces=_pieces(answer),
        model=answer.model,
        given=scored_in_front,
        problem=answer.problem,
    )
    if scoring:
        return _without_boundary(record)
    return record


def _without_boundary(record: Record) -> Record:
    """A record that does not say where its prompt ends."""
    return replace(
        record,
        prompt_length=0,
        finish="unknown",
        bounded=False,
    )


def _pieces(answer: ServerAnswer) -> Pieces:
    pieces = {}
    pairs = zip(answer.ids, answer.tokens, strict=True)
    for token_id, token in pairs:
        if token_id == UNKNOWN_ID:
            continue
        if token.piece is not None:
            pieces[token_id] = token.piece
    return pieces


def _without_what_the_path_has_not(
    answer: ServerAnswer, name: str, notes: Notes
) -> tuple[ServerAnswer, bool]:
    """(answer, whether it only scores what it was given): a prefill samples nothing, a
    decode scores no prompt.

    A server samples at least one token, so a single one behind ids that were scored is
    no completion.
    """
    label, _, _ = name.partition("#")
    _, _, path = label.partition("/")
    if not answer.scores_given:
        return answer, False
    samples = path in ("decode", "forced_decode")
    sampled = len(answer.new)
    if samples and sampled:
        _count_prompt_scores(answer, name, notes)
        count = len(answer.given)
        unscored = [ScoredToken()] * count
        decoded = replace(answer, given_tokens=unscored)
        return decoded, False
    if path != "prefill" and sampled > 1:
        return answer, False
    if sampled == 1:
        notes.count(_SAMPLED % name)
    else:
        notes.count(_GENERATED % name, sampled)
    prefill = replace(answer, new=[], new_tokens=[], versions=None)
    return prefill, True


def _count_prompt_scores(answer: ServerAnswer, name: str, notes: Notes) -> None:
    """Note how many scores of the prompt a decode leaves out."""
    backend, _, _ = name.partition("/")
    number = 0
    for token in answer.given_tokens:
        if token.logprob is not None:
            number += 1
    sentence = _PROMPTS % (name, backend)
    notes.count(sentence, number)


def _scores(answer: ServerAnswer, name: str, notes: Notes) -> Scores:
    place = answer.place
    tokens = answer.tokens
    logprobs = [token.logprob for token in tokens]
    ranks = [token.rank for token in tokens]
    first_is_score = not answer.given
    scores = scores_of(logprobs, place, "logprob", first=first_is_score)
    table = _likely(answer, name, notes)
    return replace(
        scores,
        rank=ranks_of(ranks, place, "rank"),
        top_ids=table.ids,
        top_logprobs=table.logprobs,
        versions=_versions(answer),
    )


def _versions(answer: ServerAnswer) -> VersionSpans | None:
    """Those of all tokens: what was given was sampled by nobody here."""
    if answer.versions is None:
        return None
    given = VersionSpan(None, len(answer.given))
    return (given, *answer.versions)


def _likely(answer: ServerAnswer, name: str, notes: Notes) -> LikelyTable:
    """The alternatives of each token; none where all lists hold the token alone.

    A list in which an entry has no id is left out, or the rest would pass for the
    whole.
    """
    tokens = answer.tokens
    written = [token.top for token in tokens]
    rows, ids, nameless = _with_ids(written)
    notes.count(_NAMELESS % name, nameless)
    targets = np.asarray(answer.ids, np.int32)
    sure = [token.sure for token in tokens]
    listed = ListedIds(
        counts=[len(row.names) for row in rows],
        ids=ids,
        logprobs=_listed_logprobs(rows, answer.place),
        targets=targets,
        sure=np.asarray(sure, np.bool_),
        place=answer.place,
        name=lambda index: _LIST,
    )
    table = likely_table(listed)
    if not table.holds_targets_alone(targets):
        return table
    filled_rows = int(table.filled.sum())
    notes.count(_ALONE % name, filled_rows)
    return LikelyTable(table.ids[:, :0], table.logprobs[:, :0], 0)


def _with_ids(rows: _Rows) -> tuple[_Rows, IdArray, int]:
    """(lists, the ids of all of them, one behind the other, how many are left out):
    those in which an entry has no id are empty.
    """
    names = flattened([row.names for row in rows])
    all_ids = ids_named(names)
    if all_ids is not None:
        return rows, all_ids, 0
    nothing = np.empty(0, np.int32)
    listed = [nothing]
    kept = []
    for row in rows:
        ids = ids_named(list(row.names))
        if ids is None:
            kept.append(NO_ALTERNATIVES)
        else:
            kept.append(row)
            listed.append(ids)
    left_out = len(kept) + 1 - len(listed)
    return kept, np.concatenate(listed), left_out


def _listed_logprobs(rows: _Rows, place: Place) -> FloatArray:
    """The numbers of all lists, one behind the other. Raises InputError that names the
    entry of its own list.
    """
    key = "top_logprobs"
    lists = [row.logprobs for row in rows]
    try:
        return logprobs_of(flattened(lists), place, key, first=True)
    except InputError:
        for numbers in lists:
            logprobs_of(list(numbers), place, key, first=True)
        raise
