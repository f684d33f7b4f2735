"""Files of text, some of which are compressed with gzip or zstd, in one frame or in
many: of zstd some frames only hold an index.

Python has zstd from 3.14 on; before, the package zstandard does the same.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import re
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import open_regular
from logdrift.core.session.importers.place import in_file

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
"""How a frame begins, and what it is compressed with."""
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""How a frame of zstd begins that holds none of the text: pzstd writes one in front of
each of the others, with its size.
"""
_START = 4
_ENDINGS = (".gz", ".zst")
LONGEST_LINE = 256 << 20
"""Bytes of a line or value that is unpacked: a sequence of a million tokens with 20
alternatives has as many.
"""
_BLOCK = 4 << 10
"""Bytes that are unpacked at once: zstd makes at most 32,768 of one."""
_BUFFER = 1 << 20
_MOST_FILLED = 1 << 20
"""Bytes of zeros between and behind frames: more than a block of any disk or tape. A
file that takes no space of a disk may have gigabytes.
"""
_GZIP = 16 + zlib.MAX_WBITS
"""How zlib is told that a header of gzip stands in front."""


class _Library(NamedTuple):
    """What unpacks a ``kind`` of file: a decompressor of one frame is ``new`` each
    time.
    """

    kind: str
    new: Any
    error: type[Exception]


class PackedFile(io.BufferedReader):
    """A compressed file, which is unpacked as it is read."""


def open_text(path: Path) -> BinaryIO:
    """A file to read, unpacked where it is compressed. Raises OSError where it cannot
    be read, InputError where nothing here unpacks it; reading raises InputError for one
    that is damaged.
    """
    descriptor = open_regular(path)
    file = os.fdopen(descriptor, "rb")
    start = file.read(_START)
    file.seek(0)
    kind = _kind(start)
    if kind is None:
        return file
    return _packed(path, file, kind)


def _kind(start: bytes) -> str | None:
    """What a file that begins so is compressed with; None where it is not."""
    if _SKIPPABLE.match(start):
        return "zstd"
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    return None


def _packed(path: Path, file: BinaryIO, kind: str) -> BinaryIO:
    place = in_file(path)
    try:
        library = _library(kind, place)
    except InputError:
        file.close()
        raise
    unpacked = _Unpacked(file, library, place)
    return PackedFile(unpacked, _BUFFER)


def most_bytes(file: BinaryIO) -> float:
    """Bytes of the longest line or value that is read of a file: a few bytes of a
    compressed one may unpack to gigabytes.
    """
    if isinstance(file, PackedFile):
        return LONGEST_LINE
    return math.inf


def unpacked_name(name: str) -> str:
    """The name of a file without the ending that says how it is compressed."""
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


def as_stored(path: Path) -> Path | None:
    """A file that may be there under its own name, or else compressed; None where it is
    not there.
    """
    for ending in ("", *_ENDINGS):
        stored = path.with_name(path.name + ending)
        if stored.is_file():
            return stored
    return None


def text_files(folder: Path, pattern: str) -> list[Path]:
    """The files of these names in a folder, compressed ones too; of one that is there
    in both forms the plain one.
    """
    by_name: dict[str, Path] = {}
    for ending in ("", *_ENDINGS):
        for path in folder.glob(pattern + ending):
            by_name.setdefault(unpacked_name(path.name), path)
    return list(by_name.values())


class _Unpacked(io.RawIOBase):
    """What a compressed file holds. Whoever goes back in it has it unpacked anew from
    its beginning.
    """

    def __init__(self, file: BinaryIO, library: _Library, place: Place) -> None:
        super().__init__()
        self._file = file
        self._library = library
        self._place = place
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(0)
        self._blocks = _blocks_of(self._file, self._library, self._place)
        self._block = memoryview(b"")
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close the compressed file too."""
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """As many bytes as are unpacked, 0 at the end. Raises InputError for a file
        that is damaged.
        """
        while not self._block:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._block = memoryview(block)
        count = min(len(self._block), len(buffer))
        buffer[:count] = self._block[:count]
        self._block = self._block[count:]
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, which is counted from the beginning or from here."""
        place = offset
        if whence == os.SEEK_CUR:
            place += self._at
        if place < self._at:
            self._rewind()
        buffer = memoryview(bytearray(_BUFFER))
        while self._at < place:
            left = place - self._at
            if not self.readinto(buffer[:left]):
                break
        return self._at


def _blocks_of(file: BinaryIO, library: _Library, place: Place) -> Iterator[bytes]:
    """What the frames of a file hold, in blocks."""
    is_packed = f"is compressed with {library.kind} and"
    frame: Any = None
    data = b""
    filled = 0
    while data or (data := file.read(_BLOCK)):
        if frame is None:
            # Some tools fill a file up behind its last frame.
            size = len(data)
            data = data.lstrip(b"\0")
            filled += size - len(data)
            if filled > _MOST_FILLED:
                raise place.error(f"{is_packed} damaged: it goes on with zeros")
            if not data:
                continue
            frame = library.new()
        try:
            yield frame.decompress(data)
        except library.error as error:
            raise place.error(f"{is_packed} damaged: {error}") from None
        data = b""
        if frame.eof:
            data = frame.unused_data
            frame = None
    if frame is not None:
        raise place.error(f"{is_packed} ends within a frame", "copy it once more")


def _library(kind: str, place: Place) -> _Library:
    if kind == "zstd":
        return _zstd(place)
    return _Library(kind, partial(zlib.decompressobj, _GZIP), zlib.error)


def _zstd(place: Place) -> _Library:
    for name in ("compression.zstd", "zstandard"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        if name == "zstandard":
            decompressor = module.ZstdDecompressor()
            return _Library("zstd", decompressor.decompressobj, module.ZstdError)
        return _Library("zstd", module.ZstdDecompressor, module.ZstdError)
    raise place.error(
        "is compressed with zstd, which needs the package zstandard",
        "pip install 'logdrift[zstd]', or unpack it (zstd -d)",
    )
