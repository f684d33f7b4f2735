"""The rows of log-probabilities in answers of a vLLM server: of each token its own
entry and its alternatives, in three forms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logdrift.core.servers.readings import ScoredRow, ServerReading
from logdrift.core.worker.base import IdArray

_AS_ID = "token_id:"
"""How ``return_tokens_as_token_ids`` names a token."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One id with its log-probability in nats, and its rank; 0: not told."""

    token_id: int
    logprob: float
    rank: int = 0


_Entries = Sequence[_Entry]


def prompt_rows(
    listed: Any, ids: IdArray, top_k: int, reading: ServerReading
) -> list[ScoredRow]:
    """``prompt_logprobs``: a row for each of ``ids`` but the first."""
    name = "prompt_logprobs"
    first, *rest = reading.items(listed, name, len(ids))
    if first is not None:
        reading.wrong(f"{name} scores the first token, which has no score")
    rows = []
    for token_id, value in zip(ids[1:].tolist(), rest, strict=True):
        table = reading.mapping(value, name)
        entries = [_numbered(key, one, name, reading) for key, one in table.items()]
        rows.append(_row(token_id, entries, top_k, reading))
    return rows


def completion_rows(
    choice: Mapping[str, Any], new: IdArray, top_k: int, reading: ServerReading
) -> list[ScoredRow]:
    """``logprobs`` of ``/v1/completions``: a row for each sampled id."""
    logprobs = reading.mapping(choice.get("logprobs"), "logprobs")
    count = len(new)
    names = reading.items(logprobs.get("tokens"), "logprobs.tokens", count)
    own = reading.items(logprobs.get("token_logprobs"), "token_logprobs", count)
    tops = reading.items(logprobs.get("top_logprobs"), "top_logprobs", count)
    rows = []
    for position, token_id in enumerate(new.tolist()):
        if names[position] != f"{_AS_ID}{token_id}":
            reading.wrong(f"token {position} is id {token_id}, but its score is not")
        logprob = reading.logprob(own[position], "token_logprobs")
        entries = _named_entries(tops[position], reading)
        others = _without(token_id, entries)
        entry = _Entry(token_id, logprob)
        rows.append(_row(token_id, [entry, *others], top_k, reading))
    return rows


def token_rows(
    choice: Mapping[str, Any], new: IdArray, top_k: int, reading: ServerReading
) -> list[ScoredRow]:
    """``logprobs`` of ``/inference/v1/generate``: a row for each sampled id.

    A sampled token that is not among the ``top_k`` best takes the place of the last of
    them.
    """
    logprobs = reading.mapping(choice.get("logprobs"), "logprobs")
    content = reading.items(logprobs.get("content"), "logprobs.content", len(new))
    rows = []
    for token_id, value in zip(new.tolist(), content, strict=True):
        own = _listed(value, reading)
        if own.token_id != token_id:
            reading.wrong(f"the score of id {token_id} is of id {own.token_id}")
        if own.logprob == -math.inf:
            # NaN and minus infinity are one here, and what was sampled had a chance.
            reading.wrong(
                f"the score of id {token_id}, which was sampled, is no number"
            )
        tops = reading.items(value.get("top_logprobs"), "top_logprobs")
        entries = [_listed(top, reading) for top in tops]
        others = _without(token_id, entries)
        missing = int(own.rank > top_k > 0)
        row = _row(token_id, [own, *others], top_k, reading, missing=missing)
        rows.append(row)
    return rows


def _numbered(key: str, value: Any, name: str, reading: ServerReading) -> _Entry:
    """An entry of a table whose keys are ids."""
    if not key.isdecimal():
        reading.wrong(f"{name} names a token as {key[:40]!r}, not by id")
    entry = reading.mapping(value, name)
    token_id = reading.token_id(int(key), name)
    logprob = reading.logprob(entry.get("logprob"), name)
    return _Entry(token_id, logprob, _rank(entry))


def _named_entries(table: Any, reading: ServerReading) -> list[_Entry]:
    """The entries of a table whose keys are ``token_id:N``."""
    name = "top_logprobs"
    entries = []
    for key, value in reading.mapping(table, name).items():
        digits = key.removeprefix(_AS_ID)
        if digits == key or not digits.isdecimal():
            reading.wrong(f"{name} names a token as {key[:40]!r}, not by id")
        token_id = reading.token_id(int(digits), name)
        logprob = reading.logprob(value, name)
        entries.append(_Entry(token_id, logprob))
    return entries


def _listed(value: Any, reading: ServerReading) -> _Entry:
    """An entry that is an object with its id."""
    name = "logprobs.content"
    entry = reading.mapping(value, name)
    token_id = reading.token_id(entry.get("token_id"), name)
    logprob = reading.logprob(entry.get("logprob"), name)
    return _Entry(token_id, logprob, _rank(entry))


def _rank(entry: Mapping[str, Any]) -> int:
    rank = entry.get("rank")
    if isinstance(rank, int) and rank > 0:
        return rank
    return 0


def _without(token_id: int, entries: Iterable[_Entry]) -> list[_Entry]:
    return [entry for entry in entries if entry.token_id != token_id]


def _row(
    token_id: int,
    entries: _Entries,
    top_k: int,
    reading: ServerReading,
    *,
    missing: int = 0,
) -> ScoredRow:
    """The score of ``token_id`` among ``entries``: it and the ``top_k`` best, of which
    it may be one; ``missing`` of them are not told.
    """
    own = _own(token_id, entries, reading)
    others = _without(token_id, entries)
    expected = top_k - missing
    is_beside = own.rank > top_k or len(others) == expected
    alternatives = others if is_beside else list(entries)
    if len(alternatives) != expected:
        count = len(entries)
        reading.wrong(f"{count} alternatives of a token, where {top_k} were asked")
    alternatives.sort(key=_order)
    return ScoredRow(
        logprob=own.logprob,
        ids=[entry.token_id for entry in alternatives],
        values=[entry.logprob for entry in alternatives],
        rank=own.rank,
    )


def _own(token_id: int, entries: _Entries, reading: ServerReading) -> _Entry:
    for entry in entries:
        if entry.token_id == token_id:
            return entry
    reading.wrong(f"no score of id {token_id}, which was sent")


def _order(entry: _Entry) -> tuple[float, int]:
    """The most likely first; ids of one value by the server's rank."""
    return -entry.logprob, entry.rank
