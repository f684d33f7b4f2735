"""Keys as they stand on a keyboard: ``?`` for Textual's ``question_mark``."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_NAMES = {
    "plus": "+",
    "minus": "-",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "escape": "Esc",
    "slash": "/",
    "delete": "Del",
    "less_than_sign": "<",
    "greater_than_sign": ">",
}
"""Names that are not the key's own, capitalised."""


def key_names(keys: Iterable[str]) -> tuple[str, ...]:
    """``?``, ``Ctrl+N``, ``F8``."""
    return tuple(map(key_name_of, keys))


def key_name_of(key: str) -> str:
    """The name of one key, with its modifiers."""
    *modifiers, last = key.split("+")
    words = [modifier.capitalize() for modifier in modifiers]
    words.append(_last_name(last, key))
    return "+".join(words)


def _last_name(last: str, key: str) -> str:
    if last in _NAMES:
        return _NAMES[last]
    stands_alone = len(last) == 1 and last == key
    if stands_alone:
        return last
    return _sign(last) or last.capitalize()


def _sign(name: str) -> str:
    """The sign that Textual names by its name in Unicode: ``percent_sign``."""
    words = name.replace("_", " ")
    try:
        sign = unicodedata.lookup(words)
    except KeyError:
        return ""
    if sign.isspace():
        return ""
    return sign
