"""The rows of log-probabilities in answers of a vLLM server: of each token its own
entry and its alternatives, in three forms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logdrift.core.servers.readings import ScoredRow, ServerReading
from logdrift.core.worker.base import IdArray

_AS_ID = "token_id:"
"""How ``return_tokens_as_token_ids`` names a token."""
_MOST_DIGITS = 10
"""Of an id: more are not even tried."""
_Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One id with its log-probability in nats, and its rank; 0: not told."""

    token_id: int
    logprob: float
    rank: int = 0


_Entries = Sequence[_Entry]


@dataclass(frozen=True, slots=True)
class VllmRows:
    """Reads rows with ``top_k`` alternatives each. All methods raise MismatchError."""

    reading: ServerReading
    top_k: int

    def of_prompt(self, listed: Any, ids: IdArray) -> list[ScoredRow]:
        """``prompt_logprobs``: a row for each of ``ids`` but the first."""
        reading = self.reading
        first, *rest = reading.items(listed, "prompt_logprobs", len(ids))
        if first is not None:
            reading.wrong("prompt_logprobs scores the first token, which has no score")
        rows = []
        later_ids = ids[1:].tolist()
        for token_id, table in zip(later_ids, rest, strict=True):
            entries = self._numbered_entries(table)
            row = self._row(token_id, entries)
            rows.append(row)
        return rows

    def of_completion(self, choice: _Json, new: IdArray) -> list[ScoredRow]:
        """``logprobs`` of ``/v1/completions``: a row for each sampled id."""
        reading = self.reading
        logprobs = reading.mapping_at(choice, "logprobs")
        count = len(new)
        names = reading.items_at(logprobs, "tokens", count)
        own = reading.items_at(logprobs, "token_logprobs", count)
        tops = reading.items_at(logprobs, "top_logprobs", count)
        rows = []
        for position, token_id in enumerate(new.tolist()):
            name = names[position]
            if name != f"{_AS_ID}{token_id}":
                reading.wrong(
                    f"token {position} is id {token_id}, but its score is not"
                )
            logprob = reading.logprob(own[position], "token_logprobs")
            entries = self._named_entries(tops[position])
            others = _without(token_id, entries)
            entry = _Entry(token_id, logprob)
            row = self._row(token_id, [entry, *others])
            rows.append(row)
        return rows

    def of_tokens(self, choice: _Json, new: IdArray) -> list[ScoredRow]:
        """``logprobs`` of ``/inference/v1/generate``: a row for each sampled id.

        A sampled token that is not among the best takes the place of the last of them.
        """
        reading = self.reading
        logprobs = reading.mapping_at(choice, "logprobs")
        content = reading.items_at(logprobs, "content", len(new))
        rows = []
        for token_id, value in zip(new.tolist(), content, strict=True):
            own = self._sampled(value, token_id)
            tops = reading.items_at(value, "top_logprobs")
            entries = [self._entry(top) for top in tops]
            others = _without(token_id, entries)
            missing = int(own.rank > self.top_k > 0)
            row = self._row(token_id, [own, *others], missing)
            rows.append(row)
        return rows

    def _sampled(self, value: Any, token_id: int) -> _Entry:
        """The entry of a token that was sampled."""
        own = self._entry(value)
        if own.token_id != token_id:
            self.reading.wrong(f"the score of id {token_id} is of id {own.token_id}")
        if own.logprob == -math.inf:
            # NaN and minus infinity are one here, and what was sampled had a chance.
            self.reading.wrong(
                f"the score of id {token_id}, which was sampled, is no number"
            )
        return own

    def _numbered_entries(self, table: Any) -> list[_Entry]:
        """The entries of a table whose keys are ids."""
        name = "prompt_logprobs"
        entries = []
        for key, value in self.reading.mapping(table, name).items():
            token_id = self._id_in(key, key, name)
            entry = self.reading.mapping(value, name)
            logprob = self.reading.logprob_at(entry, "logprob")
            rank = _rank(entry)
            entries.append(_Entry(token_id, logprob, rank))
        return entries

    def _named_entries(self, table: Any) -> list[_Entry]:
        """The entries of a table whose keys are ``token_id:N``."""
        name = "top_logprobs"
        entries = []
        for key, value in self.reading.mapping(table, name).items():
            digits = ""
            if key.startswith(_AS_ID):
                digits = key.removeprefix(_AS_ID)
            token_id = self._id_in(key, digits, name)
            logprob = self.reading.logprob(value, name)
            entries.append(_Entry(token_id, logprob))
        return entries

    def _id_in(self, key: str, digits: str, name: str) -> int:
        if not digits.isdecimal() or len(digits) > _MOST_DIGITS:
            self.reading.wrong(f"{name} names a token as {key[:40]!r}, not by id")
        number = int(digits)
        return self.reading.token_id(number, name)

    def _entry(self, value: Any) -> _Entry:
        """An entry that is an object with its id."""
        name = "logprobs.content"
        entry = self.reading.mapping(value, name)
        token_id = self.reading.token_id(entry.get("token_id"), "token_id")
        logprob = self.reading.logprob_at(entry, "logprob")
        rank = _rank(entry)
        return _Entry(token_id, logprob, rank)

    def _row(self, token_id: int, entries: _Entries, missing: int = 0) -> ScoredRow:
        """The score of ``token_id`` among ``entries``: it and the best, of which it may
        be one; ``missing`` of them are not told.
        """
        own = self._own(token_id, entries)
        others = _without(token_id, entries)
        expected = self.top_k - missing
        alternatives = list(entries)
        if own.rank > self.top_k or len(others) == expected:
            alternatives = others
        if len(alternatives) != expected:
            self.reading.wrong(
                f"{len(entries)} alternatives of a token, where {self.top_k} were asked"
            )
        alternatives.sort(key=_order)
        return ScoredRow(
            logprob=own.logprob,
            ids=[entry.token_id for entry in alternatives],
            values=[entry.logprob for entry in alternatives],
            rank=own.rank,
        )

    def _own(self, token_id: int, entries: _Entries) -> _Entry:
        for entry in entries:
            if entry.token_id == token_id:
                return entry
        self.reading.wrong(f"no score of id {token_id}, which was sent")


def _rank(entry: _Json) -> int:
    rank = entry.get("rank")
    if isinstance(rank, int) and rank > 0:
        return rank
    return 0


def _without(token_id: int, entries: _Entries) -> list[_Entry]:
    return [entry for entry in entries if entry.token_id != token_id]


def _order(entry: _Entry) -> tuple[float, int]:
    """The most likely first; ids of one value by the server's rank."""
    return -entry.logprob, entry.rank
