"""The time that experiments may take together, as people write it."""

from __future__ import annotations

import re

from logdrift.core.errors import InputError

DEFAULT_BUDGET = 600.0
"""Seconds."""
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_budget(text: str) -> float:
    """``90``, ``90s``, ``10m`` or ``1h`` in seconds. Raises InputError for anything
    else, and for 0.
    """
    match = _WRITTEN.fullmatch(text.strip())
    if match:
        seconds = float(match[1]) * _SECONDS[match[2]]
    else:
        seconds = 0.0
    if seconds <= 0:
        raise InputError(f"{text}: give a time such as 90s, 10m or 1h", field="budget")
    return seconds


def write_budget(seconds: float) -> str:
    """As `parse_budget` reads it."""
    for unit in ("h", "m"):
        size = _SECONDS[unit]
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"
