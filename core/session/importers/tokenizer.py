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
    file = model
    if model.is_dir():
        file = model / "tokenizer.json"
    tokenizer = read_tokenizer(file)
    pieces = {}
    for token_id in set(token_ids):
        piece = tokenizer.piece(token_id)
        if piece is not None:
            pieces[token_id] = piece
    return pieces


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``. Raises InputError."""
    try:
        data = read_json(path, PIECES_BYTES)
        return Tokenizer.from_json(data)
    except OSError as error:
        raise in_file(path).error(
            f"cannot be read: {error.strerror}", "give the folder of the model"
        ) from None
    except _BAD_FORM as error:
        kind = type(error).__name__
        raise in_file(path).error(f"is not a tokenizer.json: {kind}: {error}") from None


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
        words = {}
        if isinstance(vocabulary, dict):
            for word, token_id in vocabulary.items():
                words[token_id] = word
        else:
            # Unigram vocabularies are lists of [token, score].
            in_order = [word for word, _ in vocabulary]
            words = dict(enumerate(in_order))
        added = {}
        for entry in data.get("added_tokens") or ():
            token_id = int(entry["id"])
            added[token_id] = str(entry["content"])
        decoder = data.get("decoder") or {}
        decoder_text = json.dumps(decoder)
        alphabet = None
        if '"ByteLevel"' in decoder_text:
            alphabet = byte_alphabet()
        return cls(words=words, added=added, alphabet=alphabet)

    def piece(self, token_id: int) -> bytes | None:
        """The bytes of an id; None where it is not known."""
        special = self.added.get(token_id)
        if special is not None:
            return special.encode("utf-8", "surrogatepass")
        word = self.words.get(token_id)
        if word is None:
            return None
        text = str(word)
        piece = token_bytes(text, self.alphabet)
        if piece is None:
            return text.encode("utf-8", "surrogatepass")
        return piece
