"""The bytes of token ids from the files of a model, in an interpreter without
Transformers.
"""

from __future__ import annotations

from collections.abc import Iterable

from logdrift.core.errors import InputError
from logdrift.core.session.importers.tokenizer import Tokenizer, read_tokenizer
from logdrift.core.worker.hub_cache import model_folder

_FILE = "tokenizer.json"


class FolderText:
    """The ``tokenizer.json`` of a model folder, or of the hub's cache.

    Without one no id has a text here: the session takes it from its other backends.
    """

    def __init__(self, model: str, revision: str | None) -> None:
        self._tokenizer = _tokenizer_of(model, revision)
        self._sent: set[int] = set()

    def new_pieces(self, token_ids: Iterable[int]) -> dict[int, bytes]:
        """Pieces of those ids that were not asked for before."""
        fresh = {one for one in token_ids if one >= 0} - self._sent
        self._sent |= fresh
        if self._tokenizer is None:
            return {}
        pieces = {}
        for token_id in sorted(fresh):
            piece = self._tokenizer.piece(token_id)
            if piece is not None:
                pieces[token_id] = piece
        return pieces


def _tokenizer_of(model: str, revision: str | None) -> Tokenizer | None:
    try:
        folder = model_folder(model, revision)
        return read_tokenizer(folder / _FILE)
    except InputError as error:
        print(f"logdrift: no text for token ids: {error}", flush=True)
        return None
