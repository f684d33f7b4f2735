"""Format ``jsonl``: one sequence a line, with any number of captures. The way in for
every tool of one's own.

    {"token_ids": [...], "prompt_length": 3, "captures": {"trainer": [...],
    "vllm/decode": {"logprobs": [...], ...}}}

docs/import.md has all keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core import told
from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.arrays import quick_ids
from logdrift.core.session.importers.beside import (
    first_apart,
    flattened,
    lengths_of_both,
)
from logdrift.core.session.importers.columns import (
    entropy_of,
    ids_of,
    length_of,
    logprobs_of,
    ranks_of,
    scores_of,
    spread,
)
from logdrift.core.session.importers.documents import records_of_lines
from logdrift.core.session.importers.exact_lines import (
    exact_facts,
    exact_pieces,
    exact_scores,
    is_exact,
)
from logdrift.core.session.importers.foreign import LINE_KEYS, refuse_line
from logdrift.core.session.importers.job import ImportJob, Sentences, session_of_lines
from logdrift.core.session.importers.likely import ListedIds, likely_table
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.place import under_key
from logdrift.core.session.importers.records import (
    CaptureSource,
    ImportContext,
    Pieces,
    Record,
    Records,
    ScoresByCapture,
)
from logdrift.core.session.importers.sources import add_source
from logdrift.core.session.importers.spans import roles_of, versions_of
from logdrift.core.session.importers.start import Start
from logdrift.core.session.importers.training import reward_of, step_of
from logdrift.core.session.scores import FlagArray, FloatArray, IdArray, Scores
from logdrift.core.session.weight_versions import VersionSpans

_VERSIONS = ("versions", "version_rle")
"""Two names for one thing; the second is AReaL's."""
_SCORE_KEYS = (
    "logprobs",
    "ranks",
    "entropy",
    "top_ids",
    "top_logprobs",
    "mask",
    "role",
    "facts",
    *_VERSIONS,
)
_CAPTURE_KEYS = (*_SCORE_KEYS, *told.TELLABLE)
_FINISH = ("unknown", "stop", "length")

NO_FIRST = (
    "{n} {entry|entries} of %s for first tokens {is|are} left out: nothing stands"
    " before the first token of a prompt, so an entry for it is not a score"
)
_MERGED = (
    "{n} {list|lists} of %s {has|have} an id twice, or the token itself in front of the"
    " most likely ids, as vLLM's flat form has: merged"
)
_MASKED = "{n} {entry|entries} of %s {is not a score|are not scores} by its mask"


def guess(start: Start) -> bool:
    """Lines with captures."""
    return start.has("captures")


def run(job: ImportJob) -> Sentences:
    """Make the session of all lines."""
    return session_of_lines(job, read)


def read(path: Path, context: ImportContext) -> Records:
    """The records of a file; what it says of backends is added to ``context``. Raises
    InputError naming the line.
    """
    return records_of_lines(path, context, _records)


def _records(place: Place, data: JsonObject, context: ImportContext) -> Records:
    refuse_line(data, place)
    _check_keys(data, LINE_KEYS, place)
    given_ids = data.get("token_ids")
    ids = ids_of(given_ids, place)
    tokens = len(ids)
    prompt = data.get("prompt_length", 0)
    prompt_length = length_of(prompt, tokens, place)
    exact = is_exact(data, place)
    line = _Line(place, ids, prompt_length, exact)
    captures = data.get("captures")
    pieces = _pieces(data, ids, place)
    of_exact = exact_pieces(data, place)
    yield Record(
        place=place,
        token_ids=ids,
        prompt_length=prompt_length,
        captures=_captures(line, captures, context),
        mask=_mask(data, line),
        roles=_roles(data, line),
        finish=_finish(data, place),
        pieces={**pieces, **of_exact},
        exact=exact,
        step=step_of(data, place),
        reward=reward_of(data, place),
        model=_text(data, "model", place),
    )


def _captures(line: _Line, captures: Any, context: ImportContext) -> ScoresByCapture:
    """The scores of a line by capture; what it says of backends is added to
    ``context``.
    """
    if not isinstance(captures, dict) or not captures:
        remedy = 'give {"trainer": [log-probabilities], ...}'
        raise line.place.error("captures is missing", remedy)
    scores = {}
    for name, value in captures.items():
        body = value
        if not isinstance(value, dict):
            body = {"logprobs": value}
        there = under_key(line.place, f"captures.{name}")
        _check_keys(body, _CAPTURE_KEYS, there)
        capture = _CaptureLine(line, name, context.notes)
        if line.exact:
            versions = capture.versions(body)
            exact = exact_scores(body, line.tokens, versions, there)
            scores[name] = exact
        else:
            scores[name] = capture.scores(body)
        source = _source(body, there, line)
        add_source(context.sources, name, source, line.place)
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """The sequence at ``place``: its ids, and how many of them are the prompt;
    ``exact``: its numbers stand as they are.
    """

    place: Place
    ids: IdArray
    prompt: int
    exact: bool

    @property
    def tokens(self) -> int:
        """How many there are."""
        return len(self.ids)

    def spread(self, values: Any, place: Place, key: str) -> JsonList:
        """The list ``key`` at ``place``, one entry a token. Raises InputError."""
        return spread(values, self.tokens, self.prompt, place, key)


