"""JSON that every parser accepts: no NaN, no Infinity, nothing but ASCII on the
wire.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

Json = dict[str, Any]
"""An object of JSON."""


class HasJson(Protocol):
    """What can be written as JSON."""

    def to_json(self) -> Any:
        """Made of dictionaries, lists, texts and numbers."""


def list_json(items: Iterable[HasJson]) -> list[Any]:
    """`HasJson.to_json` of each."""
    return [item.to_json() for item in items]


def json_or_null(item: HasJson | None) -> Any:
    """`HasJson.to_json`; None of None."""
    if item is None:
        return None
    return item.to_json()


def strict(value: Any) -> Any:
    """``value`` with every float that JSON cannot hold (NaN, inf, -inf) as None, at any
    depth.
    """
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return None
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value


def dump(report: Mapping[str, Any]) -> str:
    """The report as indented JSON with a final newline. Escaped to ASCII: text of a
    model cannot steer a terminal.
    """
    return json.dumps(strict(report), allow_nan=False, indent=1) + "\n"
