"""What is wrong with a form of a capture: the words of each refusal, under the key of
the field where it can be fixed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from logdrift.core.errors import InputError, LogdriftError, words_of
from logdrift.tui.models.capture_form import OPTION_FIELDS, CaptureForm, turn_fields

_PLAIN_FIELDS = ("model", "title", "session", "top_k", "backends")
"""Fields of a plan whose key in the form is their name."""
_INDEXED = re.compile(r".+\[(\d+)\]")
_OF_BACKEND = re.compile(r"backend\[(.+)\]\.(\w+)")


def field_of(error: LogdriftError, form: CaptureForm) -> str | None:
    """The key of the form's field that an error of a capture is about; None where no
    field of the form is.
    """
    name = error.field or ""
    if name in _PLAIN_FIELDS:
        return name
    if name in turn_fields(""):
        return "prompts.turn"
    if name.startswith("sampling."):
        own_name = name.removeprefix("sampling.")
        if own_name in form.sampling:
            return name
        return None
    match = _OF_BACKEND.fullmatch(name)
    if match is not None:
        backend, field = match.groups()
        return _backend_field(backend, field, form)
    if name.startswith("prompts"):
        return _prompts_field(name, form)
    return None


def _backend_field(name: str, field: str, form: CaptureForm) -> str:
    """The key of a backend's field; of two backends of one name, that of the last."""
    last = None
    for index, backend in enumerate(form.backends):
        if backend.name.strip() == name:
            last = index
    if last is None:
        return "backends"
    typed_field = _typed_field(field)
    return f"backend[{last}].{typed_field}"


def _typed_field(field: str) -> str:
    """The field of the form in which a field of a spec is typed."""
    if field in OPTION_FIELDS:
        return "options"
    return field


def _prompts_field(name: str, form: CaptureForm) -> str:
    """The row of a prompt. Rows that are empty give no prompt."""
    number = 0
    match = _INDEXED.fullmatch(name)
    if match is not None:
        number = int(match[1])
    if form.source == "token ids":
        filled = filled_rows(form.ids)
        index = _nth(filled, number)
        return f"prompts.ids[{index}]"
    is_text = name.startswith("prompts.texts")
    if is_text or form.source == "text":
        texts = enumerate(form.texts)
        filled = [index for index, text in texts if text]
        index = _nth(filled, number)
        return f"prompts.text[{index}]"
    return "prompts.file"


def filled_rows(rows: Sequence[str]) -> list[int]:
    """The rows in which more than blanks is typed."""
    filled = []
    for index, text in enumerate(rows):
        if text.strip():
            filled.append(index)
    return filled


def _nth(rows: Sequence[int], number: int) -> int:
    if number < len(rows):
        return rows[number]
    return 0


class DraftProblems:
    """Calls what may refuse, and notes the words of a refusal under the key of the
    field that it is about.
    """

    def __init__(self, form: CaptureForm) -> None:
        self.form = form
        self.words: dict[str, str] = {}

    def attempt(self, key: str, act: Callable[[], Any]) -> Any:
        """What ``act`` gives. A refusal stands under ``key`` where it names no field;
        None then.
        """
        try:
            return act()
        except LogdriftError as error:
            field = field_of(error, self.form) or key
            self.note(field, str(error))
        except Exception as error:
            words = words_of(error)
            self.note(key, words)
        return None

    def attempt_backend(self, index: int, field: str, act: Callable[[], Any]) -> Any:
        """`attempt` for the backend of this index: names may be double or bad."""
        try:
            return act()
        except LogdriftError as error:
            name = field
            match = _OF_BACKEND.fullmatch(error.field or "")
            if match is not None:
                name = _typed_field(match[2])
            key = f"backend[{index}].{name}"
            self.note(key, str(error))
        return None

    def note(self, key: str, words: str) -> None:
        """The first problem of a field is the one that is shown."""
        self.words.setdefault(key, words)


def typed_number(text: str, kind: Callable[[str], Any], where: str) -> Any:
    """What was typed as an int or a float. Raises InputError naming ``where``."""
    text = text.strip()
    try:
        return kind(text)
    except ValueError:
        words = "a number"
        if kind is int:
            words = "a whole number"
        reason = f"{where} is {text!r}"
        raise InputError(reason, remedy=f"give {words}") from None
