"""Answers in OpenAI's form: completions or chat, generated or scored.

A token is known by its id alone, which OpenAI's own servers do not send: ask vLLM for
``return_token_ids`` or ``return_tokens_as_token_ids``, SGLang and lmdeploy for
``return_token_ids``; llama.cpp sends them unasked. An answer without ids is refused:
tokens of equal text need not be the same. A server scores what it was given where it
was asked to echo it, or with vLLM's ``prompt_logprobs``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.answer_records import (
    UNKNOWN_ID,
    ServerAnswer,
    filled,
)
from logdrift.core.session.importers.answer_versions import answer_versions
from logdrift.core.session.importers.columns import ids_of
from logdrift.core.session.importers.place import under_key
from logdrift.core.session.importers.scored_tokens import (
    IdList,
    ScoredToken,
    ScoredTokens,
    prompt_tokens_of,
    tokens_of,
)

_ASK = (
    'ask the server with "return_token_ids": true, so that tokens are told apart by id'
)
_FINGERPRINT = re.compile(r"vllm-(\d[\w.]*)")
"""vLLM's ``system_fingerprint``: ``vllm-VERSION``, its parallelism, and a digest of its
settings.
"""
_NEW_IDS = (
    "token_ids",
    "response_token_ids",
    "completion_token_ids",
    "output_token_ids",
    "output_ids",
    "gen_tokens",
)
"""What servers call the ids that they sampled: vLLM, SGLang's chat, forks of both, and
lmdeploy, which has ``gen_tokens`` in the message of a chat.
"""
_UNREAD = (
    "routed_experts",
    "packed_top_logprobs",
    "prompt_token_id_logprobs",
    "token_id_logprobs",
    "sampling_mask",
)
_FINISH = {"stop": "stop", "length": "length", "tool_calls": "stop"}


def scored(place: Place, answer: JsonObject) -> Iterator[ServerAnswer]:
    """Every choice of an answer. Raises InputError naming the choice."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise place.error(
            "choices is missing", "give answers of an OpenAI-compatible server"
        )
    counted = _counted_prompt(answer)
    for index, choice in enumerate(choices):
        key = f"choices[{index}]"
        if not isinstance(choice, dict):
            raise place.error(f"{key} is not an object")
        there = under_key(place, key)
        yield _choice(answer, choice, counted, there)


def _choice(
    answer: JsonObject, choice: JsonObject, counted: int, place: Place
) -> ServerAnswer:
    """One choice; ``counted`` is how many tokens its prompt has where no list of them
    tells.
    """
    own_prompt = _ids(choice, "prompt_token_ids", place)
    prompt = own_prompt or _ids(answer, "prompt_token_ids", place)
    sampled = _sampled(choice, place)
    prompt_logprobs = choice.get("prompt_logprobs")
    if not prompt_logprobs:
        prompt_logprobs = answer.get("prompt_logprobs")
    listed = prompt_tokens_of(prompt_logprobs, place)
    logprobs = choice.get("logprobs")
    tokens = tokens_of(logprobs, place)
    if not tokens and not listed:
        remedy = "ask with logprobs, or with prompt_logprobs to score a prompt"
        raise place.error("logprobs is missing", remedy)
    prompt_length = len(prompt or listed) or counted
    echoed, new_tokens = _split(tokens, prompt_length, sampled, place)
    new = sampled or _own_ids(new_tokens, place)
    given = _given(prompt, listed, echoed, place)
    wrong_given = _two_names(given, [listed, echoed], place)
    wrong_new = _two_names(new, [new_tokens], place)
    return ServerAnswer(
        place=place,
        given=given,
        # Those of prompt_logprobs have ranks, which those of an echo lack.
        given_tokens=listed or echoed or _unscored(prompt),
        new=new,
        new_tokens=new_tokens or _unscored(new),
        finish=_finish(choice),
        model=_model(answer),
        observed=_observed(answer),
        unread=_unread(answer, choice),
        problem=wrong_given or wrong_new,
        versions=answer_versions(_versions(answer, choice), len(new), place),
    )


