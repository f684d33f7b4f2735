"""Every way in which one file of a session can be damaged."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.common import Fields
from tests.made_sessions import seal

Mutate = Callable[[Path, random.Random], str]
"""Damages one file, and says how."""


# ---- values that JSON may hold in the place of others


def _nested(depth: int) -> Any:
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
    _nested(40),
    _nested(400),
    {"a": _nested(60)},
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything within."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    for key in keys:
        yield value, key
        yield from _places(value[key])


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
    container, key = rng.choice(list(_places(data)))
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
    container, key = rng.choice(list(_places(data)))
    del container[key]
    write(data)
    return f"without {str(key)[:20]}"


def exchanged(path: Path, rng: random.Random) -> str:
    """Two values of one document in each other's place."""
    data, write = _json_of(path, rng)
    places = list(_places(data))
    (a, x), (b, y) = rng.choice(places), rng.choice(places)
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
    inner, _ = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    path.write_bytes(inner * depth)
    return f"{depth} levels"


def deep_value(path: Path, rng: random.Random) -> str:
    """A value that is valid JSON, nested deeply, under a key that is there."""
    data, write = _json_of(path, rng)
    container, key = rng.choice(list(_places(data)))
    depth = rng.choice((47, 49, 100, 300))
    container[key] = _nested(depth)
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


# ---- bytes


