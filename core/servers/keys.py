"""The key of a server: read from the environment or a file when it is needed, and kept
nowhere.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError
from logdrift.core.paths import user_path
from logdrift.core.plan import BackendSpec

_LONGEST = 16_384
"""Characters: tokens that a proxy makes are a few thousand long."""


@dataclass(frozen=True, slots=True, repr=False)
class ServerKey:
    """A key and the words for where it was found. It has no repr that shows it."""

    value: str
    source: str


def key_of(spec: BackendSpec) -> ServerKey | None:
    """The key with which a backend asks its server; None: there is none.

    Without ``key_env`` and ``key_file`` it is looked for in the variable that the
    engine's own server reads. Raises InputError where the named place holds none.
    """
    options = spec.server_options()
    if options.key_file is not None:
        return _from_file(spec, options.key_file)
    if options.key_env is not None:
        return _from_variable(spec, options.key_env)
    about = ENGINES[spec.engine].server
    if about is None:
        return None
    value = os.environ.get(about.key_variable, "").strip()
    if not value:
        return None
    return _checked(spec, value, about.key_variable)


def _from_variable(spec: BackendSpec, name: str) -> ServerKey:
    value = os.environ.get(name, "").strip()
    if not value:
        reason = f"the environment variable {name} is not set"
        raise spec.error("options", reason, "export it, or leave out key_env")
    return _checked(spec, value, name)


def _from_file(spec: BackendSpec, name: str) -> ServerKey:
    path = user_path(name)
    try:
        text = _beginning(path)
    except (OSError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or "it is not text"
        reason = f"the key file {path} cannot be read: {words}"
        raise spec.error("options", reason) from None
    value = text.strip()
    if not value:
        raise spec.error("options", f"the key file {path} is empty")
    return _checked(spec, value, str(path))


def _beginning(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read(_LONGEST + 1)


def _checked(spec: BackendSpec, value: str, source: str) -> ServerKey:
    """A key that a header can carry. Raises InputError, which does not show it."""
    is_plain = value.isascii() and value.isprintable() and " " not in value
    if not is_plain or len(value) > _LONGEST:
        reason = f"what {source} holds is no key"
        remedy = "give one word of ASCII characters"
        raise InputError(
            reason,
            field=f"backend[{spec.name}].options",
            where=f"backend {spec.name!r}",
            remedy=remedy,
        )
    return ServerKey(value, source)
