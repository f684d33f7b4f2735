"""Where something stands in a file that is imported: `logdrift.core.errors.Place` of
files, lines and what is in them.
"""

from __future__ import annotations

import os

from logdrift.core.errors import Place

FilePath = str | os.PathLike[str]


def in_file(path: FilePath) -> Place:
    """A file as a whole."""
    file = os.fspath(path)
    return Place(file, file=file)


def on_line(path: FilePath, number: int) -> Place:
    """A line of a file, counted from 1."""
    file = os.fspath(path)
    words = f"{file} line {number}"
    return Place(words, file=file, line=number)


def under_key(place: Place, key: str) -> Place:
    """Something with a name in this place: ``dump.jsonl line 3: captures.trainer``."""
    return place._replace(words=f"{place.words}: {key}")


def list_item(place: Place, index: int) -> Place:
    """An item of a list in this place, from 0: ``answers.json [2]``."""
    return place._replace(words=f"{place.words} [{index}]")
