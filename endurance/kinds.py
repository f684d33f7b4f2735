"""The kinds of fault, a line each."""

from __future__ import annotations

from endurance import damage, kills, large, long_use, odd_places, resources
from endurance.runs import Kind

KINDS: tuple[Kind, ...] = (
    damage.KIND,
    *kills.KINDS,
    resources.KIND,
    *long_use.KINDS,
    *odd_places.KINDS,
    large.KIND,
)
