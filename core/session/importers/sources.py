"""What the lines of a file say of the backends behind its captures, put together."""

from __future__ import annotations

from dataclasses import replace

from logdrift.core.errors import Place
from logdrift.core.session.importers.records import CaptureSource, Sources

SHOWN_VERSIONS = 8


def add_source(sources: Sources, name: str, new: CaptureSource, place: Place) -> None:
    """Add what a line says of a capture to what earlier lines said; one capture has
    one value of each fact.
    """
    old = sources.get(name, new)
    roles = (old.role, new.role)
    both_have_roles = None not in roles
    if both_have_roles and new.role != old.role:
        raise place.error(
            f"captures.{name}.role is {new.role!r} and {old.role!r} in a line before",
            "give one",
        )
    facts = dict(old.told)
    new_facts = new.told.items()
    for key, value in new_facts:
        before = facts.setdefault(key, value)
        if before == value:
            continue
        if key != "weight_version":
            raise place.error(
                f"captures.{name}.{key} is {value!r} and {before!r} in a line before",
                "name two captures, or import two sessions",
            )
        versions = str(before)
        facts[key] = _with_version(versions, value)
    role = old.role or new.role
    sources[name] = replace(old, role=role, told=facts)


def _with_version(before: str, version: str) -> str:
    """Versions of weights separated by commas, with one more, each once."""
    earlier = before.split(",")
    several = [*earlier, version]
    different = dict.fromkeys(several)
    shown = list(different)[:SHOWN_VERSIONS]
    return ",".join(shown)
