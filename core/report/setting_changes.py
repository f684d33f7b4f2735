"""What two sessions set differently: model, sampling, options, facts and files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from logdrift.core.compare.loaded import all_differences
from logdrift.core.compare.loaded.config import one_writer
from logdrift.core.compare.loaded.difference import NOT_THERE, Difference, name_in_table
from logdrift.core.compare.pair import (
    Pair,
)
from logdrift.core.errors import InputError
from logdrift.core.facts import Facts
from logdrift.core.json_values import alike, flatten, shown
from logdrift.core.report.strict_json import Json
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session

SettingPlace = Literal["session", "a", "b"]
CapturesOfSide = tuple[CaptureInfo, CaptureInfo]
"""The capture of one side in the earlier and in the later session."""
CaptureOfSession = tuple[Session, CaptureInfo]


_NOT_OBSERVED = "not observed"


_ABSENT = {
    "option": "not given",
    "environment": "not set",
    "config_overrides": "not set",
}
"""What it means that a table lacks an entry; of the other tables it means that the
entry was not observed.
"""


_DIGEST_SHOWN = 19
"""Characters: ``sha256:`` and twelve digits tell two files apart."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that is not the same in both sessions; the texts say why a value is
    None.
    """

    where: SettingPlace
    setting: str
    earlier: Any
    later: Any
    earlier_text: str
    later_text: str

    def to_json(self) -> Json:
        return {
            "where": self.where,
            "setting": self.setting,
            "old": self.earlier,
            "new": self.later,
            "old_text": self.earlier_text,
            "new_text": self.later_text,
        }


def setting_changes(
    earlier: Session, later: Session, earlier_pair: Pair, later_pair: Pair
) -> Iterator[SettingChange]:
    """Settings that are not the same in both: of the session, then of capture A and
    B.
    """
    infos: dict[SettingPlace, CapturesOfSide] = {
        "a": (earlier_pair.a.info, later_pair.a.info),
        "b": (earlier_pair.b.info, later_pair.b.info),
    }
    settings = _settings(earlier)
    later_settings = _settings(later)
    yield from _observed_changes("session", settings, later_settings)
    for place, (first, second) in infos.items():
        facts = _facts(earlier, first)
        later_facts = _facts(later, second)
        yield from _observed_changes(place, facts, later_facts)
    for place, (first, second) in infos.items():
        side = (earlier, first)
        later_side = (later, second)
        yield from _loaded_changes(place, side, later_side)


def _observed_changes(
    place: SettingPlace, earlier: _Observed, later: _Observed
) -> Iterator[SettingChange]:
    for name in _names(earlier, later):
        yield SettingChange(
            where=place,
            setting=name,
            earlier=earlier.values.get(name),
            later=later.values.get(name),
            earlier_text=earlier.text(name),
            later_text=later.text(name),
        )


def _loaded_changes(
    place: SettingPlace,
    earlier: CaptureOfSession,
    later: CaptureOfSession,
) -> Iterator[SettingChange]:
    """What config, tokenizer and chat template differ in, by name, where both sessions
    keep more than digests.
    """
    tables = loaded_differences(earlier, later)
    for table, differences in tables.items():
        for difference in differences:
            yield SettingChange(
                where=place,
                setting=name_in_table(table, difference),
                earlier=_if_there(difference.a),
                later=_if_there(difference.b),
                earlier_text=difference.a,
                later_text=difference.b,
            )


def _if_there(text: str) -> str | None:
    if text == NOT_THERE:
        return None
    return text


def loaded_differences(
    earlier: CaptureOfSession, later: CaptureOfSession
) -> dict[str, tuple[Difference, ...]]:
    """`all_differences` of two captures, each with its session; empty where one has
    digests alone or is damaged.
    """
    session, capture = earlier
    later_session, later_capture = later
    try:
        first = session.loaded(capture.label)
        second = later_session.loaded(later_capture.label)
    except InputError:  # the gate of the pair says so
        return {}
    if first is None or second is None:
        return {}
    whole = one_writer(capture, later_capture)
    return all_differences(first, second, whole=whole)


def _names(earlier: _Observed, later: _Observed) -> Iterator[str]:
    """What differs, in the order of the earlier side. A table that is empty on one side
    has no row: the entries of the other side have theirs.
    """
    values = earlier.values
    later_values = later.values
    everything = dict.fromkeys([*values, *later_values])
    for name in everything:
        if name in values and name in later_values:
            if not alike(values[name], later_values[name]):
                yield name
            continue
        later_value = later_values.get(name)
        value = values.get(name, later_value)
        is_empty_table = value == {}
        if not is_empty_table or not _has_rows(everything, name):
            yield name


def _has_rows(names: Iterable[str], table: str) -> bool:
    start = f"{table}."
    return any(name.startswith(start) for name in names)


@dataclass(frozen=True, slots=True)
class _Observed:
    """Settings of one side, flat by dotted names. ``unknown`` are facts that were not
    observed, tables among them.
    """

    values: Mapping[str, Any]
    unknown: Collection[str]

    def text(self, name: str) -> str:
        """The value as both sides of a diff print it, or why there is none."""
        if name in self.values:
            return _text(self.values[name])
        table = name.partition(".")[0]
        if name in self.unknown or table in self.unknown:
            return _NOT_OBSERVED
        return _ABSENT.get(table, _NOT_OBSERVED)


def _text(value: Any) -> str:
    if isinstance(value, str) and value.startswith("sha256:"):
        return value[:_DIGEST_SHOWN] + "…"
    if value == {}:
        return "none"
    return shown(value)


def _observed(values: Mapping[str, Any]) -> _Observed:
    """Settings by name; one that is None was not observed."""
    known = _given(values)
    unknown = values.keys() - known.keys()
    return _Observed(flatten(known), unknown)


def _settings(session: Session) -> _Observed:
    manifest = session.manifest
    model = manifest.model._asdict()
    sampling = manifest.plan.get("sampling") or {}
    return _observed(
        {
            "model": _given(model),
            "logdrift": manifest.logdrift_version or None,
            "generated_by": manifest.sequences.generated_by,
            "sampling": _given(sampling),
        }
    )


def _given(table: Any) -> Any:
    """A table without its entries that are None, which is not observed or not given."""
    if not isinstance(table, Mapping):
        return table
    return {name: value for name, value in table.items() if value is not None}


def _planned_options(session: Session, backend: str) -> Any:
    """The options of a backend in the plan; empty where the plan has none."""
    backends = session.manifest.plan.get("backends") or []
    for spec in backends:
        if not isinstance(spec, Mapping):
            continue
        if spec.get("name") == backend:
            return spec.get("options") or {}
    return {}


def _facts(session: Session, info: CaptureInfo) -> _Observed:
    """What was asked (the capture itself and its plan), then what was observed."""
    values: Json = {
        "label": info.label,
        "asked": {"engine": info.engine, "dtype": info.dtype},
        "option": _planned_options(session, info.backend),
    }
    observed = info.facts or Facts()
    values |= observed._asdict()
    values["extra"] = _given(observed.extra)
    if info.facts is None:
        values |= dict.fromkeys(("environment", "extra"))
    return _observed(values)
