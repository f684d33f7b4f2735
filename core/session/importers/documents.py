"""JSON objects of a file: one a line, a stream of ``data:`` lines, one array, or one
object over many lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.session.files import open_regular, parse_json
from logdrift.core.session.importers.foreign import refuse_binary

_STREAM_FIELDS = (b"event:", b"id:", b"retry:", b":")
"""Lines of a stream of server-sent events that hold no data; a line with a colon alone
in front is a comment.
"""
_DONE = b"[DONE]"
_DATA = b"data:"


class NotJson(InputError):
    """A file or line that is no JSON at all."""


def documents(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of each object, those of arrays too. Raises InputError naming the
    line for anything else.
    """
    refuse_binary(path)
    try:
        with open(open_regular(path), "rb") as file:
            first = file.readline()
            alone = not file.read(1)
            file.seek(0)
            if (alone and not first.startswith(_DATA)) or _is_one_document(first):
                yield from _objects(_parsed(file.read(), str(path)), str(path))
                return
            for number, line in enumerate(file, 1):
                text = _payload(line)
                if text:
                    where = f"{path} line {number}"
                    yield from _objects(_parsed(text, where), where)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _is_one_document(first: bytes) -> bool:
    """Whether the first line is only the beginning of a value, so that the file as a
    whole is one.
    """
    text = _payload(first)
    return text[:1] in (b"{", b"[") and not _is_value(text)


def _is_value(text: bytes) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True


def _payload(line: bytes) -> bytes:
    """What a line holds: itself, or what stands behind ``data:``; nothing for the other
    lines of a stream.
    """
    text = line.strip()
    if text.startswith(_DATA):
        text = text.removeprefix(_DATA).strip()
    elif text.startswith(_STREAM_FIELDS):
        return b""
    return b"" if text == _DONE else text


def _parsed(text: bytes, where: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise NotJson(f"{where}: is not JSON: {error}") from None


def _objects(data: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(data, dict):
        yield where, data
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from _objects(item, f"{where} [{index}]")
    else:
        raise InputError(f"{where}: is {type(data).__name__}, not an object")
