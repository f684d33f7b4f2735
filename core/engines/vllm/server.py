"""A running vLLM server, asked over its OpenAI-compatible ``/v1/completions`` or its
token-in, token-out ``/inference/v1/generate``.

Settled by reading vLLM 0.32 (paths below are under vllm/entrypoints):

- ``prompt_logprobs`` give the scored token and the best ``k``: k entries where it is
  among these, else k + 1, each with its rank (openai/completion/protocol.py).
- ``logprobs`` of sampled tokens list the token first, then the best; ids stand in them
  as ``token_id:N`` with ``return_tokens_as_token_ids``. ``/v1/completions`` gives them
  no rank.
- Minus infinity comes as -9999.0. NaN ends a request of ``/v1/completions`` with 500,
  since JSON has none; ``/inference/v1/generate`` writes -9999.0 for it
  (scale_out/token_in_token_out/serving.py), so the former is asked where both are.
- One token is sampled behind a scored sequence and dropped: ``max_tokens`` 0 is refused
  without ``echo``.
- Of sampled tokens ``/inference/v1/generate`` lists the token and the k - 1 best where
  it is not among the k best, and the versions of the weights.
- ``system_fingerprint`` is a digest of the version and settings of the server.
- ``/server_info`` is there in development mode only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from logdrift.core.engines.vllm.told import logprobs_mode, with_config
from logdrift.core.facts import Facts
from logdrift.core.servers.backend import ServerBackend, Wanted
from logdrift.core.servers.models import ServedModel, chosen, no_model
from logdrift.core.servers.probe import Mode, semantics_of
from logdrift.core.servers.readings import ScoredRow, ServerReading, scores_of
from logdrift.core.worker.base import Generation, IdArray, Scores

_VERSION = "/version"
_MODELS = "/v1/models"
_INFO = "/server_info"
_COMPLETIONS = "/v1/completions"
_GENERATE = "/inference/v1/generate"
_AS_ID = "token_id:"
_MODES: Mapping[str, Mode] = {
    "raw_logprobs": "raw",
    "processed_logprobs": "processed",
}
_Row = tuple[int, float, int]
"""Id, log-probability, rank; rank 0 where there is none."""


class VllmServer(ServerBackend):
    """`logdrift.core.worker.base.Backend` on a vLLM server."""

    engine: ClassVar[str] = "vllm"
    paths: ClassVar[Mapping[str, str]] = {
        _VERSION: "GET",
        _MODELS: "GET",
        _INFO: "GET",
        _COMPLETIONS: "POST",
        _GENERATE: "POST",
    }
    room: ClassVar[int] = 1
    _model = ""
    _mode: Mode | None = None
    _fingerprint: str | None = None

    async def describe(self) -> Facts:
        """Version, model and length; the settings where the server tells them."""
        version = await self.client.look(_VERSION)
        if not isinstance(version, Mapping) or "version" not in version:
            raise self.client.error(
                f"{_VERSION} does not answer as vLLM does", "give the address of vLLM"
            )
        served = _served(self, await self.client.look(_MODELS))
        name = self.options.served_name
        model = chosen(self.client, served, self.settings.model, name)
        self._model = model.name
        self.limit = model.max_length
        info = await self.client.look(_INFO, config_format="json")
        self._mode = self._told_mode(info)
        facts = Facts(
            engine="vllm",
            engine_version=str(version["version"])[:100],
            prefill_logprobs="raw",
            rank_counts="inclusive",
            padding="none",
            max_length=self.limit,
            extra={"served_model": self._model},
        )
        return with_config(facts, info)

    def _told_mode(self, info: Any) -> Mode | None:
        """Its ``logprobs_mode``; None where it does not tell it. Raises LogdriftError
        for one that gives logits.
        """
        mode = logprobs_mode(info)
        if mode is None or mode in _MODES:
            return _MODES.get(str(mode))
        raise self.client.error(
            f"it runs with --logprobs-mode {mode}, which gives no log-probabilities",
            f"start it with {' or '.join(_MODES)}",
        )

    def with_semantics(self, facts: Facts, mode: Mode | None) -> Facts:
        if self._fingerprint is not None:
            extra = {**facts.extra, "system_fingerprint": self._fingerprint}
            facts = replace(facts, extra=extra)
        known = self._mode or mode
        meaning = semantics_of(known, self.settings.sampling, cuts=True)
        facts = replace(facts, decode_logprobs=meaning)
        if self._mode is None and meaning is not None:
            facts = replace(facts, probed=("decode_logprobs",))
        return facts

    # -- requests

    def request(self, wanted: Wanted) -> tuple[str, Mapping[str, Any]]:
        if self.options.endpoint == "generate":
            return _GENERATE, self._token_request(wanted)
        return _COMPLETIONS, self._completion_request(wanted)

    def _completion_request(self, wanted: Wanted) -> dict[str, Any]:
        return {
            "model": self._model,
            "prompt": wanted.ids.tolist(),
            "request_id": wanted.request,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            **_parameters(wanted),
        }

    def _token_request(self, wanted: Wanted) -> dict[str, Any]:
        return {
            "model": self._model,
            "token_ids": wanted.ids.tolist(),
            "request_id": wanted.request,
            "return_token_ids": True,
            "sampling_params": {**_parameters(wanted), "detokenize": False},
        }

    # -- answers

    def generation(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Generation:
        choice = self._choice(wanted, answer, reading)
        new = reading.ids(choice.get("token_ids"), "token_ids")
        finish = choice.get("finish_reason")
        if finish not in ("stop", "length"):
            reading.wrong(f"it ended with {finish!r}")
        is_short = self.options.endpoint == "generate"
        read = _token_rows if is_short else _completion_rows
        scored = []
        rows = read(choice, new, reading)
        for token_id, row in zip(new.tolist(), rows, strict=True):
            one = _scored_row(token_id, row, wanted.top_k, reading, is_short=is_short)
            scored.append(one)
        prompt_length = len(wanted.ids)
        return Generation(
            token_ids=np.concatenate([wanted.ids, new]).astype(np.int32),
            prompt_length=prompt_length,
            finish=str(finish),
            scores=scores_of(scored, prompt_length, wanted.top_k),
        )

    def scores(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Scores:
        choice = self._choice(wanted, answer, reading)
        listed = choice.get("prompt_logprobs", answer.get("prompt_logprobs"))
        rows = reading.items(listed, "prompt_logprobs", len(wanted.ids))
        if rows[0] is not None:
            reading.wrong("prompt_logprobs scores the first token, which has no score")
        scored = []
        for token_id, row in zip(wanted.ids[1:].tolist(), rows[1:], strict=True):
            entries = _prompt_row(row, reading)
            scored.append(_scored_row(token_id, entries, wanted.top_k, reading))
        return scores_of(scored, 1, wanted.top_k)

    def _choice(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Mapping[str, Any]:
        """The one choice of an answer to the ids that were sent."""
        choices = reading.items(answer.get("choices"), "choices")
        if len(choices) != 1:
            reading.wrong(f"{len(choices)} choices, where one was asked")
        choice = reading.mapping(choices[0], "choices[0]")
        model = answer.get("model", self._model)
        if model != self._model:
            reading.wrong(f"it is of model {model!r}, {self._model!r} was asked")
        self._check_fingerprint(answer.get("system_fingerprint"))
        self._check_versions(choice.get("weight_versions"))
        listed = choice.get("prompt_token_ids", answer.get("prompt_token_ids"))
        if listed is None:
            reading.wrong("no prompt_token_ids: a newer vLLM has return_token_ids")
        prompt = reading.ids(listed, "prompt_token_ids")
        reading.same_ids(prompt, wanted.ids, "prompt_token_ids")
        return choice

    def _check_fingerprint(self, fingerprint: Any) -> None:
        """Raise LogdriftError where the server is not the one that answered before."""
        if not isinstance(fingerprint, str):
            return
        before = self._fingerprint or fingerprint
        self._fingerprint = before
        if fingerprint != before:
            raise self.client.error(
                "it was started again with other settings meanwhile"
                f" ({before[:60]} is now {fingerprint[:60]})",
                "start a new session",
            )

    def _check_versions(self, spans: Any) -> None:
        if not isinstance(spans, list):
            return
        for span in spans:
            if isinstance(span, Mapping):
                self.check_weight_version(span.get("version"))


def _served(server: ServerBackend, models: Any) -> list[ServedModel]:
    """The models that a server lists, adapters included. Raises LogdriftError."""
    listed = models.get("data") if isinstance(models, Mapping) else None
    served = []
    for card in listed or ():
        if isinstance(card, Mapping) and isinstance(card.get("id"), str):
            served.append(_model_of(card))
    if not served:
        raise no_model(server.client, _MODELS)
    return served


def _model_of(card: Mapping[str, Any]) -> ServedModel:
    root = card.get("root")
    length = card.get("max_model_len")
    return ServedModel(
        name=str(card["id"]),
        root=root if isinstance(root, str) else None,
        max_length=length if isinstance(length, int) else None,
    )


def _parameters(wanted: Wanted) -> dict[str, Any]:
    """Sampling parameters, every one given: what is left out, vLLM takes from the
    model's generation_config.
    """
    if wanted.new_tokens == 0:
        return {
            "max_tokens": 1,
            "temperature": 0.0,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "prompt_logprobs": wanted.top_k,
        }
    sampling = wanted.sampling
    return {
        "max_tokens": wanted.new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": wanted.seed,
        "logprobs": wanted.top_k,
    }


def _completion_rows(
    choice: Mapping[str, Any], new: IdArray, reading: ServerReading
) -> list[list[_Row]]:
    """Of each sampled token its entries, the token's own first."""
    logprobs = reading.mapping(choice.get("logprobs"), "logprobs")
    count = len(new)
    names = reading.items(logprobs.get("tokens"), "logprobs.tokens", count)
    own = reading.items(logprobs.get("token_logprobs"), "token_logprobs", count)
    tops = reading.items(logprobs.get("top_logprobs"), "top_logprobs", count)
    rows = []
    for position, token_id in enumerate(new.tolist()):
        if names[position] != f"{_AS_ID}{token_id}":
            reading.wrong(f"token {position} is id {token_id}, but its score is not")
        top = reading.mapping(tops[position], "top_logprobs")
        value = reading.logprob(own[position], "token_logprobs")
        others = [
            (_id_in(name, reading), reading.logprob(one, "top_logprobs"), 0)
            for name, one in top.items()
            if name != names[position]
        ]
        rows.append([(token_id, value, 0), *others])
    return rows


