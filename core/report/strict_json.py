"""JSON that every parser accepts: no NaN, no Infinity, nothing but ASCII on the
wire.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
"""An object of JSON."""


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
