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
        is_only_part = room > 0 and not parts
        if room >= _WORTH or is_only_part:
            first = _start_around_worst(pair, start, stop, room)
            end = first + room
            parts.append(SequencePart(sequence, first, end, length))
        break
    return parts


def _start_around_worst(pair: Pair, start: int, stop: int, room: int) -> int:
    """Where a part of ``room`` tokens starts that holds the worst one of a sequence."""
    part = slice(start, stop)
    size = np.abs(pair.delta[part])
    size = np.where(pair.scored[part], size, 0)
    worst = int(size.argmax())
    last_start = stop - start - room
    in_the_middle = max(0, worst - room // 2)
    return min(in_the_middle, last_start)
