"""JSON values, whatever they are: flat with dotted names, compared with each other, and
as short text.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TEXT_LIMIT = 60
"""Characters of a text that are shown: two of them and a name fit into two lines of 80
columns.
"""
LIST_LIMIT = 6
"""Entries of a list that are shown."""
KEPT_TEXT = 2_000
KEPT_ENTRIES = 2_000
KEPT_DEPTH = 16
"""What `bounded` keeps of a text, a list or mapping, and of nesting: far above any
config of a released model.
"""


_EXACT = 2.0**53
"""Integers below it are exact as float64, so that 1000000.0 may be written as 1000000.
"""


def flatten(table: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``, at any depth and in the same order.

    An empty mapping is a value of its own. A name with a dot in it is quoted, so that
    no two entries share a name.
    """
    return dict(_entries(table))


def _entries(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    # A stack and not recursion: a file of a stranger may be nested deeper than Python
    # calls.
    waiting = [("", iter(table.items()))]
    while waiting:
        prefix, entries = waiting[-1]
        for key, value in entries:
            name = prefix + _quoted(str(key))
            if isinstance(value, Mapping) and value:
                waiting.append((f"{name}.", iter(value.items())))
                break
            yield name, value
        else:
            waiting.pop()


def _quoted(key: str) -> str:
    if "." in key or '"' in key or not key:
        return json.dumps(key)
    return key


def bounded(value: Any, depth: int = KEPT_DEPTH) -> Any:
    """``value`` as JSON of limited size; what is not JSON becomes its text, and what is
    left out is counted in its place.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # JSON has no NaN and no infinity.
        if math.isfinite(value):
            return value
        return str(value)
    if isinstance(value, Mapping):
        return _bounded_mapping(value, depth)
    if isinstance(value, set | frozenset):
        return bounded(sorted(value, key=str), depth)
    if _is_list(value):
        return _bounded_list(value, depth)
    text = str(value)
    if len(text) <= KEPT_TEXT:
        return text
    return f"{text[:KEPT_TEXT]}… ({len(text):,} characters)"


def _bounded_mapping(table: Mapping[Any, Any], depth: int) -> Any:
    if not depth:
        return f"… ({len(table):,} entries)"
    kept: dict[str, Any] = {}
    for key, value in itertools.islice(table.items(), KEPT_ENTRIES):
        kept[str(key)] = bounded(value, depth - 1)
    more = len(table) - KEPT_ENTRIES
    if more > 0:
        kept["…"] = f"{more:,} more entries"
    return kept


def _bounded_list(values: Sequence[Any], depth: int) -> Any:
    if not depth:
        return f"… ({len(values):,} entries)"
    kept = [bounded(value, depth - 1) for value in values[:KEPT_ENTRIES]]
    more = len(values) - KEPT_ENTRIES
    if more > 0:
        kept.append(f"… {more:,} more entries")
    return kept


def alike(a: Any, b: Any) -> bool:
    """Whether two JSON values are the same: 1 is 1.0, true is not 1, and NaN is NaN."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if _is_nan(a) and _is_nan(b):
        return True
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            return False
        return all(alike(value, b[key]) for key, value in a.items())
    if _is_list(a) and _is_list(b):
        if len(a) != len(b):
            return False
        return all(map(alike, a, b))
    return bool(a == b)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def shown(value: Any) -> str:
    """``value`` on one short line, spelled as in JSON; text stands without quotes, and
    what is cut off is counted.
    """
    if isinstance(value, str):
        return _cut(value)
    if _is_list(value):
        return _list(value)
    return _cut(_spelled(value))


def _list(values: Sequence[Any]) -> str:
    entries = [_cut(_spelled(value)) for value in values[:LIST_LIMIT]]
    more = len(values) - len(entries)
    if more:
        entries.append(f"… {more:,} more")
    return f"[{', '.join(entries)}]"


def _spelled(value: Any) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    if is_whole and abs(value) < _EXACT:
        return str(int(value))
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} nested too deep to show"


def _cut(text: str) -> str:
    if len(text) <= TEXT_LIMIT:
        return text
    return f"{text[:TEXT_LIMIT]}… ({len(text):,} characters)"


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
