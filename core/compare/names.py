"""The numbers of a pair's JSON by dotted path."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from logdrift.core.compare.part_names import part_unit, part_value


def value_of(pair: Mapping[str, Any], path: str) -> float | None:
    """The number at ``path`` in a pair's JSON; None where a part of the path is missing
    or null, or not a finite number.

    `low` and `high` are the ends of an interval, which the JSON holds as a list of two.
    """
    if part_unit(path) is not None:
        return part_value(pair, path)
    node: Any = pair
    rest = path
    while rest:
        if isinstance(node, list | tuple):
            node = (
                node[("low", "high").index(rest)]
                if rest in ("low", "high") and len(node) == 2
                else None
            )
            break
        if not isinstance(node, Mapping):
            return None
        # A key can hold a dot itself (clip_fraction has "0.2"): the whole rest is tried
        # first.
        key, rest = (
            (rest, "")
            if rest in node
            else (rest.partition(".")[0], rest.partition(".")[2])
        )
        node = node.get(key)
    if (
        isinstance(node, bool)
        or not isinstance(node, int | float)
        or not math.isfinite(node)
    ):
        return None
    return float(node)
