"""A plan read from a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError
from logdrift.core.plan.backend import BackendSpec
from logdrift.core.plan.capture import CapturePlan
from logdrift.core.plan.keys import PLAN, check_keys, check_options
from logdrift.core.plan.sampling import SamplingSpec
from logdrift.core.plan.spec_text import default_role, parse_spec
from logdrift.core.session.files import SMALL_BYTES, read_file

_Built = TypeVar("_Built")
_FINAL_TURN = ("continue_final_message", "add_generation_prompt")
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "text in quotes"),
}
"""What TOML may give for a field, by its annotation, and its name for users."""


def load_plan(path: Path) -> CapturePlan:
    """Read a plan from TOML. Paths in it are relative to the file. Raises InputError
    that names the file and the key.
    """
    import tomllib  # not in Python 3.10, where only workers run

    where = f"plan {path}"
    try:
        data = tomllib.loads(read_file(path, SMALL_BYTES).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError("no such file", where=where, file=path) from None
    except InputError as error:
        raise InputError(f"plan {error}") from None
    except (ValueError, RecursionError) as error:
        # Not UTF-8, not TOML, or nested too deeply.
        reason = f"not valid TOML: {error}"
        raise InputError(reason, where=where, file=path) from None
    try:
        return _plan(data, path.parent)
    except InputError as error:
        raise error.within(where, file=path) from None


def _known_keys() -> dict[str, set[str]]:
    """The keys that a plan file may have, by table."""
    elsewhere = {"backends", "texts", "prompts_file", *_FINAL_TURN}
    return {
        PLAN: _names(CapturePlan) - elsewhere | {"backend", "prompts"},
        "prompts": {"file", "texts", *_FINAL_TURN},
        "sampling": _names(SamplingSpec),
        "backend": _names(BackendSpec),
    }


def _names(record: type) -> set[str]:
    return {field.name for field in fields(record)}


def _plan(data: Mapping[str, Any], folder: Path) -> CapturePlan:
    known = _known_keys()
    check_keys(PLAN, "", data, known)
    sampling = _table(data, "sampling")
    check_keys("sampling", "sampling.", sampling, known)
    backends = _backends(data, known)
    prompts = _prompts(_table(data, "prompts"), folder, known)
    tables = ("backend", "prompts", "sampling")
    values = {key: data[key] for key in data if key not in tables}
    if "model" not in values:
        raise InputError("model is missing", field="model")
    return _typed(
        CapturePlan,
        {
            **values,
            **prompts,
            "backends": backends,
            "sampling": _typed(SamplingSpec, sampling, "sampling."),
        },
        "",
    )


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = data.get(key, {})
    if not isinstance(table, Mapping):
        raise InputError(f"{key} is not a table", field=key)
    return table


# -- [prompts]


def _prompts(
    table: Mapping[str, Any], folder: Path, known: Mapping[str, set[str]]
) -> dict[str, Any]:
    """The fields of a plan that the table ``[prompts]`` gives."""
    check_keys("prompts", "prompts.", table, known)
    file = table.get("file")
    _check_file(file)
    texts = table.get("texts", [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _prompts_error("texts", "is not a list of texts")
    final_turn = {key: table[key] for key in _FINAL_TURN if key in table}
    for key, value in final_turn.items():
        if value is not True:
            raise _prompts_error(key, f"is {value!r}", "give true, or leave it out")
    return {
        "prompts_file": str(folder / file) if file else None,
        "texts": tuple(texts),
        **final_turn,
    }


def _check_file(file: Any) -> None:
    if file is not None and not isinstance(file, str):
        raise _prompts_error("file", "is not text")
    if file == "":
        raise _prompts_error("file", "is empty", "name a file, or leave it out")


def _prompts_error(key: str, reason: str, remedy: str | None = None) -> InputError:
    field = f"prompts.{key}"
    return InputError(f"{field} {reason}", field=field, remedy=remedy)


# -- [[backend]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a backend stands in the file, and what its fields are called in errors."""

    index: int
    name: str = ""

    def error(self, key: str, reason: str, remedy: str | None = None) -> InputError:
        """An error about a key of the table; about all of it where ``key`` is empty."""
        dotted = f".{key}" if key else ""
        return InputError(
            f"backend[{self.index}]{dotted} {reason}",
            field=f"backend[{self.name or self.index}]{dotted}",
            remedy=remedy,
        )


def _backends(
    data: Mapping[str, Any], known: Mapping[str, set[str]]
) -> tuple[BackendSpec, ...]:
    tables = data.get("backend", [])
    if not isinstance(tables, list):
        reason = "backend is not a list"
        raise InputError(reason, field="backends", remedy="write [[backend]]")
    return tuple(_backend(table, _Place(at), known) for at, table in enumerate(tables))


def _backend(table: Any, place: _Place, known: Mapping[str, set[str]]) -> BackendSpec:
    """One backend: a table, or a line as on the command line."""
    if isinstance(table, str):
        return parse_spec(table)
    if not isinstance(table, Mapping):
        raise place.error("", "is neither a table nor text")
    where = f"backend[{place.index}]."
    place = replace(place, name=str(table.get("name", table.get("engine", ""))))
    options = table.get("options", {})
    if not isinstance(options, Mapping):
        raise place.error("options", "is not a table")
    check_keys("backend", where, table, known)
    check_options(where, options, known["backend"])
    engine = table.get("engine")
    if engine not in ENGINES:
        raise place.error("engine", f"is {engine!r}", f"use {', '.join(ENGINES)}")
    paths = table.get("paths", [])
    if not isinstance(paths, list):
        remedy = 'write paths = ["decode", "prefill"]'
        raise place.error("paths", "is not a list", remedy)
    name = table.get("name", engine)
    defaults = {"name": name, "role": default_role(name, engine)}
    return _typed(BackendSpec, {**defaults, **table, "paths": tuple(paths)}, where)


def _typed(record: type[_Built], values: Mapping[str, Any], where: str) -> _Built:
    """Build a record of values whose types are those of its fields. Raises
    InputError.
    """
    for field in fields(record):  # type: ignore[arg-type]
        kind = str(field.type).removesuffix(" | None")
        value = values.get(field.name)
        if value is None or kind not in _TYPES:
            continue
        types, words = _TYPES[kind]
        if not _is_of(types, value):
            name = f"{where}{field.name}"
            raise InputError(f"{name} is {value!r}", field=name, remedy=f"give {words}")
    return record(**values)


def _is_of(types: tuple[type, ...], value: Any) -> bool:
    """Whether a value is of one of the types; true and false are no numbers."""
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types)