@dataclass(frozen=True, slots=True, eq=False)
class _CaptureLine:
    """Capture ``name`` of a line."""

    line: _Line
    name: str
    notes: Notes

    @property
    def place(self) -> Place:
        """Where the line stands."""
        return self.line.place

    @property
    def key(self) -> str:
        """What messages call the capture."""
        return f"captures.{self.name}"

    @property
    def first(self) -> bool:
        """An entry for the first token is a score: its author knew the prompt, which is
        not in the file.
        """
        return self.line.prompt == 0

    def key_of(self, name: str) -> str:
        """What messages call a list of the capture."""
        return f"{self.key}.{name}"

    def column(self, body: JsonObject, name: str) -> JsonList:
        """A list of the capture, one entry a token."""
        key = self.key_of(name)
        values = body[name]
        return self.line.spread(values, self.place, key)

    def scores(self, body: JsonObject) -> Scores:
        """All that the capture says. Raises InputError."""
        scores = self._logprobs(body)
        if "entropy" in body:
            entropy = self._entropy(body)
            scores = replace(scores, entropy=entropy)
        if "ranks" in body:
            ranks = self.column(body, "ranks")
            key = self.key_of("ranks")
            rank = ranks_of(ranks, self.place, key)
            scores = replace(scores, rank=rank)
        versions = self.versions(body)
        scores = replace(scores, versions=versions)
        return self._with_alternatives(scores, body)

    def versions(self, body: JsonObject) -> VersionSpans | None:
        """With which weights the tokens were sampled; None where it does not say."""
        given = _given_versions(body)
        if not given:
            return None
        if len(given) > 1:
            reason = f"{' and '.join(given)} are the same thing"
            there = under_key(self.place, self.key)
            raise there.error(reason, "give one of them")
        (name,) = given
        line = self.line
        key = self.key_of(name)
        values = body[name]
        return versions_of(values, line.tokens, line.prompt, line.place, key)

    def _logprobs(self, body: JsonObject) -> Scores:
        key = self.key_of("logprobs")
        if "logprobs" not in body:
            raise self.place.error(f"{key} is missing")
        column = self.column(body, "logprobs")
        values = self._unmasked(column, body)
        first_entry = values[0]
        is_filled = first_entry not in (None, 0)
        if is_filled and not self.first:
            sentence = NO_FIRST % self.name
            self.notes.count(sentence)
        return scores_of(values, self.place, key, first=self.first)

    def _entropy(self, body: JsonObject) -> FloatArray:
        values = self.column(body, "entropy")
        key = self.key_of("entropy")
        return entropy_of(values, self.place, key, self.first)

    def _unmasked(self, values: JsonList, body: JsonObject) -> JsonList:
        """Log-probabilities with null where the capture's own mask says that an entry
        only fills the list up.
        """
        there = under_key(self.place, self.key)
        mask = _mask(body, self.line, there)
        if mask is None:
            return values
        unmasked = []
        masked = 0
        pairs = zip(values, mask, strict=True)
        for value, counts in pairs:
            if counts:
                unmasked.append(value)
                continue
            unmasked.append(None)
            if value is not None:
                masked += 1
        sentence = _MASKED % self.name
        self.notes.count(sentence, masked)
        return unmasked

    def _with_alternatives(self, scores: Scores, body: JsonObject) -> Scores:
        has_ids = "top_ids" in body
        has_logprobs = "top_logprobs" in body
        if not has_ids and not has_logprobs:
            return scores
        if has_ids != has_logprobs:
            reason = f"{self.key} has only one of top_ids and top_logprobs"
            raise self.place.error(reason, "give both")
        ids = self.column(body, "top_ids")
        logprobs = self.column(body, "top_logprobs")
        listed = self._listed(ids, logprobs)
        table = likely_table(listed)
        sentence = _MERGED % self.name
        self.notes.count(sentence, table.merged)
        return replace(
            scores,
            top_ids=table.ids,
            top_logprobs=table.logprobs,
        )

    def _listed(self, ids: JsonList, logprobs: JsonList) -> ListedIds:
        """The alternatives of all tokens. Raises InputError."""
        counts = lengths_of_both(ids, logprobs)
        if counts is None:
            raise self._not_beside(ids, logprobs)
        tokens = len(counts)
        none_sure = np.zeros(tokens, np.bool_)
        return ListedIds(
            counts=counts,
            ids=self._listed_ids(ids),
            logprobs=self._listed_logprobs(logprobs),
            targets=self.line.ids,
            sure=none_sure,
            place=self.place,
            name=self._list_key,
        )

    def _not_beside(self, ids: JsonList, logprobs: JsonList) -> InputError:
        """What to say of the first list that has no other of its length beside it."""
        index = first_apart(ids, logprobs)
        key = self._list_key(index)
        return self.place.error(
            f"{key} and the log-probabilities beside it are not lists of one length"
        )

    def _list_key(self, index: int) -> str:
        """What messages call the list of a token."""
        return f"{self.key}.top_ids[{index}]"

    def _listed_ids(self, rows: JsonList) -> IdArray:
        """The ids of all lists, one behind the other."""
        flat = flattened(rows)
        ids = quick_ids(flat)
        if ids is not None:
            return ids
        nothing = np.empty(0, np.int32)
        checked = [nothing]
        for index, row in enumerate(rows):
            if row:
                key = self._list_key(index)
                of_row = ids_of(row, self.place, key)
                checked.append(of_row)
        return np.concatenate(checked)

    def _listed_logprobs(self, rows: JsonList) -> FloatArray:
        """The log-probabilities of all lists, one behind the other."""
        flat = flattened(rows)
        try:
            return logprobs_of(flat, self.place, self.key, first=True)
        except InputError:
            # Once more, so that the error says of which token the list is.
            for index, row in enumerate(rows):
                values = row or ()
                key = self._list_key(index)
                logprobs_of(values, self.place, key, first=True)
            raise


