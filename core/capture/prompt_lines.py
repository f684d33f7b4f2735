"""One line of a prompt file: the keys that it may have, and what is wrong with it.

A line has one of three forms, each with keys of its own (`KEYS`). Every key is used or
refused by name: a line never means less than it says. A known key whose value is null
counts as not given. A line with a completion may also tell how it was sampled
(`logdrift.core.told.TELLABLE`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from logdrift.core.errors import InputError
from logdrift.core.keys import NOT_HERE, nearest
from logdrift.core.plan import SamplingSpec
from logdrift.core.told import TELLABLE, value_of

Ending = Literal["answer", "continue", "closed"]
"""How a conversation ends as a prompt: with the assistant's turn opened, with its last
message left open to be continued, or just as the template closes it.
"""

KEYS = {
    "prompt": ("prompt", "completion"),
    "messages": (
        "messages",
        "tools",
        "chat_template_kwargs",
        "continue_final_message",
        "add_generation_prompt",
        "completion",
    ),
    "token_ids": ("token_ids", "prompt_length", "mask", "loss_mask", "logprobs"),
}
"""The keys of a line, by the key that says what the prompt is; one with a completion
may have ``TELLABLE`` besides.
"""

FORMS = (
    '{"prompt": ...}, {"messages": [...]} or {"token_ids": [...], "prompt_length": n}'
)

_SAMPLING = tuple(each.name for each in fields(SamplingSpec))
_OF_A_BACKEND = ("engine", "dtype")
_NOT_FOR_TOKENIZERS = ("told", "logprobs")
"""Fields of `Prompt` that no worker needs, which makes ids of prompts."""
_LARGEST_ID = 2**31 - 1  # token ids are stored as int32
_TEMPLATE_OWN = {
    "messages": "is the line's own key: write it beside chat_template_kwargs",
    "tools": "is the line's own key: write it beside chat_template_kwargs",
    "continue_final_message": (
        "is the line's own key: write it beside chat_template_kwargs"
    ),
    "add_generation_prompt": (
        "is the line's own key: write it beside chat_template_kwargs"
    ),
    **dict.fromkeys(
        (
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
        ),
        "is not the template's to use: leave it out",
    ),
}
"""Arguments of Transformers' apply_chat_template that are not variables of a template.
"""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as given. ``where`` names file and line in every later message about
    it.

    Exactly one of ``text``, ``messages`` and ``token_ids`` is there. ``completion`` is
    the text after the prompt, to be scored as it is; ``tools`` and
    ``chat_template_kwargs`` reach the chat template together with ``messages``;
    ``ending`` is None where the line does not say how its conversation ends. ``told``
    are the facts of how the completion was sampled, and ``logprobs`` what was recorded
    then, in nats: one entry for each id, or for each of the completion, as they stand
    in the line.
    """

    where: str
    text: str | None = None
    messages: tuple[Mapping[str, Any], ...] | None = None
    tools: tuple[Mapping[str, Any], ...] | None = None
    chat_template_kwargs: Mapping[str, Any] | None = None
    ending: Ending | None = None
    completion: str | None = None
    token_ids: tuple[int, ...] | None = None
    prompt_length: int | None = None
    mask: tuple[int, ...] | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    logprobs: tuple[Any, ...] | None = None

    @property
    def has_completion(self) -> bool:
        """Whether a completion was given, as text or as ids."""
        if self.completion is not None:
            return True
        return (
            self.token_ids is not None
            and self.prompt_length is not None
            and self.prompt_length < len(self.token_ids)
        )

    def to_json(self) -> dict[str, Any]:
        """What a tokenizer needs of it."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        return {
            key: value for key, value in given.items() if key not in _NOT_FOR_TOKENIZERS
        }


def parse_line(line: bytes, where: str) -> Prompt:
    """The prompt that a line of JSON gives. Raises InputError naming ``where``, the key
    and what it should be.
    """
    try:
        value = json.loads(
            line.decode("utf-8"), object_pairs_hook=lambda pairs: _object(pairs, where)
        )
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where}: not JSON ({error.msg} at column {error.colno}): a line is"
            f" {FORMS}"
        ) from None
    except RecursionError:
        raise InputError(f"{where}: nested too deeply: a line is {FORMS}") from None
    except ValueError:  # JSON, but a number of thousands of digits
        raise InputError(
            f"{where}: a number in it is too long: a line is {FORMS}"
        ) from None
    return _prompt(value, where)


def check_text(text: Any, name: str, where: str) -> str:
    """A text with at least one character that every tokenizer takes. Raises
    InputError.
    """
    if not isinstance(text, str):
        raise InputError(f"{where}: {name} is not text")
    if not text:
        raise InputError(f"{where}: {name} is empty: give at least one character")
    _check_unicode(text, where)
    return text


def _object(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    """A JSON object, in which a key that stands twice would lose its first value."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(
                f"{where}: {key!r} stands twice in one object: give it once"
            )
        found[key] = value
    return found


