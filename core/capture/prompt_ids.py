"""A prompt of token ids: ``{"token_ids": [...], "prompt_length": n}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.capture.prompt import Prompt
from logdrift.core.errors import Place

LARGEST_ID = 2**31 - 1
"""Token ids are stored as int32."""


def ids_prompt(line: Mapping[str, Any], place: Place) -> Prompt:
    """The prompt of a line with ``token_ids``. Raises InputError."""
    ids = _token_ids(line["token_ids"], place)
    count = len(ids)
    length = line.get("prompt_length", count)
    if type(length) is not int or not 0 <= length <= count:
        reason = f"prompt_length is {length!r}"
        raise place.error(reason, f"give a whole number from 0 to {count}")
    prompt = Prompt(
        place,
        token_ids=ids,
        prompt_length=length,
        mask=_mask(line, count, place),
        logprobs=_logprobs(line, place),
    )
    if not prompt.has_completion:
        _refuse_of_completions(prompt, count)
    return prompt


def _token_ids(ids: Any, place: Place) -> tuple[int, ...]:
    not_whole_numbers = place.error("token_ids is not a list of whole numbers")
    if not isinstance(ids, list):
        raise not_whole_numbers
    if not ids:
        raise place.error("token_ids is empty", "give at least one id")
    for token_id in ids:
        if type(token_id) is not int:
            raise not_whole_numbers
    for token_id in ids:
        if not 0 <= token_id <= LARGEST_ID:
            raise place.error(f"token id {token_id} is outside any vocabulary")
    return tuple(ids)


def _refuse_of_completions(prompt: Prompt, length: int) -> None:
    """Refuse what only ids with their completion can have."""
    place = prompt.place
    wrong = f"to ids with their completion, and all {length} ids are the prompt"
    remedy = "give prompt_length"
    if prompt.mask is not None:
        raise place.error(f"a mask belongs {wrong}", remedy)
    if prompt.logprobs is not None:
        raise place.error(f"logprobs belong {wrong}", remedy)


def _logprobs(line: Mapping[str, Any], place: Place) -> tuple[Any, ...] | None:
    """The list as it stands; `logdrift.core.capture.recorded` checks its numbers as an
    import does.
    """
    if "logprobs" not in line:
        return None
    logprobs = line["logprobs"]
    if not isinstance(logprobs, list):
        raise place.error("logprobs is not a list of numbers")
    return tuple(logprobs)


def _mask(line: Mapping[str, Any], length: int, place: Place) -> tuple[int, ...] | None:
    names = [key for key in ("mask", "loss_mask") if key in line]
    if not names:
        return None
    if len(names) == 2:
        reason = "mask and loss_mask are the same thing"
        raise place.error(reason, "give one of them")
    name = names[0]
    mask = line[name]
    if not _is_mask(mask, length):
        raise place.error(f"{name} is not a list of {length} zeros and ones")
    return tuple(map(int, mask))


def _is_mask(value: Any, length: int) -> bool:
    if not isinstance(value, list):
        return False
    if len(value) != length:
        return False
    return all(flag in (0, 1) for flag in value)
