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

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from logdrift.core.engines.vllm.server_rows import VllmRows
from logdrift.core.engines.vllm.told import logprobs_mode, with_config
from logdrift.core.facts import Facts
from logdrift.core.servers.backend import ServerBackend, Wanted
from logdrift.core.servers.models import ServedModel, chosen, no_model
from logdrift.core.servers.probe import Mode, semantics_of
from logdrift.core.servers.readings import ServerReading, scores_of
from logdrift.core.servers.versions import sampled_versions
from logdrift.core.worker.base import Generation, Scores

_VERSION = "/version"
_MODELS = "/v1/models"
_INFO = "/server_info"
_COMPLETIONS = "/v1/completions"
_GENERATE = "/inference/v1/generate"
_MODES: Mapping[str, Mode] = {
    "raw_logprobs": "raw",
    "processed_logprobs": "processed",
}


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
        told = await self.client.look(_VERSION)
        models = await self.client.look(_MODELS)
        served = _served(self, models)
        name = self.options.served_name
        model = chosen(self.client, served, self.settings.model, name)
        self._model = model.name
        self.limit = model.max_length
        info = await self.client.look(_INFO, config_format="json")
        self._mode = self._told_mode(info)
        facts = Facts(
            engine="vllm",
            engine_version=_version_of(told),
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
            version = facts.engine_version or _version_in(self._fingerprint)
            facts = facts._replace(extra=extra, engine_version=version)
        known = self._mode or mode
        meaning = semantics_of(known, self.settings.sampling, cuts=True)
        facts = facts._replace(decode_logprobs=meaning)
        if self._mode is None and meaning is not None:
            facts = facts._replace(probed=("decode_logprobs",))
        return facts

    # -- requests

    @property
    def endpoint(self) -> str:
        if self.options.endpoint == "generate":
            return _GENERATE
        return _COMPLETIONS

    def body(self, wanted: Wanted) -> Mapping[str, Any]:
        if self.endpoint == _GENERATE:
            return self._token_request(wanted)
        return self._completion_request(wanted)

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
        new = reading.ids_at(choice, "token_ids")
        finish = choice.get("finish_reason")
        if finish not in ("stop", "length"):
            reading.wrong(f"it ended with {finish!r}")
        reader = VllmRows(reading, wanted.top_k)
        if self.endpoint == _GENERATE:
            rows = reader.of_tokens(choice, new)
        else:
            rows = reader.of_completion(choice, new)
        whole = np.concatenate([wanted.ids, new])
        prompt_length = len(wanted.ids)
        scores = scores_of(rows, prompt_length, wanted.top_k)
        versions = sampled_versions(choice, prompt_length, len(new), reading)
        return Generation(
            token_ids=whole.astype(np.int32),
            prompt_length=prompt_length,
            finish=str(finish),
            scores=replace(scores, versions=versions),
        )

    def scores(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Scores:
        choice = self._choice(wanted, answer, reading)
        self._check_versions(choice.get("weight_versions"))
        listed = choice.get("prompt_logprobs", answer.get("prompt_logprobs"))
        reader = VllmRows(reading, wanted.top_k)
        rows = reader.of_prompt(listed, wanted.ids)
        return scores_of(rows, 1, wanted.top_k)

    def _choice(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Mapping[str, Any]:
        """The one choice of an answer to the ids that were sent."""
        choices = reading.items_at(answer, "choices")
        if len(choices) != 1:
            reading.wrong(f"{len(choices)} choices, where one was asked")
        choice = reading.mapping(choices[0], "choices[0]")
        model = answer.get("model", self._model)
        if model != self._model:
            reading.wrong(f"it is of model {model!r}, {self._model!r} was asked")
        self._check_fingerprint(answer.get("system_fingerprint"))
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


def _version_of(told: Any) -> str | None:
    """What ``/version`` tells; None where a proxy lets ``/v1`` alone through."""
    if isinstance(told, Mapping) and "version" in told:
        return str(told["version"])[:100]
    return None


def _version_in(fingerprint: str) -> str | None:
    """``vllm-VERSION-DIGEST``, unless the server was given words of its own."""
    engine, _, rest = fingerprint.partition("-")
    if engine == "vllm" and rest:
        return rest.partition("-")[0][:100]
    return None


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