def bit(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    at = rng.randrange(8 * len(data))
    data[at // 8] ^= 1 << at % 8
    path.write_bytes(data)
    return f"bit {at}"


def some_bytes(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    data[at : at + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(12))
    path.write_bytes(data)
    return f"bytes at {at}"


def not_utf8(path: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    at = rng.randrange(len(data))
    path.write_bytes(
        data[:at] + rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0")) + data[at:]
    )
    return f"a byte at {at}"


def cut(path: Path, rng: random.Random) -> str:
    size = rng.choice((0, 1, 7, 8, 9, rng.randrange(path.stat().st_size + 1)))
    os.truncate(path, min(size, path.stat().st_size))
    return f"cut to {size}"


def longer(path: Path, rng: random.Random) -> str:
    with open(path, "ab") as file:
        file.write(rng.choice((b"\0" * 100, b"}", b"\n{", rng.randbytes(50))))
    return "longer"


def huge(path: Path, rng: random.Random) -> str:
    """A file that says that it has gigabytes, and takes none of the disk."""
    os.truncate(path, rng.choice((1 << 29, 1 << 33)))
    return "gigabytes of nothing"


def other_file(path: Path, rng: random.Random) -> str:
    root = next(folder for folder in path.parents if (folder / "session.json").exists())
    files = [
        file for file in sorted(root.rglob("*")) if file.is_file() and file != path
    ]
    chosen = rng.choice(files)
    path.write_bytes(chosen.read_bytes())
    return f"is now {chosen.name}"


# ---- something else than a file


def pipe(path: Path, rng: random.Random) -> str:
    path.unlink()
    os.mkfifo(path)
    return "a pipe"


def folder_instead(path: Path, rng: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return "a folder"


def socket_instead(path: Path, rng: random.Random) -> str:
    path.unlink()
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # the names of sockets are short
        try:
            made.bind(path.name[:90])
        finally:
            os.chdir(here)
    return "a socket"


def link(path: Path, rng: random.Random) -> str:
    target = rng.choice(
        (
            "/dev/zero",
            "/dev/full",
            "/dev/null",
            "/dev/tty",
            "/dev/stdin",
            "/etc/passwd",
            "/proc/self/mem",
            "/nowhere",
            path.name,
        )
    )
    path.unlink()
    path.symlink_to(target)
    return f"a link to {target}"


def gone(path: Path, rng: random.Random) -> str:
    path.unlink()
    return "gone"


def folder_above_is_a_file(path: Path, rng: random.Random) -> str:
    if (path.parent / "session.json").exists():
        return gone(path, rng)
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"x")
    return "its folder is a file"


# ---- tensors


def _split(path: Path) -> tuple[Fields, bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(path: Path, header: Any, data: bytes, length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(
        (len(text) if length is None else length).to_bytes(8, "little") + text + data
    )
    _seal(path)


def _seal(path: Path) -> None:
    """Make the digest that of the damaged file, where it is a part: what is behind the
    digest is tested too.
    """
    root = next(folder for folder in path.parents if (folder / "session.json").exists())
    with contextlib.suppress(Exception):
        seal(root)


def header_value(path: Path, rng: random.Random) -> str:
    header, data = _split(path)
    container, key = rng.choice(list(_places(header)))
    value = rng.choice(
        (
            *VALUES,
            "F64",
            "F16",
            "BF16",
            "I8",
            "U8",
            [0, 4],
            [4, 0],
            [-4, 0],
            [2**40, 2**40],
            [2**62] * 9,
        )
    )
    container[key] = value
    _joined(path, header, data)
    return f"header {str(key)[:20]} = {str(value)[:30]!r}"


def offsets(path: Path, rng: random.Random) -> str:
    header, data = _split(path)
    names = [name for name in header if name != "__metadata__"]
    one = rng.choice(names)
    two = rng.choice(names)
    kind = rng.choice(("same", "moved", "beyond", "wide", "gone"))
    if kind == "same":
        header[one] = dict(header[two])
    elif kind == "moved":
        header[one]["data_offsets"] = [
            n + rng.choice((-4, 4, 1)) for n in header[one]["data_offsets"]
        ]
    elif kind == "beyond":
        header[one]["data_offsets"] = [
            n + len(data) for n in header[one]["data_offsets"]
        ]
    elif kind == "wide":
        header[one]["shape"] = [2**20, 2**20]
        header[one]["data_offsets"] = [0, 2**42]
    else:
        del header[one]
    _joined(path, header, data)
    return f"offsets {kind}"


def header_bytes(path: Path, rng: random.Random) -> str:
    header, data = _split(path)
    kind = rng.choice(("deep", "length", "enormous", "list", "twice"))
    text = json.dumps(header).encode()
    if kind == "deep":
        _joined(path, b'{"a":' * 20_000, data)
    elif kind == "length":
        _joined(
            path,
            header,
            data,
            rng.choice((0, 1, 2**20, 2**31, 2**63, 2**64 - 1, len(text) - 1)),
        )
    elif kind == "enormous":
        _joined(path, text + b" " * (3 << 20), data)
    elif kind == "list":
        _joined(path, rng.choice((b"[]", b"null", b"1", b"{}", b'""')), data)
    else:
        _joined(path, b'{"logprob": 1, ' + text[1:], data)
    return f"header {kind}"


def tensor_values(path: Path, rng: random.Random) -> str:
    """Other numbers, with a digest that fits them: a session that was made so."""
    header, data = _split(path)
    name = rng.choice([name for name in header if name != "__metadata__"])
    start, stop = header[name]["data_offsets"]
    code = {
        "F32": np.float32,
        "F64": np.float64,
        "I32": np.int32,
        "I64": np.int64,
        "U8": np.uint8,
    }[header[name]["dtype"]]
    values = np.frombuffer(data[start:stop], code).copy()
    if not len(values):
        return "nothing"
    floats = (np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, -3.4e38, 1e-40, 5.0, -1e4)
    whole = (0, 1, -1, 2, 255, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
    at = np.array(
        [rng.randrange(len(values)) for _ in range(rng.choice((1, 1, 3, 40)))]
    )
    if values.dtype.kind == "f":
        values[at] = rng.choice(floats)
    else:
        info = np.iinfo(values.dtype)
        values[at] = rng.choice([n for n in whole if info.min <= n <= info.max])
    _joined(path, header, data[:start] + values.tobytes() + data[stop:])
    return f"values of {name}"


_JSON: tuple[Mutate, ...] = (
    other_value,
    other_value,
    other_value,
    other_value,
    other_document,
    missing_key,
    exchanged,
    twice_given,
    deep,
    deep_value,
    long_number,
)


_TENSORS: tuple[Mutate, ...] = (
    header_value,
    offsets,
    header_bytes,
    tensor_values,
    tensor_values,
)


_BYTES: tuple[Mutate, ...] = (bit, some_bytes, not_utf8, cut, longer, huge, other_file)


_KINDS: tuple[Mutate, ...] = (
    pipe,
    folder_instead,
    socket_instead,
    link,
    gone,
    folder_above_is_a_file,
)


def _weight(path: Path) -> int:
    """How often a file is damaged: the manifest and what is found out later have the
    most to be wrong, and are few.
    """
    if path.name == "session.json":
        return 6
    return 3 if path.suffix in (".json", ".jsonl") else 1


def mutate(session: Path, rng: random.Random) -> str:
    """Damage one file of a session; how."""
    files = [path for path in sorted(session.rglob("*")) if path.is_file()]
    path = rng.choices(files, [_weight(path) for path in files])[0]
    if path.suffix in (".json", ".jsonl") or path.name == "lock":
        kinds = rng.choices((_JSON, _BYTES, _KINDS), (6, 2, 1))[0]
    elif path.suffix == ".safetensors":
        kinds = rng.choices((_TENSORS, _BYTES, _KINDS), (6, 2, 1))[0]
    else:
        kinds = rng.choice((_BYTES, _KINDS))
    chosen = rng.choice(kinds)
    return f"{path.relative_to(session)}: {chosen.__name__}: {chosen(path, rng)}"
