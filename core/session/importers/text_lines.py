"""The lines of a file that is imported, which must be text.

A file may say that it has gigabytes and hold nothing: its end is one line of NUL bytes,
which no text has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from logdrift.core.errors import Place

_BLOCK = 1 << 20


def text_line(file: BinaryIO, place: Place) -> bytes:
    """The next line; nothing at the end. Raises InputError for one with a NUL byte."""
    line = _checked(file.readline(_BLOCK), place)
    if len(line) < _BLOCK:
        return line
    blocks = [line]
    while len(line) == _BLOCK and not line.endswith(b"\n"):
        line = _checked(file.readline(_BLOCK), place)
        blocks.append(line)
    return b"".join(blocks)


def text_lines(file: BinaryIO, place: Place) -> Iterator[bytes]:
    """All lines from here on. Raises InputError as `text_line` does."""
    while line := text_line(file, place):
        yield line


def whole_text(file: BinaryIO, place: Place) -> bytes:
    """All from here on. Raises InputError as `text_line` does."""
    return b"".join(text_blocks(file, place))


def text_blocks(file: BinaryIO, place: Place) -> Iterator[bytes]:
    """All from here on, a block at a time. Raises InputError as `text_line` does."""
    while block := file.read(_BLOCK):
        yield _checked(block, place)


def _checked(text: bytes, place: Place) -> bytes:
    if b"\0" in text:
        reason = "holds NUL bytes, which no text has: it is damaged, or no text file"
        raise place.error(reason)
    return text
