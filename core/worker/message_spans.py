"""From whose message each token of a conversation's prompt is, as far as the chat
template itself tells.

The template is applied to the first message, the first two, and so on: where the ids of
such a beginning are a beginning of the prompt, the message ends there. A template that
writes earlier messages otherwise once later ones follow (it leaves thoughts out, say)
does not tell, and these tokens stay unknown. So does what a template writes before the
first message on its own account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from logdrift.core.session.message_roles import ASSISTANT, UNKNOWN, role_code
from logdrift.core.worker.chat import Conversation

Encode = Callable[[Conversation], list[int]]
"""The ids of a conversation; raises where the template refuses it."""


def message_roles(talk: Conversation, ids: Sequence[int], encode: Encode) -> list[int]:
    """The number of each id's role (`logdrift.core.session.message_roles`)."""
    ends = _ends(talk, ids, encode)
    roles = [UNKNOWN] * len(ids)
    start = _preamble(talk, ends[0], encode)
    for message, end in zip(talk.messages, ends, strict=True):
        if start is not None and end is not None:
            code = role_code(message["role"])
            _fill(roles, start, end, code)
        start = end
    if start is not None and talk.ending == "answer":
        # The header that opens the answer belongs to it.
        _fill(roles, start, len(ids), ASSISTANT)
    return roles


def _fill(roles: list[int], start: int, end: int, code: int) -> None:
    length = end - start
    roles[start:end] = [code] * length


def _ends(talk: Conversation, ids: Sequence[int], encode: Encode) -> list[int | None]:
    """Where each message ends in ``ids``; None where the template does not tell."""
    ends: list[int | None] = []
    count = len(talk.messages)
    for number in range(1, count + 1):
        ending = "closed"
        if number == count and talk.ending == "continue":
            ending = "continue"
        messages = talk.messages[:number]
        until = replace(talk, messages=messages, ending=ending)
        end = _length_of(until, ids, encode)
        ends.append(end)
    return ends


def _length_of(talk: Conversation, ids: Sequence[int], encode: Encode) -> int | None:
    """How many ids a beginning of the conversation has; None where its ids are no
    beginning of ``ids``.
    """
    beginning = _encoded(talk, encode)
    if beginning is None:
        return None
    count = len(beginning)
    of_prompt = list(ids[:count])
    if of_prompt == beginning:
        return count
    return None


def _preamble(talk: Conversation, first_end: int | None, encode: Encode) -> int | None:
    """How many ids the template writes before the first message on its own account:
    those that a second message of the same role and content does not repeat.

    None where that cannot be told.
    """
    if first_end is None:
        return None
    first = talk.messages[0]
    if role_code(first["role"]) == UNKNOWN:
        return None
    twice = replace(talk, messages=[first, first], ending="closed")
    both = _encoded(twice, encode)
    if both is None:
        # Two messages of one role are refused: the beginning-of-text id is all that
        # such a template writes of its own.
        return 0
    repeated = len(both) - first_end
    return max(0, first_end - repeated)


def _encoded(talk: Conversation, encode: Encode) -> list[int] | None:
    try:
        return encode(talk)
    except Exception:  # templates raise what they like
        return None


def roles_in(
    prompt: Mapping[str, Any], ids: Sequence[int], encode: Encode
) -> list[int] | None:
    """The roles of the ids of a prompt and its completion; None where it is no
    conversation, or nothing is known.
    """
    if "messages" not in prompt:
        return None
    talk = Conversation(
        messages=prompt["messages"],
        tools=prompt.get("tools"),
        arguments=prompt.get("chat_template_kwargs"),
        ending=prompt["ending"],
    )
    roles = message_roles(talk, ids, encode)
    if not any(roles):
        return None
    return roles
