"""What offline engines give of a request, written as JSON: vLLM's ``RequestOutput``,
TensorRT-LLM's of the same form, with their fields by name.

    {"request_id": "0", "prompt_token_ids": [...], "prompt_logprobs": [null, {"ID":
    {"logprob": -1.2, "rank": 1, "decoded_token": " x"}, ...}], "outputs": [{"index": 0,
    "token_ids": [...], "logprobs": [{...}], "finish_reason": "stop"}]}

vLLM lists a token's own id first and the first token of a prompt as null. TensorRT-LLM
lists the most likely ids first, has ``prompt_logprobs`` beside each output, and its
entry i is of the token behind token i.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.answer_records import ServerAnswer, filled
from logdrift.core.session.importers.answer_versions import answer_versions
from logdrift.core.session.importers.columns import ids_of, is_real
from logdrift.core.session.importers.place import under_key
from logdrift.core.session.importers.scored_tokens import (
    IdList,
    ScoredToken,
    ScoredTokens,
    tokens_by_id,
)

_ENGINES = {"num_cached_tokens": "vllm", "context_logits": "tensorrt-llm"}
"""A field that the outputs of one engine alone have."""
_UNREAD = ("routed_experts", "sampling_mask", "prompt_token_id_logprobs")
_ENDINGS = ("stop", "length")
_FLAT = ("start_indices", "end_indices", "token_ids", "logprobs", "ranks")
"""The lists of vLLM's ``FlatLogprobs``; those of token i stand from
``start_indices[i]`` to ``end_indices[i]``.
"""
_ASK = "ask with SamplingParams(logprobs=..., prompt_logprobs=...)"


def is_request_output(data: JsonObject) -> bool:
    """Whether an object has outputs with token ids."""
    outputs = data.get("outputs")
    if not isinstance(outputs, list) or not outputs:
        return False
    first = outputs[0]
    return isinstance(first, dict) and "token_ids" in first


def scored(place: Place, answer: JsonObject) -> Iterator[ServerAnswer]:
    """Every output of a request. Raises InputError naming it."""
    prompt = _ids(answer, "prompt_token_ids", place)
    observed = _observed(answer)
    outputs = answer["outputs"]
    for index, output in enumerate(outputs):
        key = f"outputs[{index}]"
        if not isinstance(output, dict):
            raise place.error(f"{key} is not an object")
        there = under_key(place, key)
        scored_output = _output(answer, output, prompt, there)
        yield replace(scored_output, observed=observed)


def _output(
    answer: JsonObject, output: JsonObject, prompt: IdList, place: Place
) -> ServerAnswer:
    new = _ids(output, "token_ids", place)
    sampled = len(new)
    given_tokens = _prompt_tokens(answer, output, prompt, place)
    new_tokens = _tokens(output, new, place)
    if not given_tokens and not new_tokens:
        raise place.error("has no log-probabilities", _ASK)
    unread = filled(output, _UNREAD)
    unread += filled(answer, _UNREAD)
    return ServerAnswer(
        place=place,
        given=prompt,
        given_tokens=given_tokens or _unscored(prompt),
        new=new,
        new_tokens=new_tokens or _unscored(new),
        finish=_finish(output),
        unread=unread,
        versions=answer_versions(output, sampled, place),
    )


def _finish(output: JsonObject) -> str:
    reason = str(output.get("finish_reason"))
    if reason in _ENDINGS:
        return reason
    return "unknown"


def _observed(answer: JsonObject) -> JsonObject:
    for key, engine in _ENGINES.items():
        if key in answer:
            return {"engine": engine}
    return {}


def _ids(data: JsonObject, key: str, place: Place) -> IdList:
    """Ids, none where there are none."""
    value = data.get(key)
    if value is None or value == []:
        return []
    column = ids_of(value, place, key)
    ids: IdList = column.tolist()
    return ids


def _unscored(ids: IdList) -> ScoredTokens:
    return [ScoredToken()] * len(ids)


def _tokens(output: JsonObject, ids: IdList, place: Place) -> ScoredTokens | None:
    """As many as ``ids``; None where nothing is listed."""
    key = "logprobs"
    values = output.get(key)
    if not values:
        return None
    entries = _entries(values, place, key)
    return tokens_by_id(entries, ids, place, key)


def _prompt_tokens(
    answer: JsonObject, output: JsonObject, prompt: IdList, place: Place
) -> ScoredTokens | None:
    """The scored tokens of a prompt; None where nothing is listed."""
    key = "prompt_logprobs"
    values = answer.get(key) or output.get(key)
    if not values:
        return None
    if not prompt:
        raise place.error(f"{key} without prompt_token_ids", "give both")
    entries = _entries(values, place, key)
    if entries[0]:
        length = len(prompt)
        entries = _behind_each(entries, length, place)
    return tokens_by_id(entries, prompt, place, key)


def _behind_each(entries: JsonList, prompt: int, place: Place) -> JsonList:
    """Entries that are of the token behind each, moved to that token.

    Those of the first token behind the prompt are there as well in some releases.
    """
    if any(map(is_real, entries)):
        raise place.error(
            "prompt_logprobs are plain numbers, which do not say whether the first one"
            " is of the first token or of the second",
            "ask without prompt_logprobs_simple_format",
        )
    behind = prompt - 1
    return [None, *entries[:behind]]


def _entries(values: Any, place: Place, key: str) -> JsonList:
    """One entry a token."""
    if isinstance(values, list):
        return values
    if not isinstance(values, Mapping):
        raise place.error(f"{key} is not a list")
    columns = [values.get(name) for name in _FLAT]
    kinds = set(map(type, columns))
    if kinds != {list}:
        names = ", ".join(_FLAT)
        raise place.error(f"{key} is neither a list nor an object of {names}")
    try:
        return _of_flat(values)
    except (IndexError, TypeError, ValueError) as error:
        kind = type(error).__name__
        reason = f"{key} is not vLLM's FlatLogprobs: {kind}: {error}"
        raise place.error(reason) from None


def _of_flat(flat: JsonObject) -> JsonList:
    """vLLM's ``FlatLogprobs`` as a list of objects by id."""
    columns = [flat[name] for name in _FLAT]
    starts, ends, ids, logprobs, ranks = columns
    entries = []
    bounds = zip(starts, ends, strict=True)
    for start, end in bounds:
        entry: dict[str, Any] = {}
        for at in range(start, end):
            token_id = ids[at]
            key = str(token_id)
            listed = {"logprob": logprobs[at], "rank": ranks[at]}
            # The token itself stands first; its id may come again with its rank.
            entry.setdefault(key, listed)
        entries.append(entry)
    return entries
