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
    "percent_sign": "%",
    "greater_than_sign": ">",
    "less_than_sign": "<",
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
    return last.capitalize()