def _prompt(value: Any, where: str) -> Prompt:
    form = _form(value, where)
    given = {
        key: content
        for key, content in value.items()
        if content is not None or not _known(key)
    }
    tellable = {key: content for key, content in given.items() if key in TELLABLE}
    own = {key: content for key, content in given.items() if key not in TELLABLE}
    other = next((key for key in own if key not in KEYS[form]), None)
    if other is None:
        prompt = _READERS[form](own, where)
        return replace(prompt, told=_told(tellable, prompt))
    if other in _SAMPLING and _completed(own, form):
        raise InputError(
            f"{where}: {other} changes nothing, since the completion is given: leave"
            " it out"
        )
    raise InputError(f"{where}: {other} {_refusal(other, form)}")


def _form(value: Any, where: str) -> str:
    """Which of the three forms a line has."""
    given = [
        key for key in KEYS if isinstance(value, dict) and value.get(key) is not None
    ]
    if len(given) == 1:
        return given[0]
    if isinstance(value, dict) and not given:
        for key in value:
            near = nearest(key, KEYS)
            if key not in KEYS and near.startswith("did you mean"):
                raise InputError(f"{where}: {key} is unknown: {near}")
    raise InputError(f"{where}: a line is exactly one of {FORMS}")


def _owners(key: str) -> list[str]:
    """The forms of a line that have this key."""
    return [form for form, keys in KEYS.items() if key in keys]


def _known(key: str) -> bool:
    return key in TELLABLE or bool(_owners(key))


def _refusal(key: str, form: str) -> str:
    """Why a key cannot stand in a line of this form, and what to do instead."""
    if owners := _owners(key):
        return f"belongs to a line with {' or '.join(owners)}, and this line has {form}"
    if key in NOT_HERE:
        return NOT_HERE[key]
    if key in _SAMPLING:
        return (
            f"is one for the whole capture: set sampling.{key} in a plan, and leave it"
            " out here"
        )
    near = nearest(key, (*KEYS[form], *TELLABLE))
    return (
        "is unknown:"
        f" {near if near.startswith('did you mean') else nearest(key, KEYS[form])}"
    )


# -- how a completion was sampled


def _completed(given: Mapping[str, Any], form: str) -> bool:
    """Whether a line that is not parsed has a completion, as far as its keys tell."""
    return (
        given.get("prompt_length" if form == "token_ids" else "completion") is not None
    )


def _told(given: Mapping[str, Any], prompt: Prompt) -> dict[str, Any]:
    """The facts that a line tells of its completion, as `logdrift.core.facts.Facts` has
    them.
    """
    for key in given:
        if not prompt.has_completion:
            raise InputError(f"{prompt.where}: {key} {_without_completion(key)}")
    if "logprobs_mode" in given and prompt.logprobs is None:
        raise InputError(
            f"{prompt.where}: logprobs_mode says what logprobs are of, and this line"
            " has none: give logprobs, or leave it out"
        )
    return {
        key: value_of(key, value, f"{prompt.where}: {key}")
        for key, value in given.items()
    }


