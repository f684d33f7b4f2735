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
from typing import Any, ClassVar

import numpy as np

from logdrift.core.engines.sglang.facts import EXTRA, with_numerics, with_scheduling
from logdrift.core.engines.sglang.server_rows import SglangRows
from logdrift.core.facts import Facts
from logdrift.core.servers.backend import ServerBackend, Wanted
from logdrift.core.servers.models import ServedModel, chosen, no_model
from logdrift.core.servers.probe import Mode, semantics_of
from logdrift.core.servers.readings import ServerReading, scores_of
from logdrift.core.servers.versions import sampled_versions
from logdrift.core.worker.base import Generation, Scores

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
        return facts._replace(decode_logprobs=meaning, probed=("decode_logprobs",))

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

    @property
    def endpoint(self) -> str:
        return _GENERATE

    def body(self, wanted: Wanted) -> Mapping[str, Any]:
        body: dict[str, Any] = {
            "input_ids": wanted.ids.tolist(),
            "rid": wanted.request,
            "return_logprob": True,
            "top_logprobs_num": wanted.top_k,
        }
        if wanted.new_tokens > 0:
            return {**body, "sampling_params": _sampling(wanted)}
        nothing_new = {"max_new_tokens": 0, "temperature": 0.0}
        return {**body, "logprob_start_len": 0, "sampling_params": nothing_new}

    # -- answers

    def generation(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Generation:
        meta = self._meta(wanted, answer, reading)
        new = reading.ids_at(answer, "output_ids")
        rows = SglangRows(reading, wanted.top_k).of_output(meta, new)
        finish = _finish(meta)
        if finish not in ("stop", "length"):
            reading.wrong(f"it ended with {finish!r}")
        whole = np.concatenate([wanted.ids, new])
        prompt_length = len(wanted.ids)
        scores = scores_of(rows, prompt_length, wanted.top_k)
        versions = sampled_versions(meta, prompt_length, len(new), reading)
        return Generation(
            token_ids=whole.astype(np.int32),
            prompt_length=prompt_length,
            finish=finish,
            scores=replace(scores, versions=versions),
        )

    def scores(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Scores:
        meta = self._meta(wanted, answer, reading)
        self.check_weight_version(meta.get("weight_version"))
        rows = SglangRows(reading, wanted.top_k).of_input(meta, wanted.ids)
        return scores_of(rows, 1, wanted.top_k)

    def _meta(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Mapping[str, Any]:
        """What is told about an answer, to this request and all its ids."""
        meta = reading.mapping_at(answer, "meta_info")
        name = str(meta.get("id"))
        if not name.startswith(f"{wanted.request}."):
            reading.wrong(f"it answers request {name[:60]!r}")
        count = meta.get("prompt_tokens")
        if count != len(wanted.ids):
            reading.wrong(f"it is about {count} ids, {len(wanted.ids)} were sent")
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
