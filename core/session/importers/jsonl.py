"""Format ``jsonl``: one sequence a line, with any number of captures. The way in for
every tool of one's own.

    {"token_ids": [...], "prompt_length": 3, "captures": {"trainer": [...],
    "vllm/decode": {"logprobs": [...], ...}}}

docs/import.md has all keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core import told
from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.columns import (
    alternatives,
    entropy_of,
    ids_of,
    length_of,
    logprobs_of,
    ranks_of,
    scores_of,
    spread,
)
from logdrift.core.session.importers.documents import read_lines
from logdrift.core.session.importers.foreign import LINE_KEYS, refuse_line
from logdrift.core.session.importers.job import ImportJob, session_of_lines
from logdrift.core.session.importers.lists import most_likely
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.place import under_key
from logdrift.core.session.importers.records import (
    CaptureSource,
    ImportContext,
    Record,
)
from logdrift.core.session.importers.start import Start
from logdrift.core.session.scores import FlagArray, FloatArray, IdArray, Scores

_SCORE_KEYS = (
    "logprobs",
    "ranks",
    "entropy",
    "top_ids",
    "top_logprobs",
    "mask",
    "role",
)
_CAPTURE_KEYS = (*_SCORE_KEYS, *told.TELLABLE)
_FINISH = ("unknown", "stop", "length")
SHOWN_VERSIONS = 8

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


def run(job: ImportJob) -> tuple[str, ...]:
    """Make the session of all lines."""
    return session_of_lines(job, read)


def read(path: Path, context: ImportContext) -> Iterator[Record]:
    """The records of a file; what it says of backends is added to ``context``. Raises
    InputError naming the line.
    """
    for place, data in read_lines(path):
        yield _record(place, data, context)


def _record(place: Place, data: JsonObject, context: ImportContext) -> Record:
    refuse_line(data, place)
    _check_keys(data, LINE_KEYS, place)
    ids = ids_of(data.get("token_ids"), place)
    prompt = length_of(data.get("prompt_length", 0), len(ids), place)
    captures = data.get("captures")
    if not isinstance(captures, dict) or not captures:
        remedy = 'give {"trainer": [log-probabilities], ...}'
        raise place.error("captures is missing", remedy)
    scores = {}
    for name, value in captures.items():
        body = value if isinstance(value, dict) else {"logprobs": value}
        there = under_key(place, f"captures.{name}")
        _check_keys(body, _CAPTURE_KEYS, there)
        line = _CaptureLine(
            place=place, name=name, ids=ids, prompt=prompt, notes=context.notes
        )
        scores[name] = line.scores(body)
        _tell(context.sources, name, _source(body, there), place)
    return Record(
        place=place,
        token_ids=ids,
        prompt_length=prompt,
        captures=scores,
        mask=_mask(data, len(ids), prompt, place),
        finish=_finish(data, place),
        pieces=_pieces(data, ids, place),
        model=_text(data, "model", place),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _CaptureLine:
    """Capture ``name`` of the sequence at ``place``."""

    place: Place
    name: str
    ids: IdArray
    prompt: int
    notes: Notes

    @property
    def key(self) -> str:
        """What messages call the capture."""
        return f"captures.{self.name}"

    @property
    def first(self) -> bool:
        """An entry for the first token is a score: its author knew the prompt, which is
        not in the file.
        """
        return self.prompt == 0

    def key_of(self, name: str) -> str:
        """What messages call a list of the capture."""
        return f"{self.key}.{name}"

    def column(self, body: JsonObject, name: str) -> list[Any]:
        """A list of the capture, one entry a token."""
        key = self.key_of(name)
        return spread(body[name], len(self.ids), self.prompt, self.place, key)

    def scores(self, body: JsonObject) -> Scores:
        """All that the capture says. Raises InputError."""
        scores = self._logprobs(body)
        if "entropy" in body:
            scores = replace(scores, entropy=self._entropy(body))
        if "ranks" in body:
            ranks = self.column(body, "ranks")
            rank = ranks_of(ranks, self.place, self.key_of("ranks"))
            scores = replace(scores, rank=rank)
        return self._with_alternatives(scores, body)

    def _logprobs(self, body: JsonObject) -> Scores:
        key = self.key_of("logprobs")
        if "logprobs" not in body:
            raise self.place.error(f"{key} is missing")
        values = self._unmasked(self.column(body, "logprobs"), body)
        if not self.first and values[0] not in (None, 0):
            self.notes.count(NO_FIRST % self.name)
        return scores_of(values, self.place, key, first=self.first)

    def _entropy(self, body: JsonObject) -> FloatArray:
        values = self.column(body, "entropy")
        key = self.key_of("entropy")
        return entropy_of(values, self.place, key, self.first)

    def _unmasked(self, values: list[Any], body: JsonObject) -> list[Any]:
        """Log-probabilities with null where the capture's own mask says that an entry
        only fills the list up.
        """
        there = under_key(self.place, self.key)
        mask = _mask(body, len(self.ids), self.prompt, there)
        if mask is None:
            return values
        unmasked = []
        masked = 0
        for value, counts in zip(values, mask, strict=True):
            if counts:
                unmasked.append(value)
                continue
            unmasked.append(None)
            if value is not None:
                masked += 1
        self.notes.count(_MASKED % self.name, masked)
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
        rows = [self._row(i, ids[i], logprobs[i]) for i in range(len(ids))]
        top_ids, top_logprobs = alternatives(rows)
        return replace(scores, top_ids=top_ids, top_logprobs=top_logprobs)

    def _row(self, index: int, ids: Any, logprobs: Any) -> list[tuple[int, float]]:
        """The alternatives of one token, each id once."""
        key = f"{self.key}.top_ids[{index}]"
        if ids is None and logprobs is None:
            return []
        both_lists = isinstance(ids, list) and isinstance(logprobs, list)
        if not both_lists or len(ids) != len(logprobs):
            raise self.place.error(
                f"{key} and the log-probabilities beside it are not lists of one length"
            )
        if not ids:
            return []
        values = logprobs_of(logprobs, self.place, key, first=True).tolist()
        token_ids = ids_of(ids, self.place, key).tolist()
        row = list(zip(token_ids, values, strict=True))
        target = int(self.ids[index])
        kept = most_likely(row, target, self.place, key)
        if len(kept) < len(row):
            self.notes.count(_MERGED % self.name)
        return kept


def _source(body: JsonObject, place: Place) -> CaptureSource:
    """What a line tells of the backend behind a capture."""
    facts = {}
    for key in told.TELLABLE:
        value = body.get(key)
        if value is None:
            continue
        try:
            facts[key] = told.value_of(key, value, f"{place.words}.{key}")
        except InputError as error:
            raise error.within(file=place.file, line=place.line) from None
    return CaptureSource(role=_text(body, "role", place), told=facts)


def _tell(
    sources: dict[str, CaptureSource], name: str, new: CaptureSource, place: Place
) -> None:
    """Add what a line tells of a capture to what earlier lines told; one capture has
    one value of each fact.
    """
    old = sources.get(name, new)
    both_have_roles = new.role is not None and old.role is not None
    if both_have_roles and new.role != old.role:
        raise place.error(
            f"captures.{name}.role is {new.role!r} and {old.role!r} in a line before",
            "give one",
        )
    facts = dict(old.told)
    for key, value in new.told.items():
        before = facts.setdefault(key, value)
        if before == value:
            continue
        if key != "weight_version":
            raise place.error(
                f"captures.{name}.{key} is {value!r} and {before!r} in a line before",
                "name two captures, or import two sessions",
            )
        facts[key] = _with_version(str(before), value)
    role = old.role or new.role
    sources[name] = replace(old, role=role, told=facts)


def _with_version(before: str, version: str) -> str:
    """Versions of weights separated by commas, with one more, each once."""
    versions = list(dict.fromkeys([*before.split(","), version]))
    return ",".join(versions[:SHOWN_VERSIONS])


def _mask(data: JsonObject, tokens: int, prompt: int, place: Place) -> FlagArray | None:
    if "mask" not in data:
        return None
    values = spread(data["mask"], tokens, prompt, place, "mask")
    if any(value not in (None, 0, 1, True, False) for value in values):
        raise place.error("mask holds something else than 0 and 1")
    flags = [1 if value is None else value for value in values]
    return np.asarray(flags, np.uint8)


def _finish(data: JsonObject, place: Place) -> str:
    value = data.get("finish", "unknown")
    if value not in _FINISH:
        raise place.error(f"finish is {value!r}", f"use {', '.join(_FINISH)}")
    return str(value)


def _pieces(data: JsonObject, ids: IdArray, place: Place) -> dict[int, bytes]:
    texts = data.get("tokens")
    if texts is None:
        return {}
    if not _are_texts(texts, len(ids)):
        raise place.error(f"tokens is not a list of {len(ids)} texts, one for each id")
    pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
    return dict(zip(ids.tolist(), pieces, strict=True))


def _are_texts(values: Any, count: int) -> bool:
    if not isinstance(values, list) or len(values) != count:
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
        near = difflib.get_close_matches(key, known, n=1)
        if near:
            raise place.error(f"{key} is unknown", f"did you mean {near[0]!r}?")
        raise place.error(f"{key} is unknown: known are {', '.join(known)}")