def _without_completion(key: str) -> str:
    """Where a fact of sampling belongs when the completion is yet to be sampled."""
    if key in _SAMPLING:
        return (
            "tells how a given completion was sampled, and this line has none: set"
            f" sampling.{key} in a plan"
        )
    if key in _OF_A_BACKEND:
        return (
            "tells how a given completion was sampled, and this line has none: set"
            f" {key} of a backend"
        )
    return (
        "tells how a given completion was sampled, and this line has none: leave it out"
    )


# -- {"prompt": ...}


def _text(given: Mapping[str, Any], where: str) -> Prompt:
    if isinstance(given["prompt"], list):
        raise InputError(
            f"{where}: prompt is a list: give a conversation as messages, ids as"
            " token_ids"
        )
    return Prompt(
        where,
        text=check_text(given["prompt"], "prompt", where),
        completion=_completion(given, where),
    )


def _completion(given: Mapping[str, Any], where: str) -> str | None:
    if "completion" not in given:
        return None
    if given["completion"] == "":
        raise InputError(
            f"{where}: completion is empty: leave it out to have one sampled"
        )
    return check_text(given["completion"], "completion", where)


# -- {"messages": [...]}


def _conversation(given: Mapping[str, Any], where: str) -> Prompt:
    return Prompt(
        where,
        messages=_messages(given["messages"], where),
        tools=_tools(given, where),
        chat_template_kwargs=_template_kwargs(given, where),
        ending=_ending(given, where),
        completion=_completion(given, where),
    )


