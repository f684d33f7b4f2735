"""JSON from texts that are JSON already: millions of numbers were formatted at once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def whole(values: Array) -> list[str]:
    """Whole numbers as JSON."""
    return [str(value) for value in values.tolist()]


def array_text(texts: Iterable[str]) -> str:
    """An array of values."""
    inside = ",".join(texts)
    return f"[{inside}]"


def object_text(entries: Mapping[str, str]) -> str:
    """An object of values by their keys."""
    parts = []
    for name, value in entries.items():
        key = json.dumps(name)
        parts.append(f"{key}:{value}")
    inside = ",".join(parts)
    return f"{{{inside}}}"


def table_text(texts: Sequence[str], shown: Sequence[bool], width: int) -> str:
    """An array of rows of ``width`` values where they are ``shown``, else null."""
    rows = []
    start = 0
    for is_shown in shown:
        row = "null"
        if is_shown:
            stop = start + width
            row = array_text(texts[start:stop])
            start = stop
        rows.append(row)
    return array_text(rows)


def runs_text(values: Iterable[str | None]) -> str:
    """An array of ``[value, how often it follows itself]``."""
    runs = []
    for value, same in itertools.groupby(values):
        count = sum(1 for _ in same)
        runs.append(json.dumps([value, count]))
    return array_text(runs)
