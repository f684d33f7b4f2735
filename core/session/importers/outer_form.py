"""How a file holds its JSON: a value a line, a stream of ``data:`` lines, or one value
as a whole, which may be a list or have one under a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from logdrift.core.errors import Place
from logdrift.core.session.importers.compressed import most_bytes
from logdrift.core.session.importers.elements import Brackets
from logdrift.core.session.importers.text_lines import text_blocks

_STREAM_FIELDS = (b"event:", b"id:", b"retry:", b":")
"""Lines of a stream of server-sent events that hold no data; a line with a colon alone
in front is a comment.
"""
_DONE = b"[DONE]"
_DATA = b"data:"
_MARK = b"\xef\xbb\xbf"
"""The byte order mark that some editors put in front of UTF-8."""
_BLOCK = 1 << 20
_SPACES = b" \t\r\n"
_GO_ON = (b",", b"]", b"}")
"""What stands behind a value inside another one."""
_LOOKED = 100
"""Lines that are looked at: of lines that are torn there are a few."""
_NO_LIST = rb'"[^"\\]*"|[-+.\w]+|\[\s*\]|\{\s*\}'
"""A text, number or word, an empty list or object."""
_ENTRIES = rb'\s*\{(?:\s*"[^"\\]*"\s*:\s*(?:' + _NO_LIST + rb")\s*,)*\s*"
"""The beginning of an object: its entries in front of the first list or object that is
not empty.
"""
_LIST = rb"(?=\[)(?!\[\s*\])"
"""A list that is not empty begins here."""


def payload(line: bytes) -> bytes:
    """What a line holds: itself, or what stands behind ``data:``; nothing for the other
    lines of a stream.
    """
    text = line.strip()
    if not text:
        return text
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
    InputError where what must be looked at is no text.
    """
    if file.read(len(_MARK)) != _MARK:
        file.seek(0)
    begin = file.tell()
    is_one = _is_one_value(file, place)
    file.seek(begin)
    return is_one


def _is_one_value(file: BinaryIO, place: Place) -> bool:
    """Whether all from here on is one value. Each line is looked at a block at a
    time.
    """
    _skip_spaces(file)
    start = _next_bytes(file, len(_DATA))
    if start == _DATA:
        return False
    first = _pass_line(file, place)
    if first.is_too_long:
        return True
    _skip_spaces(file)
    if not _next_bytes(file, 1):
        return True
    if first.is_closed or not start.startswith((b"{", b"[")):
        return False
    is_torn = start.startswith(b'{"') and _has_line_of_its_own(file, place)
    return not is_torn


def _skip_spaces(file: BinaryIO) -> None:
    """Go to the next character that is no space, or to the end."""
    while block := file.read(_BLOCK):
        left = len(block.lstrip(_SPACES))
        if left:
            file.seek(-left, os.SEEK_CUR)
            return


def _next_bytes(file: BinaryIO, most: int) -> bytes:
    """The next bytes; the file stays where it is."""
    begin = file.tell()
    found = file.read(most)
    file.seek(begin)
    return found


class _Passed(NamedTuple):
    """A line: whether all that it opens is closed in it, its last character that is no
    space, and whether it has more bytes than a line may have.
    """

    is_closed: bool
    last: bytes
    is_too_long: bool


def _pass_line(file: BinaryIO, place: Place) -> _Passed:
    """Go behind the line that begins here. Raises InputError where it is no text."""
    brackets = Brackets()
    begin = file.tell()
    most = most_bytes(file)
    length = 0
    last = b""
    for block in text_blocks(file, place):
        line, newline, _ = block.partition(b"\n")
        brackets.ends(line, 0)
        text = line.rstrip(_SPACES)
        last = text[-1:] or last
        length += len(line) + len(newline)
        if newline or length > most:
            break
    file.seek(begin + length)
    return _Passed(brackets.depth == 0, last, length > most)


def _has_line_of_its_own(file: BinaryIO, place: Place) -> bool:
    """One of the next lines is an object, the first that is one, and no value goes on
    behind it: a line in front of it was then not written to its end.
    """
    for _ in range(_LOOKED):
        _skip_spaces(file)
        start = _next_bytes(file, 2)
        line = _pass_line(file, place)
        if start == b'{"' and line.is_closed:
            _skip_spaces(file)
            behind = _next_bytes(file, 1)
            return line.last == b"}" and behind not in _GO_ON
    return False


def list_within(file: BinaryIO, keys: Sequence[str]) -> bytes | None:
    """The text in front of a list that a file is, or of the first one with elements
    that its object has under one of ``keys``, and the file is then at the list; None
    where it is neither, and the file is where it was.
    """
    begin = file.tell()
    start = file.read(_BLOCK)
    names = b"|".join(key.encode() for key in keys)
    entry = _ENTRIES + b'"(?:' + names + rb')"\s*:\s*' + _LIST
    in_front = re.match(rb"\s*(?=\[)", start)
    if in_front is None and keys:
        in_front = re.match(entry, start)
    if in_front is None:
        file.seek(begin)
        return None
    file.seek(begin + in_front.end())
    return in_front[0]
