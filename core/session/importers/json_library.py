"""The JSON library that reads lines which are imported: orjson where it is installed,
else the standard library.

orjson is several times as fast, and looser in one thing: of a key that is given twice
it keeps the last value in silence. Such a line, and any that orjson refuses (NaN, half
of a surrogate pair), is read by the standard library.
"""

from __future__ import annotations

import importlib
import json
import re
from functools import cache
from types import ModuleType
from typing import Any

from logdrift.core.session.files import JsonList, parse_json

_SPACED = re.compile(rb'"\s+:')
_HOLD_OTHERS = (dict, list)


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
    # A quote and a colon stand behind each key. Where texts have them too, or a space
    # is between the two, the line is read once more: fewer keys than that may be keys
    # that are given twice.
    is_spaced = _SPACED.search(text) is not None
    if not is_spaced and _keys(value) == text.count(b'":'):
        return value
    return parse_json(text)


def _keys(value: Any) -> int:
    """The keys of all objects that are found without a look at each number: a list
    whose first item is no object or list is one of numbers.
    """
    keys = 0
    waiting = [value]
    while waiting:
        inside = waiting.pop()
        if isinstance(inside, dict):
            keys += len(inside)
            values = inside.values()
            waiting += [one for one in values if type(one) in _HOLD_OTHERS]
        elif isinstance(inside, list) and _begins_with_other(inside):
            waiting += inside
    return keys


def _begins_with_other(items: JsonList) -> bool:
    """The first item of a list is an object or a list."""
    if not items:
        return False
    return type(items[0]) in _HOLD_OTHERS
