"""The user's config file and the folders that follow from it.

Everything has a default; no file is needed.

    # ~/.config/logdrift/config.toml
    sessions = "~/runs/sessions"
    cache = "/data/logdrift"
    theme = "light"
    mouse = false

    [keys]
    explorer.next_divergence = ["n", "space"]

    [engines.vllm]
    python = "~/venvs/vllm/bin/python"

    [[thresholds]]
    name = "ours"
    metric = "errors.mae"
    max = 0.02

A new key is one field here and, if it is a table, one function beside `_engine` and
`_threshold`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from logdrift.core.errors import InputError
from logdrift.core.keys import nearest
from logdrift.core.numbers import is_number
from logdrift.core.paths import user_path
from logdrift.core.session.files import read_toml

if TYPE_CHECKING:
    # Every start reads the config, and few have limits of their own.
    from logdrift.core.compare.limits import Limit

Table = Mapping[str, Any]
"""A table of TOML."""
Keys = tuple[str, ...]
KeysOf = Mapping[str, Keys]
"""The keys of each command, by its id."""


class EngineConfig(NamedTuple):
    """``[engines.NAME]``: ``python`` is the interpreter that holds the engine."""

    python: str | None = None


class Config(NamedTuple):
    """What the config file sets; None or empty for what it leaves out.

    ``source`` is the file, None if there is no file.
    """

    sessions: Path | None = None
    cache: Path | None = None
    engines: Mapping[str, EngineConfig] = MappingProxyType({})
    thresholds: tuple[Limit, ...] = ()
    """The user's own limits (`[[thresholds]]`), judged beside the published ones."""
    theme: str | None = None
    """One of `THEMES`: the colours of the screens."""
    mouse: bool = True
    """False leaves the mouse to the terminal, as ``--no-mouse`` does."""
    keys: KeysOf = MappingProxyType({})
    """``[keys]``: the keys of a command, by its id; `logdrift.tui.keymap` checks them.
    """
    source: Path | None = None


THEMES = ("auto", "dark", "light", "high-contrast")


def config_path() -> Path:
    """``$LOGDRIFT_CONFIG``, else ``logdrift/config.toml`` in ``$XDG_CONFIG_HOME`` or
    ``~/.config``.
    """
    named = os.environ.get("LOGDRIFT_CONFIG")
    if named:
        return user_path(named)
    return _xdg("XDG_CONFIG_HOME", ".config") / "logdrift" / "config.toml"


def load_config() -> Config:
    """The user's config, read once per file.

    Raises InputError that names the file and the key.
    """
    path = config_path()
    is_named = "LOGDRIFT_CONFIG" in os.environ
    return _load(path, must_exist=is_named)


def cache_folder() -> Path:
    """The folder of environments and prepared models.

    ``$LOGDRIFT_CACHE``, else the config file's ``cache``, else that of XDG.
    """
    named = os.environ.get("LOGDRIFT_CACHE")
    if named:
        return user_path(named).absolute()
    configured = load_config().cache
    if configured is not None:
        return configured
    return _xdg("XDG_CACHE_HOME", ".cache") / "logdrift"


def state_folder() -> Path | None:
    """The folder of what logdrift remembers for this user; None without a home.

    ``$XDG_STATE_HOME/logdrift``, else ``~/.local/state/logdrift``.
    """
    try:
        return _xdg("XDG_STATE_HOME", ".local/state") / "logdrift"
    except RuntimeError:
        return None


def sessions_folder(flag: str | None = None) -> Path:
    """The folder whose sessions are listed.

    The flag, else ``$LOGDRIFT_SESSIONS``, else the config file's ``sessions``, else
    ``./sessions``.
    """
    named = flag or os.environ.get("LOGDRIFT_SESSIONS")
    if named:
        return user_path(named)
    configured = load_config().sessions
    return configured or Path("sessions")


def _xdg(variable: str, default: str) -> Path:
    # The XDG specification: a value that is not absolute is to be ignored.
    value = os.environ.get(variable, "")
    if value.startswith("/"):
        return Path(value)
    return Path.home() / default


@cache
def _load(path: Path, must_exist: bool) -> Config:
    where = f"config {path}"
    try:
        data = read_toml(path, "config")
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            reason = "no such file (LOGDRIFT_CONFIG names it)"
            raise InputError(reason, where=where, file=path) from None
        return Config()
    try:
        return _parse(data, path)
    except InputError as error:
        raise error.within(where, file=path) from None


def _parse(data: Table, path: Path) -> Config:
    known = set(Config._fields) - {"source"}
    _check_keys("", data, known)
    folder = path.parent
    engines = data.get("engines", {})
    thresholds = data.get("thresholds", [])
    keys = data.get("keys", {})
    return Config(
        sessions=_folder(data, "sessions", folder),
        cache=_folder(data, "cache", folder),
        engines=_engines(engines, folder),
        thresholds=_thresholds(thresholds),
        theme=_theme(data),
        mouse=_switch(data, "mouse", True),
        keys=_keys(keys),
        source=path,
    )


def _engines(tables: Any, folder: Path) -> Mapping[str, EngineConfig]:
    if not isinstance(tables, Mapping):
        raise InputError("engines is not a table: write [engines.vllm]")
    if not tables:
        return {}
    # Imported here: every start reads the config, and few configs name engines.
    from logdrift.core.engines import ENGINES

    _check_keys("engines.", tables, ENGINES)
    engines = {}
    for name, table in tables.items():
        engines[name] = _engine(name, table, folder)
    return engines


