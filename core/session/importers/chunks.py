"""One chunk of a streamed answer: whose it is, whether it begins an answer or goes on
with one, and how it is added to what came before.

A chunk of OpenAI's or llama.cpp's form adds to what came before; one of SGLang's says
everything so far, unless the server was started to send only what is new.
"""

from __future__ import annotations

from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.llamacpp_answers import (
    PROBABILITIES,
    is_llamacpp,
    probabilities,
)
from logdrift.core.session.importers.scored_tokens import tokens_of

Answer = dict[str, Any]
"""A server's answer, or a chunk of one; what is put together is changed in place."""
MALFORMED = (TypeError, AttributeError, KeyError, ValueError)
"""What is raised where an object is no answer."""
_LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
_PACKED = "packed_top_logprobs"
_SAMPLED = "completion_tokens"
"""What OpenAI's form and SGLang's call the count of sampled tokens."""
_PREDICTED = "tokens_predicted"
"""What llama.cpp calls it."""
_ADDED = ("output_token_logprobs", "output_top_logprobs", "output_token_ids_logprobs")


def answer_id(answer: JsonObject) -> Any:
    """What tells the chunks of an answer: vLLM's token-in-token-out server calls it
    ``request_id``.
    """
    own_id = answer.get("id")
    if own_id is not None:
        return own_id
    return answer.get("request_id")


def is_unfinished(data: JsonObject) -> bool:
    """It has a reason to have finished, and that is null."""
    return data.get("finish_reason", "missing") is None


def is_chunk(answer: JsonObject) -> bool:
    """Whether an object is one chunk of a stream.

    Chunks of chats say so; those of completions have an id, and null for the reason to
    have finished.
    """
    kind = answer.get("object", "")
    name = str(kind)
    if name.endswith(".chunk"):
        return True
    choices = answer["choices"]
    if not isinstance(choices, list):
        return False
    if not choices or answer_id(answer) is None:
        return False
    return all(map(_is_partial, choices))


def _is_partial(choice: JsonObject) -> bool:
    return "delta" in choice or is_unfinished(choice)


def is_beginning(answer: JsonObject) -> bool:
    """Whether an object is for certain the first one of its answer. Raises what is
    `MALFORMED`.
    """
    if "choices" in answer:
        if _shows_beginning(answer):
            return True
        if is_chunk(answer):
            return False
    return has_all(answer)


def _shows_beginning(answer: JsonObject) -> bool:
    """It has the prompt, a message of a chat that was not streamed, or a role and no
    token. Some servers name the role in each chunk.
    """
    choices = answer["choices"]
    prompts = [one.get("prompt_token_ids") for one in (answer, *choices)]
    # Later chunks of some servers have the key too, with null.
    if any(prompt is not None for prompt in prompts):
        return True
    return bool(choices) and all(map(_is_first, choices))


def _is_first(choice: JsonObject) -> bool:
    if "message" in choice:
        return True
    delta = choice.get("delta") or {}
    return "role" in delta and not choice.get("logprobs")


def has_all(answer: JsonObject) -> bool:
    """Whether an answer has as many tokens as its server counted; False where nothing
    tells.
    """
    try:
        number, counted = _numbers(answer)
    except MALFORMED:
        return False
    return bool(number == counted)


def _numbers(answer: JsonObject) -> tuple[int, Any]:
    """How many tokens an answer has, and how many its server counted."""
    if "meta_info" in answer:
        meta = answer["meta_info"]
        return len(meta["output_token_logprobs"]), meta[_SAMPLED]
    if is_llamacpp(answer):
        return len(probabilities(answer)), answer[_PREDICTED]
    numbers = map(_sampled_tokens, answer["choices"])
    return sum(numbers), answer["usage"][_SAMPLED]


def _sampled_tokens(choice: JsonObject) -> int:
    """How many tokens a choice has scores of. Raises ValueError for an echo, which has
    those of the prompt too.
    """
    logprobs = choice["logprobs"]
    content = logprobs.get("content")
    if content is not None:
        return len(content)
    values = logprobs["token_logprobs"]
    if None in values:
        raise ValueError("a token has no score")
    return len(values)


def continues(begun: JsonObject, answer: JsonObject) -> bool:
    """Whether a chunk goes on with an answer: none of its choices has finished in
    it.
    """
    choices = begun["choices"]
    finished = [one["index"] for one in choices if one["finish_reason"] is not None]
    if not finished:
        return True
    for choice in answer["choices"]:
        index = choice.get("index", 0)
        if index in finished:
            return False
    return True


