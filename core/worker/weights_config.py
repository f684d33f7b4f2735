"""The configuration of a loaded model beside the one on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_OF_THE_FILE = (
    "_name_or_path",
    "transformers_version",
    "architectures",
    "auto_map",
    "dtype",
    "torch_dtype",
)
"""Who wrote the file and which class reads it; precision is a fact of its own."""


def config_answer(model: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    """``config``: plain fields of the model's configuration as it is now;
    ``config_differs``: ``[field, file, loaded]``.
    """
    resolved = _flat(_values(getattr(model, "config", None)))
    differs = [
        [name, value, resolved[name]]
        for name, value in _flat(stored).items()
        if name in resolved and resolved[name] != value
    ]
    return {"config": resolved, "config_differs": differs}


def _values(config: Any) -> dict[str, Any]:
    """A config as JSON has it; empty where it cannot be written so."""
    if config is None:
        return {}
    try:
        return dict(json.loads(json.dumps(config.to_dict(), default=str)))
    except (AttributeError, TypeError, ValueError):
        return {}


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            out |= _flat(value, f"{prefix}{name}.")
        elif not name.startswith("_") and name not in _OF_THE_FILE:
            out[prefix + name] = value
    return out