def _versions(answer: JsonObject, choice: JsonObject) -> JsonObject:
    """What tells the versions of the weights: the choice (vLLM), or what SGLang writes
    beside the one choice of an answer.
    """
    metadata = answer.get("metadata")
    if not isinstance(metadata, Mapping):
        return choice
    is_alone = len(answer["choices"]) == 1
    if is_alone and "weight_version" in metadata:
        return metadata
    return choice


def _finish(choice: JsonObject) -> str:
    reason = str(choice.get("finish_reason"))
    return _FINISH.get(reason, "unknown")


def _model(answer: JsonObject) -> str | None:
    model = answer.get("model")
    if isinstance(model, str):
        return model
    return None


def _unread(answer: JsonObject, choice: JsonObject) -> list[str]:
    """What the choice holds and nothing here reads; else what its answer holds."""
    unread = filled(choice, _UNREAD)
    if unread:
        return unread
    return filled(answer, _UNREAD)


def _unscored(ids: IdList | None) -> ScoredTokens:
    """A token without a score for each id."""
    count = len(ids or ())
    return [ScoredToken()] * count


def _sampled(choice: JsonObject, place: Place) -> IdList | None:
    """The ids that were sampled, under whichever name; None where there are none."""
    for holder in (choice, choice.get("message")):
        if not isinstance(holder, dict):
            continue
        for key in _NEW_IDS:
            ids = _ids(holder, key, place)
            if ids:
                return ids
    return None


def _ids(data: JsonObject, key: str, place: Place) -> IdList | None:
    value = data.get(key)
    if not value:
        return None
    column = ids_of(value, place, key)
    ids: list[int] = column.tolist()
    return ids


def _counted_prompt(answer: JsonObject) -> int:
    """How many tokens the prompt had, by the server's count; 0: it does not say, or
    counts those of several prompts that it was sent at once.
    """
    usage = answer.get("usage")
    if not isinstance(usage, Mapping):
        return 0
    number = usage.get("prompt_tokens")
    if not isinstance(number, int) or number <= 0:
        return 0
    choices = answer["choices"]
    if len(choices) > 1 and not _echo_one_prompt(choices, number, usage):
        return 0
    return number


def _echo_one_prompt(choices: JsonList, prompt: int, usage: JsonObject) -> bool:
    """Whether choices that all echo one prompt of so many tokens have as many tokens as
    these have. A server that was asked for no token may count one for each all the
    same.
    """
    count = len(choices)
    sampled = usage.get("completion_tokens")
    tokens = sum(map(_listed_tokens, choices))
    behind = tokens - count * prompt
    if behind == 0:
        return isinstance(sampled, int) and sampled <= count
    return behind == sampled


def _listed_tokens(choice: Any) -> int:
    """How many tokens a choice lists with its log-probabilities."""
    logprobs = None
    if isinstance(choice, Mapping):
        logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping):
        return 0
    for key in ("content", "tokens"):
        values = logprobs.get(key)
        if isinstance(values, list):
            return len(values)
    return 0


Parts = tuple[ScoredTokens, ScoredTokens]
"""What was echoed, and what was sampled."""


def _split(
    tokens: ScoredTokens, prompt: int, sampled: IdList | None, place: Place
) -> Parts:
    """Divide tokens into those that were echoed and those that were sampled.

    ``prompt`` is how many tokens were given, 0 where unknown. An echo begins with a
    token without a score. A server that was asked for no token still names one in
    ``token_ids``.
    """
    if not tokens:
        return [], []
    is_echo = tokens[0].logprob is None
    if is_echo:
        parts = _split_echo(tokens, prompt, sampled)
    else:
        parts = _split_plain(tokens, prompt, sampled)
    if parts is None:
        new = len(sampled or ())
        raise place.error(
            f"{len(tokens)} log-probabilities for {prompt} ids of the prompt and"
            f" {new} of the completion"
        )
    return parts


