"""Sums over the tokens of a pair, in one pass over blocks that stay in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare import estimators
from logdrift.core.compare.sums import block_lengths, blocks_of, exact_sum

Array = npt.NDArray[Any]

_BLOCK_SUMS = np.dtype(
    [
        (name, np.float64)
        for name in (
            "delta",
            "square",  # of delta
            "k3",
            "k3_reverse",
            "chi2",
            "excess",  # r - 1
            "js",
            "excess_around",  # squares of r - 1 around the block's own mean
            "k3_around",
        )
    ]
)


class TokenSums:
    """Sums over the n tokens of f64[n] deltas in nats, block by block.

    They are pairwise sums within blocks and exact over blocks. ``errors`` f64[n] is
    exp|delta| - 1 of each token.
    """

    def __init__(self, delta: Array) -> None:
        self.delta = delta
        self.count = len(delta)
        self.lowest = float(delta.min())
        self.highest = float(delta.max())
        self.errors = np.empty(self.count)
        sums = []
        for block in blocks_of(self.count):
            sums.append(_block_sums(delta[block], self.errors[block]))
        self._blocks = np.array(sums, _BLOCK_SUMS)
        self._lengths = block_lengths(self.count)

    @property
    def constant(self) -> bool:
        """Whether all deltas are equal."""
        return self.lowest == self.highest

    def mean(self, name: str) -> float:
        """The mean over tokens of a sum of `_BLOCK_SUMS`."""
        return exact_sum(self._blocks[name]) / self.count

    def squares_around(self, name: str, mean: float) -> float:
        """The sum of squares around the ``mean`` of ``excess`` or ``k3``."""
        within = exact_sum(self._blocks[f"{name}_around"])
        means = self._blocks[name] / self._lengths
        between = self._lengths * (means - mean) ** 2
        return within + exact_sum(between)


def _block_sums(delta: Array, errors: Array) -> tuple[float, ...]:
    """The sums of `_BLOCK_SUMS` over one block; ``errors`` receives exp|delta| - 1."""
    above = estimators.excess(delta)
    below = estimators.excess(-delta)
    np.maximum(above, below, out=errors)
    k3 = estimators.k3(delta, above)
    sums = (
        delta.sum(),
        (delta * delta).sum(),
        k3.sum(),
        estimators.k3_reverse(delta, below).sum(),
        estimators.chi2(above).sum(),
        above.sum(),
        estimators.jensen_shannon(delta, above, below).sum(),
    )
    return (
        *(float(value) for value in sums),
        _squares_around_mean(above),
        _squares_around_mean(k3),
    )


def _squares_around_mean(values: Array) -> float:
    """Of f64[n], which it changes: a block's rows stay in the cache."""
    values -= values.sum() / len(values)
    return float((values * values).sum())
