"""Damage to a file of JSON, or of an object a line: what is said is of another kind."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    7,
    2**31,
    2**63,
    10**30,
    -(10**30),
    0.5,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "y" * 5000,
    "../../etc/passwd",
    "/etc/passwd",
    "../../secret/file",
    "captures/../../../secret/file",
    "a\0b",
    "n" * 300,
    "\ud800",
    "\x1b]0;t\x07",
    "null",
    [],
    [1],
    ["x"],
    [None],
    [[]],
    {},
    {"x": 1},
    {"": None},
    nested(40),
    nested(400),
    {"a": nested(60)},
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything within."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    for key in keys:
        yield value, key
        yield from places(value[key])


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(json.dumps(value).encode("utf-8", "surrogatepass"))


def _json_of(path: Path, rng: random.Random) -> tuple[Any, Callable[[Any], None]]:
    """What a file holds, a line of it where it has one object a line, and how to write
    that again.
    """
    if path.suffix != ".jsonl":
        return json.loads(path.read_bytes()), lambda value: _write_json(path, value)
    lines = path.read_bytes().splitlines()
    at = rng.randrange(len(lines))

    def write(value: Any) -> None:
        lines[at] = json.dumps(value).encode()
        path.write_bytes(b"\n".join(lines) + b"\n")

    return json.loads(lines[at]), write


def other_value(path: Path, rng: random.Random) -> str:
    data, write = _json_of(path, rng)
    container, key = rng.choice(list(places(data)))
    value = rng.choice(VALUES)
    container[key] = value
    write(data)
    return f"{str(key)[:20]} = {str(value)[:30]!r}"


def other_document(path: Path, rng: random.Random) -> str:
    value = rng.choice(VALUES)
    _write_json(path, value)
    return f"the whole = {str(value)[:30]!r}"


def missing_key(path: Path, rng: random.Random) -> str:
    data, write = _json_of(path, rng)
    container, key = rng.choice(list(places(data)))
    del container[key]
    write(data)
    return f"without {str(key)[:20]}"


def exchanged(path: Path, rng: random.Random) -> str:
    """Two values of one document in each other's place."""
    data, write = _json_of(path, rng)
    found = list(places(data))
    (a, x), (b, y) = rng.choice(found), rng.choice(found)
    with contextlib.suppress(KeyError, IndexError):
        one, two = json.loads(json.dumps([a[x], b[y]]))
        a[x], b[y] = two, one
    write(data)
    return f"{str(x)[:20]} and {str(y)[:20]} exchanged"


def twice_given(path: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    at = data.find(b'"', rng.randrange(max(1, len(data) - 1)))
    end = data.find(b'"', at + 1)
    path.write_bytes(
        data[:1]
        + data[at : end + 1]
        + b": 1, "
        + data[at : end + 1]
        + b": 2, "
        + data[1:]
    )
    return "a key given twice"


def deep(path: Path, rng: random.Random) -> str:
    depth = rng.choice((50, 300, 990, 5000, 200_000))
    inner, outer = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    closed = rng.choice((0, depth))
    path.write_bytes(inner * depth + b"1" + outer * closed)
    return f"{depth} levels"


def deep_value(path: Path, rng: random.Random) -> str:
    """A value that is valid JSON, nested deeply, under a key that is there."""
    data, write = _json_of(path, rng)
    container, key = rng.choice(list(places(data)))
    depth = rng.choice((47, 49, 100, 300))
    container[key] = nested(depth)
    write(data)
    return f"{str(key)[:20]}: {depth} levels"


def long_number(path: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    at = next(
        (
            i
            for i in range(rng.randrange(len(data)), len(data))
            if data[i : i + 1].isdigit()
        ),
        len(data) - 1,
    )
    path.write_bytes(data[:at] + b"9" * rng.choice((30, 400, 6000)) + data[at:])
    return "a number of many digits"


def newer(path: Path, rng: random.Random) -> str:
    """A format that only a later logdrift knows."""
    data, write = _json_of(path, rng)
    if not isinstance(data, dict):
        return missing_key(path, rng)
    key = rng.choice(("format", "schema", "version"))
    value = rng.choice((2, 99, 2**70))
    data[key] = value
    write(data)
    return f"{key} {value}"


JSON = (
    *(other_value,) * 8,
    other_document,
    missing_key,
    missing_key,
    exchanged,
    exchanged,
    twice_given,
    deep,
    deep_value,
    long_number,
    newer,
)
"""As often as each is chosen."""
