"""Damage to a safetensors file whose digest fits again: what stands behind the digest
is tested too, as a session that somebody made so.
"""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from endurance.json_mutations import VALUES, places
from tests.common import Fields
from tests.made_sessions import seal


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
    container, key = rng.choice(list(places(header)))
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


TENSORS = (header_value, offsets, header_bytes, tensor_values, tensor_values)
