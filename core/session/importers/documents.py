"""JSON objects of a file: one a line, a stream of ``data:`` lines, one array, or one
object over many lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.bad_lines import BadLines
from logdrift.core.session.importers.binary import refuse_binary
from logdrift.core.session.importers.compressed import open_text
from logdrift.core.session.importers.elements import Element, ListReader
from logdrift.core.session.importers.json_library import parse_line, parse_together
from logdrift.core.session.importers.outer_form import (
    is_one_document,
    list_within,
    payload,
)
from logdrift.core.session.importers.place import in_file, list_item, on_line
from logdrift.core.session.importers.records import ImportContext, Record, Records
from logdrift.core.session.importers.text_lines import text_lines, whole_text

Document = tuple[Place, dict[str, Any]]
"""Where a JSON object stands, and the object."""
Documents = Iterator[Document]
RecordsOfLine = Callable[[Place, JsonObject, ImportContext], Iterable[Record]]
"""What one line holds; what it says of backends is added to the context. Raises
InputError.
"""


_MOST_LISTS = 4
"""Lists around an object: no server's answer has more than two."""
_TOGETHER = 1 << 15
"""Bytes of lines that are parsed at once."""


class NotJson(InputError):
    """A file or line that is no JSON at all; ``at_end``: the last line, without an
    end.
    """

    at_end = False


def read_lines(path: Path, bad: BadLines, torn_end: bool = False) -> Documents:
    """Place and object of each line of a JSONL file that is not blank. Raises
    InputError naming the line, unless ``bad`` lines are left out.

    The file may be compressed. Where ``torn_end`` is True a last line that
    was not written to its end raises NotJson even so.
    """
    refuse_binary(path)
    try:
        for number, line in enumerate(_lines_of(path), 1):
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


def _lines_of(path: Path) -> Iterator[bytes]:
    with open_text(path) as file:
        yield from text_lines(file, in_file(path))


def _last_line(line: bytes, place: Place) -> Document:
    """A line that may be torn."""
    try:
        data = _parsed(line, place)
    except NotJson as error:
        error.at_end = True
        raise
    return place, object_of(data, place)


def _has_error(data: JsonObject) -> bool:
    return bool(data.get("error"))


def documents(
    path: Path,
    bad: BadLines | None = None,
    lists: Sequence[str] = (),
    says_more: Callable[[JsonObject], bool] = _has_error,
) -> Documents:
    """Place and object of each object, those of arrays too; in place of a whole object
    those of the first list that it has under one of the keys ``lists``, and then itself
    with an empty list there, where it ``says_more``. An array or such a list takes the
    memory of its longest element. Raises InputError naming the line for anything else,
    unless ``bad`` lines are left out.
    """
    if bad is None:
        bad = BadLines()
    refuse_binary(path)
    try:
        with open_text(path) as file:
            if is_one_document(file, in_file(path)):
                yield from _of_one(file, path, bad, lists, says_more)
                return
            for lines in _together(file, in_file(path)):
                yield from _of_lines(lines, path, bad)
    except OSError as error:
        raise in_file(path).error(f"cannot be read: {error.strerror}") from None


class _TextLine(NamedTuple):
    """A line with text, its number counted from 1."""

    number: int
    text: bytes


def _together(file: BinaryIO, whole: Place) -> Iterator[list[_TextLine]]:
    """Lines that are parsed at once: the chunks of a stream are short."""
    lines = []
    size = 0
    for number, line in enumerate(text_lines(file, whole), 1):
        text = payload(line)
        if not text:
            continue
        lines.append(_TextLine(number, text))
        size += len(text)
        if size >= _TOGETHER:
            yield lines
            lines = []
            size = 0
    yield lines


def _of_lines(lines: Sequence[_TextLine], path: Path, bad: BadLines) -> Documents:
    values = parse_together([line.text for line in lines])
    if values is not None:
        values.reverse()
    for number, text in lines:
        place = on_line(path, number)
        with bad.left_out():
            if values is None:
                value = _parsed(text, place)
            else:
                value = values.pop()
            if isinstance(value, dict):
                yield place, value
            else:
                yield from _objects(value, place, bad)


def _of_one(
    file: BinaryIO,
    path: Path,
    bad: BadLines,
    lists: Sequence[str],
    says_more: Callable[[JsonObject], bool],
) -> Documents:
    """The objects of a file that is one value."""
    around = list_within(file, lists)
    if around is None:
        whole = in_file(path)
        text = whole_text(file, whole)
        yield from _objects(_parsed(text, whole), whole, bad)
        return
    first_line = 1 + around.count(b"\n")
    elements = ListReader(file, in_file(path), first_line)
    with bad.left_out():
        numbered = enumerate(_whole_list(elements, path))
        for index, element in numbered:
            place = _place_of(element, index, path)
            with bad.left_out():
                yield from _objects(_parsed(element.text, place), place, bad)
        data = _around(around + b"[]" + elements.behind, path)
        if isinstance(data, dict) and says_more(data):
            yield in_file(path), data


def _whole_list(elements: ListReader, path: Path) -> Iterator[Element]:
    """The elements of a list. Raises NotJson where it is not whole."""
    try:
        yield from elements
    except ValueError as error:
        raise _not_json(error, in_file(path)) from None


def _around(text: bytes, path: Path) -> Any:
    """What stands around a list, an empty one in its place. Raises NotJson where it is
    not whole.
    """
    try:
        return parse_line(text)
    except ValueError:
        error = ValueError("what stands around its list is not whole")
        raise _not_json(error, in_file(path)) from None


def _place_of(element: Element, index: int, path: Path) -> Place:
    """Where an element stands; on the first line its number alone tells."""
    whole = in_file(path)
    if element.line > 1:
        whole = on_line(path, element.line)
    return list_item(whole, index)


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


def _parsed(text: bytes, place: Place) -> Any:
    try:
        return parse_line(text)
    except ValueError as error:
        raise _not_json(error, place) from None


def _not_json(error: ValueError, place: Place) -> NotJson:
    return NotJson(
        f"is not JSON: {_fault(error, place)}",
        where=place.words,
        file=place.file,
        line=place.line,
    )


def _fault(error: ValueError, place: Place) -> str:
    """What is wrong; of a line, at which of its characters. A value that begins on this
    line may go on over others.
    """
    if place.line is None or not isinstance(error, json.JSONDecodeError):
        return str(error)
    is_on_one_line = "\n" not in error.doc.rstrip()
    if is_on_one_line or error.lineno == 1:
        return f"{error.msg} at character {error.pos + 1}"
    line = place.line + error.lineno - 1
    return f"{error.msg} in line {line} at character {error.colno}"


def _objects(
    data: Any, place: Place, bad: BadLines, levels: int = _MOST_LISTS
) -> Documents:
    """The objects of a value; items that are none are bad, each for itself."""
    if not isinstance(data, list):
        yield place, object_of(data, place)
        return
    if not levels:
        raise place.error(f"is a list in more than {_MOST_LISTS} lists")
    for index, item in enumerate(data):
        there = list_item(place, index)
        with bad.left_out():
            yield from _objects(item, there, bad, levels - 1)
