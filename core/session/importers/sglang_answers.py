"""SGLang's native answers of ``/generate``: ``meta_info`` with ``[log-probability, id,
text]`` of prompt and completion; lmdeploy's ``/generate`` is of the same form.

``input_token_logprobs`` begin at ``logprob_start_len`` and their first entry has no
score. SGLang writes 0 for the last id of the vocabulary there, so the ids of
``prompt_token_ids`` go first, where it was asked for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.answer_records import ServerAnswer, filled
from logdrift.core.session.importers.answer_versions import DEFAULT, answer_versions
from logdrift.core.session.importers.columns import ids_of
from logdrift.core.session.importers.scored_tokens import (
    IdList,
    ScoredToken,
    ScoredTokens,
    sglang_tokens,
)

_UNREAD = (
    "input_token_ids_logprobs",
    "output_token_ids_logprobs",
    "input_top_logprobs_val_flat",
    "output_top_logprobs_val_flat",
    "output_token_sampling_mask",
    "routed_experts",
    "hidden_states",
)


def scored(place: Place, answer: JsonObject) -> ServerAnswer:
    """One answer. Raises InputError naming it."""
    meta = answer["meta_info"]
    if not isinstance(meta, Mapping):
        raise place.error("meta_info is not an object")
    before = _tokens(meta, "input", place)
    behind = _tokens(meta, "output", place)
    if not before and not behind:
        remedy = 'ask SGLang with "return_logprob": true'
        raise place.error("has no log-probabilities", remedy)
    given, given_tokens = _prompt(answer, meta, before, place)
    new = _named(behind, place)
    _check_output(answer, new, place)
    reason = meta.get("finish_reason")
    return ServerAnswer(
        place=place,
        given=given,
        given_tokens=given_tokens,
        new=new,
        new_tokens=behind,
        finish=_finish(reason),
        observed=_observed(meta),
        unread=filled(meta, _UNREAD),
        versions=answer_versions(meta, len(new), place),
    )


def _check_output(answer: JsonObject, new: IdList, place: Place) -> None:
    """Raise InputError where the answer lists other ids than those that have scores."""
    output_ids = answer.get("output_ids")
    if not output_ids:
        return
    ids = ids_of(output_ids, place, "output_ids")
    if ids.tolist() != new:
        raise place.error("output_ids are not the ids of output_token_logprobs")


def _tokens(meta: JsonObject, side: str, place: Place) -> ScoredTokens:
    key = f"{side}_token_logprobs"
    values = meta.get(key) or []
    if not isinstance(values, list):
        raise place.error(f"{key} is not a list")
    tops = meta.get(f"{side}_top_logprobs")
    return sglang_tokens(values, tops, place, key)


def _prompt(
    answer: JsonObject,
    meta: JsonObject,
    tokens: ScoredTokens,
    place: Place,
) -> tuple[IdList, ScoredTokens]:
    """The prompt's ids, and as many scored tokens."""
    key = "prompt_token_ids"
    prompt_ids = answer.get(key)
    if not prompt_ids:
        prompt_ids = meta.get(key)
    if not prompt_ids:
        return _named(tokens, place), tokens
    ids = ids_of(prompt_ids, place, key).tolist()
    if len(tokens) > len(ids):
        raise place.error(
            f"{len(tokens)} input_token_logprobs for {len(ids)} ids of the prompt"
        )
    missing = len(ids) - len(tokens)
    scored_ids = ids[missing:]
    for token_id, token in zip(scored_ids, tokens, strict=True):
        if token.token_id not in (token_id, 0):
            raise place.error(
                f"input_token_logprobs name id {token.token_id} where the prompt has"
                f" {token_id}"
            )
    unscored = [ScoredToken()] * missing
    return ids, unscored + tokens


def _named(tokens: ScoredTokens, place: Place) -> IdList:
    ids = []
    for index, token in enumerate(tokens):
        if token.token_id is None:
            raise place.error(
                f"entry {index} of a token's log-probabilities names no id"
            )
        ids.append(token.token_id)
    return ids


def _finish(reason: Any) -> str:
    kind = reason
    if isinstance(reason, Mapping):
        kind = reason.get("type")
    if kind in ("stop", "length"):
        return str(kind)
    return "unknown"


def _observed(meta: JsonObject) -> JsonObject:
    observed = {}
    if "id" in meta:
        # lmdeploy answers in the same form, without an id.
        observed["engine"] = "sglang"
    version = meta.get("weight_version")
    if isinstance(version, str | int):
        name = str(version)
        if name != DEFAULT:
            observed["weight_version"] = name[:100]
    return observed
