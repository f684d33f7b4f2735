"""The JSON library that reads lines which are imported: orjson where it is installed,
else the standard library.

orjson is several times as fast, and looser in one thing: of a key that is given twice
it keeps the last value in silence. Such a line, and any that orjson refuses (NaN, half
of a surrogate pair), is read by the standard library.
"""

from __future__ import annotations

import importlib
import json
from functools import cache
from types import ModuleType
from typing import Any

from logdrift.core.session.files import parse_json


@cache
def library() -> ModuleType:
    """The module that is used."""
    try:
        return importlib.import_module("orjson")
    except ImportError:
        return json


def parse_line(text: bytes) -> Any:
    """What `parse_json` gives. Raises ValueError in a few words."""
    used = library()
    if used is json:
        return parse_json(text)
    try:
        value = used.loads(text)
    except ValueError:
        return parse_json(text)
    # A colon stands behind each key. Others are in texts, and then the line is read
    # once more; fewer keys than colons may be keys that are given twice.
    if _keys(value) == text.count(b":"):
        return value
    return parse_json(text)


def _keys(value: Any) -> int:
    """The keys of all objects that are found without a look at each number: a list
    whose first item is no object or list is one of numbers.
    """
    if isinstance(value, dict):
        inside = map(_keys, value.values())
        return len(value) + sum(inside)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sum(map(_keys, value))
    return 0
