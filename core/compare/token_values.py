"""One number for each token of a stretch: what a token view is coloured by.

All functions give f32[n] or f64[n], NaN where there is no number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from logdrift.core.compare.pair import Pair

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.session.reader import Capture

    Array = npt.NDArray[Any]


class Stretch(NamedTuple):
    """The n tokens ``start:stop`` of a pair.

    ``floor`` is the mean |delta| of repeats in nats, None where unknown.
    """

    pair: Pair
    start: int
    stop: int
    floor: float | None = None

    def cut(self, values: Array) -> Array:
        """This stretch of N values."""
        return values[self.start : self.stop]

    @property
    def scored(self) -> Array:
        return self.cut(self.pair.scored)

    @property
    def broken(self) -> Array:
        """bool[n]: counted tokens that are NaN on a side."""
        return self.cut(self.pair.broken)


def delta(stretch: Stretch) -> Array:
    """log p_A - log p_B, nats."""
    return _where_scored(stretch, stretch.pair.delta)


def size(stretch: Stretch) -> Array:
    """|delta|, nats."""
    return np.abs(delta(stretch))


def over_floor(stretch: Stretch) -> Array:
    """Delta as a multiple of the floor: infinite for any delta but 0 where repeats do
    not differ.
    """
    values = delta(stretch).astype(np.float64)
    if stretch.floor is None:
        return np.full(len(values), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        multiples = values / stretch.floor
    return np.where(values == 0, 0.0, multiples)


def ratio_excess(stretch: Stretch) -> Array:
    """How far the ratio of the probabilities is above 1, 0.2 for 1.2 times, with
    delta's sign: below 0 where B gives more.
    """
    values = delta(stretch).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        excess = np.expm1(np.abs(values))
    return np.copysign(excess, values)


def rank_change(stretch: Stretch) -> Array:
    """How many times the lower rank is the higher one, above 0 where A ranks the token
    higher; 0 for the same rank.
    """
    rank_a = _ranks(stretch, stretch.pair.a)
    rank_b = _ranks(stretch, stretch.pair.b)
    with np.errstate(divide="ignore", invalid="ignore"):
        a_is_higher = rank_b / rank_a
        b_is_higher = -rank_a / rank_b
    change = np.where(rank_a > rank_b, b_is_higher, 0.0)
    change = np.where(rank_a < rank_b, a_is_higher, change)
    has_ranks = (rank_a > 0) & (rank_b > 0)
    return np.where(stretch.scored & has_ranks, change, np.nan)


def _ranks(stretch: Stretch, capture: Capture) -> Array:
    """The rank of each token in a capture, f64[n]; 0 where it has none."""
    ranks = capture.rank.whole()
    return stretch.cut(ranks).astype(np.float64)


def entropy(stretch: Stretch) -> Array:
    """The entropy of A's distribution, or of B's where A has none, nats."""
    for capture in (stretch.pair.a, stretch.pair.b):
        if capture.entropy is not None:
            return _where_scored(stretch, capture.entropy.whole())
    tokens = stretch.stop - stretch.start
    return np.full(tokens, np.nan, np.float32)


def has_entropy(pair: Pair) -> bool:
    """Whether a side has entropies."""
    return pair.a.entropy is not None or pair.b.entropy is not None


def surprise_a(stretch: Stretch) -> Array:
    """-log p_A, nats."""
    logprob = stretch.cut(stretch.pair.logprob_a)
    return 0 - logprob


def surprise_b(stretch: Stretch) -> Array:
    """-log p_B, nats."""
    logprob = stretch.cut(stretch.pair.logprob_b)
    return 0 - logprob


def lag(stretch: Stretch) -> Array:
    """How many versions the weights that sampled a token were behind the newest."""
    versions = stretch.pair.versions
    if versions is None or versions.lags is None:
        tokens = stretch.stop - stretch.start
        return np.full(tokens, np.nan)
    lags = stretch.cut(versions.lags)
    return np.where(lags < 0, np.nan, lags)


def message_roles(stretch: Stretch) -> Array:
    """The number of each token's role, u8[n], 0 where it is not known."""
    from logdrift.core.compare.turns import known_roles

    roles = stretch.pair.sequences.roles
    if roles is None:
        tokens = stretch.stop - stretch.start
        return np.zeros(tokens, np.uint8)
    return known_roles(stretch.cut(roles))


def message_starts(stretch: Stretch) -> Array:
    """bool[n]: the token is the first one of a message."""
    starts = stretch.pair.messages.starts
    begins = np.zeros(stretch.stop - stretch.start, np.bool_)
    inside = starts[(starts >= stretch.start) & (starts < stretch.stop)]
    begins[inside - stretch.start] = True
    return begins


def _where_scored(stretch: Stretch, values: Array) -> Array:
    """Of N values those of the stretch, NaN where a side has no score."""
    own = stretch.cut(values)
    return np.where(stretch.scored, own, np.float32(np.nan))
