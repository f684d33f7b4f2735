"""What a file may say: types and ranges, checked where a file is read, so that no later
line meets another type.

A kind is a function that returns the value, as the program wants it, or raises `Unfit`,
which says where and why. `record` reads the kinds of a dataclass or a named tuple from
its annotations, so that a field is declared once, in the class; what an annotation
cannot say (a range, a few words) stands beside the class.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from logdrift.core.errors import InputError

Kind = Callable[[Any], Any]
Kinds = Mapping[str, Kind]
"""The kind of each field, by its name."""

LARGEST = 2**63 - 1
"""What an int64 holds; no count, size or id is larger."""
LONGEST = 1 << 20
"""Characters of a text: a failure holds the last lines of an engine's log."""
DEEPEST = 48
"""Levels of a value of any kind, such as an engine's options: the configs of models
have four to eight.
"""
_SHOWN = 40


class Unfit(ValueError):
    """A value of another kind. ``place`` is where it stands, outermost first."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.place: list[str] = []

    def inside(self, name: str) -> Unfit:
        """The same, one level further out."""
        self.place.insert(0, name)
        return self

    def __str__(self) -> str:
        place = ""
        for name in self.place:
            is_index = name.startswith("[")
            if place and not is_index:
                place += "."
            place += name
        if place:
            return f"{place} {self.why}"
        return self.why


def checked(kind: Kind, value: Any, where: str) -> Any:
    """``value`` as ``kind`` gives it. Raises InputError that begins with ``where``."""
    try:
        return kind(value)
    except Unfit as error:
        raise InputError(f"{where} is damaged: {error}") from None


def text(value: Any) -> str:
    """A text that is not too long."""
    is_text = isinstance(value, str)
    if is_text and len(value) <= LONGEST:
        return str(value)
    raise Unfit(f"is {shown(value)}: a text is expected")


def flag(value: Any) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise Unfit(f"is {shown(value)}: true or false is expected")


def whole(least: int = -LARGEST, most: int = LARGEST) -> Kind:
    """A whole number from ``least`` to ``most``."""

    def kind(value: Any) -> int:
        if type(value) is not int:
            raise Unfit(f"is {shown(value)}: a whole number is expected")
        if not least <= value <= most:
            expected = f"a number from {least} to {most} is expected"
            raise Unfit(f"is {shown(value)}: {expected}")
        return value

    return kind


COUNT = whole(0, 2**31 - 1)
"""How many, or which of them from 0: what 32 bits hold, as the tensors do."""


def number(value: Any) -> float:
    """A number that is one: neither NaN nor infinite."""
    is_number = type(value) in (int, float)
    if is_number and abs(value) <= LARGEST:
        return value  # type: ignore[no-any-return]
    raise Unfit(f"is {shown(value)}: a number is expected")


def loose_number(value: Any) -> float:
    """A number, or NaN or an infinity where a computation gave that."""
    if isinstance(value, float):
        is_finite = math.isfinite(value)
        if not is_finite:
            return value
    return number(value)


def one_of(*values: str) -> Kind:
    """One of a few words."""

    def kind(value: Any) -> str:
        if isinstance(value, str) and value in values:
            return value
        raise Unfit(f"is {shown(value)}: {', '.join(values)} are known")

    return kind


def maybe(kind: Kind) -> Kind:
    """``kind``, or null."""

    def read(value: Any) -> Any:
        if value is None:
            return None
        return kind(value)

    return read


def items(kind: Kind) -> Kind:
    """A list of ``kind``, as a tuple."""

    def read(values: Any) -> tuple[Any, ...]:
        if not isinstance(values, list | tuple):
            raise Unfit(f"is {shown(values)}: a list is expected")
        entries = []
        for index, value in enumerate(values):
            entry = _read(kind, value, f"[{index}]")
            entries.append(entry)
        return tuple(entries)

    return read


def table(kind: Kind) -> Kind:
    """An object with any keys and values of ``kind``."""

    def read(value: Any) -> dict[str, Any]:
        entries = {}
        for name, entry in _mapping(value).items():
            shown_name = name[:_SHOWN]
            entries[name] = _read(kind, entry, shown_name)
        return entries

    return read


def _read(kind: Kind, value: Any, name: str) -> Any:
    """A value inside another one, under a name."""
    try:
        return kind(value)
    except Unfit as error:
        raise error.inside(name) from None


def anything(value: Any) -> Any:
    """Whatever JSON can say, in at most `DEEPEST` levels: what is deeper ends programs
    that walk it.
    """
    if not isinstance(value, Mapping | list | tuple):
        return value
    level = [value]
    for _ in range(DEEPEST):
        next_level = []
        for outer in level:
            next_level += _inside(outer)
        if not next_level:
            return value
        level = next_level
    raise Unfit("is nested too deeply")


def _inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    return ()


def fields(kinds: Kinds, required: frozenset[str] = frozenset()) -> Kind:
    """An object: a dict of those keys that are known and given. Unknown ones are of a
    newer version and left out.
    """

    def read(value: Any) -> dict[str, Any]:
        data = _mapping(value)
        known = {}
        for name, kind in kinds.items():
            if name in data:
                known[name] = _read(kind, data[name], name)
            elif name in required:
                raise Unfit("is missing").inside(name)
        return known

    return read


def record(cls: Any, **special: Kind) -> Kind:
    """The fields of a dataclass or named tuple, by their annotations but for those in
    ``special``; gives a dict to build one with.
    """
    kinds = kinds_of(cls, **special)
    required = _required_fields(cls)
    return fields(kinds, required)


def built(kind: Kind, make: Callable[..., Any]) -> Kind:
    """What `record` gives, as the record itself."""
    return lambda value: make(**kind(value))


def _required_fields(cls: Any) -> frozenset[str]:
    """The names of the fields without a default."""
    if not dataclasses.is_dataclass(cls):
        return frozenset(cls._fields) - frozenset(cls._field_defaults)
    required = set()
    missing = dataclasses.MISSING
    for field in dataclasses.fields(cls):
        if field.default is missing and field.default_factory is missing:
            required.add(field.name)
    return frozenset(required)


def kinds_of(cls: Any, **special: Kind) -> dict[str, Kind]:
    """The kind of each field of a dataclass or named tuple, by its annotation where it
    is not in ``special``.
    """
    kinds = {}
    for name, annotation in _annotations(cls).items():
        kind = special.get(name)
        if kind is None:
            kind = _by_annotation(annotation)
        kinds[name] = kind
    return kinds


def _annotations(cls: Any) -> dict[str, str]:
    """The annotation of each field, as it is written."""
    if dataclasses.is_dataclass(cls):
        return {field.name: str(field.type) for field in dataclasses.fields(cls)}
    written = cls.__annotations__.items()
    return {name: annotation.__forward_arg__ for name, annotation in written}


_ANNOTATED: dict[str, Kind] = {
    "str": text,
    "int": whole(),
    "float": number,
    "bool": flag,
    "Any": anything,
    "Mapping[str, str]": table(text),
    "Mapping[str, Any]": table(anything),
    "JsonObject": table(anything),
    "tuple[str, ...]": items(text),
}


def _by_annotation(annotation: str) -> Kind:
    plain = annotation.removesuffix(" | None")
    kind = _ANNOTATED[plain]
    if plain == annotation:
        return kind
    return maybe(kind)


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise Unfit(f"is {shown(value)}: an object is expected")


def shown(value: Any) -> str:
    """A value in a few characters: a number or the beginning of a text, else what it
    is.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return _shown_number(value)
    if isinstance(value, str):
        return _shown_text(value)
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Mapping):
        return "an object"
    return "another type"


def _shown_number(value: int | float) -> str:
    is_whole = isinstance(value, int)
    if is_whole and abs(value) > LARGEST:
        return "a number of more than 64 bits"
    return str(value)


def _shown_text(value: str) -> str:
    start = repr(value[:_SHOWN])
    if len(value) > _SHOWN:
        return f"{start}..."
    return start
