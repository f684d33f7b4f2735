"""How the captures of a session really ran, side by side: what differs first, then what
is unknown, then the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from logdrift.core.compare.loaded import all_differences
from logdrift.core.compare.loaded.config import config_values, one_writer
from logdrift.core.compare.loaded.difference import name_in_table
from logdrift.core.errors import InputError
from logdrift.core.facts import Facts
from logdrift.core.json_values import shown
from logdrift.core.report.strict_json import Json
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
_ORIGINS = {"told": " (stated)", "probed": " (probed)"}
"""Facts that list other facts by where these come from, and what is put behind their
values.
"""
_SELDOM = ("top_p", "top_k", "min_p", "weight_version")
"""Facts that most engines do not report: a row only where one is known."""
_WHAT = {"role": "role", "dtype asked": "dtype", "status": "status"}
_KIND = {"path": "path", "repeat": "repeat", "batch": "batch"}
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


FlatFacts = Mapping[str, Any]
"""Facts by name: those of a table as ``table.key``."""
Group = list[CaptureInfo]
"""Captures that share a column: those of one backend with equal facts."""


def settings_of(session: Session) -> CaptureSettings:
    """All captures of a session. Those of one backend with equal facts share a column.

    Rows keep their order within each kind: what a capture is, its facts, their tables.
    """
    groups = _groups(session.captures)
    first_of_each = [group[0] for group in groups]
    rows = [
        *_of_captures(groups, _WHAT),
        *_facts_rows(groups),
        *_loaded_rows(session, first_of_each),
        *_of_captures(groups, _KIND),
    ]
    rows.sort(key=_place_of_kind)
    columns = tuple(map(_labels, groups))
    return CaptureSettings(columns, tuple(rows))


def _place_of_kind(row: CaptureSetting) -> int:
    return _ORDER.index(row.kind)


def _labels(group: Group) -> tuple[str, ...]:
    return tuple(info.label for info in group)


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
    if first.backend != second.backend:
        return False
    return first.facts == second.facts


def _of_captures(
    groups: list[Group], names: Mapping[str, str]
) -> Iterator[CaptureSetting]:
    for name, attribute in names.items():
        values = [_joined(group, attribute) for group in groups]
        yield _setting(name, values)


def _facts_rows(groups: list[Group]) -> Iterator[CaptureSetting]:
    first_of_each = [group[0] for group in groups]
    columns = [_flat(info.facts) for info in first_of_each]
    every_fact = Facts().to_json()
    plain = [name for name in every_fact if _has_row(name, columns)]
    names = set[str]().union(*columns)
    entries = sorted(filter(_in_table, names))
    for name in [*plain, *entries]:
        values = [_value(facts, name) for facts in columns]
        yield _setting(name, values)


def _has_row(name: str, columns: list[FlatFacts]) -> bool:
    if name in _ORIGINS or name in _TABLES:
        return False
    if name not in _SELDOM:
        return True
    values = [facts.get(name) for facts in columns]
    return any(value is not None for value in values)


def _setting(name: str, values: list[str | None]) -> CaptureSetting:
    reported = [value for value in values if value is not None]
    known = set(map(_without_origin, reported))
    kind: Kind = "same"
    if len(known) > 1:
        kind = "differs"
    elif None in values:
        kind = "unknown"
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
    known = [loaded for loaded in files if loaded is not None]
    if not known:
        return
    base = known[0]
    differing = _differing(captures, files, base)
    for name, values in differing.items():
        yield CaptureSetting(name, tuple(values), "differs")
    yield from _equal_rows(files, base, differing)


def _differing(
    captures: list[CaptureInfo], files: list[Loaded | None], base: Loaded
) -> dict[str, list[str | None]]:
    """By name the value in each column; None where a capture has digests alone."""
    first = captures[files.index(base)]
    rows: dict[str, list[str | None]] = {}
    columns = zip(captures, files, strict=True)
    for column, (info, loaded) in enumerate(columns):
        if loaded is None:
            continue
        whole = one_writer(first, info)
        tables = all_differences(base, loaded, whole=whole)
        for table, differences in tables.items():
            for difference in differences:
                name = name_in_table(table, difference)
                as_in_base = _where_known(difference.a, files)
                values = rows.setdefault(name, as_in_base)
                values[column] = difference.b
    return rows


def _where_known(text: str | None, files: list[Loaded | None]) -> list[str | None]:
    """The same text for every capture whose files are known, None for the others."""
    values: list[str | None] = []
    for file in files:
        if file is None:
            values.append(None)
        else:
            values.append(text)
    return values


def _equal_rows(
    files: list[Loaded | None], base: Loaded, differing: Iterable[str]
) -> Iterator[CaptureSetting]:
    """The entries of the config that no capture differs in."""
    in_rows = {name.partition("[")[0] for name in differing}
    kind: Kind = "same"
    if None in files:
        kind = "unknown"
    config = config_values(base)
    for key, value in config.items():
        name = f"config.{key}"
        if name not in in_rows:
            values = _where_known(shown(value), files)
            yield CaptureSetting(name, tuple(values), kind)


def _loaded_of(session: Session, info: CaptureInfo) -> Loaded | None:
    """None where the session has digests alone, or its file cannot be read, which the
    gate says.
    """
    try:
        return session.loaded(info.label)
    except InputError:
        return None


def _joined(group: Group, name: str) -> str | None:
    values = [str(getattr(info, name)) for info in group]
    unique = dict.fromkeys(values)
    return ", ".join(unique)


def _flat(facts: Facts | None) -> FlatFacts:
    """Every fact by name, tables by ``table.key``; empty for a capture that observed
    nothing.
    """
    if facts is None:
        return {}
    out: Json = {}
    for name, value in facts.to_json().items():
        is_table = name in _TABLES and isinstance(value, Mapping)
        if not is_table:
            out[name] = value
            continue
        for key, item in value.items():
            out[f"{name}.{key}"] = item
        out.setdefault(name, None)
    return out


def _in_table(name: str) -> bool:
    table, dot, _ = name.partition(".")
    return bool(dot) and table in _TABLES


def _value(facts: FlatFacts, name: str) -> str | None:
    is_absent = name not in facts
    if facts and is_absent and _in_table(name):
        return _ABSENT
    if facts.get(name) is None:
        return None
    text = _value_text(facts[name])
    for origin, words in _ORIGINS.items():
        if name in facts.get(origin, ()):
            return f"{text}{words}"
    return text


def _without_origin(text: str) -> str:
    for words in _ORIGINS.values():
        text = text.removesuffix(words)
    return text


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        if value:
            return "yes"
        return "no"
    return str(value)
