"""One number for each token of a stretch: what a token view is coloured by. f32[n] or
f64[n], NaN where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.pair import Pair

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Stretch:
    """The tokens ``start:stop`` of a pair. ``floor`` is the mean |delta| of repeats in
    nats, None where unknown.
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


def delta(of: Stretch) -> Array:
    """log p_A - log p_B, nats."""
    return np.where(of.scored, of.cut(of.pair.delta), np.float32(np.nan))


def size(of: Stretch) -> Array:
    """|delta|, nats."""
    return np.abs(delta(of))


def over_floor(of: Stretch) -> Array:
    """Delta as a multiple of the floor: infinite for any delta but 0 where repeats
    differ by nothing.
    """
    values = delta(of).astype(np.float64)
    if of.floor is None:
        return np.full(len(values), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values == 0, 0.0, values / of.floor)


def ratio_excess(of: Stretch) -> Array:
    """How far the ratio of the probabilities is above 1, 0.2 for 1.2 times, with
    delta's sign: below 0 where B gives more.
    """
    values = delta(of).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.copysign(np.expm1(np.abs(values)), values)


def rank_change(of: Stretch) -> Array:
    """How many times the lower rank is the higher one, above 0 where A ranks the token
    higher; 0 for the same rank.
    """
    a, b = (
        of.cut(side.rank.whole()).astype(np.float64) for side in (of.pair.a, of.pair.b)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(a < b, b / a, np.where(a > b, -a / b, 0.0))
    return np.where(of.scored & (a > 0) & (b > 0), values, np.nan)


def entropy(of: Stretch) -> Array:
    """The entropy of A's distribution, or of B's where A has none, nats."""
    for side in (of.pair.a, of.pair.b):
        if side.entropy is not None:
            return np.where(of.scored, of.cut(side.entropy.whole()), np.float32(np.nan))
    return np.full(of.stop - of.start, np.nan, np.float32)


def has_entropy(pair: Pair) -> bool:
    """Whether a side has entropies."""
    return pair.a.entropy is not None or pair.b.entropy is not None


def surprise_a(of: Stretch) -> Array:
    """-log p_A, nats."""
    return 0 - of.cut(of.pair.logprob_a)


def surprise_b(of: Stretch) -> Array:
    """-log p_B, nats."""
    return 0 - of.cut(of.pair.logprob_b)
