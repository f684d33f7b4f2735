"""How the captures of a session really ran, side by side: what differs first, then what
is unknown, then the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from logdrift.core.compare.loaded import (
    Difference,
    all_differences,
    config_values,
    one_writer,
)
from logdrift.core.errors import InputError
from logdrift.core.facts import Facts
from logdrift.core.json_values import shown
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.loaded import Loaded
from logdrift.core.session.reader import Session

Kind = Literal["differs", "unknown", "same"]
UNKNOWN = "unknown"
_ABSENT = "not set"
_TABLES = ("environment", "extra", "config_overrides")
"""Facts that are tables themselves: a row for each key, and a key that one side lacks
is no unknown.
"""
_TOLD = "told"
_AS_TOLD = " (told)"
_SELDOM = ("top_p", "top_k", "min_p", "weight_version")
"""Facts that engines do not tell of themselves: a row only where somebody told one."""
_WHAT = (("role", "role"), ("dtype asked", "dtype"), ("status", "status"))
_KIND = (("path", "path"), ("repeat", "repeat"), ("batch", "batch"))
"""What a capture is, beside its facts: these differ by their nature, so they come last
of what differs.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One fact over all columns; None is unknown."""

    name: str
    values: tuple[str | None, ...]
    kind: Kind


@dataclass(frozen=True, slots=True)
class Settings:
    """``columns`` hold the labels of captures that ran alike in everything."""

    columns: tuple[tuple[str, ...], ...]
    rows: tuple[Setting, ...]


def settings_of(session: Session) -> Settings:
    """All captures of a session. Those of one backend with equal facts share a column.

    Rows keep their order within each kind: what a capture is, its facts, their tables.
    """
    columns: dict[tuple[str, int], list[CaptureInfo]] = {}
    seen: list[tuple[str, Facts | None]] = []
    for info in session.captures:
        key = (info.backend, info.facts)
        if key not in seen:
            seen.append(key)
        columns.setdefault((info.backend, seen.index(key)), []).append(info)
    groups = list(columns.values())
    rows = [
        _setting(name, [_joined(group, key) for group in groups]) for name, key in _WHAT
    ]
    facts = [_flat(group[0].facts) for group in groups]
    tables = {name for one in facts for name in one if _table(name)}
    plain = [name for name in Facts().to_json() if _has_row(name, facts)]
    for name in [*plain, *sorted(tables)]:
        rows.append(_setting(name, [_value(one, name) for one in facts]))
    rows += _loaded_rows(session, [group[0] for group in groups])
    rows += [
        _setting(name, [_joined(group, key) for group in groups]) for name, key in _KIND
    ]
    order: tuple[Kind, ...] = ("differs", "unknown", "same")
    rows.sort(key=lambda row: order.index(row.kind))
    return Settings(
        tuple(tuple(info.label for info in group) for group in groups), tuple(rows)
    )


def _has_row(name: str, facts: list[Mapping[str, Any]]) -> bool:
    if name == _TOLD or name in _TABLES:
        return False
    return name not in _SELDOM or any(one.get(name) is not None for one in facts)


def _setting(name: str, values: list[str | None]) -> Setting:
    known = {value.removesuffix(_AS_TOLD) for value in values if value is not None}
    kind: Kind = (
        "differs" if len(known) > 1 else "unknown" if None in values else "same"
    )
    return Setting(name, tuple(values), kind)


def _loaded_rows(session: Session, captures: list[CaptureInfo]) -> list[Setting]:
    """What config, tokenizer and template differ in, by name, then the rest of the
    configs.

    Values are against the first capture that has them. No row where the session has
    digests alone.
    """
    found = [_loaded_of(session, info) for info in captures]
    first = next((i for i, loaded in enumerate(found) if loaded is not None), None)
    if first is None:
        return []
    base = found[first]
    assert base is not None
    differ: dict[str, list[str | None]] = {}
    for column, (info, loaded) in enumerate(zip(captures, found, strict=True)):
        if loaded is None:
            continue
        for table, differences in all_differences(
            base, loaded, whole=one_writer(captures[first], info)
        ).items():
            for each in differences:
                values = differ.setdefault(
                    _loaded_name(table, each),
                    [None if one is None else each.a for one in found],
                )
                values[column] = each.b
    rows = [
        Setting(name=name, values=tuple(values), kind="differs")
        for name, values in differ.items()
    ]
    told = {name.partition("[")[0] for name in differ}
    kind: Kind = "unknown" if None in found else "same"
    for name, value in config_values(base).items():
        if f"config.{name}" not in told:
            same = tuple(None if one is None else shown(value) for one in found)
            rows.append(Setting(name=f"config.{name}", values=same, kind=kind))
    return rows


def _loaded_name(table: str, difference: Difference) -> str:
    # The names of a template's lines begin with the table's already.
    return (
        difference.name
        if difference.name.startswith(table)
        else f"{table}.{difference.name}"
    )


def _loaded_of(session: Session, info: CaptureInfo) -> Loaded | None:
    """None where the session has digests alone, or its file cannot be read, which the
    gate says.
    """
    try:
        return session.loaded(info.label)
    except InputError:
        return None


def _joined(group: list[CaptureInfo], name: str) -> str | None:
    found = dict.fromkeys(str(getattr(info, name)) for info in group)
    return ", ".join(found)


def _flat(facts: Facts | None) -> Mapping[str, Any]:
    """Every fact by name, tables by ``table.key``; empty for a capture that observed
    nothing.
    """
    if facts is None:
        return {}
    out: dict[str, Any] = {}
    for name, value in facts.to_json().items():
        if name in _TABLES and isinstance(value, Mapping):
            out |= {f"{name}.{key}": item for key, item in value.items()}
            out.setdefault(name, None)
        else:
            out[name] = value
    return out


def _table(name: str) -> bool:
    return name.partition(".")[0] in _TABLES and "." in name


def _value(facts: Mapping[str, Any], name: str) -> str | None:
    if not facts or (name in facts and facts[name] is None):
        return None
    if name not in facts:
        return _ABSENT if _table(name) else None
    value = facts[name]
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    return f"{text}{_AS_TOLD}" if name in facts.get(_TOLD, ()) else text
