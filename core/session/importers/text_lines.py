"""The lines of a file that is imported, which must be text.

A file may say that it has gigabytes and hold nothing: its end is one line of NUL bytes,
which no text has.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from logdrift.core.errors import Place
from logdrift.core.session.importers.compressed import most_bytes

_BLOCK = 1 << 20


def text_line(file: BinaryIO, place: Place) -> bytes:
    """The next line; nothing at the end. Raises InputError for one with a NUL byte, and
    for one of a compressed file that is far longer than any sequence.
    """
    line = _checked(file.readline(_BLOCK), place)
    if len(line) < _BLOCK:
        return line
    blocks = itertools.chain([line], _rest_of_line(line, file, place))
    return together(blocks, most_bytes(file), place)


def _rest_of_line(start: bytes, file: BinaryIO, place: Place) -> Iterator[bytes]:
    """What stands behind the first block of a line."""
    block = start
    while len(block) == _BLOCK and not block.endswith(b"\n"):
        block = _checked(file.readline(_BLOCK), place)
        yield block


def text_lines(file: BinaryIO, place: Place) -> Iterator[bytes]:
    """All lines from here on. Raises InputError as `text_line` does.

    They are cut from blocks: reading short lines one by one takes twice as long.
    """
    most = most_bytes(file)
    begun: list[bytes] = []
    size = 0
    for block in text_blocks(file, place):
        first, *others = block.split(b"\n")
        begun.append(first)
        size += len(first)
        check_length(size, most, place)
        if not others:
            continue
        yield b"".join(begun) + b"\n"
        *whole, last = others
        for text in whole:
            yield text + b"\n"
        begun = [last]
        size = len(last)
    end = b"".join(begun)
    if end:
        yield end


def whole_text(file: BinaryIO, place: Place) -> bytes:
    """All from here on. Raises InputError as `text_line` does."""
    blocks = text_blocks(file, place)
    return together(blocks, most_bytes(file), place)


def text_blocks(file: BinaryIO, place: Place) -> Iterator[bytes]:
    """All from here on, a block at a time. Raises InputError as `text_line` does."""
    while block := file.read(_BLOCK):
        yield _checked(block, place)


def together(blocks: Iterable[bytes], most: float, place: Place) -> bytes:
    """Blocks as one text. Raises InputError for one of more than ``most`` bytes."""
    kept = []
    size = 0
    for block in blocks:
        kept.append(block)
        size += len(block)
        check_length(size, most, place)
    return b"".join(kept)


def check_length(size: int, most: float, place: Place) -> None:
    """Raise InputError for a line or value of more than ``most`` bytes."""
    if size > most:
        reason = f"unpacks to a line or value of more than {most:,} bytes"
        raise place.error(reason, "unpack it")


def _checked(text: bytes, place: Place) -> bytes:
    if b"\0" in text:
        reason = "holds NUL bytes, which no text has: it is damaged, or no text file"
        raise place.error(reason)
    return text
