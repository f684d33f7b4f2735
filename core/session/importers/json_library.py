"""The JSON library that reads lines which are imported: orjson where it is installed,
else the standard library.

orjson is several times as fast, and looser in one thing: of a key that is given twice
it keeps the last value in silence. Such a line, and any that orjson refuses (NaN, half
of a surrogate pair), is read by the standard library.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from functools import cache
from itertools import chain
from types import ModuleType
from typing import Any

import numpy as np

from logdrift.core.session.files import parse_json

_COLON = ord(":")
_SPACES = b" \t\r\n"
_HOLD_OTHERS = frozenset((dict, list))


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
    if _has_keys_once(text, value):
        return value
    return parse_json(text)


def parse_together(texts: Sequence[bytes]) -> list[Any] | None:
    """What each of several short texts holds, in less time than `parse_line` takes for
    each; None where they must be parsed one by one.
    """
    used = library()
    are_objects = [text[:1] + text[-1:] == b"{}" for text in texts]
    if used is json or len(texts) < 2 or not all(are_objects):
        return None
    joined = b"[" + b",".join(texts) + b"]"
    try:
        values: list[Any] = used.loads(joined)
    except ValueError:
        return None
    is_one_each = len(values) == len(texts)
    if is_one_each and _has_keys_once(joined, values):
        return values
    return None


def _has_keys_once(text: bytes, value: Any) -> bool:
    """No key is given twice, as far as a quick look tells.

    A quote and a colon stand behind each key. Where texts have them too, or a space is
    between the two, the answer is False: there may be fewer keys than that because some
    are given twice.
    """
    in_front = _in_front_of_colons(text)
    is_spaced = in_front != in_front.translate(None, _SPACES)
    return not is_spaced and _has_keys(value, in_front.count(b'"'))


def _in_front_of_colons(text: bytes) -> bytes:
    """The byte in front of each colon; NumPy finds them in a fifth of the time that
    `bytes.count` takes.
    """
    characters = np.frombuffer(text, np.uint8)
    in_front = characters[:-1]
    is_colon = characters[1:] == _COLON
    found: bytes = in_front[is_colon].tobytes()
    return found


def _has_keys(value: Any, number: int) -> bool:
    """All objects of a value have that many keys together, which are no fewer than
    there are. The deepest ones are counted and not looked into.
    """
    missing = number
    level = [value]
    while level:
        objects = [one for one in level if type(one) is dict]
        missing -= sum(map(len, objects))
        if not missing:
            return True
        lists = [one for one in level if type(one) is list]
        values = map(dict.values, objects)
        below = chain.from_iterable((*lists, *values))
        level = [one for one in below if type(one) in _HOLD_OTHERS]
    return False
