"""A key that a plan file cannot have in this table: where it belongs, or a guess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from logdrift.core.errors import InputError
from logdrift.core.keys import NOT_HERE, near_key, nearest

KnownKeys = Mapping[str, Set[str]]
"""The keys that a plan file may have, by table."""

PLAN = ""
"""The table of the plan itself, which in TOML ends where the first ``[table]`` begins.
"""
_HEADINGS = {
    PLAN: "the plan itself, above the first [table]",
    "prompts": "[prompts]",
    "sampling": "[sampling]",
    "backend": "a [[backend]]",
}


def check_keys(
    table: str, where: str, data: Mapping[str, object], tables: KnownKeys
) -> None:
    """Refuse the first key of ``data`` that ``table`` does not have.

    ``tables`` holds the known keys by table; ``where`` stands before the key in the
    message. Raises InputError.
    """
    for key in data:
        if key not in tables[table]:
            name = f"{where}{key}"
            refusal = _refusal(key, table, tables)
            raise InputError(f"{name} {refusal}", field=name)


def check_options(where: str, options: Mapping[str, object], own: Set[str]) -> None:
    """Refuse a key of the backend itself among its engine's options.

    A line that was added at the end of the backend ends up there. Raises InputError.
    """
    for key in options:
        if key in own:
            name = f"{where}options.{key}"
            raise InputError(
                f"{name} belongs to the backend itself",
                field=name,
                remedy="write it above [backend.options]",
            )


def _refusal(key: str, table: str, tables: KnownKeys) -> str:
    if key in NOT_HERE:
        return NOT_HERE[key]
    owners = []
    for other, keys in tables.items():
        if key in keys:
            owners.append(_HEADINGS[other])
    if owners:
        return f"stands in the wrong place: it belongs to {' or '.join(owners)}"
    for guess in _guesses(key, table, tables):
        return f"is unknown: {guess}"
    refusal = f"is unknown: {nearest(key, tables[table])}"
    if table == "backend":
        refusal += "; the engine's own options stand under [backend.options]"
    return refusal


def _guesses(key: str, table: str, tables: KnownKeys) -> Iterator[str]:
    """Keys with a similar name, in this table first, then in the others."""
    near = near_key(key, tables[table])
    if near is not None:
        yield f"did you mean {near!r}?"
    for other, keys in tables.items():
        near = near_key(key, keys)
        if other != table and near is not None:
            yield f"did you mean {near!r} of {_HEADINGS[other]}?"
