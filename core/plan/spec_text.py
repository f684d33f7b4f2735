"""A backend in one line: ``ENGINE[:DTYPE][,option=value...][@NAME]``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError
from logdrift.core.plan.backend import ROLES, BackendSpec

_NAMED = re.compile(r"(.*)@([A-Za-z0-9][\w.-]*)", re.DOTALL)
_SHORT_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_NOT_OPTIONS = ("name", "engine", "dtype", "options")
"""Fields of a backend that a spec does not give as ``option=value``."""
_PYTHON_WORDS = {"True": True, "False": False, "None": None}


def parse_spec(text: str) -> BackendSpec:
    """``ENGINE[:DTYPE][,option=value...][@NAME]``, e.g.
    ``vllm:bfloat16,enforce_eager=true@fast``.

    The fields of `BackendSpec` (``python``, ``role``, ``repeats``, ``alone``, ...) are
    logdrift's own options, ``paths`` and ``gpus`` joined by ``+``; every other option
    goes to the engine. Values are read as JSON where they are JSON, else as text.
    Raises InputError.
    """
    pieces = _split(text)
    name = ""
    named = _NAMED.fullmatch(pieces[-1])
    if named is not None:
        pieces[-1], name = named.groups()
    start = pieces.pop(0)
    engine, _, dtype = start.partition(":")
    where = f"backend {text!r}"
    if engine not in ENGINES:
        reason = f"engine {engine!r} is unknown"
        field = f"backend[{name or engine}].engine"
        remedy = f"use {', '.join(ENGINES)}"
        raise InputError(reason, field=field, where=where, remedy=remedy)
    name = name or engine
    try:
        values = _option_values(pieces)
    except InputError as error:
        field = f"backend[{name}].options"
        raise error.within(where, field=field) from None
    if dtype:
        values["dtype"] = _SHORT_DTYPES.get(dtype, dtype)
    values.setdefault("role", default_role(name, engine))
    return BackendSpec(name=name, engine=engine, **values)


def parse_options(text: str) -> dict[str, Any]:
    """The fields of a backend that ``option=value,...`` gives.

    Options of the engine are under ``options``. Raises InputError, which does not name
    the backend.
    """
    return _option_values(_split(text))


def default_role(name: str, engine: str) -> str:
    """The role of a backend for which none is given.

    Its name where that is a role, else the usual role of its engine.
    """
    if name in ROLES:
        return name
    return ENGINES[engine].default_role


def _option_values(pieces: list[str]) -> dict[str, Any]:
    own: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for key, value in _pairs(pieces):
        read = _OWN_OPTIONS.get(key)
        if read is not None:
            own[key] = read(key, value)
        else:
            options[key] = _json_or_text(value)
    own["options"] = options
    return own


def _pairs(pieces: list[str]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for piece in pieces:
        key, equals, value = piece.partition("=")
        if not equals or not key:
            raise InputError(f"{piece!r} is not option=value")
        if key in seen:
            raise InputError(f"{key} stands twice", remedy="give it once")
        seen.add(key)
        yield key, value


def _split(text: str) -> list[str]:
    """Split at commas outside of brackets and quotes, so JSON values pass whole."""
    pieces = []
    depth = 0
    quoted = False
    start = 0
    for index, char in enumerate(text):
        before = text[index - 1 : index]
        if char == '"' and before != "\\":
            quoted = not quoted
        elif quoted:
            continue
        elif char in "{[":
            depth += 1
        elif char in "}]":
            depth -= 1
        elif char == "," and depth == 0:
            pieces.append(text[start:index])
            start = index + 1
    return [*pieces, text[start:]]


def _json_or_text(value: str) -> Any:
    if value in _PYTHON_WORDS:
        return _PYTHON_WORDS[value]
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


# -- logdrift's own options


def _whole_number(key: str, value: str) -> int:
    if not value.isdigit():
        raise InputError(f"{key}={value} is not a whole number")
    return int(value)


def _true_or_false(key: str, value: str) -> bool:
    word = value.lower()
    if word not in ("true", "false"):
        raise InputError(f"{key}={value}", remedy="give true or false")
    return word == "true"


def _joined_by_plus(key: str, value: str) -> tuple[str, ...]:
    parts = value.split("+")
    return tuple(filter(None, parts))


def _numbers_joined_by_plus(key: str, value: str) -> str:
    return value.replace("+", ",")


def _as_it_is(key: str, value: str) -> str:
    return value


_Reader = Callable[[str, str], Any]
_READERS: Mapping[str, _Reader] = {
    "int": _whole_number,
    "bool": _true_or_false,
    "tuple[str, ...]": _joined_by_plus,
}
"""How an option is read, by the annotation of its field; others are text."""


def _readers_of_own_options() -> dict[str, _Reader]:
    readers = {}
    for field in fields(BackendSpec):
        if field.name not in _NOT_OPTIONS:
            annotation = str(field.type)
            readers[field.name] = _READERS.get(annotation, _as_it_is)
    readers["gpus"] = _numbers_joined_by_plus
    return readers


_OWN_OPTIONS = _readers_of_own_options()
