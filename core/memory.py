"""How much memory is left on this machine, and in the container that this process is
in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_KERNEL = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")


class _GroupFiles(NamedTuple):
    """Where a version of control groups tells the limit and the use of memory, and
    which of its statistics count the cache of files that is given back when asked for.
    """

    limit: str
    use: str
    statistics: str
    cache: tuple[str, ...]


_VERSIONS = (
    _GroupFiles(
        limit="memory.max",
        use="memory.current",
        statistics="memory.stat",
        cache=("inactive_file", "active_file"),
    ),
    _GroupFiles(
        limit="memory/memory.limit_in_bytes",
        use="memory/memory.usage_in_bytes",
        statistics="memory/memory.stat",
        cache=("total_inactive_file", "total_active_file"),
    ),
)
"""Version 2 and version 1."""


def available_memory(kernel: Path = _KERNEL, groups: Path = _GROUPS) -> int | None:
    """Bytes that a process may still take: what the system has left, and what the
    container may have; None where neither can be seen.
    """
    left = [*_left_on_machine(kernel)]
    for names in _VERSIONS:
        left += _left_in_container(groups, names)
    return min(left, default=None)


def _left_on_machine(kernel: Path) -> Iterator[int]:
    """What the kernel says that a process can take without swapping."""
    for line in _text(kernel).splitlines():
        name, _, value = line.partition(":")
        number, *_ = [*value.split(), ""]
        if name == "MemAvailable" and number.isdigit():
            yield int(number) << 10


def _left_in_container(groups: Path, names: _GroupFiles) -> Iterator[int]:
    """What a limit leaves; nothing where there is none (``max``). The cache of files
    counts as used until it is taken: a container that has read much is never short.
    """
    most = _text(groups / names.limit).strip()
    used = _text(groups / names.use).strip()
    if most.isdigit() and used.isdigit():
        taken = int(used) - _cached(groups, names)
        yield max(0, int(most) - max(0, taken))


def _cached(groups: Path, names: _GroupFiles) -> int:
    """Bytes of files that are kept while nobody needs the memory."""
    cached = 0
    for line in _text(groups / names.statistics).splitlines():
        name, _, value = line.partition(" ")
        if name in names.cache and value.isdigit():
            cached += int(value)
    return cached


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
