"""Where the gap sits: errors by probability of the token, by position and by entropy of
the distribution.

A gap that grows with position, or that only rare tokens have, has another cause than
one that all tokens share.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from logdrift.core.compare.groups import Groups

Array = npt.NDArray[Any]

PROBABILITY_EDGES = (0.0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)
ENTROPY_EDGES = (0.0, 0.01, 0.1, 0.5, 1.0, 2.0, 4.0, float("inf"))
"""Nats. Half of the tokens of a trained model lie below 0.5; a uniform choice among 50
ids is 3.9.
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tokens with ``low`` <= value < ``high`` (``high`` None: no end) and their finite
    deltas' statistics in nats.

    ``tokens`` counts all of them, impossible ones (delta +-inf) included; an empty
    bucket has statistics None.
    """

    low: float
    high: float | None
    tokens: int
    mean: float | None = None
    mae: float | None = None
    rmse: float | None = None
    max_abs: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Every division; ``by_entropy`` is None where neither capture has an entropy, and
    those into groups (`GroupedTokens`) are None where the session does not know them.
    """

    by_probability: tuple[Bucket, ...]
    by_position: tuple[Bucket, ...]
    by_entropy: tuple[Bucket, ...] | None
    by_turn: Groups | None = None
    by_role: Groups | None = None
    by_version: Groups | None = None
    by_lag: Groups | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def make_buckets(
    delta: Array, logprob: Array, position: Array, entropy: Array | None
) -> Buckets:
    """Divide n tokens of a scope.

    delta f32[n] (nats, +-inf allowed); ``logprob`` f32[n] of the side whose probability
    is asked for (B: the sampler's); ``position`` int[n], from 0 at the scope's start in
    each sequence; ``entropy`` f32[n] in nats or None. A token whose entropy is NaN is
    in no entropy bucket. The last probability bucket includes 1 and what rounding lifts
    above it.
    """
    # In float64: a border rounded to float32 would let in values that are just below
    # it.
    borders = np.log(np.asarray(PROBABILITY_EDGES[1:-1]))
    index = np.searchsorted(borders, logprob.astype(np.float64), "right")
    return Buckets(
        by_probability=_divide(delta, index, PROBABILITY_EDGES),
        by_position=by_position(delta, position),
        by_entropy=_by_entropy(delta, entropy),
    )


def by_position(delta: Array, position: Array) -> tuple[Bucket, ...]:
    """Buckets 0, 1, 2-3, 4-7, ...: each twice as long as all before it, up to the last
    position that occurs.
    """
    # frexp's exponent is floor(log2) + 1, exactly: position 0 -> 0, 1 -> 1, 2 and 3 ->
    # 2.
    _, index = np.frexp(position.astype(np.float64))
    last = int(index.max(initial=0))
    edges = [0.0]
    for exponent in range(last + 1):
        edges.append(float(1 << exponent))
    return _divide(delta, index, edges)


def _by_entropy(delta: Array, entropy: Array | None) -> tuple[Bucket, ...] | None:
    if entropy is None:
        return None
    borders = np.asarray(ENTROPY_EDGES[1:-1])
    index = np.searchsorted(borders, entropy.astype(np.float64), "right")
    known = ~np.isnan(entropy)
    if not known.all():
        delta = delta[known]
        index = index[known]
    return _divide(delta, index, ENTROPY_EDGES)


def _divide(delta: Array, index: Array, edges: Sequence[float]) -> tuple[Bucket, ...]:
    """Statistics of the deltas of each bucket; ``index`` int[n] says which, bucket i is
    edges[i] to edges[i+1].
    """
    count = len(edges) - 1
    tokens = np.bincount(index, minlength=count)
    finite = np.isfinite(delta)
    if not finite.all():
        delta = delta[finite]
        index = index[finite]
    size = np.abs(delta)
    square = np.square(delta, dtype=np.float64)
    # bincount adds in float64 whatever the weights are.
    total = np.bincount(index, delta, minlength=count)
    total_size = np.bincount(index, size, minlength=count)
    total_square = np.bincount(index, square, minlength=count)
    kept = np.bincount(index, minlength=count)
    buckets = []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        bucket = Bucket(
            low=low,
            high=None if np.isinf(high) else high,
            tokens=int(tokens[number]),
        )
        n = int(kept[number])
        if n:
            mean_square = total_square[number] / n
            bucket = replace(
                bucket,
                mean=float(total[number] / n),
                mae=float(total_size[number] / n),
                rmse=float(np.sqrt(mean_square)),
                max_abs=float(size[index == number].max()),
            )
        buckets.append(bucket)
    return tuple(buckets)
