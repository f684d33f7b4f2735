"""Copying through OSC 52, the escape sequence that terminals take over SSH as well."""

from __future__ import annotations

import base64
import os

LIMIT = 74_000
"""Bytes: the largest text that common terminals take."""
NOTHING = "there is nothing to copy yet"
"""The message for a text that is not there: it is still being made."""
_SHOWN = 60
"""Characters of what was copied in the line that says so."""


def sequence_of(data: bytes) -> str:
    """The escape sequence that copies ``data``, wrapped for tmux where we run in it."""
    encoded = base64.b64encode(data).decode()
    sequence = f"\x1b]52;c;{encoded}\a"
    if not os.environ.get("TMUX"):
        return sequence
    escaped = sequence.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{escaped}\x1b\\"


def too_long(data: bytes) -> str:
    """The message for a text beyond `LIMIT`."""
    return f"not copied: {len(data):,} bytes are more than terminals take ({LIMIT:,})"


def copied(data: bytes, text: str) -> str:
    """The message for a text that was sent."""
    first_line, _, _ = text.partition("\n")
    beginning = first_line[:_SHOWN]
    is_whole = beginning == text
    words = f"copied {len(data):,} bytes: {beginning}"
    if not is_whole:
        words += "…"
    return words