def _split_plain(
    tokens: ScoredTokens, prompt: int, sampled: IdList | None
) -> Parts | None:
    if sampled is None:
        return [], tokens
    new = len(sampled)
    count = len(tokens)
    if count == new:
        return [], tokens
    scores_both = count == prompt + new
    if prompt and scores_both:
        return tokens[:prompt], tokens[prompt:]
    return None


def _split_echo(
    tokens: ScoredTokens, prompt: int, sampled: IdList | None
) -> Parts | None:
    new = len(sampled or ())
    count = len(tokens)
    if not prompt:
        return _split_by_ids(tokens, sampled or [])
    if count == prompt:
        return tokens, []
    scores_both = count == prompt + new
    sampled_behind = sampled is None and count > prompt
    if scores_both or sampled_behind:
        return tokens[:prompt], tokens[prompt:]
    if count == new:
        return [], tokens
    return None


def _split_by_ids(tokens: ScoredTokens, sampled: IdList) -> Parts:
    """An echo of unknown length: what was sampled are the last tokens, where these name
    the same ids.
    """
    at = len(tokens) - len(sampled)
    echoed = tokens[:at]
    last = tokens[at:]
    named = [token.token_id for token in last]
    if at > 0 and named == list(sampled):
        return echoed, last
    return tokens, []


def _given(
    prompt: IdList | None,
    listed: ScoredTokens,
    echoed: ScoredTokens,
    place: Place,
) -> IdList:
    """The ids that were given, as many as there are scored tokens of them."""
    if prompt:
        count = len(prompt)
        _check_length("prompt_logprobs", listed, count, place)
        _check_length("logprobs", echoed, count, place)
        return list(prompt)
    if listed and not _are_named(echoed):
        # The first entry is null, so it names no id.
        behind = _own_ids(listed[1:], place)
        return [UNKNOWN_ID, *behind]
    return _own_ids(echoed, place)


def _are_named(tokens: ScoredTokens) -> bool:
    """There are tokens, and each names its id."""
    if not tokens:
        return False
    return all(token.token_id is not None for token in tokens)


def _check_length(name: str, tokens: ScoredTokens, prompt: int, place: Place) -> None:
    """Raise InputError for scores of a prompt that are not as many as its ids."""
    if tokens and len(tokens) != prompt:
        raise place.error(
            f"{name} has {len(tokens)} entries for {prompt} ids of the prompt"
        )


def _own_ids(tokens: ScoredTokens, place: Place) -> IdList:
    """The ids that the tokens name. Raises InputError where one names none."""
    ids = []
    for token in tokens:
        if token.token_id is None:
            raise place.error("no token ids", _ASK)
        ids.append(token.token_id)
    return ids


def _two_names(
    ids: IdList, columns: Sequence[ScoredTokens], place: Place
) -> InputError | None:
    """What is wrong where a token's score is of another id than the answer's list of
    ids has there.
    """
    for tokens in columns:
        # A list without scores has no token.
        scored = zip(ids, tokens, strict=False)
        for index, (token_id, token) in enumerate(scored):
            named = token.token_id
            if token_id == UNKNOWN_ID or named is None:
                continue
            if named != token_id:
                return place.error(
                    f"token {index} is id {token_id}, and its log-probability is of id"
                    f" {named}"
                )
    return None


def _observed(answer: JsonObject) -> JsonObject:
    """What the server says of itself."""
    text = answer.get("system_fingerprint") or ""
    fingerprint = _FINGERPRINT.match(str(text))
    if fingerprint is None:
        return {}
    version = fingerprint[1].rstrip(".")
    return {"engine": "vllm", "engine_version": version, "rank_counts": "inclusive"}
