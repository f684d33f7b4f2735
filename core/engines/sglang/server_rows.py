"""The rows of log-probabilities in answers of an SGLang server: ``[logprob, id, text]``
of each token, and a list of such rows for its alternatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from logdrift.core.servers.readings import ScoredRow, ServerReading
from logdrift.core.worker.base import IdArray

_Json = Mapping[str, Any]


class _Scored(NamedTuple):
    """An id and its log-probability in nats."""

    token_id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class SglangRows:
    """Reads rows with ``top_k`` alternatives each. All methods raise MismatchError."""

    reading: ServerReading
    top_k: int

    def of_output(self, meta: _Json, new: IdArray) -> list[ScoredRow]:
        """A row for each sampled id."""
        name = "output_token_logprobs"
        listed = self.reading.items_at(meta, name, len(new))
        tokens = self._tokens(listed, name)
        ids = [token.token_id for token in tokens]
        if ids != new.tolist():
            self.reading.wrong(f"{name} are of other ids than output_ids")
        tops = meta.get("output_top_logprobs")
        return self._rows(tokens, tops, "output_top_logprobs")

    def of_input(self, meta: _Json, ids: IdArray) -> list[ScoredRow]:
        """A row for each of ``ids`` but the first."""
        name = "input_token_logprobs"
        reading = self.reading
        first, *rest = reading.items_at(meta, name, len(ids))
        logprob, *_ = reading.items(first, name) or [0]
        if logprob is not None:
            reading.wrong(f"{name} scores the first token, which has no score")
        tokens = self._tokens(rest, name)
        later_ids = ids[1:]
        self._check_echo(tokens, later_ids)
        tops = meta.get("input_top_logprobs")
        if isinstance(tops, list):
            # The first token has no alternatives either.
            tops = tops[1:]
        return self._rows(tokens, tops, "input_top_logprobs")

    def _tokens(self, listed: Sequence[Any], name: str) -> list[_Scored]:
        reading = self.reading
        tokens = []
        for row in listed:
            values = reading.items(row, name)
            if len(values) < 2:
                reading.wrong(f"{name} has a row of {len(values)} values")
            logprob, token_id, *_ = values
            token = _Scored(
                reading.token_id(token_id, name), reading.logprob(logprob, name)
            )
            tokens.append(token)
        return tokens

    def _rows(self, tokens: Sequence[_Scored], tops: Any, name: str) -> list[ScoredRow]:
        """Each token's score with its alternatives, best first."""
        if self.top_k == 0:
            return [ScoredRow(token.logprob) for token in tokens]
        listed = self.reading.items(tops, name, len(tokens))
        rows = []
        for token, top in zip(tokens, listed, strict=True):
            row = self._row(token, top, name)
            rows.append(row)
        return rows

    def _row(self, token: _Scored, top: Any, name: str) -> ScoredRow:
        listed = self.reading.items(top, name)
        count = len(listed)
        if count != self.top_k:
            self.reading.wrong(f"{count} {name} of a token, {self.top_k} were asked")
        alternatives = self._tokens(listed, name)
        return ScoredRow(
            logprob=token.logprob,
            ids=[one.token_id for one in alternatives],
            values=[one.logprob for one in alternatives],
        )

    def _check_echo(self, tokens: Sequence[_Scored], sent: IdArray) -> None:
        """Refuse scores of other ids. SGLang names the last id of the vocabulary 0, so
        one id may come back as 0, wherever it stands.
        """
        ids = [token.token_id for token in tokens]
        returned = np.array(ids, np.int32)
        differ = returned != sent
        renamed = np.unique(sent[differ])
        is_one = len(renamed) == 1
        if is_one and not returned[differ].any():
            return
        self.reading.same_ids(returned, sent, "input_token_logprobs")
