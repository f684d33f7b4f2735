"""Conversations through a tokenizer's chat template, without losing any part of
them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from logdrift.core.errors import LogdriftError
from logdrift.core.keys import nearest

_SPOKEN = ("tool_calls", "reasoning_content", "reasoning", "thinking")
"""Keys of a message, beside its content, that hold something the model said. Others
(name, id, ...) are labels.
"""
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a chat template is given. ``ending`` is ``answer`` (the assistant's turn is
    opened), ``continue`` (the last message stays open) or ``closed`` (neither).
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None = None
    arguments: Mapping[str, Any] | None = None
    ending: str = "answer"


def encode_conversation(tokenizer: Any, talk: Conversation) -> list[int]:
    """Ids of a conversation; the template writes its special tokens, so the tokenizer
    adds none.

    Raises LogdriftError where the template has no use for what was given, and whatever
    the template itself raises.
    """
    _check_used(tokenizer, talk)
    _check_written(tokenizer, talk)
    return apply_template(tokenizer, talk)


def apply_template(tokenizer: Any, talk: Conversation) -> list[int]:
    """The same without checks: for beginnings of a conversation that passed them."""
    return [int(token_id) for token_id in _apply(tokenizer, talk, tokenize=True)]


def _apply(tokenizer: Any, talk: Conversation, *, tokenize: bool) -> Any:
    """The conversation as ids, or as the text that they are made of."""
    return tokenizer.apply_chat_template(
        list(talk.messages),
        tools=None if talk.tools is None else list(talk.tools),
        add_generation_prompt=talk.ending == "answer",
        continue_final_message=talk.ending == "continue",
        tokenize=tokenize,
        return_dict=False,
        **(talk.arguments or {}),
    )


def _check_used(tokenizer: Any, talk: Conversation) -> None:
    """Refuse what the template never names: it would be left out without a word."""
    template = _template_text(tokenizer, talk.tools)
    if template is None:
        return
    names = set(_NAME.findall(template))
    _check_arguments(talk, names)
    _check_messages(talk, names)


def _check_arguments(talk: Conversation, names: set[str]) -> None:
    """Refuse arguments, tools and an ending of which a template with these ``names``
    makes no use.
    """
    for key in talk.arguments or {}:
        if key not in names:
            raise LogdriftError(
                f"chat_template_kwargs.{key} is not used by the chat template:"
                f" {_near(key, names)}"
            )
    if talk.tools is not None and "tools" not in names:
        raise LogdriftError(
            "the chat template does not use tools, so the model would not see them:"
            " leave them out"
        )
    if talk.ending == "closed" and "add_generation_prompt" not in names:
        raise LogdriftError(
            "the chat template does not use add_generation_prompt: leave it out"
        )


def _check_messages(talk: Conversation, names: set[str]) -> None:
    """Refuse parts of a message of which a template with these ``names`` makes no
    use.
    """
    for number, message in enumerate(talk.messages, 1):
        for key in _SPOKEN:
            if message.get(key) is not None and key not in names:
                raise LogdriftError(
                    f"message {number}: the chat template does not use {key}, so the"
                    " model would not see it: write it into the content, or leave"
                    " it out"
                )


def _check_written(tokenizer: Any, talk: Conversation) -> None:
    """Refuse content that the template writes as Python would print it: None, or a list
    of parts.
    """
    for number, message in enumerate(talk.messages, 1):
        content = message.get("content")
        if isinstance(content, list) and _writes_list(tokenizer, talk, content):
            raise LogdriftError(
                f"message {number}: the chat template takes its content as text, not as"
                " a list of parts"
            )
        if content is None and _writes_none(tokenizer, talk, number - 1):
            raise LogdriftError(
                f"message {number}: the chat template writes None for its content: give"
                ' it as ""'
            )


def _writes_list(tokenizer: Any, talk: Conversation, content: list[Any]) -> bool:
    written = _apply(tokenizer, talk, tokenize=False)
    return str(content) in written


def _writes_none(tokenizer: Any, talk: Conversation, index: int) -> bool:
    messages = list(talk.messages)
    messages[index] = {**messages[index], "content": ""}
    written = _apply(tokenizer, talk, tokenize=False)
    empty = _apply(tokenizer, replace(talk, messages=messages), tokenize=False)
    return str(written).count("None") > str(empty).count("None")


def _near(key: str, names: set[str]) -> str:
    near = nearest(key, names)
    if near.startswith("did you mean"):
        return near
    return "leave it out"


def _template_text(
    tokenizer: Any, tools: Sequence[Mapping[str, Any]] | None
) -> str | None:
    """The template that Transformers will take; None where the tokenizer has none of
    the usual kind.
    """
    try:
        template = tokenizer.get_chat_template(
            tools=None if tools is None else list(tools)
        )
    except Exception:  # none, or a tokenizer with its own way: applying it will show
        return None
    return template if isinstance(template, str) else None
