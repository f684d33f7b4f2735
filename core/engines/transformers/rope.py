"""Rotary positions that a sequence has by its own length, and by that of the whole
batch.

Sources: ``dynamic_rope_update`` of transformers' ``modeling_rope_utils.py``; ``su`` is
what the first models with LongRoPE called it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_PARAMETERS = ("rope_parameters", "rope_scaling")
"""What a configuration calls them: one set of them, or one for each type of layer."""
_NAMES = ("rope_type", "type")
_LONG = ("longrope", "su")
_DYNAMIC = "dynamic"


def follows_longest(config: Mapping[str, Any]) -> bool:
    """Whether a model of this configuration turns all sequences of a batch by the
    length of the longest: LongRoPE takes other factors behind the length that a model
    was first trained on, dynamic scaling another base.
    """
    return any(map(_is_of_batch, _types(config)))


def _types(config: Mapping[str, Any]) -> Iterator[object]:
    """The types of rotary positions of a model and of the models inside it."""
    for name, value in config.items():
        if not isinstance(value, Mapping):
            continue
        if name in _PARAMETERS:
            yield from _types_of_layers(value)
        else:
            yield from _types(value)


def _types_of_layers(parameters: Mapping[str, Any]) -> Iterator[object]:
    for name, value in parameters.items():
        if name in _NAMES:
            yield value
        elif isinstance(value, Mapping):
            yield from _types_of_layers(value)


def _is_of_batch(kind: object) -> bool:
    name = str(kind)
    return name in _LONG or _DYNAMIC in name
