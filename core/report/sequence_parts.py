"""Which parts of which sequences a page draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from logdrift.core.compare.pair import Pair

_WORTH = 200
"""Tokens that a part of a sequence must have to be worth drawing."""


@dataclass(frozen=True, slots=True)
class SequencePart:
    """What of a sequence is drawn: positions ``start:stop`` of its ``length``
    tokens.
    """

    sequence: int
    start: int
    stop: int
    length: int


def parts_to_draw(
    pair: Pair, order: Sequence[int], sequences: int, tokens: int
) -> list[SequencePart]:
    """The first ``sequences`` of ``order`` in at most ``tokens`` tokens; the last one
    cut to fit, around its worst token.
    """
    parts = []
    room = tokens
    for sequence in order[:sequences]:
        start, stop = pair.sequences.bounds(sequence)
        length = stop - start
        if length <= room:
            parts.append(SequencePart(sequence, 0, length, length))
            room -= length
            continue
        if room >= _WORTH or (room > 0 and not parts):
            size = np.abs(pair.delta[start:stop])
            size = np.where(pair.scored[start:stop], size, 0)
            worst = int(np.argmax(size))
            first = int(np.clip(worst - room // 2, 0, length - room))
            parts.append(SequencePart(sequence, first, first + room, length))
        break
    return parts
