"""Lines of a file that may be compressed with zstd, in one frame or in many, of which
some only hold an index.

Python has zstd from 3.14 on; before, the package zstandard does the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from logdrift.core.session.files import open_regular
from logdrift.core.session.importers.place import in_file
from logdrift.core.session.importers.text_lines import text_lines

ZSTD = b"\x28\xb5\x2f\xfd"
"""How a frame begins."""
LONGEST_LINE = 256 << 20
"""Bytes of a line that is unpacked: a sequence of a million tokens with 20 alternatives
has as many.
"""
_BLOCK = 4 << 10
"""Bytes that are unpacked at once: zstd makes at most 32,768 of one."""


class _Zstd(NamedTuple):
    """A library: what makes a decompressor of one frame, and its errors."""

    new: Any
    error: type[Exception]


def is_zstd(path: Path) -> bool:
    """The file begins with a frame of zstd; False for one that cannot be read."""
    try:
        descriptor = open_regular(path)
        with open(descriptor, "rb") as file:
            return file.read(len(ZSTD)) == ZSTD
    except OSError:
        return False


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file, as they are in it. Raises OSError where it cannot be read,
    InputError where it is compressed and damaged, and where nothing here unpacks it.
    """
    compressed = is_zstd(path)
    descriptor = open_regular(path)
    with open(descriptor, "rb") as file:
        if compressed:
            yield from _unpacked_lines(path, file)
        else:
            yield from text_lines(file, in_file(path))


def _unpacked_lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """The lines. Raises InputError for one that is far longer than any sequence: a few
    bytes of zstd may unpack to gigabytes.
    """
    blocks: list[bytes] = []
    size = 0
    for block in _unpacked(path, file):
        *lines, left = block.split(b"\n")
        for line in lines:
            yield b"".join([*blocks, line, b"\n"])
            blocks = []
            size = 0
        blocks.append(left)
        size += len(left)
        if size > LONGEST_LINE:
            raise in_file(path).error(
                f"unpacks to a line of more than {LONGEST_LINE:,} bytes", "unpack it"
            )
    last = b"".join(blocks)
    if last:
        yield last


def _unpacked(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """What the frames of a file hold, in blocks."""
    zstd = _library(path)
    place = in_file(path)
    frame: Any = None
    data = b""
    while data or (data := file.read(_BLOCK)):
        if frame is None:
            frame = zstd.new()
        try:
            yield frame.decompress(data)
        except zstd.error as error:
            raise place.error(f"is compressed with zstd and damaged: {error}") from None
        data = b""
        if frame.eof:
            data = frame.unused_data
            frame = None
    if frame is not None:
        raise place.error(
            "is compressed with zstd and ends within a frame", "copy it once more"
        )


def _library(path: Path) -> _Zstd:
    for name in ("compression.zstd", "zstandard"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        if name == "zstandard":
            decompressor = module.ZstdDecompressor()
            return _Zstd(decompressor.decompressobj, module.ZstdError)
        return _Zstd(module.ZstdDecompressor, module.ZstdError)
    raise in_file(path).error(
        "is compressed with zstd, which needs the package zstandard",
        "pip install 'logdrift[zstd]', or unpack it (zstd -d)",
    )
