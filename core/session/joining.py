"""Characters that several tokens share: shown on the token that completes them.

Models with byte tokens spell Chinese, emoji and much else in pieces that are no text
alone.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from logdrift.core.session.contents import Pieces
from logdrift.core.session.visible import visible

PART = "‹"
"""Shown for a token that holds only a part of a character; a later one completes it."""
LONGEST = 4
"""Bytes of a character, and so the most tokens that share one."""


def whole_text(piece: bytes) -> bool:
    """Whether a piece is whole characters, in UTF-8."""
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def shown_together(pieces: list[bytes]) -> list[str]:
    """Neighbouring pieces as visible text, one text for each piece.

    A character goes to the piece that has its last byte. Bytes that are no character
    even together stay escaped where they are.
    """
    texts = ["" for _ in pieces]
    sizes = [len(piece) for piece in pieces]
    ends = list(itertools.accumulate(sizes))
    piece = 0
    for char, _, end in _chars(pieces):
        while ends[piece] < end:
            piece += 1
        texts[piece] += visible(char)
    for index, raw in enumerate(pieces):
        is_part = not texts[index]
        if raw and is_part:
            texts[index] = PART
    return texts


def _chars(pieces: list[bytes]) -> Iterator[tuple[str, int, int]]:
    """Each character of the joined pieces, with its first byte and the one after it.

    A byte that is not part of a character is given as a surrogate.
    """
    start = 0
    joined = b"".join(pieces)
    for char in joined.decode("utf-8", "surrogateescape"):
        size = 1
        is_stray_byte = 0xDC80 <= ord(char) <= 0xDCFF
        if not is_stray_byte:
            encoded = char.encode("utf-8")
            size = len(encoded)
        stop = start + size
        yield char, start, stop
        start = stop


def part_of(pieces: list[bytes], index: int) -> tuple[str, int, int] | None:
    """The character of which piece ``index`` has some bytes, but not all.

    Returns it as visible text, with the first and the last piece that have bytes of it;
    None where the piece shares no character with its neighbours.
    """
    sizes = [len(piece) for piece in pieces]
    starts = list(itertools.accumulate(sizes, initial=0))
    for char, start, end in _chars(pieces):
        first = bisect_right(starts, start) - 1
        last = bisect_right(starts, end - 1) - 1
        if first <= index <= last and first < last:
            return visible(char), first, last
    return None


def joined_texts(pieces: Pieces, token_ids: Sequence[int]) -> list[str]:
    """The visible text of each token, `PART` where a later one completes what it
    begins.

    Tokens at either end may lack a neighbour: give `LONGEST` - 1 more than are shown.
    """
    texts = list(map(pieces.text, token_ids))
    for run in _broken_runs(pieces, token_ids):
        raw = [pieces[token_id] for token_id in token_ids[run]]
        texts[run] = shown_together(raw)
    return texts


def _broken_runs(pieces: Pieces, token_ids: Sequence[int]) -> Iterator[slice]:
    """Neighbours, two or more, of which none is whole characters."""

    def is_broken(place: int) -> bool:
        raw = pieces.get(token_ids[place])
        return raw is not None and not whole_text(raw)

    places = range(len(token_ids))
    for broken, group in itertools.groupby(places, is_broken):
        run = list(group)
        if broken and len(run) > 1:
            yield slice(run[0], run[-1] + 1)
