"""The bytes of token ids from a model folder's ``tokenizer.json``, without the library
that made it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logdrift.core.session.files import PIECES_BYTES, JsonObject, read_json
from logdrift.core.session.importers.place import in_file
from logdrift.core.session.vocabulary import byte_alphabet, token_bytes

_BAD_FORM = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    UnicodeError,
)


def pieces_of(model: Path, token_ids: Iterable[int]) -> dict[int, bytes]:
    """id -> bytes of the ids that the tokenizer knows. ``model`` is a folder, or the
    ``tokenizer.json`` itself.

    Raises InputError where there is none, or it has another form.
    """
    tokenizer = _read(model / "tokenizer.json" if model.is_dir() else model)
    pieces = {token_id: tokenizer.piece(token_id) for token_id in set(token_ids)}
    return {token_id: piece for token_id, piece in pieces.items() if piece is not None}


def _read(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_json(read_json(path, PIECES_BYTES))
    except OSError as error:
        raise in_file(path).error(
            f"cannot be read: {error.strerror}", "give the folder of the model"
        ) from None
    except _BAD_FORM as error:
        raise in_file(path).error(
            f"is not a tokenizer.json: {type(error).__name__}: {error}"
        ) from None


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Words of ids as they are written, and special tokens as they read.

    ``alphabet`` tells the bytes of a word's characters; None where words are text.
    """

    words: Mapping[int, Any]
    added: Mapping[int, str]
    alphabet: Mapping[str, int] | None

    @classmethod
    def from_json(cls, data: JsonObject) -> Tokenizer:
        """Raises `_BAD_FORM`."""
        vocabulary = data["model"]["vocab"]
        if isinstance(vocabulary, dict):
            words = {token_id: word for word, token_id in vocabulary.items()}
        else:
            # Unigram vocabularies are lists of [token, score].
            words = {i: word for i, (word, _) in enumerate(vocabulary)}
        added = data.get("added_tokens") or ()
        byte_level = '"ByteLevel"' in json.dumps(data.get("decoder") or {})
        return cls(
            words=words,
            added={int(entry["id"]): str(entry["content"]) for entry in added},
            alphabet=byte_alphabet() if byte_level else None,
        )

    def piece(self, token_id: int) -> bytes | None:
        """The bytes of an id; None where it is not known."""
        if token_id in self.added:
            return self.added[token_id].encode("utf-8", "surrogatepass")
        word = self.words.get(token_id)
        if word is None:
            return None
        piece = token_bytes(str(word), self.alphabet)
        if piece is None:
            return str(word).encode("utf-8", "surrogatepass")
        return piece
