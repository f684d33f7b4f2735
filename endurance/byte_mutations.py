"""Damage to the bytes of any file, and what is no file in its place."""

from __future__ import annotations

import os
import random
import shutil
import socket
from pathlib import Path


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
    chosen = _another(path, rng)
    path.write_bytes(chosen.read_bytes())
    return f"is now {chosen.name}"


def two_exchanged(path: Path, rng: random.Random) -> str:
    """Two files in each other's place."""
    chosen = _another(path, rng)
    own = path.read_bytes()
    path.write_bytes(chosen.read_bytes())
    chosen.write_bytes(own)
    return f"and {chosen.name} exchanged"


def _another(path: Path, rng: random.Random) -> Path:
    """Another file of the same session, or of the same folder."""
    root = path.parent
    for folder in path.parents:
        if (folder / "session.json").exists():
            root = folder
            break
    others = [file for file in sorted(root.rglob("*")) if file.is_file()]
    others.remove(path)
    return rng.choice(others or [path])


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


def link_beside(path: Path, rng: random.Random) -> str:
    """A link to the same bytes, outside of the folder."""
    secret = next(
        folder / "secret" for folder in path.parents if (folder / "secret").exists()
    )
    target = secret / "moved"
    target.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(target)
    return "a link to the same outside"


TORN = (bit, some_bytes, not_utf8, cut, longer)
"""What no program writes."""
BYTES = (
    bit,
    bit,
    bit,
    some_bytes,
    not_utf8,
    cut,
    longer,
    huge,
    other_file,
    two_exchanged,
)
NO_FILES = (
    pipe,
    folder_instead,
    socket_instead,
    link,
    link,
    link_beside,
    gone,
    folder_above_is_a_file,
)
