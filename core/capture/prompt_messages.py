"""A prompt that is a conversation: ``{"messages": [...]}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.capture.prompt import Ending, check_all_unicode
from logdrift.core.errors import Place

_OWN_KEYS = ("messages", "tools", "continue_final_message", "add_generation_prompt")
_NOT_FOR_TEMPLATES = (
    "conversation",
    "chat_template",
    "tokenize",
    "return_dict",
    "return_tensors",
    "padding",
    "truncation",
    "max_length",
    "return_assistant_tokens_mask",
    "tokenizer_kwargs",
)
_REFUSED: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        _OWN_KEYS, ("is the line's own key", "write it beside chat_template_kwargs")
    ),
    **dict.fromkeys(
        _NOT_FOR_TEMPLATES, ("is not the template's to use", "leave it out")
    ),
}
"""Arguments of Transformers' apply_chat_template that are not variables of a template,
each with the reason and the remedy.
"""


def messages_of(content: Any, place: Place) -> tuple[Mapping[str, Any], ...]:
    """The messages of a line, checked."""
    if not isinstance(content, list) or not content:
        raise place.error("messages is not a list with at least one message")
    for number, message in enumerate(content, 1):
        _check_message(message, place.part(f"message {number}"))
    check_all_unicode(content, place)
    return tuple(content)


def tools_of(
    line: Mapping[str, Any], place: Place
) -> tuple[Mapping[str, Any], ...] | None:
    """The tools of a line, checked; None where it has none."""
    if "tools" not in line:
        return None
    tools = line["tools"]
    if not _are_objects(tools):
        reason = "tools is not a list with at least one object"
        raise place.error(reason, "leave it out where there are none")
    check_all_unicode(tools, place)
    return tuple(tools)


def template_kwargs_of(
    line: Mapping[str, Any], place: Place
) -> Mapping[str, Any] | None:
    """The variables of the chat template that a line sets; None where it sets none."""
    if "chat_template_kwargs" not in line:
        return None
    arguments = line["chat_template_kwargs"]
    if not isinstance(arguments, dict):
        raise place.error(
            'chat_template_kwargs is not an object, such as {"enable_thinking": false}'
        )
    for key in arguments:
        if key in _REFUSED:
            reason, remedy = _REFUSED[key]
            raise place.error(f"chat_template_kwargs.{key} {reason}", remedy)
    check_all_unicode(arguments, place)
    return arguments


def ending_of(line: Mapping[str, Any], place: Place) -> Ending | None:
    """How the conversation of a line ends; None where it does not say."""
    for key in ("continue_final_message", "add_generation_prompt"):
        if not isinstance(line.get(key, False), bool):
            raise place.error(f"{key} is not true or false")
    continues = line.get("continue_final_message")
    opens = line.get("add_generation_prompt")
    if continues and opens:
        raise place.error(
            "continue_final_message and add_generation_prompt exclude each other",
            "give one",
        )
    if continues:
        return "continue"
    if opens:
        return "answer"
    if opens is None:
        return None
    return "closed"


def _check_message(message: Any, place: Place) -> None:
    """A message has a role, and content or, where it calls tools, something else that
    the template writes.
    """
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise place.error('a message is {"role": ..., "content": ...}')
    content = message.get("content")
    others = {
        key: value
        for key, value in message.items()
        if key not in ("role", "content") and value is not None
    }
    if content is None and not others:
        reason = "it has neither content nor tool_calls"
        raise place.error(reason, "give its text as content")
    if "tool_calls" in others and not _are_objects(others["tool_calls"]):
        raise place.error("tool_calls is not a list with at least one object")
    if isinstance(content, list):
        _check_parts(content, place)
    elif content is not None and not isinstance(content, str):
        raise place.error("content is not text")


def _check_parts(parts: list[Any], place: Place) -> None:
    if not _are_objects(parts):
        raise place.error("content is not text, nor a list with at least one part")
    for part in parts:
        kind = part.get("type", "text")
        if kind != "text":
            reason = f"its content has a part of type {kind!r}"
            raise place.error(reason, "logdrift reads text only")
        if not isinstance(part.get("text"), str):
            raise place.error(
                'a part of its content is not {"type": "text", "text": ...}'
            )


def _are_objects(value: Any) -> bool:
    """Whether it is a list with at least one member, all of them objects."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(member, dict) for member in value)
