"""How files are read: regular files alone, at most a given size, and strict JSON.

A session may come from anywhere. A pipe in the place of a file would be waited for
without end, a device has no size, and a file of some gigabytes where a few lines are
expected would fill the memory.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError

AnyPath = Path | str
JsonObject = Mapping[str, Any]
"""An object of a JSON file: its values by their keys."""
JsonList = Sequence[Any]
"""A list of a JSON file, with whatever entries."""

MANIFEST_BYTES = 256 << 20
"""Of session.json. A capture of a million sequences in parts of eight lists 125,000
files, 30 MB each capture.
"""
PIECES_BYTES = 256 << 20
"""Of pieces.json: the largest vocabularies have 300,000 entries of some 30 bytes."""
EVENTS_BYTES = 256 << 20
RECORD_BYTES = 16 << 20
"""Of what is found out later (``why/``): one entry a tensor, or one a layer."""
SMALL_BYTES = 1 << 20
"""Of what a person or one process writes: a lock, a saved view, a config file, a plan.
"""

RESTORE = "copy it again; if you changed it on purpose, delete its last entry"
"""What mends a file that is not what its own digest says."""
_LONGEST_ENTRY = 100
"""Bytes of the entry with the digest, and some more."""
_SHORT = 1 << 18
"""Bytes that Python's own SHA-256 takes 1 ms for."""
_OWN_SHA256 = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
_BLOCK = 1 << 20
_READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
DIGEST = "digest"
NO_ID = "00"
"""The entry of a file's own digest: the second one where entries are ids of tokens, for
older versions take no other key there.
"""


class OtherDigest(ValueError):
    """A JSON file with a digest of its own is not what was written."""

    def __init__(self) -> None:
        super().__init__("its digest is not that of its content")


def open_regular(path: AnyPath) -> int:
    """A descriptor to read a regular file with. It does not wait, even for a pipe.

    Raises FileNotFoundError and NotADirectoryError as they are; InputError in one line
    for all else that is not a file.
    """
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise InputError("is a socket or a device, not a file", file=path) from None
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    except ValueError:  # a NUL, or half of a surrogate pair
        raise InputError("no file has such a name", file=path) from None
    mode = os.fstat(descriptor).st_mode
    kind = stat.S_IFMT(mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        name = _KINDS.get(kind, "something else")
        raise InputError(f"is {name}, not a file", file=path)
    return descriptor


def lies_within(path: Path, folder: Path) -> bool:
    """Whether a path leads into a folder, links followed. Unlike `Path.resolve` it
    does not raise for links in a circle.
    """
    target = Path(os.path.realpath(path))
    real_folder = os.path.realpath(folder)
    return target.is_relative_to(real_folder)


def read_file(path: AnyPath, most: int) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes; what is added meanwhile is
    left out.

    Raises FileNotFoundError, NotADirectoryError, or InputError in one line.
    """
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > most:
            raise InputError(
                f"has {size:,} bytes, at most {most:,} are expected", file=path
            )
        return _read(descriptor, 0, size)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    finally:
        os.close(descriptor)


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """The table of a small TOML file; ``kind``, such as ``plan``, heads its errors.

    Raises FileNotFoundError, NotADirectoryError, or InputError in one line.
    """
    try:
        content = read_file(path, SMALL_BYTES)
    except InputError as error:
        raise InputError(f"{kind} {error}") from None
    import tomllib  # only where there is a file; Python 3.10, of workers, lacks it

    try:
        text = content.decode("utf-8")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not UTF-8, not TOML, or nested too deeply.
        raise InputError(
            f"not valid TOML: {error}", where=f"{kind} {path}", file=path
        ) from None


def read_tail(path: AnyPath, most: int) -> bytes:
    """The last ``most`` bytes of a regular file, or all of it. Raises as `read_file`
    does.
    """
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        start = max(0, size - most)
        return _read(descriptor, start, size - start)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    finally:
        os.close(descriptor)


def read_json(path: AnyPath, most: int, *, flat: bool = False) -> Any:
    """What a JSON file of at most ``most`` bytes holds. Raises FileNotFoundError,
    NotADirectoryError, or InputError.

    ``flat``: it should be one large object of texts, which is then read in a fifth of
    the time.
    """
    data = read_file(path, most)
    try:
        if flat:
            return _flat(data)
        return parse_json(data)
    except OtherDigest as error:
        raise InputError(f"is damaged: {error}", file=path, remedy=RESTORE) from None
    except ValueError as error:
        raise InputError(f"is not JSON: {error}", file=path) from None


def parse_json(data: bytes) -> Any:
    """JSON in UTF-8 without repeated keys. Raises ValueError in a few words, also for
    what is nested too deeply, and `OtherDigest`.
    """
    _check_digest(data)
    try:
        text = data.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def sealed(data: JsonObject, indent: int | None = 1) -> bytes:
    """An object as a JSON file of logdrift, with its own digest."""
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    content = text.encode("utf-8", "backslashreplace")
    return with_digest(content)


def with_digest(content: bytes, name: str = DIGEST) -> bytes:
    """A JSON object that has entries, and as its last one, ``name``, the SHA-256 of all
    bytes before that: else a flipped bit would be shown as another number.
    """
    body = content.removesuffix(b"}").rstrip()
    return body + _last_entry(name, body)


def _last_entry(name: str, body: bytes) -> bytes:
    return f',\n "{name}": "sha256:{_sha256(body)}"\n}}'.encode()


def _sha256(data: bytes) -> str:
    """Python's own code does for a short text: `hashlib` brings OpenSSL, for which a
    start of the explorer would wait 1.2 ms.
    """
    if len(data) < _SHORT:
        with contextlib.suppress(ImportError):
            own = importlib.import_module(_OWN_SHA256)
            return str(own.sha256(data).hexdigest())
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _check_digest(data: bytes) -> None:
    """Raise `OtherDigest` for a file with a digest of its own that was changed since.
    What another program has written again, in its own layout, counts as without one.
    """
    start = data.rfind(b",\n", -_LONGEST_ENTRY)
    body = data[:start]
    last = data[start:]
    for name in (DIGEST, NO_ID):
        if last.startswith(f',\n "{name}": "sha256:'.encode()):
            _compare(last, _last_entry(name, body))


def _compare(last: bytes, expected: bytes) -> None:
    is_whole = len(last) == len(expected) and last.endswith(b'"\n}')
    if is_whole and last != expected:
        raise OtherDigest


def _flat(data: bytes) -> Any:
    """What `parse_json` gives, faster for a large object of texts.

    Where no text has a quote in it, such an object has four quotes for each of its
    keys. Where the number is another one, the file is read again key by key.
    """
    _check_digest(data)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return parse_json(data)
    is_plain = isinstance(value, dict) and data.isascii()
    if is_plain:
        quotes = data.count(b'"')
        if quotes == 4 * len(value):
            return value
    return parse_json(data)


def _object(pairs: Sequence[tuple[str, Any]]) -> JsonObject:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name[:40]!r} is given twice")
    return value


def _read(descriptor: int, start: int, size: int) -> bytes:
    """``size`` bytes from ``start`` on; fewer where the file has become shorter."""
    blocks = []
    while size > 0:
        most = min(size, _BLOCK)
        block = os.pread(descriptor, most, start)
        if not block:
            break
        blocks.append(block)
        start += len(block)
        size -= len(block)
    return b"".join(blocks)
