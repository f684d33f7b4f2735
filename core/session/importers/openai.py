"""Answers in OpenAI's form: completions or chat, generated or scored.

A token is known by its id alone, which OpenAI's own servers do not send: ask vLLM for
``return_token_ids`` or ``return_tokens_as_token_ids``, SGLang for ``return_token_ids``;
llama.cpp sends them unasked. An answer without ids is refused: tokens of equal text
need not be the same. A server scores what it was given where it was asked to echo it,
or with vLLM's ``prompt_logprobs``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.session.importers.records import ids_of
from logdrift.core.session.importers.rows import Row, prompt_rows_of, rows_of
from logdrift.core.session.importers.scored import UNKNOWN_ID, Scored, filled

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
)
"""What servers call the ids that they sampled: vLLM, SGLang's chat, and forks of both.
"""
_UNREAD = (
    "routed_experts",
    "packed_top_logprobs",
    "prompt_token_id_logprobs",
    "token_id_logprobs",
    "sampling_mask",
)
_FINISH = {"stop": "stop", "length": "length", "tool_calls": "stop"}


def scored(where: str, answer: Mapping[str, Any]) -> Iterator[Scored]:
    """Every choice of an answer. Raises InputError naming the choice."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise InputError(
            f"{where}: choices is missing: give answers of an OpenAI-compatible server"
        )
    for index, choice in enumerate(choices):
        place = f"{where}: choices[{index}]"
        if not isinstance(choice, dict):
            raise InputError(f"{place} is no object")
        yield _choice(answer, choice, place)


def _choice(answer: Mapping[str, Any], choice: Mapping[str, Any], where: str) -> Scored:
    prompt = _ids(choice, "prompt_token_ids", where) or _ids(
        answer, "prompt_token_ids", where
    )
    sampled = next((ids for key in _NEW_IDS if (ids := _ids(choice, key, where))), None)
    told = prompt_rows_of(
        choice.get("prompt_logprobs") or answer.get("prompt_logprobs"), where
    )
    rows = rows_of(choice.get("logprobs"), where)
    if not rows and not told:
        raise InputError(
            f"{where}: logprobs is missing: ask with logprobs, or with prompt_logprobs"
            " to score a prompt"
        )
    echoed, new_rows = _split(
        rows, len(prompt or told) or _prompt_tokens(answer), sampled, where
    )
    new = sampled or _own_ids(new_rows, where)
    # Rows of prompt_logprobs have ranks, which those of an echo lack.
    given_rows = told or echoed or [Row()] * len(prompt or ())
    given = _given(prompt, told, echoed, where)
    return Scored(
        where=where,
        given=given,
        given_rows=given_rows,
        new=new,
        new_rows=new_rows or [Row()] * len(new),
        finish=_FINISH.get(str(choice.get("finish_reason")), "unknown"),
        model=answer["model"] if isinstance(answer.get("model"), str) else None,
        observed=_observed(answer),
        unread=filled(choice, _UNREAD) or filled(answer, _UNREAD),
        problem=_two_names(given, [told, echoed], where)
        or _two_names(new, [new_rows], where),
    )


def _ids(data: Mapping[str, Any], key: str, where: str) -> list[int] | None:
    value = data.get(key)
    if not value:
        return None
    found: list[int] = ids_of(value, where, key).tolist()
    return found


def _prompt_tokens(answer: Mapping[str, Any]) -> int:
    """How many tokens the prompt had, by the server's count; 0: it does not say."""
    usage = answer.get("usage")
    number = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
    return number if isinstance(number, int) and number > 0 else 0


def _split(
    rows: Sequence[Row], prompt: int, sampled: Sequence[int] | None, where: str
) -> tuple[list[Row], list[Row]]:
    """Rows of what was echoed, and of what was sampled. ``prompt`` is how many tokens
    were given, 0 where unknown.

    An echo begins with a token without a score. A server that was asked for no token
    still names one in ``token_ids``.
    """
    rows = list(rows)
    new = len(sampled) if sampled is not None else None
    echo = bool(rows) and rows[0].logprob is None
    if not rows or (not echo and len(rows) == new):
        return [], rows
    if echo and len(rows) == prompt:
        return rows, []
    if prompt and len(rows) == prompt + (new or 0):
        return rows[:prompt], rows[prompt:]
    if not echo and new is None:
        return [], rows
    if echo and prompt and new is None and len(rows) > prompt:
        return rows[:prompt], rows[prompt:]
    if echo and not prompt:
        return _split_by_ids(rows, sampled or [])
    if len(rows) == new:
        return [], rows
    raise InputError(
        f"{where}: {len(rows)} log-probabilities for {prompt} ids of the prompt and"
        f" {new or 0} of the completion"
    )


def _split_by_ids(
    rows: list[Row], sampled: Sequence[int]
) -> tuple[list[Row], list[Row]]:
    """An echo whose length is not told: what was sampled are the last rows, where these
    name the same ids.
    """
    at = len(rows) - len(sampled)
    named = [row.token_id for row in rows[at:]]
    return (rows[:at], rows[at:]) if at > 0 and named == list(sampled) else (rows, [])


def _given(
    prompt: Sequence[int] | None, told: Sequence[Row], echoed: Sequence[Row], where: str
) -> list[int]:
    """The ids that were given, as many as there are rows of them."""
    if prompt:
        for rows, what in ((told, "prompt_logprobs"), (echoed, "logprobs")):
            if rows and len(rows) != len(prompt):
                raise InputError(
                    f"{where}: {what} has {len(rows)} entries for {len(prompt)} ids of"
                    " the prompt"
                )
        return list(prompt)
    if echoed and all(row.token_id is not None for row in echoed):
        return _own_ids(echoed, where)
    if told:
        # The first entry is null, so it names no id.
        return [UNKNOWN_ID, *_own_ids(told[1:], where)]
    return _own_ids(echoed, where)


def _own_ids(rows: Sequence[Row], where: str) -> list[int]:
    """The ids that the rows name. Raises InputError where one names none."""
    if any(row.token_id is None for row in rows):
        raise InputError(f"{where}: no token ids: {_ASK}")
    return [row.token_id for row in rows if row.token_id is not None]


def _two_names(
    ids: Sequence[int], columns: Sequence[Sequence[Row]], where: str
) -> str | None:
    """What is wrong where a token's score is of another id than the answer's list of
    ids has there.
    """
    for rows in columns:
        for index, (token_id, row) in enumerate(zip(ids, rows, strict=False)):
            if (
                row.token_id is not None
                and row.token_id != token_id
                and token_id != UNKNOWN_ID
            ):
                return (
                    f"{where}: token {index} is id {token_id}, and its log-probability"
                    f" is of id {row.token_id}"
                )
    return None


def _observed(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What the server says of itself."""
    found = _FINGERPRINT.match(str(answer.get("system_fingerprint") or ""))
    if found is None:
        return {}
    version = found[1].rstrip(".")
    return {"engine": "vllm", "engine_version": version, "rank_counts": "inclusive"}
