"""The bytes of token ids from a model folder's ``tokenizer.json``, without the library
that made it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.files import PIECES_BYTES, read_json
from logdrift.core.session.vocabulary import byte_alphabet, token_bytes


def pieces_of(model: Path, token_ids: Iterable[int]) -> dict[int, bytes]:
    """id -> bytes of the ids that the tokenizer knows. ``model`` is a folder, or the
    ``tokenizer.json`` itself.

    Raises InputError where there is none, or it is none.
    """
    path = model / "tokenizer.json" if model.is_dir() else model
    try:
        data = read_json(path, PIECES_BYTES)
        words = data["model"]["vocab"]
        # Unigram vocabularies are lists of [token, score].
        known = (
            {i: w for w, i in words.items()}
            if isinstance(words, dict)
            else {i: w for i, (w, _) in enumerate(words)}
        )
        added = {
            int(entry["id"]): str(entry["content"])
            for entry in data.get("added_tokens") or ()
        }
        byte_level = '"ByteLevel"' in json.dumps(data.get("decoder") or {})
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}: give the folder of the model"
        ) from None
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        UnicodeError,
    ) as error:
        raise InputError(
            f"{path}: is no tokenizer.json: {type(error).__name__}: {error}"
        ) from None
    alphabet = byte_alphabet() if byte_level else None
    pieces = {}
    for token_id in set(token_ids):
        if token_id in added:
            pieces[token_id] = added[token_id].encode("utf-8", "surrogatepass")
        elif (word := known.get(token_id)) is not None:
            found = token_bytes(str(word), alphabet)
            pieces[token_id] = (
                found
                if found is not None
                else str(word).encode("utf-8", "surrogatepass")
            )
    return pieces
