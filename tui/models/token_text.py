"""The text of one token, as a line of words shows it."""

from __future__ import annotations

from logdrift.core.session.joining import part_of
from logdrift.core.session.reader import Session
from logdrift.tui.models.places import sequence_of

_NEIGHBOURS = 3
"""Tokens on either side that may share a character: UTF-8 has four bytes at most."""


def token_text(session: Session, position: int) -> str:
    """The visible text of a token; of a token that has a part of a character, the whole
    character.
    """
    sequences = session.sequences
    start, stop = sequences.bounds(sequence_of(sequences, position))
    first = max(start, position - _NEIGHBOURS)
    last = min(stop, position + _NEIGHBOURS + 1)
    ids = sequences.token_ids[first:last]
    pieces = [session.pieces.get(int(token_id)) or b"" for token_id in ids]
    part = part_of(pieces, position - first)
    if part is not None:
        character, _, _ = part
        return character
    token_id = int(sequences.token_ids[position])
    return session.pieces.text(token_id)
