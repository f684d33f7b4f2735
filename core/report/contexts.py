"""The text around a token: for programs token by token, for people in whole
characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from logdrift.core.compare.pair import Pair
from logdrift.core.session.joining import LONGEST, PART, joined_texts

CONTEXT = 6
"""Tokens shown on either side of a token."""


@dataclass(frozen=True, slots=True)
class ReadableContext:
    """A token between the text before and after it, for people: characters that several
    tokens share are whole (`logdrift.core.session.joining`).
    """

    before: str
    piece: str
    after: str


def text_between(pair: Pair, start: int, stop: int) -> str:
    """The text of the flat positions ``start:stop``, each token made visible."""
    token_ids = pair.sequences.token_ids[start:stop]
    text_of = pair.session.pieces.text
    texts = map(text_of, token_ids.tolist())
    return "".join(texts)


def context_around(pair: Pair, at: int) -> ReadableContext:
    """The token at the flat position ``at`` between its `CONTEXT` neighbours."""
    start, stop = pair.sequences.bounds(pair.sequence_of(at))
    first = max(start, at - CONTEXT)
    end = min(stop, at + 1 + CONTEXT)
    return readable_context(pair, at, (first, end), (start, stop))


def readable_context(
    pair: Pair, at: int, shown: tuple[int, int], bounds: tuple[int, int]
) -> ReadableContext:
    """The token at the flat position ``at`` between the others of the range ``shown``;
    ``bounds`` is the range in which neighbours may complete a character.
    """
    first, end = shown
    low = max(bounds[0], first - LONGEST + 1)
    high = min(bounds[1], end + LONGEST - 1)
    token_ids = pair.sequences.token_ids[low:high].tolist()
    texts = joined_texts(pair.session.pieces, token_ids)
    before = texts[first - low : at - low]
    after = texts[at + 1 - low : end - low]
    return ReadableContext(
        before=_without_parts(before),
        piece=texts[at - low],
        after=_without_parts(after),
    )


def _without_parts(texts: Sequence[str]) -> str:
    """Running text: a character stands where it is completed, and the tokens that begin
    it add nothing.
    """
    return "".join(text for text in texts if text != PART)
