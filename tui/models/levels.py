"""What the tokens of a pair are coloured by, and which of them have a colour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.compare.token_values import Stretch
from logdrift.tui.models.modes import Legend, Mode, legend

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.compare.pair_numbers import PairNumbers

    Positions = npt.NDArray[np.int64]
    CountKey = tuple[str, float]
    """The name of a mode and a threshold in its unit."""

AT_ONCE = 200_000
"""Tokens of a pair up to which the event loop itself looks for those beyond a
threshold: it takes some milliseconds. A longer pair is left to a thread.
"""
_KEPT_COUNTS = 12


class Counts:
    """The positions beyond a threshold, for the last few modes and thresholds."""

    def __init__(self) -> None:
        self._positions: dict[CountKey, Positions] = {}

    def __contains__(self, key: CountKey) -> bool:
        return key in self._positions

    def __getitem__(self, key: CountKey) -> Positions:
        return self._positions[key]

    def keep(self, key: CountKey, positions: Positions) -> None:
        """Remember positions; the oldest ones are forgotten when there are too many."""
        if len(self._positions) >= _KEPT_COUNTS:
            oldest = next(iter(self._positions))
            del self._positions[oldest]
        self._positions[key] = positions

    def clear(self) -> None:
        """Forget all positions, because another pair is shown."""
        self._positions.clear()


@dataclass(eq=False, repr=False)
class Levels:
    """The colours of a pair in one ``mode``, with ``threshold`` in the mode's unit.

    ``numbers`` are None while the pair is being measured.
    """

    pair: Pair | None
    mode: Mode
    threshold: float
    numbers: PairNumbers | None
    counts: Counts

    @property
    def key(self) -> CountKey:
        return self.mode.name, self.threshold

    @property
    def text(self) -> str:
        """The threshold as the legend writes it."""
        bound = self.mode.bound_text(self.threshold)
        return f"{self.mode.head} {bound}"

    @property
    def missing(self) -> str | None:
        """Why the pair has no numbers for the mode; None where it has them."""
        if self.pair is None:
            return "no pair to compare yet"
        mode = self.mode
        numbers = self.numbers
        if numbers is not None:
            return mode.missing(self.pair, numbers.floor)
        if mode.name == "floor":
            return "the floor is not measured yet"
        return mode.missing(self.pair, 0.0)

    def stretch(self, start: int, stop: int) -> Stretch:
        """Tokens ``start`` to ``stop`` of the pair, with its floor."""
        assert self.pair is not None
        floor = None
        if self.numbers is not None:
            floor = self.numbers.floor
        return Stretch(self.pair, start, stop, floor)

    def of(self, start: int, stop: int) -> npt.NDArray[np.int8]:
        """The level of each token, i8[stop - start]: 0 where the mode has no
        numbers.
        """
        if self.missing is not None:
            count = stop - start
            return np.zeros(count, np.int8)
        tokens = self.stretch(start, stop)
        mode = self.mode
        return mode.levels(tokens, self.threshold)

    def beyond(self) -> Positions:
        """The flat positions of the tokens with a level, i64, ascending."""
        pair = self.pair
        if pair is None or self.missing is not None:
            return np.empty(0, np.int64)  # not kept: the numbers may still come
        if not self.mode.thresholds:
            return pair.divergences(self.threshold)
        key = self.key
        counts = self.counts
        if key not in counts:
            positions = self.find_beyond()
            counts.keep(key, positions)
        return counts[key]

    def beyond_threshold(self, threshold: float) -> Positions:
        """As `beyond`, for another threshold of the same mode."""
        levels = replace(self, threshold=threshold)
        return levels.beyond()

    def find_beyond(self) -> Positions:
        """Work `beyond` out anew. Walks all tokens of the pair."""
        assert self.pair is not None
        count = self.pair.tokens
        tokens = self.stretch(0, count)
        mode = self.mode
        return mode.beyond(tokens, self.threshold)

    @property
    def slow(self) -> bool:
        """Whether `beyond` would walk so many tokens that a thread has to do it
        first.
        """
        if self.pair is None or self.missing is not None:
            return False
        is_counted = self.key in self.counts
        if is_counted or not self.mode.thresholds:
            return False
        return self.pair.tokens > AT_ONCE

    @property
    def count(self) -> int | None:
        """How many tokens have a level; None without numbers and while it is `slow`."""
        if self.missing is not None or self.slow:
            return None
        return len(self.beyond())

    def legend(self, *, counted: bool) -> Legend:
        """The line that explains the colours; ``counted``: with the count of tokens."""
        pair = self.pair
        count = None
        if counted:
            count = self.count
        if pair is None or count is None:
            return legend(
                self.mode, self.threshold, beyond=None, scored=0, missing=self.missing
            )
        broken = np.count_nonzero(pair.broken)
        return legend(
            self.mode,
            self.threshold,
            beyond=count,
            scored=self.mode.tokens(pair),
            missing=None,
            broken=int(broken),
        )
