"""The user's config file and the folders that follow from it. Everything has a default; no file is needed.

    # ~/.config/logdrift/config.toml
    sessions = "~/runs/sessions"
    cache = "/data/logdrift"

    [engines.vllm]
    python = "~/venvs/vllm/bin/python"

A new key is one field here and, if it is a table, one entry in `_engine`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import tomllib

from core.backends import ENGINES
from core.errors import InputError


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """``[engines.NAME]``: ``python`` is the interpreter that holds the engine."""

    python: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """What the config file says; None and empty where it is silent. ``source`` is the file, None if there is none."""

    sessions: Path | None = None
    cache: Path | None = None
    engines: Mapping[str, EngineConfig] = field(default_factory=dict)
    source: Path | None = None


def config_path() -> Path:
    """``$LOGDRIFT_CONFIG``, else ``logdrift/config.toml`` in ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    named = os.environ.get("LOGDRIFT_CONFIG")
    return Path(named).expanduser() if named else _xdg("XDG_CONFIG_HOME", ".config") / "logdrift" / "config.toml"


def load_config() -> Config:
    """The user's config, read once per file. Raises InputError that names file and key."""
    return _load(config_path(), "LOGDRIFT_CONFIG" in os.environ)


def cache_folder() -> Path:
    """Where environments and prepared models live: ``$LOGDRIFT_CACHE``, the config file's ``cache``, XDG."""
    named = os.environ.get("LOGDRIFT_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    return load_config().cache or _xdg("XDG_CACHE_HOME", ".cache") / "logdrift"


def sessions_folder(flag: str | None = None) -> Path:
    """Where sessions are listed: the flag, ``$LOGDRIFT_SESSIONS``, the config file's ``sessions``, ``./sessions``."""
    named = flag or os.environ.get("LOGDRIFT_SESSIONS")
    if named:
        return Path(named).expanduser()
    return load_config().sessions or Path("sessions")


def _xdg(variable: str, default: str) -> Path:
    # The XDG specification: a value that is not absolute is to be ignored.
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default


@cache
def _load(path: Path, must_exist: bool) -> Config:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise InputError(f"config {path}: no such file (LOGDRIFT_CONFIG names it)") from None
        return Config()
    except OSError as error:
        raise InputError(f"config {path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"config {path}: not valid TOML: {error}") from None
    try:
        return _parse(data, path)
    except InputError as error:
        raise InputError(f"config {path}: {error}") from None


def _parse(data: Mapping[str, Any], path: Path) -> Config:
    _check_keys("", data, (f.name for f in fields(Config) if f.name != "source"))
    engines = data.get("engines", {})
    if not isinstance(engines, Mapping):
        raise InputError("engines is not a table: write [engines.vllm]")
    _check_keys("engines.", engines, ENGINES)
    return Config(
        sessions=_folder(data, "sessions", path.parent),
        cache=_folder(data, "cache", path.parent),
        engines={name: _engine(name, table, path.parent) for name, table in engines.items()},
        source=path,
    )


def _engine(name: str, table: Any, folder: Path) -> EngineConfig:
    where = f"engines.{name}"
    if not isinstance(table, Mapping):
        raise InputError(f"{where} is not a table: write [{where}]")
    _check_keys(f"{where}.", table, (f.name for f in fields(EngineConfig)))
    python = _text(table, "python", f"{where}.")
    if python is not None and ("/" in python or python.startswith("~")):
        python = str(_from(folder, python))
    return EngineConfig(python=python)


def _folder(data: Mapping[str, Any], key: str, folder: Path) -> Path | None:
    value = _text(data, key, "")
    return None if value is None else _from(folder, value)


def _from(folder: Path, value: str) -> Path:
    """Paths in the file are relative to the file, so they mean the same from every working folder."""
    return Path(os.path.normpath(folder.absolute() / Path(value).expanduser()))


def _text(data: Mapping[str, Any], key: str, where: str) -> str | None:
    value = data.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise InputError(f"{where}{key} is {value!r}: give a text")
    return value


def _check_keys(where: str, data: Mapping[str, Any], allowed: Iterable[str]) -> None:
    known = sorted(allowed)
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise InputError(f"{where}{key} is unknown: {hint}")
