"""What a server says, as one short line that is safe on a terminal."""

from __future__ import annotations

import json
from typing import Any

from logdrift.core.session.visible import visible

_LONGEST = 300
"""Characters."""
_LOOKED_AT = 1 << 16
"""Bytes of an answer in which a message is looked for."""
_KEYS = ("error", "message", "detail")
"""Under which servers say what is wrong, the outer ones first."""


def short(text: str) -> str:
    """A text as one visible line."""
    words = text.split()
    line = visible(" ".join(words))
    if len(line) <= _LONGEST:
        return line
    return f"{line[: _LONGEST - 1]}…"


def message_in(content: bytes) -> str:
    """What an answer says is wrong: the message of its JSON, else the beginning of its
    text.
    """
    beginning = content[:_LOOKED_AT]
    text = beginning.decode("utf-8", "replace")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return short(text)
    message = _innermost(data)
    if isinstance(message, str):
        return short(message)
    return short(text)


def _innermost(data: Any) -> Any:
    """The value below `_KEYS`, however deep."""
    while isinstance(data, dict):
        inner = [data[key] for key in _KEYS if data.get(key)]
        if not inner:
            return data
        data = inner[0]
    return data
