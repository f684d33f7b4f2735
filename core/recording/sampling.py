"""Which sequences of an endless stream are kept: a uniform sample of bounded size, and
the worst.

Every sequence gets a level by a coin: 0 with a chance of 1/2, 1 with 1/4, and so on.
Kept are those from the recording's level on, so each with the same chance, 1 in
2^level, whatever its numbers; the level rises when there is too much. A part holds
sequences of one level, so a higher level means to delete whole files.
"""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from logdrift.core.recording.batch import SeenSequence, difference
from logdrift.core.session.streams import MOST_LEVEL

_EVEN = 0.5
"""The chance of a coin."""
_GAP_AND_NUMBER = operator.itemgetter(0, 1)


def coin_levels(rng: np.random.Generator, count: int) -> list[int]:
    """The levels of ``count`` sequences: how many coins in a row show heads."""
    throws = rng.geometric(_EVEN, count)
    heads = throws - 1
    levels = heads.clip(max=MOST_LEVEL)
    return list(levels.tolist())


def level_for(tokens: Mapping[int, int], most: int, level: int) -> int:
    """The lowest level, from ``level`` on, from which on there are at most ``most``
    tokens; ``tokens`` says how many each level has.
    """
    while level < MOST_LEVEL:
        kept = 0
        for own_level, count in tokens.items():
            if own_level >= level:
                kept += count
        if kept <= most:
            break
        level += 1
    return level


def largest_gap(sequence: SeenSequence) -> float:
    """The largest |delta| of the first two sides over tokens that both scored, nats;
    infinite where one side alone says -inf, or says NaN.
    """
    sides = sequence.sides
    if sides is None:
        return 0.0
    counts = sequence.counted
    if not counts.any():
        return 0.0
    a, b = sides
    delta = difference(a[counts], b[counts])
    size = np.abs(delta)
    is_nan = np.isnan(size)
    size[is_nan] = np.inf
    return float(size.max())


@dataclass(slots=True)
class WorstSequences:
    """The sequences with the largest gaps, at most ``most`` tokens of them."""

    most: int
    tokens: int = 0
    changed: bool = False
    _heap: list[tuple[float, int, SeenSequence]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def offer(self, sequence: SeenSequence) -> None:
        """Keep it if it is among the worst."""
        gap = largest_gap(sequence)
        size = len(sequence)
        if gap == 0.0 or size > self.most:
            return
        free = self.most - self.tokens
        if size > free and gap <= self._smallest:
            return
        # The number decides between equal gaps: sequences have no order.
        number = next(self._numbers)
        entry = (gap, number, sequence)
        heapq.heappush(self._heap, entry)
        self.tokens += size
        self.changed = True
        while self.tokens > self.most:
            _, _, dropped = heapq.heappop(self._heap)
            self.tokens -= len(dropped)

    @property
    def _smallest(self) -> float:
        gap, _, _ = self._heap[0]
        return gap

    def sequences(self) -> list[SeenSequence]:
        """The worst first."""
        in_order = sorted(self._heap, reverse=True, key=_GAP_AND_NUMBER)
        return [sequence for _, _, sequence in in_order]
