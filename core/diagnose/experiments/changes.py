"""What a change of an experiment does to a backend's spec and options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SPEC_KEYS = ("dtype", "model", "revision", "gpus")
"""Changes that are fields of a `BackendSpec`."""
_CAPTURE_KEYS = ("path", "alone")
"""Changes of the capture; all others are options."""


def merged(
    options: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(fields of the spec, options) after ``changes``: None takes an option away, as an
    empty mapping does; a mapping is merged into one that is there, so that
    ``hf_overrides`` keep what else they hold.
    """
    spec = {name: value for name, value in changes.items() if name in _SPEC_KEYS}
    out = dict(options)
    for name, value in changes.items():
        if name in _SPEC_KEYS or name in _CAPTURE_KEYS:
            continue
        old = out.get(name)
        both_are_mappings = isinstance(value, Mapping) and isinstance(old, Mapping)
        if value is None or value == {}:
            out.pop(name, None)
        elif both_are_mappings:
            out[name] = {**out[name], **value}
        else:
            out[name] = value
    if "device_map" in changes:
        out.pop("device", None)
    return spec, out
