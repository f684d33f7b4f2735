"""Keys as they stand on a keyboard: ``?`` for Textual's ``question_mark``."""

from __future__ import annotations

from collections.abc import Iterable

_NAMES = {
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "escape": "Esc",
    "dollar_sign": "$",
    "colon": ":",
    "semicolon": ";",
    "full_stop": ".",
    "comma": ",",
    "slash": "/",
    "delete": "Del",
}
"""Names that are not the key's own, capitalised."""


def key_names(keys: Iterable[str]) -> tuple[str, ...]:
    """``?``, ``Ctrl+N``, ``F8``."""
    return tuple(map(_key_name, keys))


def _key_name(key: str) -> str:
    *modifiers, last = key.split("+")
    return "+".join([*(word.capitalize() for word in modifiers), _last_name(last, key)])


def _last_name(last: str, key: str) -> str:
    if last in _NAMES:
        return _NAMES[last]
    alone = len(last) == 1 and last == key
    if alone:
        return last
    return last.capitalize()
