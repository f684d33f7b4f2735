"""How the captures of a session really ran, side by side: what differs first, then what
is unknown, then the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
_ORDER: tuple[Kind, ...] = ("differs", "unknown", "same")
UNKNOWN = "unknown"
_ABSENT = "not set"
_TABLES = ("environment", "extra", "config_overrides")
"""Facts that are tables themselves: a row for each key. A key that one side lacks was
not set, which is known.
"""
_TOLD = "told"
_AS_TOLD = " (told)"
_SELDOM = ("top_p", "top_k", "min_p", "weight_version")
"""Facts that engines do not report: a row only where the user has stated one."""
_WHAT = (("role", "role"), ("dtype asked", "dtype"), ("status", "status"))
_KIND = (("path", "path"), ("repeat", "repeat"), ("batch", "batch"))
"""What a capture is, beside its facts: these differ by their nature, so they come last
of what differs.
"""


@dataclass(frozen=True, slots=True)
class CaptureSetting:
    """One fact over all columns; None is unknown."""

    name: str
    values: tuple[str | None, ...]
    kind: Kind


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """``columns`` hold the labels of captures that ran alike in everything."""

    columns: tuple[tuple[str, ...], ...]
    rows: tuple[CaptureSetting, ...]


Group = list[CaptureInfo]
"""Captures that share a column: those of one backend with equal facts."""


def settings_of(session: Session) -> CaptureSettings:
    """All captures of a session. Those of one backend with equal facts share a column.

    Rows keep their order within each kind: what a capture is, its facts, their tables.
    """
    groups = _groups(session.captures)
    rows = [
        *_of_captures(groups, _WHAT),
        *_facts_rows(groups),
        *_loaded_rows(session, [group[0] for group in groups]),
        *_of_captures(groups, _KIND),
    ]
    rows.sort(key=lambda row: _ORDER.index(row.kind))
    labels = [tuple(info.label for info in group) for group in groups]
    return CaptureSettings(columns=tuple(labels), rows=tuple(rows))


def _groups(captures: Iterable[CaptureInfo]) -> list[Group]:
    groups: list[Group] = []
    for info in captures:
        for group in groups:
            if _ran_alike(group[0], info):
                group.append(info)
                break
        else:
            groups.append([info])
    return groups


def _ran_alike(first: CaptureInfo, second: CaptureInfo) -> bool:
    return first.backend == second.backend and first.facts == second.facts


def _of_captures(
    groups: list[Group], names: Iterable[tuple[str, str]]
) -> Iterator[CaptureSetting]:
    for name, attribute in names:
        yield _setting(name, [_joined(group, attribute) for group in groups])


def _facts_rows(groups: list[Group]) -> Iterator[CaptureSetting]:
    columns = [_flat(group[0].facts) for group in groups]
    plain = [name for name in Facts().to_json() if _has_row(name, columns)]
    tables = {name for facts in columns for name in facts if _table(name)}
    for name in [*plain, *sorted(tables)]:
        yield _setting(name, [_value(facts, name) for facts in columns])


def _has_row(name: str, columns: list[Mapping[str, Any]]) -> bool:
    if name == _TOLD or name in _TABLES:
        return False
    known = any(facts.get(name) is not None for facts in columns)
    return known or name not in _SELDOM


def _setting(name: str, values: list[str | None]) -> CaptureSetting:
    known = {value.removesuffix(_AS_TOLD) for value in values if value is not None}
    kind: Kind = "unknown" if None in values else "same"
    if len(known) > 1:
        kind = "differs"
    return CaptureSetting(name, tuple(values), kind)


def _loaded_rows(
    session: Session, captures: list[CaptureInfo]
) -> Iterator[CaptureSetting]:
    """What config, tokenizer and template differ in, by name, then the rest of the
    configs.

    Values are against the first capture that has them. No row where the session has
    digests alone.
    """
    files = [_loaded_of(session, info) for info in captures]
    base = next((loaded for loaded in files if loaded is not None), None)
    if base is None:
        return
    differing = _differing(captures, files, base)
    for name, values in differing.items():
        yield CaptureSetting(name=name, values=tuple(values), kind="differs")
    yield from _equal_rows(files, base, differing)


def _differing(
    captures: list[CaptureInfo], files: list[Loaded | None], base: Loaded
) -> dict[str, list[str | None]]:
    """By name the value in each column; None where a capture has digests alone."""
    first = captures[files.index(base)]
    rows: dict[str, list[str | None]] = {}
    for column, (info, loaded) in enumerate(zip(captures, files, strict=True)):
        if loaded is None:
            continue
        tables = all_differences(base, loaded, whole=one_writer(first, info))
        for table, differences in tables.items():
            for difference in differences:
                as_in_base = [None if file is None else difference.a for file in files]
                values = rows.setdefault(_loaded_name(table, difference), as_in_base)
                values[column] = difference.b
    return rows


def _equal_rows(
    files: list[Loaded | None], base: Loaded, differing: Iterable[str]
) -> Iterator[CaptureSetting]:
    """The entries of the config that no capture differs in."""
    in_rows = {name.partition("[")[0] for name in differing}
    kind: Kind = "unknown" if None in files else "same"
    for key, value in config_values(base).items():
        name = f"config.{key}"
        if name not in in_rows:
            values = tuple(None if file is None else shown(value) for file in files)
            yield CaptureSetting(name=name, values=values, kind=kind)


def _loaded_name(table: str, difference: Difference) -> str:
    # The names of a template's lines begin with the table's already.
    if difference.name.startswith(table):
        return difference.name
    return f"{table}.{difference.name}"


def _loaded_of(session: Session, info: CaptureInfo) -> Loaded | None:
    """None where the session has digests alone, or its file cannot be read, which the
    gate says.
    """
    try:
        return session.loaded(info.label)
    except InputError:
        return None


def _joined(group: Group, name: str) -> str | None:
    values = (str(getattr(info, name)) for info in group)
    return ", ".join(dict.fromkeys(values))


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
    if facts and name not in facts and _table(name):
        return _ABSENT
    if facts.get(name) is None:
        return None
    text = _value_text(facts[name])
    if name in facts.get(_TOLD, ()):
        return f"{text}{_AS_TOLD}"
    return text


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        if value:
            return "yes"
        return "no"
    return str(value)