def _engine(name: str, table: Any, folder: Path) -> EngineConfig:
    where = f"engines.{name}"
    if not isinstance(table, Mapping):
        raise InputError(f"{where} is not a table: write [{where}]")
    known = set(EngineConfig._fields)
    _check_keys(f"{where}.", table, known)
    python = _text(table, "python", f"{where}.")
    if python is not None and _is_path(python):
        path = _from(folder, python)
        python = str(path)
    return EngineConfig(python=python)


def _is_path(python: str) -> bool:
    """Whether an interpreter is named by its path: a bare name is looked up on PATH."""
    return "/" in python or python.startswith("~")


_THRESHOLD_KEYS = ("name", "metric", "min", "max", "scope", "meaning")
# Those of `logdrift.core.compare.scopes`, which imports NumPy: a start reads this file.
_SCOPES = ("completion", "prompt", "all")


def _thresholds(tables: Any) -> tuple[Limit, ...]:
    if not isinstance(tables, list):
        raise InputError("thresholds is not a list of tables: write [[thresholds]]")
    limits = []
    for at, table in enumerate(tables):
        limits.append(_threshold(f"thresholds[{at}]", table))
    known = set()
    for at, limit in enumerate(limits):
        identity = (limit.name, limit.metric)
        if identity in known:
            raise InputError(
                f"thresholds[{at}] limits {limit.metric} a second time: join min and"
                " max, or name it"
            )
        known.add(identity)
    return tuple(limits)


def _threshold(where: str, table: Any) -> Limit:
    # Imported here: every start reads the config, and few configs have thresholds.
    from logdrift.core.compare.limits import Limit

    if not isinstance(table, Mapping):
        raise InputError(f"{where} is not a table: write [[thresholds]]")
    _check_keys(f"{where}.", table, _THRESHOLD_KEYS)
    path = _metric(where, table)
    low, high = _range(where, table)
    scope = _text(table, "scope", f"{where}.")
    if scope is not None and scope not in _SCOPES:
        raise InputError(f"{where}.scope is {scope!r}: known are {', '.join(_SCOPES)}")
    name = _text(table, "name", f"{where}.")
    meaning = _text(table, "meaning", f"{where}.")
    return Limit(
        framework="own",
        name=name or path,
        metric=path,
        low=low,
        high=high,
        level="own",
        meaning=meaning or "Set in the config file.",
        source="config file",
        scope=scope,
    )


def _metric(where: str, table: Table) -> str:
    """The dotted path of the metric that a threshold limits."""
    from logdrift.core.compare.metric import resolve  # as in `_threshold`

    metric = _text(table, "metric", f"{where}.")
    if metric is None:
        raise InputError(f'{where} has no metric: write metric = "errors.mae"')
    try:
        return resolve(metric)
    except InputError as error:
        raise InputError(f"{where}.{error}") from None


def _range(where: str, table: Table) -> tuple[float | None, float | None]:
    low = _number(table, "min", f"{where}.")
    high = _number(table, "max", f"{where}.")
    if low is None and high is None:
        raise InputError(f"{where} has neither min nor max: give at least one")
    if low is None or high is None:
        return low, high
    if low > high:
        raise InputError(
            f"{where}.min is {low:g}, above max {high:g}: no value would do"
        )
    return low, high


def _theme(data: Table) -> str | None:
    theme = _text(data, "theme", "")
    if theme is not None and theme not in THEMES:
        raise InputError(f"theme is {theme!r}: {nearest(theme, THEMES)}")
    return theme


def _switch(data: Table, key: str, default: bool) -> bool:
    value = data.get(key, default)
    if not isinstance(value, bool):
        raise InputError(f"{key} is {value!r}: give true or false, without quotes")
    return value


def _keys(table: Any) -> KeysOf:
    """The keys of each command, by its id."""
    if not isinstance(table, Mapping):
        raise InputError("keys is not a table: write [keys]")
    keys_of: dict[str, Keys] = {}
    for command, value in _commands(table):
        keys = [value] if isinstance(value, str) else value
        if not _are_keys(keys):
            raise InputError(
                f'keys.{command} is {value!r}: give a key, as "n", or a list of'
                ' keys, as ["n", "ctrl+n"]'
            )
        if command in keys_of:
            raise InputError(f"keys.{command} is given twice: give one list of keys")
        keys_of[command] = tuple(keys)
    return keys_of


def _commands(table: Table) -> Iterator[tuple[str, Any]]:
    """Every command id with its value, whether the id is quoted or not.

    For TOML ``explorer.sort = "s"`` is a table in a table, ``"explorer.sort" = "s"``
    is not.
    """
    for name, value in table.items():
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield f"{name}.{key}", inner
        else:
            yield name, value


def _are_keys(keys: Any) -> bool:
    if not isinstance(keys, list):
        return False
    return all(map(_is_key, keys))


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and bool(key.strip())


def _number(data: Table, key: str, where: str) -> float | None:
    value = data.get(key)
    if value is None:
        return None
    if not is_number(value):
        raise InputError(f"{where}{key} is {value!r}: give a number")
    return float(value)


def _folder(data: Table, key: str, folder: Path) -> Path | None:
    value = _text(data, key, "")
    if value is None:
        return None
    return _from(folder, value)


def _from(folder: Path, value: str) -> Path:
    """A path that the file gives, absolute: it is relative to the file's ``folder``."""
    path = folder.absolute() / user_path(value)
    return Path(os.path.normpath(path))


def _text(data: Table, key: str, where: str) -> str | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}{key} is {value!r}: give a text")
    return value


def _check_keys(where: str, data: Table, allowed: Iterable[str]) -> None:
    known = sorted(allowed)
    for key in data:
        if key not in known:
            raise InputError(f"{where}{key} is unknown: {nearest(key, known)}")
