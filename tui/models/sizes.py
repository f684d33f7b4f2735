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

MOST = 1000
"""Tokens that are listed at most: nobody reads more, a filter finds the others."""


def token_sizes(pair: Pair) -> npt.NDArray[np.float32]:
    """|delta| of each token, f32[N] in nats: 0 where it is not scored, infinite where
    it is NaN on a side.
    """
    sizes = np.where(pair.scored, np.abs(pair.delta), np.float32(0))
    return np.where(pair.broken, np.float32(np.inf), sizes)


def by_size(pair: Pair, positions: Positions) -> Positions:
    """The positions with the largest |delta| first, equal ones in the order of the
    text.
    """
    sizes = token_sizes(pair)[positions]
    order = np.argsort(-sizes, kind="stable")
    return positions[order]


class SizeOrder:
    """The divergent tokens of a pair with the largest |delta| first.

    The order of the last pair and threshold is kept.
    """

    def __init__(self) -> None:
        self._key: tuple[Pair | None, float] = (None, 0.0)
        self._positions = np.empty(0, np.int64)

    def positions(self, pair: Pair, threshold: float) -> Positions:
        """Flat positions beyond a threshold in nats, i64[n]."""
        key = (pair, threshold)
        if key != self._key:
            divergent = pair.divergences(threshold)
            self._positions = by_size(pair, divergent)
            self._key = key
        return self._positions


def place_in(positions: Positions, position: int) -> int | None:
    """The index of a position in an order, None where it is not in it."""
    places = np.flatnonzero(positions == position)
    if not len(places):
        return None
    return int(places[0])


# What the list of worst tokens is sorted by.


def _size(pair: Pair, positions: Positions) -> Array:
    return token_sizes(pair)[positions]


def _delta(pair: Pair, positions: Positions) -> Array:
    """Delta, f64[n]; NaN scores count for as much as infinite ones."""
    delta = pair.delta[positions].astype(np.float64)
    return np.where(pair.broken[positions], np.inf, delta)


def _opposite(pair: Pair, positions: Positions) -> Array:
    delta = pair.delta[positions].astype(np.float64)
    return np.where(pair.broken[positions], np.inf, -delta)


def _rank_change(pair: Pair, positions: Positions) -> Array:
    """How many times the lower rank is the higher one, f64[n]; 0 where a side has no
    rank.
    """
    change = rank_change(Stretch(pair, 0, pair.tokens))[positions]
    return np.nan_to_num(np.abs(change), nan=0.0, posinf=np.inf)


def _from_start(pair: Pair, positions: Positions) -> Array:
    """The place in the sequence, the first one largest."""
    offsets = pair.sequences.offsets
    sequences = np.searchsorted(offsets, positions, "right") - 1
    return offsets[sequences] - positions


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


NO_TOKENS = Ranking(np.empty(0, np.int64), 0)


def rank_tokens(pair: Pair, sort: WorstSort, candidates: Positions) -> Ranking:
    """The worst of ``candidates``, at most `MOST`: those that differ at all.

    Walks all tokens: not for an event loop.
    """
    candidates = candidates[candidates < pair.tokens]
    differ = token_sizes(pair)[candidates] > 0
    positions = candidates[differ]
    chosen_by = _size if sort.of_worst else sort.keys
    keys = chosen_by(pair, positions)
    worst = positions[_largest(keys, MOST)]
    order = np.argsort(-sort.keys(pair, worst), kind="stable")
    return Ranking(worst[order], len(positions))


def _largest(keys: Array, most: int) -> Positions:
    """The indices of the largest keys, ascending; of equal ones the first."""
    count = len(keys)
    if count <= most:
        return np.arange(count)
    bound = np.partition(keys, count - most)[count - most]
    above = np.flatnonzero(keys > bound)
    equal = np.flatnonzero(keys == bound)
    missing = most - len(above)
    chosen = np.concatenate([above, equal[:missing]])
    return np.sort(chosen)
