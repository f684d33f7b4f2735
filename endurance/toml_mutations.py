"""Damage to a TOML file: another value, or a key that is missing, twice or unknown."""

from __future__ import annotations

import random
from pathlib import Path

VALUES = (
    "true",
    "0",
    "-1",
    "1e308",
    "nan",
    "-inf",
    "9223372036854775807",
    "99999999999999999999999999",
    '""',
    '"x"',
    '"\\u0000"',
    '"\\u001b[2J"',
    '"../../etc/passwd"',
    '"~nosuch/x"',
    f'"{"n" * 5000}"',
    "[]",
    "[1]",
    '["x", 1]',
    "[[]]",
    "{}",
    "{ x = 1 }",
    "1979-05-27",
    "1979-05-27T07:32:00Z",
    "[" * 400 + "]" * 400,
    "{ a = " * 60 + "1" + " }" * 60,
)
"""What may stand behind a key in the place of what belongs there."""


def other_value(path: Path, rng: random.Random) -> str:
    lines, at = _chosen(path, rng)
    key = lines[at].partition("=")[0]
    value = rng.choice(VALUES)
    lines[at] = f"{key}= {value}"
    _write(path, lines)
    return f"{key.strip()} = {value[:30]}"


def missing_key(path: Path, rng: random.Random) -> str:
    lines, at = _chosen(path, rng)
    line = lines.pop(at)
    _write(path, lines)
    return f"without {line}"


def line_twice(path: Path, rng: random.Random) -> str:
    lines = path.read_text("utf-8").splitlines()
    at = rng.randrange(len(lines))
    lines.insert(rng.randrange(len(lines) + 1), lines[at])
    _write(path, lines)
    return f"twice {lines[at]}"


def exchanged(path: Path, rng: random.Random) -> str:
    """Two keys with each other's values."""
    lines, one = _chosen(path, rng)
    _, two = _chosen(path, rng)
    first, _, a = lines[one].partition("=")
    second, _, b = lines[two].partition("=")
    lines[one] = f"{first}={b}"
    lines[two] = f"{second}={a}"
    _write(path, lines)
    return f"{first.strip()} and {second.strip()} exchanged"


def unknown_key(path: Path, rng: random.Random) -> str:
    lines, at = _chosen(path, rng)
    name = rng.choice(("nosuch", '""', '"a b"', "a.b.c", "__class__", "x" * 3000))
    lines.insert(at, f"{name} = 1")
    _write(path, lines)
    return f"{name[:20]} = 1"


def other_table(path: Path, rng: random.Random) -> str:
    lines = path.read_text("utf-8").splitlines()
    tables = [at for at, line in enumerate(lines) if line.startswith("[")]
    at = rng.choice(tables)
    name = rng.choice(("keys", "engines", "engines.x", "sampling", "backend", "a"))
    lines[at] = rng.choice((f"[{name}]", f"[[{name}]]"))
    _write(path, lines)
    return lines[at]


def _chosen(path: Path, rng: random.Random) -> tuple[list[str], int]:
    """The lines, and the place of one that gives a value."""
    lines = path.read_text("utf-8").splitlines()
    given = [at for at, line in enumerate(lines) if "=" in line]
    return lines, rng.choice(given)


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", "utf-8")


TOML = (
    *(other_value,) * 6,
    missing_key,
    line_twice,
    exchanged,
    unknown_key,
    other_table,
)
"""As often as each is chosen."""