def _given_versions(body: JsonObject) -> Sequence[str]:
    """The names under which a capture has versions."""
    given = []
    for name in _VERSIONS:
        value = body.get(name)
        if value is not None:
            given.append(name)
    return given


def _source(body: JsonObject, place: Place, line: _Line) -> CaptureSource:
    """What a line says of the backend behind a capture."""
    of_copy = None
    if line.exact:
        of_copy = exact_facts(body, place)
    elif "facts" in body:
        raise place.error("facts is of an exact line", "name each fact by itself")
    facts = {}
    for key in told.TELLABLE:
        value = body.get(key)
        if value is None:
            continue
        where = f"{place.words}.{key}"
        try:
            fact = told.value_of(key, value, where)
            facts[key] = fact
        except InputError as error:
            raise error.within(file=place.file, line=place.line) from None
    role = _text(body, "role", place)
    return CaptureSource(role=role, told=facts, facts=of_copy)


def _mask(
    data: JsonObject, line: _Line, place: Place | None = None
) -> FlagArray | None:
    """u8[n] of a line or of one of its captures, which is at ``place``."""
    if "mask" not in data:
        return None
    where = place or line.place
    flags = []
    given = data["mask"]
    values = line.spread(given, where, "mask")
    for value in values:
        if value is None:
            flags.append(1)
        elif value in (0, 1):
            flags.append(value)
        else:
            raise where.error("mask holds something else than 0 and 1")
    return np.asarray(flags, np.uint8)


def _roles(data: JsonObject, line: _Line) -> FlagArray | None:
    """u8[n]: from whose message each token is; None where the line does not say."""
    roles = data.get("roles")
    if roles is None:
        return None
    tokens = len(line.ids)
    return roles_of(roles, tokens, line.prompt, line.place)


def _finish(data: JsonObject, place: Place) -> str:
    finish = data.get("finish", "unknown")
    if finish not in _FINISH:
        known = ", ".join(_FINISH)
        raise place.error(f"finish is {finish!r}", f"use {known}")
    return str(finish)


def _pieces(data: JsonObject, ids: IdArray, place: Place) -> Pieces:
    texts = data.get("tokens")
    if texts is None:
        return {}
    tokens = len(ids)
    if not _are_texts(texts, tokens):
        raise place.error(f"tokens is not a list of {tokens} texts, one for each id")
    pieces = {}
    token_ids = ids.tolist()
    pairs = zip(token_ids, texts, strict=True)
    for token_id, text in pairs:
        piece = text.encode("utf-8", "surrogatepass")
        pieces[token_id] = piece
    return pieces


def _are_texts(values: Any, count: int) -> bool:
    if not isinstance(values, list):
        return False
    if len(values) != count:
        return False
    return all(isinstance(value, str) for value in values)


def _text(data: JsonObject, key: str, place: Place) -> str | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise place.error(f"{key} is {value!r}", "give a text")
    return value


def _check_keys(data: JsonObject, known: tuple[str, ...], place: Place) -> None:
    import difflib

    for key in data:
        if key in known:
            continue
        unknown = f"{key} is unknown"
        near = difflib.get_close_matches(key, known, n=1)
        if near:
            raise place.error(unknown, f"did you mean {near[0]!r}?")
        known_keys = ", ".join(known)
        raise place.error(f"{unknown}: known are {known_keys}")
