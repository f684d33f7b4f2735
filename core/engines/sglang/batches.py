"""What SGLang is sent about sequences, and what is read of its answers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logdrift.core.engines.sglang.answers import check_echo, fill, read_generation
from logdrift.core.engines.sglang.seeding import SeedGenerator
from logdrift.core.errors import LogdriftError
from logdrift.core.worker.base import (
    Answer,
    AskedSequence,
    BackendSettings,
    MismatchError,
    Scores,
    check_ids,
    check_length,
)

_SCORING = {"max_new_tokens": 0, "temperature": 0.0}


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences that reach the scheduler as one message. ``arguments`` are those of
    ``Engine.generate``, ``names`` those of the requests.
    """

    path: str
    asked: Sequence[AskedSequence]
    names: Sequence[str]
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Makes batches for an engine of ``vocabulary`` ids that takes up to ``limit``
    tokens, and reads its answers. ``where`` stands before what goes wrong.
    """

    settings: BackendSettings
    vocabulary: int
    limit: int
    seeding: str | None
    where: str
    requests: itertools.count[int]

    def of(self, path: str, asked: Sequence[AskedSequence]) -> Batch:
        """A batch. Raises MismatchError for sequences that the engine cannot take."""
        names = [f"logdrift-{next(self.requests)}" for _ in asked]
        arguments = {
            "input_ids": [one.ids.tolist() for one in asked],
            "rid": names,
            "return_logprob": True,
            "top_logprobs_num": self.settings.top_k,
        }
        if path == "decode":
            arguments |= self._sampling_arguments(asked)
        else:
            arguments |= self._scoring_arguments(asked)
        return Batch(path, asked, names, arguments)

    def answers(self, batch: Batch, found: Sequence[Any]) -> list[Answer]:
        """What the engine answered, in the order of the batch, which is verified.
        Raises MismatchError where an answer does not fit its sequence.
        """
        check_length(len(found), len(batch.asked), "part")
        answers: list[Answer] = []
        for one, name, answer in zip(batch.asked, batch.names, found, strict=True):
            self._check_answer(one, name, answer["meta_info"])
            if batch.path == "decode":
                count = self.settings.new_tokens(one.ids.size)
                top_k = self.settings.top_k
                answers.append(read_generation(one.ids, answer, top_k, count, one.what))
            else:
                answers.append(self._prefilled(one, answer["meta_info"]))
        return answers

    def _sampling_arguments(self, asked: Sequence[AskedSequence]) -> dict[str, Any]:
        parameters = []
        for one in asked:
            count = self.settings.new_tokens(one.ids.size)
            self._check(one, one.ids.size + count)
            parameters.append(self._sampling(one.seed, count))
        arguments: dict[str, Any] = {"sampling_params": parameters}
        if self.seeding == "generator":
            arguments["custom_logit_processor"] = SeedGenerator.serialised()
            for values, one in zip(parameters, asked, strict=True):
                values["custom_params"] = {"seed": one.seed}
        return arguments

    def _scoring_arguments(self, asked: Sequence[AskedSequence]) -> dict[str, Any]:
        for one in asked:
            self._check(one, one.ids.size)
        return {"sampling_params": [_SCORING] * len(asked), "logprob_start_len": 0}

    def _sampling(self, seed: int, new_tokens: int) -> dict[str, Any]:
        sampling = self.settings.sampling
        return {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
            "max_new_tokens": new_tokens,
            "sampling_seed": seed,
        }

    def _prefilled(self, one: AskedSequence, meta: Mapping[str, Any]) -> Scores:
        ids = one.ids
        rows = meta["input_token_logprobs"]
        check_length(len(rows), ids.size, one.what)
        check_echo(ids, [row[1] for row in rows], self.vocabulary, one.what)
        if rows[0][0] is not None:
            raise MismatchError(
                f"{one.what}: SGLang scored the first token, which has no score"
            )
        scores = Scores.empty(ids.size, self.settings.top_k)
        alternatives = meta.get("input_top_logprobs") or [None]
        fill(scores, 1, rows[1:], alternatives[1:], one.what)
        return scores

    def _check(self, one: AskedSequence, length: int) -> None:
        if one.ids.size == 0:
            raise MismatchError(f"{one.what}: has no tokens: SGLang needs at least one")
        check_ids(one.ids, self.vocabulary, one.what)
        if length > self.limit:
            raise MismatchError(
                f"{one.what}: {length} tokens are more than the {self.limit} this"
                " SGLang engine takes"
            )

    def _check_answer(
        self, one: AskedSequence, request: str, meta: Mapping[str, Any]
    ) -> None:
        """Raise unless the answer is complete, to this request, and to all its ids."""
        reason = meta.get("finish_reason") or {}
        if reason.get("type") == "abort":
            raise LogdriftError(
                f"SGLang aborted {one.what}: {last_line(reason['message'])}",
                where=self.where,
            )
        if meta["id"] != request:
            raise MismatchError(
                f"{one.what}: SGLang answered for request {meta['id']}, not {request}"
            )
        check_length(int(meta["prompt_tokens"]), one.ids.size, f"{one.what}: prompt")


def last_line(error: object) -> str:
    """The last line that says something, for that is where Python puts the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines:
        return lines[-1][:400]
    return type(error).__name__
