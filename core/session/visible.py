"""Text from models and files made visible: nothing of it may reach a terminal as a
control.

Every screen, report and log line that shows a token or a file's text goes through here.
"""

from __future__ import annotations

import unicodedata

_NAMED = {"\n": "↵", "\t": "⇥", "\r": "␍", " ": " "}
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me", "Mc"}
_UNEVEN = (
    (0x115F, 0x11FF),
    (0xD7B0, 0xD7FF),  # Hangul vowels and finals join the letter before them
    (0x3164, 0x3164),
    (0xFFA0, 0xFFA0),
    (0x2800, 0x2800),  # letters and a pattern that look like nothing
    (0x1F3FB, 0x1F3FF),
    (0x1F1E6, 0x1F1FF),  # skin tones and halves of flags join an emoji before them
    (0x2630, 0x2637),
    (0x268A, 0x268F),
    (0x4DC0, 0x4DFF),
    (0x1D300, 0x1D376),  # one cell before Unicode 16, then two
)
"""Printable code points whose cells depend on a neighbour or on how new the terminal
is, first and last.
"""


def visible_bytes(piece: bytes) -> str:
    """A token's bytes as printable text: valid UTF-8 shown, every other byte as
    ``<0xE2>``.
    """
    try:
        return visible(piece.decode("utf-8"))
    except UnicodeDecodeError:
        return visible(piece.decode("utf-8", "surrogateescape"))


def visible(text: str) -> str:
    """``text`` with newline, tab and carriage return as glyphs and everything that
    could steer a terminal escaped.

    Escaped are C0, DEL, C1, bidi and format controls, zero-width characters, the BOM,
    surrogates, private and unassigned code points, line separators, and combining
    marks, joiners and the like (their width depends on a neighbour token, so a cell
    count could not be trusted). A lone byte kept by ``surrogateescape`` becomes
    ``<0xE2>``.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = [_show(char) for char in text]
    return "".join(shown)


def _show(char: str) -> str:
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"<0x{code - 0xDC00:02X}>"
    if code < 0x20 or code == 0x7F:
        return f"<0x{code:02X}>"
    category = unicodedata.category(char)
    if category in _HIDDEN_CATEGORIES or _is_uneven(code):
        return f"<U+{code:04X}>"
    if category == "Zs":
        return " "
    return char


def _is_uneven(code: int) -> bool:
    """How many cells it takes depends on a neighbour or on the terminal."""
    return any(first <= code <= last for first, last in _UNEVEN)
