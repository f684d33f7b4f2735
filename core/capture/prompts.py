"""Prompt files: JSONL with one prompt a line, checked before any tokenizer, engine or disk is touched.

A line is ``{"prompt": text}``, ``{"messages": [{"role", "content"}, ...]}`` or ``{"token_ids": [...],
"prompt_length": n, "mask": [...]}``. Ids with a completion are scored as they are; everything else gets
a completion from the generating backend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError

_FORMS = '{"prompt": ...}, {"messages": [...]} or {"token_ids": [...], "prompt_length": n}'


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as given. ``where`` names file and line in every later message about it."""

    where: str
    text: str | None = None
    messages: tuple[Mapping[str, Any], ...] | None = None
    token_ids: tuple[int, ...] | None = None
    prompt_length: int | None = None
    mask: tuple[int, ...] | None = None

    @property
    def has_completion(self) -> bool:
        """Whether the ids already hold a completion."""
        return (
            self.token_ids is not None and self.prompt_length is not None and self.prompt_length < len(self.token_ids)
        )

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def read_prompts(file: str | None, texts: Sequence[str] = ()) -> list[Prompt]:
    """All prompts of a JSONL file followed by ``texts``. Raises InputError naming the line and what it should be."""
    prompts = _read_file(Path(file)) if file is not None else []
    for index, text in enumerate(texts, 1):
        if not text:
            raise InputError(f"text {index} is empty: give at least one character")
        _check_unicode(text, f"text {index}")
        prompts.append(Prompt(f"text {index}", text=text))
    if not prompts:
        raise InputError("no prompts: give --prompts FILE (JSONL) or --text TEXT")
    complete = [prompt.has_completion for prompt in prompts]
    if any(complete) and not all(complete):
        odd = prompts[complete.index(not complete[0])]
        raise InputError(
            f"{odd.where}: prompts with and without a completion are mixed: use one file for each, in two sessions"
        )
    return prompts


def _read_file(path: Path) -> list[Prompt]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"prompts {path}: no such file") from None
    except OSError as error:
        raise InputError(f"prompts {path}: cannot be read: {error.strerror}") from None
    prompts = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: not UTF-8 at byte {error.start}") from None
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: not JSON ({error.msg} at column {error.colno}): a line is {_FORMS}") from None
        except RecursionError:
            raise InputError(f"{where}: nested too deeply: a line is {_FORMS}") from None
        except ValueError:  # JSON, but a number of thousands of digits
            raise InputError(f"{where}: a number in it is too long: a line is {_FORMS}") from None
        prompts.append(_parse(value, where))
    if not prompts:
        raise InputError(f"prompts {path}: the file holds no prompt: a line is {_FORMS}")
    return prompts


def _parse(value: Any, where: str) -> Prompt:
    forms = [key for key in ("prompt", "messages", "token_ids") if isinstance(value, dict) and key in value]
    if len(forms) != 1:
        raise InputError(f"{where}: a line is exactly one of {_FORMS}")
    content = value[forms[0]]
    if forms[0] == "prompt":
        if not isinstance(content, str):
            raise InputError(f"{where}: prompt is not text")
        if not content:
            raise InputError(f"{where}: prompt is empty: give at least one character")
        _check_unicode(content, where)
        return Prompt(where, text=content)
    if forms[0] == "messages":
        return Prompt(where, messages=_messages(content, where))
    return _token_ids(content, value, where)


def _messages(content: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(content, list) or not content:
        raise InputError(f"{where}: messages is not a list with at least one message")
    for message in content:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or "content" not in message:
            raise InputError(f'{where}: a message is {{"role": ..., "content": ...}}')
    _check_unicode(json.dumps(content, ensure_ascii=False), where)
    return tuple(content)


def _check_unicode(text: str, where: str) -> None:
    """Refuse half a surrogate pair, which JSON escapes and bad bytes in arguments can make: no tokenizer takes it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: character {error.start + 1} is no Unicode character: give valid text") from None


def _token_ids(content: Any, value: Mapping[str, Any], where: str) -> Prompt:
    if not isinstance(content, list) or not all(type(i) is int for i in content):
        raise InputError(f"{where}: token_ids is not a list of whole numbers")
    if not content:
        raise InputError(f"{where}: token_ids is empty: give at least one id")
    bad = next((i for i in content if not 0 <= i < 2**31), None)
    if bad is not None:
        raise InputError(f"{where}: token id {bad} is outside any vocabulary")
    length = value.get("prompt_length", len(content))
    if type(length) is not int or not 0 <= length <= len(content):
        raise InputError(f"{where}: prompt_length is {length!r}: give a whole number from 0 to {len(content)}")
    mask = value.get("mask")
    if mask is not None and (
        not isinstance(mask, list) or len(mask) != len(content) or not all(m in (0, 1) for m in mask)
    ):
        raise InputError(f"{where}: mask is not a list of {len(content)} zeros and ones")
    return Prompt(where, token_ids=tuple(content), prompt_length=length, mask=tuple(mask) if mask else None)
