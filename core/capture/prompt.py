"""One prompt of a capture, as it was given and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from logdrift.core.capture.text_dumps import DumpedText
from logdrift.core.errors import Place

Ending = Literal["answer", "continue", "closed"]
"""How a conversation ends as a prompt: with the assistant's turn opened, with its last
message left open to be continued, or just as the template closes it.
"""
_NOT_FOR_TOKENIZERS = ("told", "logprobs", "dump")
"""Fields that a worker, which makes ids of prompts, does not need."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as given. ``place`` is where, for every later error about it.

    Exactly one of ``text``, ``messages`` and ``token_ids`` is there. ``completion`` is
    the text after the prompt, to be scored as it is; ``tools`` and
    ``chat_template_kwargs`` reach the chat template together with ``messages``;
    ``ending`` is None where the line does not say how its conversation ends. ``told``
    are the facts of how the completion was sampled, and ``logprobs`` what was recorded
    then, in nats: one entry for each id, or for each of the completion, as they stand
    in the line. ``dump`` is the line of another tool that it was read from.
    """

    place: Place
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
    dump: DumpedText | None = None

    @property
    def has_completion(self) -> bool:
        """Whether a completion was given, as text or as ids."""
        if self.completion is not None:
            return True
        if self.token_ids is None or self.prompt_length is None:
            return False
        return self.prompt_length < len(self.token_ids)

    def to_json(self) -> dict[str, Any]:
        """What a tokenizer needs of it, and its place."""
        values = {}
        for one_field in fields(self):
            name = one_field.name
            value = getattr(self, name)
            if value is not None and name not in _NOT_FOR_TOKENIZERS:
                values[name] = value
        values["place"] = self.place._asdict()
        return values


def check_text(text: Any, name: str, place: Place) -> str:
    """A text with at least one character that every tokenizer takes. Raises
    InputError.
    """
    if not isinstance(text, str):
        raise place.error(f"{name} is not text")
    if not text:
        raise place.error(f"{name} is empty", "give at least one character")
    check_unicode(text, place)
    return text


def check_all_unicode(value: Any, place: Place) -> None:
    """`check_unicode` of every text in a JSON value."""
    text = json.dumps(value, ensure_ascii=False)
    check_unicode(text, place)


def check_unicode(text: str, place: Place) -> None:
    """Refuse half a surrogate pair, which JSON escapes and bad bytes in arguments can
    make: no tokenizer takes it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        reason = f"character {error.start + 1} is not a Unicode character"
        raise place.error(reason, "give valid text") from None
