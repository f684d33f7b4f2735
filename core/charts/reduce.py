"""Arrays of any length reduced to what a small picture can show.

Every function is one or two passes over its arrays (a million tokens: tens of
milliseconds), so that a chart's cost is that of its picture. Bins are numbered from 0;
-1 stands for "in none".
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bins = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
Singles = npt.NDArray[np.float32]
Shorts = npt.NDArray[np.int16]
Levels = npt.NDArray[np.int8]

LOWEST = 1e-7
"""Nats: below it a float32 log-probability of a usual size has no digits left."""
SHADES = 4
"""Steps of a heat map above nothing."""
_QUANTILES = (0.1, 0.9)
_SHADED = (0.1, 0.95)
"""The quantiles between which the shades of a heat map lie."""
_SAMPLE = 50_000
"""Values that a quantile is taken of, about: more change no picture."""
_NO_VALUE = np.float32(np.nan)
NO_BIN = np.int32(-1)
"""Of a token that lies in no bin."""


def count_true(mask: Array) -> int:
    """How many entries of a bool[n] are True."""
    return int(np.count_nonzero(mask))


def nan_outside(mask: Array, values: Array) -> Array:
    """``values`` f32[n] where ``mask`` bool[n] is True, NaN elsewhere."""
    return np.where(mask, values, _NO_VALUE)


def bin_middles(end: float, bins: int) -> Floats:
    """The middle of each of ``bins`` equal stretches of 0 to ``end``, f64[bins]."""
    numbers = np.arange(bins)
    middles = numbers + 0.5
    return middles * end / bins


def envelope(values: Array, columns: int) -> tuple[Ints, Array]:
    """Index and value of the lowest and the highest of each of ``columns`` stretches,
    in order, not finite ones left out.

    At most 2 * ``columns`` points whatever the length, and no peak is lost.
    """
    is_finite = np.isfinite(values)
    finite = np.flatnonzero(is_finite)
    kept = values[finite]
    count = len(finite)
    most = 2 * columns
    if count <= most:
        return finite, kept
    borders = np.arange(columns + 1)
    values_before = borders * count
    edges = values_before // columns
    bounds = edges.tolist()
    chosen: set[int] = set()
    for start, stop in itertools.pairwise(bounds):
        stretch = kept[start:stop]
        lowest = int(stretch.argmin())
        highest = int(stretch.argmax())
        chosen.add(start + lowest)
        chosen.add(start + highest)
    ascending = sorted(chosen)
    in_order = np.array(ascending)
    indices = finite[in_order]
    extremes = kept[in_order]
    return indices, extremes


@dataclass(frozen=True, eq=False)
class Band:
    """Mean and the range of the middle 80% of the values in each of n bins of
    positions; NaN for an empty bin.

    ``at`` f64[n] is the middle of a bin, ``count`` i64[n] the values in it.
    """

    at: Floats
    mean: Floats
    low: Floats
    high: Floats
    count: Ints


def make_band(values: Array, position: Array, end: int, bins: int) -> Band:
    """Divide finite ``values`` f[n] by ``position`` int[n] (0 <= position < ``end``)
    into ``bins`` equal stretches.
    """
    bins = _at_most_one_each(bins, end)
    # int16 sorts by radix: a million values take 10 ms.
    stretch = _stretch(position, end, bins)
    order = stretch.argsort(kind="stable")
    ordered = values[order]
    count = np.bincount(stretch, minlength=bins)
    total = np.bincount(stretch, values, minlength=bins)
    ends = np.cumsum(count)
    borders = ends[:-1]
    parts = np.split(ordered, borders)
    ranges = list(map(_middle_range, parts))
    bounds = np.array(ranges)
    low, high = bounds.T
    mean = _ratio(total, count)
    middles = bin_middles(end, bins)
    return Band(
        at=middles,
        mean=mean,
        low=low,
        high=high,
        count=count,
    )


def _at_most_one_each(bins: int, positions: int) -> int:
    """At least one bin, and no more of them than positions."""
    most = min(bins, positions)
    return max(1, most)


def _middle_range(part: Array) -> tuple[float, float]:
    """The ends of the middle 80% of values, which are put in another order; NaN for
    none. The nearest value is enough for a picture.
    """
    count = len(part)
    if not count:
        return math.nan, math.nan
    last = count - 1
    low_share, high_share = _QUANTILES
    lower = round(low_share * last)
    upper = round(high_share * last)
    # One after the other is three times faster than both at once.
    part.partition(upper)
    high = part[upper]
    rest = part[: upper + 1]
    rest.partition(lower)
    low = rest[lower]
    return float(low), float(high)


def _ratio(total: Array, count: Ints) -> Floats:
    """``total`` / ``count``, f64[n]; NaN where there is nothing."""
    is_filled = count > 0
    divisor = np.where(is_filled, count, np.nan)
    with np.errstate(invalid="ignore"):
        ratio = total / divisor
    return np.asarray(ratio, np.float64)


def _stretch(position: Array, end: int, bins: int) -> Shorts:
    # Several times faster than dividing integers; a position at a border may fall on
    # either side of it.
    length = max(1, end)
    per_position = bins / length
    place = position * per_position
    last = bins - 1
    stretch = np.minimum(place, last)
    return stretch.astype(np.int16)


def shares(hits: Bools, position: Array, end: int, bins: int) -> tuple[Floats, Ints]:
    """Share of True among the tokens of each of ``bins`` equal stretches, f64[bins]
    (NaN: empty), and their number.
    """
    bins = _at_most_one_each(bins, end)
    stretch = _stretch(position, end, bins)
    count = np.bincount(stretch, minlength=bins)
    hit_stretch = stretch[hits]
    hit_count = np.bincount(hit_stretch, minlength=bins)
    return _ratio(hit_count, count), count


def running_sums(delta: Array, counted: Bools, offsets: Array) -> Floats:
    """Sum of the counted, finite deltas from the start of a token's sequence up to it,
    f64[N].

    ``offsets`` i64[S+1] are those of N tokens. exp of the sum is the importance ratio
    of the sequence so far.
    """
    is_finite = np.isfinite(delta)
    is_added = counted & is_finite
    zero = np.float32(0)
    added = np.where(is_added, delta, zero)
    total = np.cumsum(added, dtype=np.float64)
    starts = offsets[:-1]
    lengths = np.diff(offsets)
    nothing = [0.0]
    before_token = np.concatenate([nothing, total])
    before_start = before_token[starts]
    before = np.repeat(before_start, lengths)
    sums: Floats = total - before
    return sums


def log_edges(size: Array, bins: int, marks: tuple[float, ...] = ()) -> Floats:
    """Borders f64[bins+1], equal in the logarithm, that hold ``size`` f[n] (>= 0) and
    the ``marks``.

    The smallest 0.2% lie below them, and so does everything below `LOWEST`.
    """
    drawable = _drawable(size)
    sizes = len(drawable)
    inside = list(filter(_is_positive, marks))
    if sizes:
        per_sampled = sizes // _SAMPLE
        step = max(1, per_sampled)
        sample = drawable[::step]
        smallest = np.quantile(sample, 0.002)
        inside.append(float(smallest))
    lowest = min(inside, default=1e-3)
    below_lowest = lowest / 1.5
    low = max(LOWEST, below_lowest)
    largest = drawable.max(initial=0.0)
    inside.append(float(largest))
    a_decade_above = low * 10
    inside.append(a_decade_above)
    high = max(inside) * 1.1
    borders = bins + 1
    return np.geomspace(low, high, borders)


def _is_positive(size: float) -> bool:
    return size > 0


def _drawable(values: Array) -> Array:
    """The values that have a place on a logarithmic scale: finite and above 0."""
    is_finite = np.isfinite(values)
    is_positive = values > 0
    is_drawable = is_finite & is_positive
    return values[is_drawable]


def log_bins(size: Array, edges: Floats) -> Bins:
    """The bin of each ``size`` f[n] >= 0 between edges of `log_edges`, i32[n]: what
    lies outside goes to the ends.

    -1 for 0, NaN and infinity.
    """
    bins = len(edges) - 1
    lowest = edges[0]
    highest = edges[-1]
    log_lowest = math.log(lowest)
    times_lowest = highest / lowest
    range_of_logs = math.log(times_lowest)
    width = range_of_logs / bins
    with np.errstate(divide="ignore", invalid="ignore"):
        log_size = np.log(size)
        above_lowest = log_size - log_lowest
        place = above_lowest / width
    known = np.isfinite(place)
    finite = np.where(known, place, 0)
    last = bins - 1
    inside = np.clip(finite, 0, last)
    return _bins_where(known, inside)


def linear_bins(values: Array, low: float, high: float, bins: int) -> Bins:
    """The bin of each value f[n] in ``bins`` equal ones from ``low`` to ``high``,
    i32[n]; -1 where it is in none.
    """
    width = high - low
    bins_a_unit = bins / width
    per_unit = np.float32(bins_a_unit)
    origin = np.float32(low)
    with np.errstate(invalid="ignore"):
        from_origin = values - origin
        place = from_origin * per_unit
        is_above = values >= low
        is_below = values <= high
    known = is_above & is_below
    finite = np.where(known, place, 0)
    last = bins - 1
    inside = np.minimum(finite, last)
    return _bins_where(known, inside)


def _bins_where(known: Bools, places: Array) -> Bins:
    """The whole part of each place, -1 where it is not ``known``."""
    bins = np.where(known, places, -1)
    whole: Bins = bins.astype(np.int32)
    return whole


def join_bins(rows: Bins, columns: Bins, width: int) -> Bins:
    """Cells of a grid ``width`` columns wide, i32[n]: row * width + column, -1 where
    either is in none.
    """
    has_row = rows >= 0
    has_column = columns >= 0
    inside = has_row & has_column
    cells_a_row = np.int32(width)
    before_row = rows * cells_a_row
    cells = before_row + columns
    return np.where(inside, cells, NO_BIN)


def count_bins(bins: Bins, size: int) -> Ints:
    """How many tokens each of ``size`` bins has, i64[size]."""
    return _sum_bins(bins, None, size)


def _sum_bins(bins: Bins, values: Array | None, size: int) -> Array:
    """Sum of the ``values`` f[n] of each of ``size`` bins, or their number without."""
    # A bin more, for -1: cheaper than leaving those tokens out first.
    shifted = bins + 1
    with_none = size + 1
    sums = np.bincount(shifted, values, with_none)
    return sums[1:]


def mean_bins(bins: Bins, values: Array, size: int) -> Floats:
    """Mean of the finite ``values`` f[n] of each of ``size`` bins, f64[size]; NaN for
    an empty one.
    """
    finite = np.isfinite(values)
    chosen = np.where(finite, bins, NO_BIN)
    known = np.where(finite, values, 0)
    total = _sum_bins(chosen, known, size)
    count = count_bins(chosen, size)
    return _ratio(total, count)


def largest_bins(bins: Bins, size: Array, count: int) -> Ints:
    """Index of the token with the largest ``size`` f[n] (the first of equals) in each
    of ``count`` bins; -1: empty.
    """
    unknown = np.isnan(size)
    below_all = np.float32(-1)
    known = np.where(unknown, below_all, size)
    known = known.astype(np.float32, copy=False)
    shifted = bins + 1
    with_none = count + 1
    nothing = -np.inf
    peak = np.full(with_none, nothing, np.float32)
    np.maximum.at(peak, shifted, known)
    peak_of_token = peak[shifted]
    is_peak = known == peak_of_token
    # Written from the end on, so that the first of equals is written last and stays.
    peaks = np.flatnonzero(is_peak)
    from_end = peaks[::-1]
    bins_from_end = shifted[from_end]
    index = np.full(with_none, -1, np.int64)
    index[bins_from_end] = from_end
    return index[1:]


def stretch_bins(values: Array, start: int, stop: int, bins: int) -> Bins:
    """The bin of each whole number int[n] in ``bins`` equal ones from ``start`` to
    before ``stop``, i32[n]; -1 where it is in none.
    """
    length = stop - start
    per_value = bins / length
    from_start = values - start
    # A value at a border must not fall below it by a rounding error.
    place = from_start * per_value + 1e-9
    is_above = values >= start
    is_below = values < stop
    is_inside = is_above & is_below
    return _bins_where(is_inside, place)


def shade_steps(values: Array) -> Floats:
    """Lower bounds of `SHADES` steps, f64[SHADES], each the same factor above the one
    before: at most 2, less where the values lie closer together, so that an even map
    still shows what is more and what is less.

    ``values`` f[n] are those of the cells, NaN for empty ones. The last step begins at
    about the 95th percentile.
    """
    drawable = _drawable(values)
    low = top = 1.0
    if len(drawable):
        bounds = np.quantile(drawable, _SHADED)
        low, top = bounds.tolist()
    spread = top / low
    step = 1 / SHADES
    even_factor = spread**step
    at_least = max(1.05, even_factor)
    factor = min(2.0, at_least)
    last = _two_digits(top)
    steps = []
    for steps_below_last in reversed(range(SHADES)):
        divisor = factor**steps_below_last
        lower_bound = _two_digits(last / divisor)
        steps.append(lower_bound)
    return np.asarray(steps, np.float64)


def _two_digits(value: float) -> float:
    """Rounded as a legend writes it, so that the legend is the truth."""
    return float(f"{value:.2g}")


def shade_levels(values: Array, steps: Floats) -> Levels:
    """0 (below the first step or empty) to `SHADES` for each of ``values``, i8 of the
    same shape.
    """
    empty = np.isnan(values)
    below_all = -np.inf
    known = np.where(empty, below_all, values)
    levels = np.searchsorted(steps, known, "right")
    return np.asarray(levels, np.int8)


def count_steps(counts: Ints) -> Floats:
    """Lower bounds of `SHADES` steps of token counts, equal in the logarithm up to the
    largest, f64[SHADES].
    """
    most = counts.max(initial=1)
    largest = max(2, int(most))
    numbers = np.arange(SHADES)
    exponents = numbers / SHADES
    bounds = largest**exponents
    return np.maximum(1.0, bounds)


def sign_levels(values: Array, threshold: float) -> Levels:
    """The step of each of ``values`` f[n], i8[n], as tokens are coloured by delta: 0
    within the threshold, 1 to 4 beyond it, twice, four and eight times it; below 0
    where the value is. NaN has none.
    """
    numbers = np.arange(SHADES)
    doublings = 2.0**numbers
    bounds = threshold * doublings
    size = np.abs(values)
    known = np.nan_to_num(size, nan=0.0, posinf=np.inf)
    steps = np.searchsorted(bounds, known, "left")
    is_negative = values < 0
    levels = np.where(is_negative, -steps, steps)
    return np.asarray(levels, np.int8)


def rank_change(rank_a: Array, rank_b: Array) -> Singles:
    """log10(rank_b / rank_a), f32[n]: above 0 where A puts the token nearer to the top;
    NaN where a rank is unknown (0).
    """
    known_a = rank_a > 0
    known_b = rank_b > 0
    known = known_a & known_b
    a = np.where(known, rank_a, 1)
    b = np.where(known, rank_b, 1)
    exact_a = a.astype(np.float32)
    exact_b = b.astype(np.float32)
    ratio = exact_b / exact_a
    change = np.log10(ratio)
    return nan_outside(known, change)
