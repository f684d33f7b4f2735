"""The first step from which on a number is not as before: a jump, or the start of a
growth.

**Method.** A permutation test whose statistic is the largest over all places and
shapes: how many were tried needs no correction, and no distribution of the numbers is
assumed (Antoch and Huskova 2001, Permutation tests in change point analysis). The
statistic of a place is the part of the weighted sum of squares that a shape explains,
by least squares. Shapes are 0 before the place and reach a new level within 1, 4, 8,
... steps: within one it is a jump, and one that reaches no level grows to the end.
Beside these, a level that lasts for 3, 6, 12, ... steps and is left again.

A step weighs 1 / (s^2 + t^2): s is its standard error, and t^2, what steps differ by
beyond that, is the rest of half the squared differences of neighbours (von Neumann
1941), by their median, so that the change itself is no noise. A wild step is moved
towards the median of its neighbours first (Hampel 1974). Numbers and weights are
permuted together.

Steps of a training hang together. The explained part, over the rest, is divided by
(1 + r) / (1 - r), the long-run variance of an autoregression, r being the lag-1
correlation of what the best shapes leave over, corrected by (2 + 4 r) / n for its bias
(Kendall 1954; Robbins et al. 2011, Changepoints in the North Atlantic tropical cyclone
record).

The *first* change is found by looking again at the steps before the place that was
found, until nothing is found there (binary segmentation, Vostrikova 1981), each time
with half the chance of a false alarm. Where two jumps explain much more than one shape,
the first of them is meant.

docs/trend.md says what was measured, `benchmarks/trend.py` measures it again.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.trend.tail_sums import FEWEST as FEWEST
from logdrift.core.trend.tail_sums import TINY, TailSums

Array = npt.NDArray[Any]

ALPHA = 0.005
"""How often a run without a change may be called one with a change: a quarter of the 2%
that docs/trend.md allows, since steps are not as exchangeable as a permutation makes
them.
"""
PERMUTATIONS = 999
"""They give a p of `ALPHA` with a standard error of 0.002."""
_CHUNK = 111
"""Permutations at once; after each chunk it is seen whether more are needed."""
_MAD = 1.482602218505602
"""The standard deviation of normal numbers over their median absolute deviation."""
_NEIGHBOURS = 5
"""A step with two on either side: a jump is the median of its neighbours, a single wild
step is not.
"""
_SPIKE = 3.0
"""Standard deviations that a step may be away from the median of its neighbours, as is
usual with Hampel's filter.
"""
_MOST_CORRELATED = 0.9
"""Neighbours that resemble each other more are a walk, of which the rest tells too
little: what is explained is divided by 19 at most.
"""
_ROUNDING = 1e-9
_CLEAR = 20
"""Times the variance between neighbours and the logarithm of their number: what a
further change explains at least. An autoregression of 0.5 reaches two thirds of it.
Chosen by what drawn runs showed, not derived.
"""
_SURE = 3
"""Times what a parameter is worth: what a growth, or a second jump, explains more than
a jump before it is taken for one. A wild step beside a jump looks like a short growth.
Chosen by what drawn runs showed, not derived.
"""
_MOST_ENDS = 400
"""Places at which a second jump is looked for, at most: the work grows with the square
of the steps.
"""
_MORE = 4
"""Further changes that are taken out, at most: a run with more hardly has a before."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A change: ``start`` is the first point that is not as before, ``stop`` the one at
    which the new level is reached, None where the number grows to the end. ``p`` is the
    chance of one so clear in a run without any. ``end`` is the first point that is not
    as the change left it, where it is left again or another change follows; None where
    the last point is still so.
    """

    start: int
    stop: int | None
    p: float
    end: int | None = None

    @property
    def is_jump(self) -> bool:
        """The new level is there at once."""
        return self.stop == self.start

    @property
    def before(self) -> slice:
        """The points before it."""
        return slice(0, self.start)

    @property
    def since(self) -> slice:
        """The points from its start to its end."""
        return slice(self.start, self.end)

    @property
    def settled(self) -> slice:
        """Those of them that are at the new level; all where none is reached."""
        if self.stop is None:
            return self.since
        return slice(self.stop, self.end)


@dataclass(frozen=True, slots=True, eq=False)
class NoisyPoints:
    """Numbers f64[n] in the order of ``places`` f64[n], which ascend, with their
    standard errors f64[n], NaN where one is not known. A number may be -inf, and none
    is NaN.
    """

    values: Array
    errors: Array
    places: Array

    def before(self, index: int) -> NoisyPoints:
        """The points before a place."""
        return NoisyPoints(
            values=self.values[:index],
            errors=self.errors[:index],
            places=self.places[:index],
        )

    def __len__(self) -> int:
        return len(self.values)


def first_shift(points: NoisyPoints) -> Shift | None:
    """The first change of a series; None where there is none beyond noise.

    The draws are the same in each call, so that a series has one answer.
    """
    found = None
    values = points.values
    alpha = ALPHA
    while len(points) >= 2 * FEWEST:
        shift = _clearest_shift(points, alpha)
        if shift is None:
            break
        if found is not None:
            shift = _up_to(shift, found, values)
        found = shift
        points = points.before(shift.start)
        alpha /= 2
    return found


def _up_to(shift: Shift, later: Shift, values: Array) -> Shift:
    """A change with the end that a later one gives it. A growth that has not ended
    there, and goes on to a level, is one change with it.
    """
    if shift.end is not None:
        return shift
    if shift.stop is None and later.is_jump and _goes_on(shift, later, values):
        return replace(shift, stop=later.start, end=later.end)
    return replace(shift, end=later.start)


def _goes_on(shift: Shift, later: Shift, values: Array) -> bool:
    """Whether a later change leads further away, by the medians."""
    before = np.median(values[shift.before])
    between = np.median(values[shift.start : later.start])
    after = np.median(values[later.settled])
    return bool((between > before) == (after > between))


def _clearest_shift(points: NoisyPoints, alpha: float) -> Shift | None:
    """The change that explains most, where chance alone explains that much less often
    than ``alpha``.
    """
    values = without_spikes(points.values)
    weights = step_weights(points)
    mean = np.average(values, weights=weights)
    centred = values - mean
    places = points.places
    sums = TailSums.of(weights[None], centred[None], places)
    total = float((weights * centred**2).sum())
    if total <= TINY:
        return None
    best = _best(sums, total)
    left_over = _left_over(best, weights, centred, places)
    left_over = _without_more(left_over, weights, places)
    observed = _without_correlation(best.explained, total, left_over)
    p = _chance(observed, alpha, weights, centred, places)
    if p > alpha:
        return None
    best = _first_of_two(best, weights, centred, places)
    stop: int | None = best.stop
    if best.stop == len(points) - 1:
        stop = None
    end = best.end
    if end == len(points):
        end = None
    return Shift(best.start, stop, p, end)


# ---- numbers and weights


def without_spikes(values: Array) -> Array:
    """Numbers f64[n] of which none is further from the median of its neighbours than
    `_SPIKE` standard deviations. What is -inf is that far below all others.
    """
    spread = float(np.sqrt(_noise_variance(values)))
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.zeros(len(values))
    reach = _SPIKE * max(spread, TINY)
    lowest = float(finite.min()) - reach
    values = np.maximum(values, lowest)
    if spread <= TINY:
        return values
    half = _NEIGHBOURS // 2
    padded = np.pad(values, half, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _NEIGHBOURS)
    middle = np.median(windows, 1)
    clipped: Array = np.clip(values, middle - reach, middle + reach)
    return clipped


def step_weights(points: NoisyPoints) -> Array:
    """What each step weighs, f64[n], 1 on average."""
    errors = points.errors
    squares = np.square(errors)
    known = np.isfinite(squares)
    if not known.any():
        return np.ones(len(points))
    usual = float(np.median(squares[known]))
    squares = np.where(known, squares, usual)
    between = max(0.0, _noise_variance(points.values) - usual)
    # Steps whose error is far below that of others still differ by something.
    least = max(TINY, usual / 4)
    variance = np.maximum(squares + between, least)
    weights: Array = variance.mean() / variance
    weights /= weights.mean()
    return weights


def _noise_variance(values: Array) -> float:
    """Half the squared differences of neighbours, by their median; 0 for none."""
    finite = values[np.isfinite(values)]
    differences = np.diff(finite)
    if not len(differences):
        return 0.0
    sizes = np.abs(differences)
    spread = _MAD * float(np.median(sizes))
    return spread**2 / 2


# ---- what a shape explains


@dataclass(frozen=True, slots=True)
class _Best:
    """The shape that explains most; ``end`` is the first point that is as before again,
    None for none.
    """

    start: int
    stop: int
    explained: float
    end: int | None = None


def _best(sums: TailSums, total: float) -> _Best:
    """The shape that explains most of the first draw, whose sum of squares is
    ``total``: the jump, unless a growth leaves so much less that its length is worth a
    parameter (Schwarz 1978).
    """
    jump, *others = [_best_of(sums, length) for length in sums.lengths]
    others += [_best_stay(sums, length) for length in sums.stays]
    if not others:
        return jump
    other = max(others, key=_explained)
    count = len(sums.places)
    left_over = max(0.0, total - other.explained)
    worth = math.log(count) * left_over / count
    if other.explained > jump.explained + _SURE * worth:
        return other
    return jump


_explained = operator.attrgetter("explained")


def _first_of_two(best: _Best, weights: Array, centred: Array, places: Array) -> _Best:
    """The first of two jumps, where two explain so much more than the one shape that
    was found; else that shape.
    """
    count = len(places)
    two = _two_jumps(weights, centred)
    total = float((weights * centred**2).sum())
    left_over = max(0.0, total - two.explained)
    worth = 2 * math.log(count) * left_over / count
    if two.explained > best.explained + _SURE * worth:
        return two
    return best


def _two_jumps(weights: Array, centred: Array) -> _Best:
    """The first of the two jumps that explain most together, and how much that is: the
    sums of squares of three levels around 0.
    """
    count = len(weights)
    sums = np.concatenate([[0.0], np.cumsum(weights * centred)])
    sizes = np.concatenate([[0.0], np.cumsum(weights)])
    stride = 1 + count // _MOST_ENDS
    seconds = np.arange(2 * FEWEST, count - FEWEST + 1, stride)
    best = _Best(0, 0, -1.0)
    for second in seconds.tolist():
        firsts = np.arange(FEWEST, second - FEWEST + 1)
        before = sums[firsts] ** 2 / sizes[firsts]
        within = sums[second] - sums[firsts]
        between = within**2 / (sizes[second] - sizes[firsts])
        behind = (sums[-1] - sums[second]) ** 2 / (sizes[-1] - sizes[second])
        explained = before + between + behind
        place = int(explained.argmax())
        if explained[place] > best.explained:
            first = int(firsts[place])
            best = _Best(first, first, float(explained[place]), end=second)
    return best


def _best_of(sums: TailSums, length: int) -> _Best:
    """The shape of a length that explains most of the first draw."""
    explained = sums.explained(length)[0]
    place = int(explained.argmax())
    return _Best(
        start=int(sums.starts[place]),
        stop=int(sums.stops(length)[place]),
        explained=float(explained[place]),
    )


def _best_stay(sums: TailSums, length: int) -> _Best:
    """The level that lasts for some points and explains most of the first draw."""
    explained = sums.explained_stay(length)[0]
    place = int(explained.argmax())
    start = int(sums.starts[place])
    return _Best(start, start, float(explained[place]), end=start + length)


def _left_over(best: _Best, weights: Array, centred: Array, places: Array) -> Array:
    """The numbers without the best shape, by least squares, f64[n]."""
    shape = rising(places, best.start, best.stop)
    if best.end is not None:
        shape[best.end :] = 0.0
    mean = np.average(shape, weights=weights)
    around = shape - mean
    products = weights * around * centred
    squares = weights * around**2
    height = products.sum() / max(squares.sum(), TINY)
    rest: Array = centred - height * around
    return rest


def _without_correlation(explained: float, total: float, left_over: Array) -> float:
    """What would be explained if neighbours did not resemble each other: the ratio of
    what is explained to the rest is that much smaller.
    """
    rest = max(total - explained, _ROUNDING * total)
    ratio = explained / rest / long_run_ratio(left_over)
    return total * ratio / (1 + ratio)


def _without_more(left_over: Array, weights: Array, places: Array) -> Array:
    """What is left over without further changes that are far beyond noise: of a run
    that changes twice, one shape leaves neighbours that resemble each other.
    """
    noise = _noise_variance(left_over)
    count = len(left_over)
    clear = _CLEAR * math.log(count) * noise
    for _ in range(_MORE):
        mean = np.average(left_over, weights=weights)
        centred = left_over - mean
        sums = TailSums.of(weights[None], centred[None], places)
        total = float((weights * centred**2).sum())
        best = _best(sums, total)
        if best.explained <= max(clear, TINY):
            break
        left_over = _left_over(best, weights, centred, places)
    return left_over


def rising(places: Array, start: int, stop: int) -> Array:
    """0 before the point ``start``, 1 from ``stop`` on, growing in between, f64[n]."""
    foot = places[start - 1]
    rise = places[stop] - foot
    shape: Array = np.clip((places - foot) / rise, 0.0, 1.0)
    return shape


def long_run_ratio(left_over: Array) -> float:
    """By how much neighbours that resemble each other enlarge what chance explains; 1
    where they do not.
    """
    count = len(left_over)
    total = float(np.square(left_over).sum())
    if total <= TINY:
        return 1.0
    products = left_over[1:] * left_over[:-1]
    correlation = float(products.sum()) / total
    correlation += (2 + 4 * correlation) / count
    correlation = min(_MOST_CORRELATED, max(0.0, correlation))
    return (1 + correlation) / (1 - correlation)


# ---- what chance explains


def _chance(
    observed: float, alpha: float, weights: Array, centred: Array, places: Array
) -> float:
    """The share of permutations that explain as much, the series itself counted. Where
    they are already too many, the rest is not drawn.
    """
    as_clear = 1
    drawn = 1
    enough = alpha * (PERMUTATIONS + 1)
    # A draw that is the series itself may differ by rounding.
    reached = observed * (1 - _ROUNDING)
    for orders in _permutations(len(places)):
        sums = TailSums.of(weights[orders], centred[orders], places)
        largest = np.zeros(len(orders))
        for length in sums.lengths:
            explained = sums.explained(length).max(1)
            largest = np.maximum(largest, explained)
        for length in sums.stays:
            explained = sums.explained_stay(length).max(1)
            largest = np.maximum(largest, explained)
        as_clear += int(np.count_nonzero(largest >= reached))
        drawn += len(orders)
        if as_clear > enough:
            break
    return as_clear / drawn


def _permutations(count: int) -> Iterator[Array]:
    """Orders of ``count`` points, i64[draws, n], the same in each call."""
    rng = np.random.default_rng(0)
    in_order = np.arange(count)
    for _ in range(0, PERMUTATIONS, _CHUNK):
        rows = np.tile(in_order, (_CHUNK, 1))
        yield rng.permuted(rows, axis=1)
