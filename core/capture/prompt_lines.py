"""One line of a prompt file: the keys that it may have, and what is wrong with it.

A line has one of three forms, each with keys of its own (`KEYS`). Every key is used or
refused by name: a line never means less than it says. A known key whose value is null
counts as not given. A line with a completion may also tell how it was sampled
(`logdrift.core.told.TELLABLE`). Lines of text that other tools write are known by their
keys (`logdrift.core.capture.text_dumps`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from logdrift.core.capture.prompt import Prompt, check_text
from logdrift.core.capture.prompt_ids import ids_prompt
from logdrift.core.capture.prompt_messages import (
    ending_of,
    messages_of,
    template_kwargs_of,
    tools_of,
)
from logdrift.core.capture.text_dumps import dumped_text
from logdrift.core.errors import InputError, Place
from logdrift.core.keys import NOT_HERE, near_key, nearest
from logdrift.core.plan import SamplingSpec
from logdrift.core.told import TELLABLE, value_of

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

_A_LINE = f"a line is {FORMS}"
_SAMPLING = tuple(field.name for field in fields(SamplingSpec))
_OF_A_BACKEND = ("engine", "dtype")


def parse_line(line: bytes, place: Place) -> Prompt:
    """The prompt that a line of JSON gives. Raises InputError with the ``place``, the
    key and what it should be.
    """

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return _object(pairs, place)

    try:
        text = line.decode("utf-8")
        value = json.loads(text, object_pairs_hook=read_object)
    except UnicodeDecodeError as error:
        raise place.error(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        reason = f"not JSON ({error.msg} at column {error.colno})"
        raise place.error(reason, _A_LINE) from None
    except RecursionError:
        raise place.error("nested too deeply", _A_LINE) from None
    except ValueError:  # JSON, but a number of thousands of digits
        raise place.error("a number in it is too long", _A_LINE) from None
    return prompt_of(value, place)


def prompt_of(value: Any, place: Place) -> Prompt:
    """The prompt that a line gives, whose text may be a dump of another tool. Raises
    InputError.
    """
    dump = dumped_text(value, place)
    if dump is None:
        return _prompt(value, place)
    prompt = _prompt(dump.line, place)
    return replace(prompt, dump=dump)


def _object(pairs: list[tuple[str, Any]], place: Place) -> dict[str, Any]:
    """A JSON object, in which a key that stands twice would lose its first value."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            reason = f"{key!r} stands twice in one object"
            raise place.error(reason, "give it once")
        values[key] = value
    return values


def _prompt(value: Any, place: Place) -> Prompt:
    form = _form(value, place)
    own = {}
    tellable = {}
    for key, content in value.items():
        if content is None and _is_known(key):
            continue
        if key in TELLABLE:
            tellable[key] = content
        else:
            own[key] = content
    for key in own:
        if key not in KEYS[form]:
            raise _refusal(key, own, form, place)
    read = _READERS[form]
    prompt = read(own, place)
    facts = _told(tellable, prompt)
    return replace(prompt, told=facts)


def _form(value: Any, place: Place) -> str:
    """Which of the three forms a line has."""
    line = value if isinstance(value, dict) else {}
    forms = [key for key in KEYS if line.get(key) is not None]
    if len(forms) == 1:
        return forms[0]
    if not forms:
        _refuse_misspelt(line, place)
    raise place.error(f"a line is exactly one of {FORMS}")


def _refuse_misspelt(line: Mapping[str, Any], place: Place) -> None:
    """Refuse a key that is nearly the name of a form."""
    for key in line:
        if key in KEYS:
            continue
        near = near_key(key, KEYS)
        if near is not None:
            raise place.error(f"{key} is unknown", f"did you mean {near!r}?")


def _owners(key: str) -> list[str]:
    """The forms of a line that have this key."""
    return [form for form, keys in KEYS.items() if key in keys]


def _is_known(key: str) -> bool:
    return key in TELLABLE or bool(_owners(key))


def _refusal(key: str, line: Mapping[str, Any], form: str, place: Place) -> InputError:
    """Why a key cannot stand in a line of this form, and what to do instead."""
    if key in _SAMPLING and _has_completion(line, form):
        reason = f"{key} changes nothing, since the completion is given"
        return place.error(reason, "leave it out")
    owners = _owners(key)
    if owners:
        other_forms = " or ".join(owners)
        return place.error(
            f"{key} belongs to a line with {other_forms}, and this line has {form}"
        )
    if key in NOT_HERE:
        reason = NOT_HERE[key]
        return place.error(f"{key} {reason}")
    if key in _SAMPLING:
        reason = f"{key} is one for the whole capture"
        remedy = f"set sampling.{key} in a plan, and leave it out here"
        return place.error(reason, remedy)
    own_keys = KEYS[form]
    near = near_key(key, (*own_keys, *TELLABLE))
    if near:
        remedy = f"did you mean {near!r}?"
    else:
        remedy = nearest(key, own_keys)
    return place.error(f"{key} is unknown", remedy)


# -- how a completion was sampled


def _has_completion(line: Mapping[str, Any], form: str) -> bool:
    """Whether a line that is not parsed has a completion, as far as its keys tell."""
    key = "prompt_length" if form == "token_ids" else "completion"
    return line.get(key) is not None


def _told(line: Mapping[str, Any], prompt: Prompt) -> dict[str, Any]:
    """The facts that a line tells of its completion, as `logdrift.core.facts.Facts` has
    them.
    """
    place = prompt.place
    if line and not prompt.has_completion:
        key = next(iter(line))
        reason = "states how a given completion was sampled, and this line has none"
        raise place.error(f"{key} {reason}", _where_it_belongs(key))
    if "logprobs_mode" in line and prompt.logprobs is None:
        reason = "logprobs_mode says what logprobs are of, and this line has none"
        raise place.error(reason, "give logprobs, or leave it out")
    facts = {}
    for key, value in line.items():
        facts[key] = _value(key, value, place)
    return facts


def _value(key: str, value: Any, place: Place) -> Any:
    try:
        return value_of(key, value, key)
    except InputError as error:
        raise place.error(error.reason, error.remedy) from None


def _where_it_belongs(key: str) -> str:
    """What to do with a fact of sampling when the completion is yet to be sampled."""
    if key in _SAMPLING:
        return f"set sampling.{key} in a plan"
    if key in _OF_A_BACKEND:
        return f"set {key} of a backend"
    return "leave it out"


# -- the three forms


def _text(line: Mapping[str, Any], place: Place) -> Prompt:
    prompt = line["prompt"]
    if isinstance(prompt, list):
        remedy = "give a conversation as messages, ids as token_ids"
        raise place.error("prompt is a list", remedy)
    return Prompt(
        place,
        text=check_text(prompt, "prompt", place),
        completion=_completion(line, place),
    )


def _conversation(line: Mapping[str, Any], place: Place) -> Prompt:
    return Prompt(
        place,
        messages=messages_of(line["messages"], place),
        tools=tools_of(line, place),
        chat_template_kwargs=template_kwargs_of(line, place),
        ending=ending_of(line, place),
        completion=_completion(line, place),
    )


def _completion(line: Mapping[str, Any], place: Place) -> str | None:
    if "completion" not in line:
        return None
    completion = line["completion"]
    if completion == "":
        raise place.error("completion is empty", "leave it out to have one sampled")
    return check_text(completion, "completion", place)


_Reader = Callable[[Mapping[str, Any], Place], Prompt]
_READERS: dict[str, _Reader] = {
    "prompt": _text,
    "messages": _conversation,
    "token_ids": ids_prompt,
}
