"""The tokens of a pair by size: which of them are the worst, in which order.

Positions are flat indices into all tokens of the session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.compare.token_values import Stretch, rank_change

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Positions = npt.NDArray[np.int64]

NO_POSITIONS = np.empty(0, np.int64)
MOST = 1000
"""Tokens that are listed at most: nobody reads more, a filter finds the others."""


def token_sizes(pair: Pair) -> npt.NDArray[np.float32]:
    """|delta| of each token, f32[N] in nats: 0 where it is not scored, infinite where
    it is NaN on a side.
    """
    unscored = np.float32(0)
    infinite = np.float32(np.inf)
    magnitudes = np.abs(pair.delta)
    sizes = np.where(pair.scored, magnitudes, unscored)
    return np.where(pair.broken, infinite, sizes)


def by_size(pair: Pair, positions: Positions) -> Positions:
    """The positions with the largest |delta| first, equal ones in the order of the
    text.
    """
    sizes = _size(pair, positions)
    return _largest_first(positions, sizes)


def _largest_first(positions: Positions, keys: Array) -> Positions:
    """The positions with the largest keys first, equal ones as they stood."""
    order = np.argsort(-keys, kind="stable")
    return positions[order]


class SizeOrder:
    """The divergent tokens of a pair with the largest |delta| first.

    The order of the last pair and threshold is kept.
    """

    def __init__(self) -> None:
        self._pair: Pair | None = None
        self._threshold = 0.0
        self._positions = NO_POSITIONS

    def positions(self, pair: Pair, threshold: float) -> Positions:
        """Flat positions beyond a threshold in nats, i64[n]."""
        is_kept = pair is self._pair and threshold == self._threshold
        if not is_kept:
            divergent = pair.divergences(threshold)
            self._positions = by_size(pair, divergent)
            self._pair = pair
            self._threshold = threshold
        return self._positions


def place_in(positions: Positions, position: int) -> int | None:
    """The index of a position in an order, None where it is not in it."""
    is_there = positions == position
    places = np.flatnonzero(is_there)
    if not len(places):
        return None
    return int(places[0])


# What the list of worst tokens is sorted by.


def _size(pair: Pair, positions: Positions) -> Array:
    sizes = token_sizes(pair)
    return sizes[positions]


def _delta(pair: Pair, positions: Positions) -> Array:
    """Delta, f64[n]; NaN scores count for as much as infinite ones."""
    delta = _exact_delta(pair, positions)
    return _broken_first(pair, positions, delta)


def _opposite(pair: Pair, positions: Positions) -> Array:
    delta = _exact_delta(pair, positions)
    return _broken_first(pair, positions, -delta)


def _exact_delta(pair: Pair, positions: Positions) -> Array:
    delta = pair.delta[positions]
    return delta.astype(np.float64)


def _broken_first(pair: Pair, positions: Positions, keys: Array) -> Array:
    is_broken = pair.broken[positions]
    return np.where(is_broken, np.inf, keys)


def _rank_change(pair: Pair, positions: Positions) -> Array:
    """How many times the lower rank is the higher one, f64[n]; 0 where a side has no
    rank.
    """
    whole = Stretch(pair, 0, pair.tokens)
    changes = rank_change(whole)
    change = np.abs(changes[positions])
    no_rank = np.isnan(change)
    change[no_rank] = 0.0
    return change


def _from_start(pair: Pair, positions: Positions) -> Array:
    """The place in the sequence, the first one largest."""
    offsets = pair.sequences.offsets
    following = np.searchsorted(offsets, positions, "right")
    starts = offsets[following - 1]
    return starts - positions


def _text_order(pair: Pair, positions: Positions) -> Array:
    return -positions


class WorstSort(NamedTuple):
    """One order of the worst tokens: those with the largest ``keys`` first.

    ``of_worst``: the tokens are chosen by |delta|, and only shown in this order.
    """

    name: str
    words: str
    keys: Callable[[Pair, Positions], Array]
    of_worst: bool = False


WORST_SORTS: tuple[WorstSort, ...] = (
    WorstSort("|Δ|", "|Δ|, the largest first", _size),
    WorstSort("Δ", "Δ, where A gives most first", _delta),
    WorstSort("−Δ", "Δ, where B gives most first", _opposite),
    WorstSort("rank", "lower rank over higher rank", _rank_change),
    WorstSort("position", "place in its sequence", _from_start, of_worst=True),
    WorstSort("sequence", "sequence, then place in it", _text_order, of_worst=True),
)


class Ranking(NamedTuple):
    """The first ``positions`` i64[n] of ``total`` tokens in an order."""

    positions: Positions
    total: int


NO_TOKENS = Ranking(NO_POSITIONS, total=0)


def rank_tokens(pair: Pair, sort: WorstSort, candidates: Positions) -> Ranking:
    """The worst of ``candidates``, at most `MOST`: those that differ at all.

    Walks all tokens: not for an event loop.
    """
    exists = candidates < pair.tokens
    candidates = candidates[exists]
    differs = _size(pair, candidates) > 0
    positions = candidates[differs]
    total = len(positions)
    chosen_by = sort.keys
    if sort.of_worst:
        chosen_by = _size
    keys = chosen_by(pair, positions)
    largest = _largest(keys, MOST)
    worst = positions[largest]
    shown_by = sort.keys(pair, worst)
    ranked = _largest_first(worst, shown_by)
    return Ranking(ranked, total)


def _largest(keys: Array, most: int) -> Positions:
    """The indices of the largest keys, ascending; of equal ones the first."""
    count = len(keys)
    if count <= most:
        return np.arange(count)
    bound_place = count - most
    partitioned = np.partition(keys, bound_place)
    bound = partitioned[bound_place]
    above = np.flatnonzero(keys > bound)
    equal = np.flatnonzero(keys == bound)
    missing = most - len(above)
    first_equal = equal[:missing]
    chosen = np.concatenate([above, first_equal])
    return np.sort(chosen)
