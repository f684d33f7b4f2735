"""A plan read from a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError
from logdrift.core.plan.backend import BackendSpec
from logdrift.core.plan.capture import CapturePlan
from logdrift.core.plan.keys import PLAN, KnownKeys, check_keys, check_options
from logdrift.core.plan.sampling import SamplingSpec
from logdrift.core.plan.spec_text import default_role, parse_spec
from logdrift.core.session.files import read_toml

_Built = TypeVar("_Built")
_TABLES = ("backend", "prompts", "sampling")
_FINAL_TURN = ("continue_final_message", "add_generation_prompt")
_Table = Mapping[str, Any]
"""A table of TOML."""
Backends = tuple[BackendSpec, ...]


class _Kind(NamedTuple):
    """What TOML may give for a field, and what it is called in messages."""

    types: tuple[type, ...]
    words: str


_KINDS: Mapping[str, _Kind] = {
    "int": _Kind((int,), "a whole number"),
    "float": _Kind((int, float), "a number"),
    "bool": _Kind((bool,), "true or false"),
    "str": _Kind((str,), "text in quotes"),
}
"""By the annotation of a field."""


def load_plan(path: Path) -> CapturePlan:
    """Read a plan from a TOML file, to which paths in it are relative.

    Raises InputError that names the file and the key.
    """
    where = f"plan {path}"
    try:
        data = read_toml(path, "plan")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError("no such file", where=where, file=path) from None
    try:
        return _plan(data, path.parent)
    except InputError as error:
        raise error.within(where, file=path) from None


def _known_keys() -> KnownKeys:
    in_tables = {"backends", "texts", "prompts_file", *_FINAL_TURN}
    own = _names(CapturePlan) - in_tables
    return {
        PLAN: own | {"backend", "prompts"},
        "prompts": {"file", "texts", *_FINAL_TURN},
        "sampling": _names(SamplingSpec),
        "backend": _names(BackendSpec),
    }


def _names(record: type) -> set[str]:
    names = [field.name for field in fields(record)]
    return set(names)


def _plan(data: _Table, folder: Path) -> CapturePlan:
    known = _known_keys()
    check_keys(PLAN, "", data, known)
    sampling = _table(data, "sampling")
    check_keys("sampling", "sampling.", sampling, known)
    backends = _backends(data, known)
    prompt_table = _table(data, "prompts")
    prompts = _prompts(prompt_table, folder, known)
    if "model" not in data:
        raise InputError("model is missing", field="model")
    values = dict(data)
    for name in _TABLES:
        values.pop(name, None)
    values |= prompts
    values["backends"] = backends
    spec = _typed(SamplingSpec, sampling, "sampling.")
    values["sampling"] = spec
    return _typed(CapturePlan, values, "")


def _table(data: _Table, key: str) -> _Table:
    table = data.get(key, {})
    if isinstance(table, Mapping):
        return table
    raise InputError(f"{key} is not a table", field=key)


# -- [prompts]


def _prompts(table: _Table, folder: Path, known: KnownKeys) -> dict[str, Any]:
    """The fields of a plan that the table ``[prompts]`` gives."""
    check_keys("prompts", "prompts.", table, known)
    file = table.get("file")
    texts = table.get("texts", [])
    fields_of_plan: dict[str, Any] = {
        "prompts_file": _prompts_file(file, folder),
        "texts": _texts(texts),
    }
    for key in _FINAL_TURN:
        if key not in table:
            continue
        _check_true(key, table[key])
        fields_of_plan[key] = True
    return fields_of_plan


def _prompts_file(file: Any, folder: Path) -> str | None:
    if file is None:
        return None
    if not isinstance(file, str):
        raise _prompts_error("file", "is not text")
    if not file:
        raise _prompts_error("file", "is empty", "name a file, or leave it out")
    return str(folder / file)


def _texts(texts: Any) -> tuple[str, ...]:
    if not isinstance(texts, list):
        raise _prompts_error("texts", "is not a list of texts")
    is_text = [isinstance(text, str) for text in texts]
    if not all(is_text):
        raise _prompts_error("texts", "is not a list of texts")
    return tuple(texts)


def _check_true(key: str, value: Any) -> None:
    if value is not True:
        raise _prompts_error(key, f"is {value!r}", "give true, or leave it out")


def _prompts_error(key: str, reason: str, remedy: str | None = None) -> InputError:
    field = f"prompts.{key}"
    return InputError(f"{field} {reason}", field=field, remedy=remedy)


# -- [[backend]]


@dataclass(frozen=True, slots=True)
class _BackendPlace:
    """Where a backend stands in the file, and what its fields are called in errors."""

    index: int
    name: str = ""

    def error(self, key: str, reason: str, remedy: str | None = None) -> InputError:
        """An error about a key of the table; about all of it where ``key`` is empty."""
        place = f"backend[{self.index}]"
        field = f"backend[{self.name or self.index}]"
        if key:
            place = f"{place}.{key}"
            field = f"{field}.{key}"
        return InputError(f"{place} {reason}", field=field, remedy=remedy)


def _backends(data: _Table, known: KnownKeys) -> Backends:
    backends = data.get("backend", [])
    if not isinstance(backends, list):
        reason = "backend is not a list"
        raise InputError(reason, field="backends", remedy="write [[backend]]")
    specs = []
    for index, value in enumerate(backends):
        spec = _backend(value, index, known)
        specs.append(spec)
    return tuple(specs)


def _backend(value: Any, index: int, known: KnownKeys) -> BackendSpec:
    """One backend: a table, or a line as on the command line."""
    if isinstance(value, str):
        return parse_spec(value)
    if not isinstance(value, Mapping):
        raise _BackendPlace(index).error("", "is neither a table nor text")
    engine = value.get("engine", "")
    name = value.get("name", engine)
    place = _BackendPlace(index, str(name))
    return _backend_of_table(value, place, known)


def _backend_of_table(
    table: _Table, place: _BackendPlace, known: KnownKeys
) -> BackendSpec:
    where = f"backend[{place.index}]."
    options = table.get("options", {})
    if not isinstance(options, Mapping):
        raise place.error("options", "is not a table")
    check_keys("backend", where, table, known)
    check_options(where, options, known["backend"])
    engine: Any = table.get("engine")
    is_known = isinstance(engine, str) and engine in ENGINES
    if not is_known:
        remedy = f"use {', '.join(ENGINES)}"
        raise place.error("engine", f"is {engine!r}", remedy)
    paths = table.get("paths", [])
    if not isinstance(paths, list):
        remedy = 'write paths = ["decode", "prefill"]'
        raise place.error("paths", "is not a list", remedy)
    values = dict(table)
    name = values.setdefault("name", engine)
    role = default_role(name, engine)
    values.setdefault("role", role)
    values["paths"] = tuple(paths)
    return _typed(BackendSpec, values, where)


def _typed(record: type[_Built], values: _Table, where: str) -> _Built:
    """Build a record, once its values have the types of its fields.

    Raises InputError.
    """
    for field in fields(record):  # type: ignore[arg-type]
        annotation = str(field.type)
        plain = annotation.removesuffix(" | None")
        kind = _KINDS.get(plain)
        value = values.get(field.name)
        if kind is None or value is None:
            continue
        name = f"{where}{field.name}"
        _check_kind(name, value, kind)
    return record(**values)


def _check_kind(name: str, value: Any, kind: _Kind) -> None:
    if _is_of(kind, value):
        return
    remedy = f"give {kind.words}"
    raise InputError(f"{name} is {value!r}", field=name, remedy=remedy)


def _is_of(kind: _Kind, value: Any) -> bool:
    """Whether a value is of a kind; true and false are no numbers."""
    if isinstance(value, bool):
        return bool in kind.types
    return isinstance(value, kind.types)
