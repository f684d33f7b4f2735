"""How a file holds its JSON: a value a line, a stream of ``data:`` lines, or one value
as a whole, which may be a list or have one under a key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import BinaryIO

from logdrift.core.errors import Place
from logdrift.core.session.importers.elements import Brackets
from logdrift.core.session.importers.json_library import parse_line
from logdrift.core.session.importers.text_lines import text_line

_STREAM_FIELDS = (b"event:", b"id:", b"retry:", b":")
"""Lines of a stream of server-sent events that hold no data; a line with a colon alone
in front is a comment.
"""
_DONE = b"[DONE]"
_DATA = b"data:"
_MARK = b"\xef\xbb\xbf"
"""The byte order mark that some editors put in front of UTF-8."""
_BLOCK = 1 << 20
_START = 1024
"""Bytes that tell how a text begins."""
_PLAIN_ENTRIES = rb'\s*\{(?:\s*"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[-+.\w]+)\s*,)*\s*'
"""The beginning of an object: its entries in front of the first list or object."""


def payload(line: bytes) -> bytes:
    """What a line holds: itself, or what stands behind ``data:``; nothing for the other
    lines of a stream.
    """
    text = line.strip()
    if text.startswith(_DATA):
        text = text.removeprefix(_DATA).strip()
    elif text.startswith(_STREAM_FIELDS):
        return b""
    if text == _DONE:
        return b""
    return text


def is_one_document(file: BinaryIO, place: Place) -> bool:
    """Whether a file as a whole is one value: it has a single line, or its first one is
    only the beginning of a value. The file is then where its text begins. Raises
    InputError for a second line that is no text.
    """
    if file.read(len(_MARK)) != _MARK:
        file.seek(0)
    begin = file.tell()
    start = file.read(_START)
    text = start.lstrip()
    first = begin + len(start) - len(text)
    file.seek(first)
    length = _first_length(file)
    second = text_line(file, place)
    file.seek(first)
    is_value = payload(text).startswith((b"{", b"["))
    is_begun = is_value and not _closes_all(file, length)
    file.seek(begin)
    if not second:
        return not text.startswith(_DATA)
    is_torn = text.startswith(b'{"') and _is_object(second.strip())
    return is_begun and not is_torn


def _first_length(file: BinaryIO) -> int:
    """The bytes of the line that begins where the file is; it is then behind them."""
    begin = file.tell()
    length = 0
    while block := file.read(_BLOCK):
        line, newline, _ = block.partition(b"\n")
        length += len(line) + len(newline)
        if newline:
            break
    file.seek(begin + length)
    return length


def _closes_all(file: BinaryIO, length: int) -> bool:
    """All that is opened in the next bytes is closed in them."""
    brackets = Brackets()
    left = length
    while left:
        block = file.read(min(left, _BLOCK))
        brackets.ends(block, 0)
        left -= len(block)
    return brackets.depth == 0


def _is_object(text: bytes) -> bool:
    """A line is an object by itself: the one in front of it is then a line that was not
    written to its end.
    """
    if not text.startswith(b'{"'):
        return False
    try:
        parse_line(text)
    except ValueError:
        return False
    return True


def list_within(file: BinaryIO, keys: Sequence[str]) -> bytes | None:
    """The text in front of a list that a file is, or that its object has under one of
    ``keys``, and the file is then at the list; None where it is neither, and the file
    is where it was.
    """
    begin = file.tell()
    start = file.read(_BLOCK)
    names = b"|".join(key.encode() for key in keys)
    entry = _PLAIN_ENTRIES + b'"(?:' + names + rb')"\s*:\s*(?=\[)'
    in_front = re.match(rb"\s*(?=\[)", start)
    if in_front is None and keys:
        in_front = re.match(entry, start)
    if in_front is None:
        file.seek(begin)
        return None
    file.seek(begin + in_front.end())
    return in_front[0]