def _id_in(name: str, reading: ServerReading) -> int:
    digits = name.removeprefix(_AS_ID)
    if not name.startswith(_AS_ID) or not digits.isdecimal():
        reading.wrong(f"top_logprobs names a token as {name[:40]!r}, not by id")
    return reading.token_id(int(digits), "top_logprobs")


def _token_rows(
    choice: Mapping[str, Any], new: IdArray, reading: ServerReading
) -> list[list[_Row]]:
    """`_completion_rows` of ``/inference/v1/generate``, where entries have ranks."""
    logprobs = reading.mapping(choice.get("logprobs"), "logprobs")
    content = reading.items(logprobs.get("content"), "logprobs.content", len(new))
    rows = []
    for token_id, entry in zip(new.tolist(), content, strict=True):
        own = _entry(entry, reading)
        if own[0] != token_id:
            reading.wrong(f"the score of id {token_id} is of id {own[0]}")
        if own[1] == -math.inf:
            # NaN and minus infinity are one here, and what was sampled had a chance.
            reading.wrong(
                f"the score of id {token_id}, which was sampled, is no number"
            )
        tops = reading.items(entry.get("top_logprobs"), "top_logprobs")
        others = [_entry(top, reading) for top in tops]
        rows.append([own, *(other for other in others if other[0] != token_id)])
    return rows


