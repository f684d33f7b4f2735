"""Credentials, which must not be saved: how their names and values are recognised.

One list for plans, facts, events and logs.
The worker uses this too, in interpreters as old as Python 3.10, so only the standard
library is used here.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

HIDDEN = "(hidden)"
"""Stands where a credential was."""

_WORDS = frozenset(
    {
        "secret",
        "secrets",
        "password",
        "passwords",
        "passwd",
        "pwd",
        "passphrase",
        "credential",
        "credentials",
        "auth",
        "oauth",
        "authorization",
        "bearer",
        "cookie",
        "cookies",
        "header",
        "headers",
        "apikey",
        "apikeys",
        "privatekey",
        "accesskey",
        "authtoken",
        "accesstoken",
        "jwt",
    }
)
"""A name with one of these words is a credential's."""
_PARTS = (
    "apikey",
    "accesskey",
    "privatekey",
    "secret",
    "password",
    "passwd",
    "credential",
)
"""So is one with any of these in it, written together or apart."""
_KEYS_OF = frozenset(
    {
        "api",
        "private",
        "access",
        "secret",
        "signing",
        "encryption",
        "ssh",
        "license",
        "client",
        "shared",
        "master",
        "account",
        "service",
        "storage",
        "subscription",
        "hmac",
        "deploy",
        "hub",
        "hf",
    }
)
"""A word before ``key`` that makes it a credential, unlike ``sort_key``."""
_MODEL_TOKENS = frozenset(
    {
        "bos",
        "eos",
        "pad",
        "unk",
        "sep",
        "cls",
        "mask",
        "image",
        "audio",
        "video",
        "start",
        "end",
        "stop",
        "think",
        "decoder",
        "per",
        "boi",
        "eoi",
        "boa",
        "eoa",
        "fake",
        "vision",
        "special",
    }
)
"""A word before ``token`` that makes it one of a tokenizer.

Any other name that ends in ``token`` is a credential's.
"""
_VARIABLE_PARTS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""Anywhere in a variable's name. Leaving out one variable too many changes no number."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NAME = re.compile(r"-{0,2}[A-Za-z][\w-]*")
_VALUES = re.compile(
    r"""
    (?P<url>\b[a-z][a-z0-9+.-]*://[^\s/?\#@'"]*:[^\s/?\#@'"]*@)                # scheme://user:password@
    | (?P<query>[?&;](?:[a-z_-]*(?:token|secret|password|passwd|api_?key|signature|auth|credential)|key|sig|pwd)=[^\s&;'"]+)
    | (?P<scheme>\b(?:bearer|basic)\s+(?=\S*[\d=]|\S{20})[a-z0-9+/_.~-]{8,}=*)  # a header's value, and no word of English
    | (?P<header>\b(?:authorization|proxy-authorization|x-api-key|cookie)\s*[:=]\s*[^\s,;'"}]+)
    | (?P<known>\b(?:hf_|sk-|ghp_|gho_|github_pat_|glpat-|xox[abpr]-)[a-z0-9_-]{10,} | \bAKIA[0-9A-Z]{16}\b)
    | (?P<jwt>\beyJ[a-z0-9_-]{10,}\.[a-z0-9_-]{10,}\.[a-z0-9_-]*)
    | (?P<pem>-----BEGIN\s[A-Z\s]*PRIVATE\sKEY-----[\s\S]*?(?:-----END[A-Z\s]*-----|\Z))
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SHORTEST = 6
"""Characters of a variable's value that is searched for in text.

A shorter one would be found by chance.
"""


def names_secret(name: str) -> bool:
    """Whether an option or a key of this name holds a credential.

    ``auth``, ``hf_token``, ``privateKey`` and ``X-Api-Key`` do, for example.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    together = "".join(words)
    if _WORDS.intersection(words):
        return True
    if any(part in together for part in _PARTS):
        return True
    return _names_key(words) or _names_token(words)


def _names_key(words: list[str]) -> bool:
    owners = []
    for before, word in itertools.pairwise(words):
        if word in ("key", "keys"):
            owners.append(before)
    return not _KEYS_OF.isdisjoint(owners)


def _names_token(words: list[str]) -> bool:
    *before, last = words or [""]
    if last != "token":
        return False
    return not before or before[-1] not in _MODEL_TOKENS


def hides_variable(name: str) -> bool:
    """Whether the value of an environment variable of this name is left out."""
    if names_secret(name):
        return True
    upper = name.upper()
    return any(part in upper for part in _VARIABLE_PARTS)


def holds_secret(text: str) -> bool:
    """Whether a text contains a credential: a URL with a password, a header, a key."""
    return _VALUES.search(text) is not None


def secret_in(value: Any, name: str = "") -> str | None:
    """Dotted name of the first credential in a value, None if it holds no credential.

    Nested values are searched too. A switch, a missing value and `HIDDEN` are never
    credentials, whatever their names.
    """
    return next(_secrets(value, name), None)


def _secrets(value: Any, name: str) -> Iterator[str]:
    """The dotted names of the credentials in a value that is called ``name``."""
    if value is None or isinstance(value, bool) or value == HIDDEN:
        return
    if names_secret(name.rpartition(".")[2]):
        yield name
    elif isinstance(value, Mapping):
        yield from _secrets_of_mapping(value, name)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _secrets(item, f"{name}.[{index}]")
    elif isinstance(value, str):
        yield from _secrets_of_text(value, name)


def _secrets_of_mapping(table: Mapping[Any, Any], name: str) -> Iterator[str]:
    for key, item in table.items():
        if isinstance(key, str) and holds_secret(key):
            yield name or key
        dotted = f"{name}.{key}" if name else str(key)
        yield from _secrets(item, dotted)


def _secrets_of_text(text: str, name: str) -> Iterator[str]:
    inner = _as_json(text)
    if inner is not None:
        yield from _secrets(inner, name)
    elif holds_secret(text) or _is_assignment(text):
        yield name


def _as_json(text: str) -> Any:
    """The value of a text that is JSON, as some options are; None for other texts.

    Only objects, lists and quoted texts count as JSON here.
    """
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_assignment(text: str) -> bool:
    """``--api-key=...`` or ``PASSWORD=...``, as in lists of arguments or variables."""
    name, _, value = text.partition("=")
    if not value or not _NAME.fullmatch(name):
        return False
    return names_secret(name)


def masked(value: Any, name: str = "") -> Any:
    """A value with `HIDDEN` in place of every credential in it.

    Nested values are masked too; mappings become dicts.
    """
    if value is None or isinstance(value, bool):
        return value
    if names_secret(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return _masked_mapping(value)
    if isinstance(value, (list, tuple)):
        return type(value)(masked(item) for item in value)
    if isinstance(value, str):
        return _masked_value(value)
    return value


def _masked_mapping(table: Mapping[Any, Any]) -> dict[Any, Any]:
    entries = {}
    for key, item in table.items():
        entries[_masked_key(key)] = masked(item, str(key))
    return entries


def _masked_key(key: Any) -> Any:
    if isinstance(key, str):
        return masked_text(key)
    return key


def _masked_value(text: str) -> str:
    inner = _as_json(text)
    if inner is not None:
        if secret_in(inner) is None:
            return text
        return json.dumps(masked(inner))
    if _is_assignment(text):
        name = text.partition("=")[0]
        return f"{name}={HIDDEN}"
    return masked_text(text)


def masked_text(text: str, known: Iterable[str] = ()) -> str:
    """A text with `HIDDEN` in place of what `holds_secret` finds and of ``known``."""
    for value in known:
        text = text.replace(value, HIDDEN)
    return _VALUES.sub(_hide, text)


def _hide(match: re.Match[str]) -> str:
    found = match.group()
    if match["url"]:
        return f"{found.partition('://')[0]}://{HIDDEN}@"
    if match["query"]:
        return f"{found.partition('=')[0]}={HIDDEN}"
    return HIDDEN


def secret_values(variables: Mapping[str, str]) -> list[str]:
    """The values of environment variables that are credentials, the longest first."""
    values = {
        value
        for name, value in variables.items()
        if names_secret(name) and len(value) >= _SHORTEST
    }
    return sorted(values, key=len, reverse=True)


def credentials_in(
    data: bytes, known: Iterable[str], first: int
) -> list[tuple[int, int]]:
    """(start, length) in bytes of every credential in what a program printed.

    The values ``known`` are searched for everywhere, what `holds_secret` finds only in
    the ``first`` bytes.
    """
    beginning = data[:first].decode("latin-1")
    spans = [match.span() for match in _VALUES.finditer(beginning)]
    for value in known:
        searched = value.encode("utf-8", "surrogateescape")
        matches = re.finditer(re.escape(searched), data)
        spans += [match.span() for match in matches]
    return [(start, end - start) for start, end in spans]
