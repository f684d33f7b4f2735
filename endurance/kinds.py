"""The kinds of fault, a line each."""

from __future__ import annotations

from endurance import damage, kills, resources
from endurance.runs import Kind

KINDS: tuple[Kind, ...] = (damage.KIND, *kills.KINDS, resources.KIND)