def _entry(value: Any, reading: ServerReading) -> _Row:
    entry = reading.mapping(value, "logprobs.content")
    token_id = reading.token_id(entry.get("token_id"), "logprobs.content")
    logprob = reading.logprob(entry.get("logprob"), "logprobs.content")
    return token_id, logprob, _rank(entry)


def _prompt_row(value: Any, reading: ServerReading) -> list[_Row]:
    """The entries of one scored token, as they come."""
    table = reading.mapping(value, "prompt_logprobs")
    rows = []
    for name, one in table.items():
        entry = reading.mapping(one, "prompt_logprobs")
        if not name.isdecimal():
            reading.wrong(f"prompt_logprobs names a token as {name[:40]!r}, not by id")
        token_id = reading.token_id(int(name), "prompt_logprobs")
        logprob = reading.logprob(entry.get("logprob"), "prompt_logprobs")
        rows.append((token_id, logprob, _rank(entry)))
    return rows


def _rank(entry: Mapping[str, Any]) -> int:
    rank = entry.get("rank")
    if isinstance(rank, int) and rank > 0:
        return rank
    return 0


def _scored_row(
    token_id: int,
    entries: Sequence[_Row],
    top_k: int,
    reading: ServerReading,
    *,
    is_short: bool = False,
) -> ScoredRow:
    """The score of ``token_id`` among ``entries``: it and the ``top_k`` best, of which
    it may be one. ``is_short``: one fewer where it is not.
    """
    own = [entry for entry in entries if entry[0] == token_id]
    if len(own) != 1:
        reading.wrong(f"no score of id {token_id}, which was sent")
    _, logprob, rank = own[0]
    listed = entries
    if len(entries) == top_k + 1 or (is_short and rank > top_k):
        listed = [entry for entry in entries if entry[0] != token_id]
    if len(listed) not in (top_k, top_k - int(is_short)):
        reading.wrong(
            f"{len(entries)} alternatives of a token, where {top_k} were asked"
        )
    alternatives = [(one, value) for one, value, _ in _in_order(listed)]
    return ScoredRow(logprob=logprob, alternatives=alternatives, rank=rank)


def _in_order(entries: Sequence[_Row]) -> list[_Row]:
    """By the server's ranks where it gives them, which order ids of one value too."""
    if all(rank for _, _, rank in entries):
        return sorted(entries, key=lambda entry: (-entry[1], entry[2]))
    return sorted(entries, key=lambda entry: -entry[1])
