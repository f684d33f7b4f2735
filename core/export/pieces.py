"""The text of tokens in files: as it is where a format takes any text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.session.reader import Pieces

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def distinct(token_ids: Array) -> tuple[list[int], Array]:
    """The different ids, and for each token its place among them."""
    ids, places = np.unique(token_ids, return_inverse=True)
    return ids.tolist(), places


def utf8_text(pieces: Pieces, token_id: int) -> str | None:
    """The token's text, bytes that are not UTF-8 by themselves as U+FFFD; None where
    the session does not know it.
    """
    return _decoded(pieces, token_id, "replace")


def exact_text(pieces: Pieces, token_id: int) -> str | None:
    """The token's text, bytes that are not UTF-8 by themselves as lone surrogates
    (Python's ``surrogateescape``); None where the session does not know it.
    """
    return _decoded(pieces, token_id, "surrogateescape")


def _decoded(pieces: Pieces, token_id: int, errors: str) -> str | None:
    piece = pieces.get(token_id)
    if piece is None:
        return None
    return piece.decode("utf-8", errors)