def extend_openai(whole: Answer, chunk: JsonObject, place: Place) -> None:
    """Add a chunk of OpenAI's form, which stands at ``place``, to what came before, in
    place. Its end is noted first: it is known of a bad chunk too.
    """
    parts = []
    for part in chunk["choices"]:
        index = part.get("index", 0)
        choice = _choice_at(index, whole["choices"])
        parts.append((choice, part))
        reason = part.get("finish_reason")
        if reason is not None:
            choice["finish_reason"] = reason
    for key, value in chunk.items():
        if key == "choices" or value is None:
            continue
        # Some servers count in each chunk: the last one counts all.
        if key == "usage" or whole.get(key) is None:
            whole[key] = value
    for choice, part in parts:
        _extend_choice(choice, part, place)


def _choice_at(index: Any, choices: list[Answer]) -> Answer:
    """The choice with this index, added where it is not there yet."""
    for choice in choices:
        if choice["index"] == index:
            return choice
    empty = {
        "index": index,
        "logprobs": None,
        "token_ids": None,
        "finish_reason": None,
    }
    choices.append(empty)
    return empty


def _extend_choice(choice: Answer, part: JsonObject, place: Place) -> None:
    ids = part.get("token_ids")
    if not ids:
        ids = part.get("response_token_ids")
    logprobs = part.get("logprobs")
    if isinstance(logprobs, dict):
        _extend_logprobs(choice, logprobs, place)
    if ids:
        if choice["token_ids"] is None:
            choice["token_ids"] = []
        choice["token_ids"].extend(ids)
    for key in ("prompt_token_ids", "prompt_logprobs", "weight_versions"):
        value = part.get(key)
        if value is not None:
            choice.setdefault(key, value)


def _extend_logprobs(choice: Answer, logprobs: JsonObject, place: Place) -> None:
    if choice["logprobs"] is None:
        choice["logprobs"] = {}
    whole = choice["logprobs"]
    content = logprobs.get("content")
    if isinstance(content, list):
        # Tokens take a quarter of the memory of what they are read from.
        before = whole.setdefault("content", [])
        before.extend(tokens_of(logprobs, place))
        return
    packed = logprobs.get(_PACKED)
    if packed:
        blocks = whole.setdefault(_PACKED, [])
        blocks.append(packed)
    tokens = logprobs.get("tokens") or ()
    count = len(tokens)
    for key in _LISTS:
        added = logprobs.get(key)
        if added is None:
            added = [None] * count
        before = whole.setdefault(key, [])
        before.extend(added)


def extend_sglang(whole: Answer, chunk: JsonObject) -> None:
    """Add a chunk of SGLang's form to what came before, in place."""
    old = whole["meta_info"]
    new = chunk["meta_info"]
    before = old.get("output_token_logprobs") or []
    now = new.get("output_token_logprobs") or []
    meta = {**old, **new}
    # A count is one of all tokens up to its own chunk.
    meta[_SAMPLED] = new.get(_SAMPLED)
    count = len(before)
    beginning = now[:count]
    says_everything = beginning == before
    if says_everything:
        whole.update(chunk)
    else:
        for key in _ADDED:
            if key in meta:
                both = _both(old, new, key)
                meta[key] = both
        ids = _both(whole, chunk, "output_ids")
        whole["output_ids"] = ids
    # What the server wrote about the prompt stays: later chunks may leave it empty.
    for key, value in old.items():
        is_of_prompt = key.startswith("input_")
        if is_of_prompt and value:
            meta[key] = value
    whole["meta_info"] = meta


def begins_anew(whole: JsonObject, chunk: JsonObject) -> bool:
    """Whether a chunk of llama.cpp's own form is the first one of another answer in the
    same slot, the one before having broken off: it counts its own tokens alone.
    """
    if not probabilities(whole) or not probabilities(chunk):
        return False
    return has_all(chunk)


def extend_llamacpp(whole: Answer, chunk: JsonObject) -> None:
    """Add a chunk of llama.cpp's own form to what came before, in place."""
    before = whole[PROBABILITIES]
    new = probabilities(chunk)
    # A count is one of all tokens up to its own chunk.
    whole.pop(_PREDICTED, None)
    whole.update(chunk)
    whole[PROBABILITIES] = before
    before.extend(new)


def _both(old: JsonObject, new: JsonObject, key: str) -> JsonList:
    """The list of ``old``, then that of ``new``."""
    before = old.get(key) or []
    added = new.get(key) or []
    return [*before, *added]
