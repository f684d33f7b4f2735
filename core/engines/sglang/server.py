"""A running SGLang server, asked over ``/generate``.

Settled by reading SGLang 0.5.23; `logdrift.core.engines.sglang.backend` has what holds
for its numbers. Over HTTP the rows are lists, NaN comes as null, and requests are put
into batches as they arrive. ``/server_info`` tells the settings, ``/model_info`` the
model and its weight version; older releases have them as ``/get_server_info`` and
``/get_model_info``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from logdrift.core.engines.sglang.facts import EXTRA, with_numerics, with_scheduling
from logdrift.core.facts import Facts
from logdrift.core.servers.backend import ServerBackend, Wanted
from logdrift.core.servers.models import ServedModel, chosen, no_model
from logdrift.core.servers.probe import Mode, semantics_of
from logdrift.core.servers.readings import ScoredRow, ServerReading, scores_of
from logdrift.core.worker.base import Generation, IdArray, Scores

_INFO = ("/server_info", "/get_server_info")
_MODEL = ("/model_info", "/get_model_info")
_GENERATE = "/generate"


class SglangServer(ServerBackend):
    """`logdrift.core.worker.base.Backend` on an SGLang server."""

    engine: ClassVar[str] = "sglang"
    paths: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys((*_INFO, *_MODEL), "GET"),
        _GENERATE: "POST",
    }

    async def describe(self) -> Facts:
        """Settings, model and weight version."""
        state = await self._told(_INFO)
        model = await self._told(_MODEL)
        if "version" not in state:
            raise self.client.error(
                f"{_INFO[0]} does not answer as SGLang does",
                "give the address of SGLang",
            )
        served = self._served(model)
        self.check_weight_version(model.get("weight_version"))
        self.limit = _limit_of(state)
        states = state.get("internal_states") or [{}]
        known = Facts(
            engine="sglang",
            engine_version=str(state["version"])[:100],
            device=state.get("device"),
            prefill_logprobs="raw",
            rank_counts="strict",
            max_length=self.limit,
            extra=_extra(state, served),
        )
        dtype = state.get("dtype")
        if dtype == "auto":
            dtype = None
        state = {**state, **states[0]}
        known = with_numerics(known, state, dtype, state.get("quantization"))
        return with_scheduling(known, state)

    def with_semantics(self, facts: Facts, mode: Mode | None) -> Facts:
        sampling = self.settings.sampling
        meaning = semantics_of(mode, sampling, cuts=False)
        if sampling.repetition_penalty != 1.0:
            # Penalties enter whatever the mode (layers/sampler.py).
            meaning = "processed"
        if meaning is None:
            return facts
        return replace(facts, decode_logprobs=meaning, probed=("decode_logprobs",))

    async def _told(self, paths: Sequence[str]) -> Mapping[str, Any]:
        """What the first of ``paths`` that the server has tells; empty for none."""
        for path in paths:
            found = await self.client.look(path)
            if isinstance(found, Mapping):
                return found
        return {}

    def _served(self, model: Mapping[str, Any]) -> ServedModel:
        root = model.get("model_path")
        if not isinstance(root, str):
            raise no_model(self.client, _MODEL[0])
        name = model.get("served_model_name")
        if not isinstance(name, str):
            name = root
        served = ServedModel(name=name, root=root)
        wanted = self.options.served_name
        return chosen(self.client, [served], self.settings.model, wanted)

    # -- requests

    def request(self, wanted: Wanted) -> tuple[str, Mapping[str, Any]]:
        body: dict[str, Any] = {
            "input_ids": wanted.ids.tolist(),
            "rid": wanted.request,
            "return_logprob": True,
            "top_logprobs_num": wanted.top_k,
        }
        if wanted.new_tokens == 0:
            parameters = {"max_new_tokens": 0, "temperature": 0.0}
            return _GENERATE, {
                **body,
                "logprob_start_len": 0,
                "sampling_params": parameters,
            }
        return _GENERATE, {**body, "sampling_params": _sampling(wanted)}

    # -- answers

    def generation(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Generation:
        meta = self._meta(wanted, answer, reading)
        new = reading.ids(answer.get("output_ids"), "output_ids")
        given = meta.get("output_token_logprobs")
        listed = reading.items(given, "output_token_logprobs", len(new))
        pairs = _pairs(listed, "output_token_logprobs", reading)
        if [pair.token_id for pair in pairs] != new.tolist():
            reading.wrong("output_token_logprobs are of other ids than output_ids")
        tops = meta.get("output_top_logprobs")
        rows = _rows(pairs, tops, "output_top_logprobs", wanted.top_k, reading)
        finish = _finish(meta)
        if finish not in ("stop", "length"):
            reading.wrong(f"it ended with {finish!r}")
        whole = np.concatenate([wanted.ids, new])
        prompt_length = len(wanted.ids)
        return Generation(
            token_ids=whole.astype(np.int32),
            prompt_length=prompt_length,
            finish=finish,
            scores=scores_of(rows, prompt_length, wanted.top_k),
        )

    def scores(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Scores:
        name = "input_token_logprobs"
        meta = self._meta(wanted, answer, reading)
        first, *rest = reading.items(meta.get(name), name, len(wanted.ids))
        if reading.items(first, name)[:1] != [None]:
            reading.wrong(f"{name} scores the first token, which has no score")
        pairs = _pairs(rest, name, reading)
        _check_echo(wanted.ids[1:], pairs, reading)
        tops = meta.get("input_top_logprobs")
        if isinstance(tops, list):
            # The first token has no alternatives either.
            tops = tops[1:]
        rows = _rows(pairs, tops, "input_top_logprobs", wanted.top_k, reading)
        return scores_of(rows, 1, wanted.top_k)

    def _meta(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Mapping[str, Any]:
        """What is told about an answer, to this request and all its ids."""
        meta = reading.mapping(answer.get("meta_info"), "meta_info")
        if meta.get("id") != wanted.request:
            reading.wrong(f"it answers request {meta.get('id')!r}")
        count = meta.get("prompt_tokens")
        if count != len(wanted.ids):
            reading.wrong(f"it is about {count} ids, {len(wanted.ids)} were sent")
        self.check_weight_version(meta.get("weight_version"))
        return meta


def _limit_of(state: Mapping[str, Any]) -> int | None:
    """The longest input. SGLang wants it shorter than the number that it tells
    (managers/tp_worker.py).
    """
    states = state.get("internal_states") or [{}]
    told = {**state, **states[0]}.get("max_req_input_len")
    if isinstance(told, int):
        return told - 1
    return None


def _extra(state: Mapping[str, Any], served: ServedModel) -> dict[str, Any]:
    extra: dict[str, Any] = {name: state[name] for name in EXTRA if name in state}
    extra["served_model"] = served.name
    return extra


def _sampling(wanted: Wanted) -> dict[str, Any]:
    sampling = wanted.sampling
    return {
        "max_new_tokens": wanted.new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or -1,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "sampling_seed": wanted.seed,
    }


def _finish(meta: Mapping[str, Any]) -> str:
    reason = meta.get("finish_reason")
    if isinstance(reason, Mapping):
        reason = reason.get("type")
    return str(reason)


class _Pair(NamedTuple):
    """An id and its log-probability in nats."""

    token_id: int
    logprob: float


def _pairs(listed: Sequence[Any], name: str, reading: ServerReading) -> list[_Pair]:
    """Rows of ``[logprob, id, text]``."""
    pairs = []
    for row in listed:
        values = reading.items(row, name)
        if len(values) < 2:
            reading.wrong(f"{name} has a row of {len(values)} values")
        logprob, token_id, *_ = values
        known = reading.token_id(token_id, name)
        number = reading.logprob(logprob, name)
        pairs.append(_Pair(known, number))
    return pairs


def _rows(
    pairs: Sequence[_Pair],
    tops: Any,
    name: str,
    top_k: int,
    reading: ServerReading,
) -> list[ScoredRow]:
    """Each token's score with its alternatives, best first."""
    if top_k == 0:
        return [ScoredRow(pair.logprob) for pair in pairs]
    listed = reading.items(tops, name, len(pairs))
    rows = []
    for pair, top in zip(pairs, listed, strict=True):
        alternatives = _pairs(reading.items(top, name), name, reading)
        count = len(alternatives)
        if count != top_k:
            reading.wrong(f"{count} {name} of a token, {top_k} were asked")
        row = ScoredRow(
            logprob=pair.logprob,
            ids=[one.token_id for one in alternatives],
            values=[one.logprob for one in alternatives],
        )
        rows.append(row)
    return rows


def _check_echo(sent: IdArray, echoed: Sequence[_Pair], reading: ServerReading) -> None:
    """Refuse scores of other ids. SGLang names the last id of the vocabulary 0, so one
    id may come back as 0, wherever it stands.
    """
    ids = [pair.token_id for pair in echoed]
    returned = np.array(ids, np.int32)
    differ = returned != sent
    renamed = np.unique(sent[differ])
    is_one = len(renamed) == 1
    if is_one and not returned[differ].any():
        return
    reading.same_ids(returned, sent, "input_token_logprobs")
