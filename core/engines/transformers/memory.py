"""How much memory is free where a model runs."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import torch

_MEMORY = Path("/proc/meminfo")
_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)
"""Limit and use of the container that this process is in, as version 2 and version 1 of
control groups tell them.
"""


def free_what_is_left() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_memory(device: Any) -> int | None:
    """Bytes that may still be taken on a device; None where it cannot be seen."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch holds and does not use is free for the next tensor.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    if device.type == "cpu":
        return _free_host_memory()
    return None


def _free_host_memory() -> int | None:
    found = [left for left in (_available(), *_left_in_container()) if left is not None]
    return min(found, default=None)


def _available() -> int | None:
    """What the kernel says that a process can take without swapping."""
    for line in _text(_MEMORY).splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) << 10
    return None


def _left_in_container() -> list[int | None]:
    return [_left(limit, use) for limit, use in _LIMITS]


def _left(limit: Path, use: Path) -> int | None:
    """What a limit leaves; None where there is none (``max``)."""
    most = _text(limit).strip()
    used = _text(use).strip()
    if most.isdigit() and used.isdigit():
        return max(0, int(most) - int(used))
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