def _messages(content: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(content, list) or not content:
        raise InputError(f"{where}: messages is not a list with at least one message")
    for number, message in enumerate(content, 1):
        _check_message(message, f"{where}, message {number}")
    _check_all_unicode(content, where)
    return tuple(content)


def _check_message(message: Any, where: str) -> None:
    """A message has a role, and content or, as one that calls tools, something else
    that the template writes.
    """
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise InputError(f'{where}: a message is {{"role": ..., "content": ...}}')
    content = message.get("content")
    others = [
        key
        for key in message
        if key not in ("role", "content") and message[key] is not None
    ]
    if content is None and not others:
        raise InputError(
            f"{where}: it has neither content nor tool_calls: give its text as content"
        )
    if "tool_calls" in others and not _objects(message["tool_calls"]):
        raise InputError(f"{where}: tool_calls is not a list with at least one object")
    if isinstance(content, list):
        _check_parts(content, where)
    elif content is not None and not isinstance(content, str):
        raise InputError(f"{where}: content is not text")


def _check_parts(parts: list[Any], where: str) -> None:
    if not _objects(parts):
        raise InputError(
            f"{where}: content is not text, nor a list with at least one part"
        )
    for part in parts:
        if part.get("type", "text") != "text":
            raise InputError(
                f"{where}: its content has a part of type {part['type']!r}: logdrift"
                " reads text only"
            )
        if not isinstance(part.get("text"), str):
            raise InputError(
                f'{where}: a part of its content is not {{"type": "text", "text": ...}}'
            )


def _tools(
    given: Mapping[str, Any], where: str
) -> tuple[Mapping[str, Any], ...] | None:
    if "tools" not in given:
        return None
    if not _objects(given["tools"]):
        raise InputError(
            f"{where}: tools is not a list with at least one object: leave it out where"
            " there are none"
        )
    _check_all_unicode(given["tools"], where)
    return tuple(given["tools"])


def _template_kwargs(given: Mapping[str, Any], where: str) -> Mapping[str, Any] | None:
    if "chat_template_kwargs" not in given:
        return None
    arguments = given["chat_template_kwargs"]
    if not isinstance(arguments, dict):
        raise InputError(
            f"{where}: chat_template_kwargs is not an object, such as"
            ' {"enable_thinking": false}'
        )
    for key in arguments:
        if key in _TEMPLATE_OWN:
            raise InputError(
                f"{where}: chat_template_kwargs.{key} {_TEMPLATE_OWN[key]}"
            )
    _check_all_unicode(arguments, where)
    return arguments


def _ending(given: Mapping[str, Any], where: str) -> Ending | None:
    for key in ("continue_final_message", "add_generation_prompt"):
        if not isinstance(given.get(key, False), bool):
            raise InputError(f"{where}: {key} is not true or false")
    goes_on, opens = (
        given.get("continue_final_message"),
        given.get("add_generation_prompt"),
    )
    if goes_on and opens:
        raise InputError(
            f"{where}: continue_final_message and add_generation_prompt exclude each"
            " other: give one"
        )
    if goes_on:
        return "continue"
    if opens:
        return "answer"
    return None if opens is None else "closed"


def _objects(value: Any) -> bool:
    """Whether it is a list with at least one member, all of them objects."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(member, dict) for member in value)
    )


# -- {"token_ids": [...]}


def _token_ids(given: Mapping[str, Any], where: str) -> Prompt:
    ids = given["token_ids"]
    if not isinstance(ids, list) or not all(type(i) is int for i in ids):
        raise InputError(f"{where}: token_ids is not a list of whole numbers")
    if not ids:
        raise InputError(f"{where}: token_ids is empty: give at least one id")
    bad = next((i for i in ids if not 0 <= i <= _LARGEST_ID), None)
    if bad is not None:
        raise InputError(f"{where}: token id {bad} is outside any vocabulary")
    length = given.get("prompt_length", len(ids))
    if type(length) is not int or not 0 <= length <= len(ids):
        raise InputError(
            f"{where}: prompt_length is {length!r}: give a whole number from 0 to"
            f" {len(ids)}"
        )
    prompt = Prompt(
        where,
        token_ids=tuple(ids),
        prompt_length=length,
        mask=_mask(given, len(ids), where),
        logprobs=_logprobs(given, where),
    )
    if not prompt.has_completion:
        _refuse_of_completions(prompt, len(ids))
    return prompt


def _refuse_of_completions(prompt: Prompt, length: int) -> None:
    """Refuse what only ids with their completion can have."""
    wrong = (
        f"to ids with their completion, and all {length} ids are the prompt: give"
        " prompt_length"
    )
    if prompt.mask is not None:
        raise InputError(f"{prompt.where}: a mask belongs {wrong}")
    if prompt.logprobs is not None:
        raise InputError(f"{prompt.where}: logprobs belong {wrong}")


def _logprobs(given: Mapping[str, Any], where: str) -> tuple[Any, ...] | None:
    """The list as it stands; `logdrift.core.capture.recorded` checks its numbers as an
    import does.
    """
    if "logprobs" not in given:
        return None
    if not isinstance(given["logprobs"], list):
        raise InputError(f"{where}: logprobs is not a list of numbers")
    return tuple(given["logprobs"])


def _mask(given: Mapping[str, Any], length: int, where: str) -> tuple[int, ...] | None:
    names = [key for key in ("mask", "loss_mask") if key in given]
    if not names:
        return None
    if len(names) == 2:
        raise InputError(
            f"{where}: mask and loss_mask are the same thing: give one of them"
        )
    mask = given[names[0]]
    if (
        not isinstance(mask, list)
        or len(mask) != length
        or not all(m in (0, 1) for m in mask)
    ):
        raise InputError(
            f"{where}: {names[0]} is not a list of {length} zeros and ones"
        )
    return tuple(int(m) for m in mask)


_READERS: dict[str, Callable[[Mapping[str, Any], str], Prompt]] = {
    "prompt": _text,
    "messages": _conversation,
    "token_ids": _token_ids,
}


# -- text


def _check_all_unicode(value: Any, where: str) -> None:
    _check_unicode(json.dumps(value, ensure_ascii=False), where)


def _check_unicode(text: str, where: str) -> None:
    """Refuse half a surrogate pair, which JSON escapes and bad bytes in arguments can
    make: no tokenizer takes it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: character {error.start + 1} is no Unicode character: give valid"
            " text"
        ) from None
