"""What a backend loaded, by name: the config that its engine resolved, tokenizer and
chat templates.

One file a backend, ``facts/BACKEND-DIGEST.json``, read when it is first asked for:
opening a session costs nothing more. docs/session-format.md has the keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.session.below import refuse_links
from logdrift.core.session.files import JsonObject, parse_json, read_file
from logdrift.core.session.layout import MANIFEST, LoadedFile

FOLDER = "facts"
MAX_BYTES = 4 << 20
"""A file that logdrift writes has a tenth of it at most
(`logdrift.core.json_values.bounded`).
"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Nested JSON values; None is not observed.

    ``config`` is the model's config as the engine resolved it. ``tokenizer`` holds
    vocabulary size, special and added tokens, and the kinds of its steps. ``templates``
    are chat templates by name, ``default`` where there is one alone, and empty where
    the tokenizer has none.
    """

    config: JsonObject | None = None
    tokenizer: JsonObject | None = None
    templates: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "config": self.config,
            "tokenizer": self.tokenizer,
            "templates": self.templates,
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Loaded:
        """Inverse of `to_json`; a value that is not a mapping counts as not
        observed.
        """
        config = data.get("config")
        tokenizer = data.get("tokenizer")
        templates = _mapping(data.get("templates"))
        if templates is not None:
            templates = {str(name): str(text) for name, text in templates.items()}
        return cls(
            config=_mapping(config),
            tokenizer=_mapping(tokenizer),
            templates=templates,
        )


def _mapping(value: object) -> JsonObject | None:
    if isinstance(value, Mapping):
        return value
    return None


def entry_of(backend: str, loaded: Loaded) -> tuple[LoadedFile, bytes]:
    """The file that says it: its entry for the manifest, and its bytes.

    The name holds the digest, so that captures made after an upgrade do not change what
    earlier ones say.
    """
    text = json.dumps(loaded.to_json(), separators=(",", ":"))
    data = text.encode()
    digest = _digest(data)
    _, _, hex_digits = digest.partition(":")
    name = f"{backend}-{hex_digits[:12]}.json"
    entry = LoadedFile(f"{FOLDER}/{name}", digest)
    return entry, data


def read_entry(folder: Path, entry: LoadedFile) -> bytes:
    """The bytes of the file. Raises InputError in one line where it is missing, too
    large, or not the one listed.
    """
    path = folder / entry.file
    refuse_links(folder, entry.file)
    try:
        data = read_file(path, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"is not there, and {MANIFEST} lists it", file=path) from None
    if _digest(data) != entry.digest:
        raise InputError(
            f"is damaged: its digest is not the one in {MANIFEST}", file=path
        )
    return data


def read_loaded(folder: Path, entry: LoadedFile) -> Loaded:
    """Raises InputError as `read_entry` does, and where the file is not JSON."""
    try:
        content = read_entry(folder, entry)
        data = parse_json(content)
    except ValueError as error:
        file = folder / entry.file
        raise InputError(f"is not JSON: {error}", file=file) from None
    if not isinstance(data, Mapping):
        data = {}
    return Loaded.from_json(data)


def _digest(data: bytes) -> str:
    import hashlib  # a session opens without it

    hasher = hashlib.sha256(data)
    return f"sha256:{hasher.hexdigest()}"
