"""What must not be saved: names and values that are credentials, in one list, for
plans, facts, events and logs.

The worker uses this too, in interpreters as old as Python 3.10, so only the standard
library is used here.
"""

from __future__ import annotations

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
"""Before ``key`` they make a credential; ``num_key_value_heads`` and ``sort_key`` are
none.
"""
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
"""Before ``token`` they make one of a tokenizer; any other name that ends in it is a
credential's.
"""
_VARIABLE_PARTS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""Anywhere in a variable's name: leaving out one too many costs a fact, and no number
hangs on it.
"""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
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
"""Characters of a variable's value that is looked for in text: a shorter one would be
found by chance.
"""


def names_secret(name: str) -> bool:
    """Whether an option or a key of this name holds a credential: ``auth``,
    ``hf_token``, ``privateKey``, ``X-Api-Key``.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    together = "".join(words)
    if _WORDS.intersection(words) or any(part in together for part in _PARTS):
        return True
    for before, word in zip(["", *words], words, strict=False):
        if word in ("key", "keys") and before in _KEYS_OF:
            return True
    if not words or words[-1] != "token":
        return False
    if len(words) > 1:
        before = words[-2]
    else:
        before = ""
    return before not in _MODEL_TOKENS


def hides_variable(name: str) -> bool:
    """Whether the value of an environment variable is left out: `names_secret`, or any
    part of a name that may mean one.
    """
    return names_secret(name) or any(part in name.upper() for part in _VARIABLE_PARTS)


def holds_secret(text: str) -> bool:
    """Whether a text has a credential in it: a URL with a password, a header, a key of
    a known kind.
    """
    return _VALUES.search(text) is not None


def secret_in(value: Any, name: str = "") -> str | None:
    """Dotted name of the first credential in a value, nested ones included; None where
    there is none.

    A switch or a missing value is none, whatever its name, nor is what was hidden
    before.
    """
    return next(_secrets(value, name), None)


def _secrets(value: Any, name: str) -> Iterator[str]:
    if value is None or isinstance(value, bool) or value == HIDDEN:
        return
    if names_secret(name.rpartition(".")[2]):
        yield name
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if isinstance(key, str) and holds_secret(key):
                yield name or key
            yield from _secrets(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            yield from _secrets(each, f"{name}.[{index}]")
    elif isinstance(value, str):
        inner = _as_json(value)
        if inner is not None:
            yield from _secrets(inner, name)
        elif holds_secret(value) or _is_assignment(value):
            yield name


def _as_json(text: str) -> Any:
    """What a text is the JSON of, as some options have objects; None for a text that is
    no object, list or quoted text.
    """
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_assignment(text: str) -> bool:
    """``--api-key=...`` or ``PASSWORD=...``, as lists of arguments and of variables
    have them.
    """
    name, equals, value = text.partition("=")
    return (
        bool(equals and value)
        and bool(re.fullmatch(r"-{0,2}[A-Za-z][\w-]*", name))
        and names_secret(name)
    )


def masked(value: Any, name: str = "") -> Any:
    """A value with `HIDDEN` in place of every credential in it, nested ones included;
    mappings become dicts.
    """
    if value is None or isinstance(value, bool):
        return value
    if names_secret(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {
            masked_text(key) if isinstance(key, str) else key: masked(each, str(key))
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(masked(each) for each in value)
    if isinstance(value, str):
        inner = _as_json(value)
        if inner is not None:
            if secret_in(inner) is None:
                return value
            return json.dumps(masked(inner))
        if _is_assignment(value):
            return f"{value.partition('=')[0]}={HIDDEN}"
        return masked_text(value)
    return value


def masked_text(text: str, known: Iterable[str] = ()) -> str:
    """A text with `HIDDEN` in place of what `holds_secret` finds, and of the values
    ``known``.
    """
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
    """Values of environment variables that are credentials, the longest first: what a
    program may print of them.
    """
    values = {
        value
        for name, value in variables.items()
        if names_secret(name) and len(value) >= _SHORTEST
    }
    return sorted(values, key=len, reverse=True)


def credentials_in(
    data: bytes, known: Iterable[str], first: int
) -> list[tuple[int, int]]:
    """(start, length) of every credential in what a program printed: the values
    ``known`` anywhere, and what `holds_secret` finds in the first so many bytes.
    """
    found = [match.span() for match in _VALUES.finditer(data[:first].decode("latin-1"))]
    for value in known:
        found += [
            match.span()
            for match in re.finditer(
                re.escape(value.encode("utf-8", "surrogateescape")), data
            )
        ]
    return [(start, end - start) for start, end in found]
