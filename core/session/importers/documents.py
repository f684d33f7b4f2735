"""JSON objects of a file: one a line, a stream of ``data:`` lines, one array, or one
object over many lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import JsonObject, open_regular
from logdrift.core.session.importers.bad_lines import BadLines
from logdrift.core.session.importers.binary import refuse_binary
from logdrift.core.session.importers.compressed import is_zstd, lines_of
from logdrift.core.session.importers.json_library import parse_line
from logdrift.core.session.importers.place import in_file, list_item, on_line
from logdrift.core.session.importers.records import ImportContext, Record, Records
from logdrift.core.session.importers.text_lines import (
    text_line,
    text_lines,
    whole_text,
)

Document = tuple[Place, dict[str, Any]]
"""Where a JSON object stands, and the object."""
Documents = Iterator[Document]
RecordsOfLine = Callable[[Place, JsonObject, ImportContext], Iterable[Record]]
"""What one line holds; what it says of backends is added to the context. Raises
InputError.
"""
_STREAM_FIELDS = (b"event:", b"id:", b"retry:", b":")
"""Lines of a stream of server-sent events that hold no data; a line with a colon alone
in front is a comment.
"""
_DONE = b"[DONE]"
_DATA = b"data:"
_MOST_LISTS = 4
"""Lists around an object: no server's answer has more than two."""


class NotJson(InputError):
    """A file or line that is no JSON at all; ``at_end``: the last line, without an
    end.
    """

    at_end = False


def read_lines(path: Path, bad: BadLines, torn_end: bool = False) -> Documents:
    """Place and object of each line of a JSONL file that is not blank. Raises
    InputError naming the line, unless ``bad`` lines are left out.

    The file may be compressed with zstd. Where ``torn_end`` is True a last line that
    was not written to its end raises NotJson even so.
    """
    if not is_zstd(path):
        refuse_binary(path)
    try:
        for number, line in enumerate(lines_of(path), 1):
            if not line.strip():
                continue
            place = on_line(path, number)
            if torn_end and not line.endswith(b"\n"):
                yield _last_line(line, place)
                return
            with bad.left_out():
                data = _parsed(line, place)
                yield place, object_of(data, place)
    except OSError as error:
        raise in_file(path).error(f"cannot be read: {error.strerror}") from None


def _last_line(line: bytes, place: Place) -> Document:
    """A line that may be torn."""
    try:
        data = _parsed(line, place)
    except NotJson as error:
        error.at_end = True
        raise
    return place, object_of(data, place)


def documents(path: Path, bad: BadLines | None = None) -> Documents:
    """Place and object of each object, those of arrays too. Raises InputError naming
    the line for anything else, unless ``bad`` lines are left out.
    """
    if bad is None:
        bad = BadLines()
    refuse_binary(path)
    try:
        descriptor = open_regular(path)
        with open(descriptor, "rb") as file:
            whole = in_file(path)
            if _is_one_document(file, whole):
                data = _parsed(whole_text(file, whole), whole)
                yield from _objects(data, whole)
                return
            for number, line in enumerate(text_lines(file, whole), 1):
                text = _payload(line)
                if not text:
                    continue
                place = on_line(path, number)
                with bad.left_out():
                    data = _parsed(text, place)
                    yield from _objects(data, place)
    except OSError as error:
        raise in_file(path).error(f"cannot be read: {error.strerror}") from None


def records_of_lines(
    path: Path, context: ImportContext, records: RecordsOfLine
) -> Records:
    """The records of each line of a JSONL file. Raises InputError naming the line."""
    for place, data in read_lines(path, context.bad):
        made: list[Record] = []
        with context.one_line():
            made += records(place, data, context)
        yield from made


def object_of(data: Any, place: Place) -> dict[str, Any]:
    """``data`` itself. Raises InputError where it is no object."""
    if not isinstance(data, dict):
        raise place.error(f"is {type(data).__name__}, not an object")
    return data


def _is_one_document(file: BinaryIO, place: Place) -> bool:
    """Whether the file as a whole is one value: it has a single line, or its first one
    is only the beginning of a value. The file is then at its start again.
    """
    first = text_line(file, place)
    single = not file.read(1)
    file.seek(0)
    if single and not first.startswith(_DATA):
        return True
    text = _payload(first)
    begins_value = text.startswith((b"{", b"["))
    return begins_value and not _is_value(text)


def _is_value(text: bytes) -> bool:
    try:
        parse_line(text)
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
    if text == _DONE:
        return b""
    return text


def _parsed(text: bytes, place: Place) -> Any:
    try:
        return parse_line(text)
    except ValueError as error:
        raise NotJson(
            f"is not JSON: {_fault(error, place)}",
            where=place.words,
            file=place.file,
            line=place.line,
        ) from None


def _fault(error: ValueError, place: Place) -> str:
    """What is wrong; of a line, at which of its characters."""
    is_in_line = place.line is not None
    if is_in_line and isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return str(error)


def _objects(data: Any, place: Place, levels: int = _MOST_LISTS) -> Documents:
    if not isinstance(data, list):
        yield place, object_of(data, place)
        return
    if not levels:
        raise place.error(f"is a list in more than {_MOST_LISTS} lists")
    for index, item in enumerate(data):
        there = list_item(place, index)
        yield from _objects(item, there, levels - 1)
