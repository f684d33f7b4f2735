"""A running server that a backend asks instead of starting an engine: its address, and
how it is asked.

No key stands in a plan: `key_env` and `key_file` name the place of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import SplitResult, urlsplit

from logdrift.core.credentials import holds_secret, names_secret
from logdrift.core.errors import InputError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_MOST_REQUESTS = 1024
_LONGEST_WAIT = 7 * 24 * 3600.0
_KEY = "a key does not belong in a backend: it would be saved in the session"
_KEY_REMEDY = (
    "put it in the environment and name the variable with key_env=NAME, or in a file"
    " and name it with key_file=FILE"
)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a running server is asked: the options of a backend that has ``server``.

    ``concurrency`` is the most requests at once; fewer are sent where the server does
    not bear it. ``timeout`` is how many seconds one request may take, ``patience`` how
    many a server that does not answer is waited for. ``served_name`` chooses one of
    several models of a server, ``endpoint`` one of the paths on which vLLM answers.
    """

    concurrency: int = 64
    timeout: float = 600.0
    patience: float = 60.0
    served_name: str | None = None
    endpoint: str | None = None
    key_env: str | None = None
    key_file: str | None = None


def check_address(address: str) -> None:
    """Raises InputError for what is no address of a server, or holds a key."""
    if _holds_key(address):
        raise InputError(_KEY, remedy=_KEY_REMEDY)
    problem = _problem(address)
    if problem is not None:
        raise InputError(
            f"server={address!r} {problem}",
            remedy="give its address, e.g. http://localhost:8000",
        )


def _holds_key(address: str) -> bool:
    rest = address.partition("://")[2]
    host = rest.partition("/")[0]
    has_query = "?" in address or "#" in address
    return "@" in host or has_query or holds_secret(address)


def _problem(address: str) -> str | None:
    """What is wrong with an address, in words; None where nothing is."""
    if any(not char.isprintable() or char.isspace() for char in address):
        return "holds a blank or a control character"
    try:
        parts = urlsplit(address)
        return _problem_of(parts)
    except ValueError as error:
        return f"is no address ({error})"


def _problem_of(parts: SplitResult) -> str | None:
    if parts.scheme not in ("http", "https"):
        return "begins with neither http:// nor https://"
    if not parts.hostname:
        return "names no host"
    # A port beyond 65535 raises ValueError where it is read.
    if parts.port == 0:
        return "has port 0"
    return None


def base_address(address: str) -> str:
    """The address without the ``/v1`` and the slash that clients of OpenAI's kind put
    at its end.
    """
    plain = address.rstrip("/")
    return plain.removesuffix("/v1").rstrip("/")


def server_options(options: Mapping[str, Any]) -> ServerOptions:
    """The options of a backend as they are used. Raises InputError for one that is
    unknown, of another kind or out of range, and for a key.
    """
    for name in options:
        _check_name(name)
    values = {name: _READERS[name](name, value) for name, value in options.items()}
    read = ServerOptions(**values)
    if read.key_env is not None and read.key_file is not None:
        raise InputError("key_env and key_file name two keys", remedy="give one")
    return read


def _check_name(name: str) -> None:
    known = [field.name for field in fields(ServerOptions)]
    if name in known:
        return
    if names_secret(name) or name in ("key", "token"):
        raise InputError(_KEY, remedy=_KEY_REMEDY)
    raise InputError(
        f"option {name!r} cannot be given to a server that runs already",
        remedy=f"with server= there are {', '.join(known)}",
    )


def _whole(name: str, value: Any) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= _MOST_REQUESTS:
        raise InputError(
            f"{name} is {value!r}", remedy=f"give a whole number, 1 to {_MOST_REQUESTS}"
        )
    return int(value)


def _seconds(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= _LONGEST_WAIT:
        raise InputError(f"{name} is {value!r}", remedy="give seconds, more than 0")
    return float(value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or value in (None, ""):
        raise InputError(f"{name} is {value!r}", remedy="give a name")
    return str(value)


def _endpoint(name: str, value: Any) -> str:
    if value not in ("completions", "generate"):
        raise InputError(f"{name} is {value!r}", remedy="use completions or generate")
    return str(value)


def _variable(name: str, value: Any) -> str:
    """The name of a variable. What is none may be the key itself: it is not shown."""
    text = str(value)
    if not _VARIABLE.fullmatch(text) or holds_secret(text):
        raise InputError(
            f"{name} is not the name of an environment variable",
            remedy="name the variable that holds the key, not the key",
        )
    return text


def _file(name: str, value: Any) -> str:
    text = _text(name, value)
    if holds_secret(text):
        raise InputError(
            f"{name} is not the name of a file",
            remedy="name the file that holds the key, not the key",
        )
    return text


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "concurrency": _whole,
    "timeout": _seconds,
    "patience": _seconds,
    "served_name": _text,
    "endpoint": _endpoint,
    "key_env": _variable,
    "key_file": _file,
}
