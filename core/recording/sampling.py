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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from logdrift.core.recording.batch import SeenSequence
from logdrift.core.session.streams import MOST_LEVEL


def coin_levels(rng: np.random.Generator, count: int) -> list[int]:
    """The levels of ``count`` sequences: how many coins in a row show heads."""
    levels = rng.geometric(0.5, count) - 1
    return [min(level, MOST_LEVEL) for level in levels.tolist()]


def level_for(tokens: Mapping[int, int], most: int, level: int) -> int:
    """The lowest level, from ``level`` on, from which on there are at most ``most``
    tokens; ``tokens`` says how many each level has.
    """
    while level < MOST_LEVEL:
        kept = [count for at, count in tokens.items() if at >= level]
        if sum(kept) <= most:
            break
        level += 1
    return level


def largest_gap(sequence: SeenSequence) -> float:
    """The largest |delta| of the first two sides over tokens that both scored, nats;
    infinite where one side alone says -inf, or says NaN.
    """
    sides = list(sequence.logprobs.values())
    if len(sides) < 2:
        return 0.0
    a, b, *_ = sides
    counts = sequence.mask == 1
    counts[: sequence.prompt_length] = False
    a = a[counts]
    b = b[counts]
    if not len(a):
        return 0.0
    with np.errstate(invalid="ignore"):
        size = np.abs(a - b)
    size[a == b] = 0.0  # both -inf
    size[np.isnan(size)] = np.inf
    return float(size.max())


@dataclass(slots=True)
class WorstSequences:
    """The sequences with the largest gaps, at most ``most`` tokens of them."""

    most: int
    tokens: int = 0
    changed: bool = False
    _heap: list[tuple[float, int, SeenSequence]] = field(default_factory=list)
    _numbers: Iterable[int] = field(default_factory=itertools.count)

    def offer(self, sequence: SeenSequence) -> None:
        """Keep it if it is among the worst."""
        gap = largest_gap(sequence)
        size = len(sequence.token_ids)
        if gap == 0.0 or size > self.most:
            return
        is_full = self.tokens + size > self.most
        if is_full and gap <= self._heap[0][0]:
            return
        # The number decides between equal gaps: sequences have no order.
        number = next(iter(self._numbers))
        heapq.heappush(self._heap, (gap, number, sequence))
        self.tokens += size
        self.changed = True
        while self.tokens > self.most:
            _, _, dropped = heapq.heappop(self._heap)
            self.tokens -= len(dropped.token_ids)

    def sequences(self) -> list[SeenSequence]:
        """The worst first."""
        in_order = sorted(self._heap, reverse=True, key=lambda entry: entry[:2])
        return [sequence for _, _, sequence in in_order]
