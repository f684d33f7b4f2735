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

LOWEST = 1e-7
"""Nats: below it a float32 log-probability of a usual size has no digits left."""
SHADES = 4
"""Steps of a heat map above nothing."""
_QUANTILES = (0.1, 0.9)
_SAMPLE = 50_000
"""Values that a quantile is taken of, about: more change no picture."""


def count_true(mask: Array) -> int:
    """How many entries of a bool[n] are True."""
    return int(np.count_nonzero(mask))


def nan_outside(mask: Array, values: Array) -> Array:
    """``values`` f32[n] where ``mask`` bool[n] is True, NaN elsewhere."""
    return np.where(mask, values, np.float32(np.nan))


def bin_middles(end: float, bins: int) -> Floats:
    """The middle of each of ``bins`` equal stretches of 0 to ``end``, f64[bins]."""
    return (np.arange(bins) + 0.5) * end / bins


def envelope(values: Array, columns: int) -> tuple[Ints, Array]:
    """Index and value of the lowest and the highest of each of ``columns`` stretches,
    in order, not finite ones left out.

    At most 2 * ``columns`` points whatever the length, and no peak is lost.
    """
    finite = np.flatnonzero(np.isfinite(values))
    kept = values[finite]
    if len(finite) <= 2 * columns:
        return finite, kept
    edges = np.arange(columns + 1) * len(finite) // columns
    chosen: set[int] = set()
    for start, stop in itertools.pairwise(edges.tolist()):
        stretch = kept[start:stop]
        lowest = int(np.argmin(stretch))
        highest = int(np.argmax(stretch))
        chosen.update((start + lowest, start + highest))
    in_order = np.array(sorted(chosen))
    return finite[in_order], kept[in_order]


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
    bins = max(1, min(bins, end))
    # int16 sorts by radix: a million values take 10 ms.
    stretch = _stretch(position, end, bins)
    ordered = values[np.argsort(stretch, kind="stable")]
    count = np.bincount(stretch, minlength=bins)
    total = np.bincount(stretch, values, minlength=bins)
    borders = np.cumsum(count)[:-1]
    parts = np.split(ordered, borders)
    ranges = np.array([_middle_range(part) for part in parts])
    return Band(
        at=bin_middles(end, bins),
        mean=_ratio(total, count),
        low=ranges[:, 0],
        high=ranges[:, 1],
        count=count,
    )


def _middle_range(part: Array) -> tuple[float, float]:
    """The ends of the middle 80% of values, which are put in another order; NaN for
    none. The nearest value is enough for a picture.
    """
    if not len(part):
        return math.nan, math.nan
    last = len(part) - 1
    lower, upper = (round(q * last) for q in _QUANTILES)
    # One after the other is three times faster than both at once.
    part.partition(upper)
    below = part[: upper + 1]
    high = float(part[upper])
    below.partition(lower)
    return float(below[lower]), high


def _ratio(total: Array, count: Ints) -> Floats:
    """``total`` / ``count``, f64[n]; NaN where there is nothing."""
    divisor = np.where(count, count, np.nan)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / divisor, np.float64)


def _stretch(position: Array, end: int, bins: int) -> npt.NDArray[np.int16]:
    # Several times faster than dividing integers; a position at a border may fall on
    # either side of it.
    per_position = bins / max(1, end)
    stretch = np.minimum(position * per_position, bins - 1)
    return stretch.astype(np.int16)


def shares(hits: Bools, position: Array, end: int, bins: int) -> tuple[Floats, Ints]:
    """Share of True among the tokens of each of ``bins`` equal stretches, f64[bins]
    (NaN: empty), and their number.
    """
    bins = max(1, min(bins, end))
    stretch = _stretch(position, end, bins)
    count = np.bincount(stretch, minlength=bins)
    hit_count = np.bincount(stretch[hits], minlength=bins)
    return _ratio(hit_count, count), count


def running_sums(delta: Array, counted: Bools, offsets: Array) -> Floats:
    """Sum of the counted, finite deltas from the start of a token's sequence up to it,
    f64[N].

    ``offsets`` i64[S+1] are those of N tokens. exp of the sum is the importance ratio
    of the sequence so far.
    """
    is_added = counted & np.isfinite(delta)
    added = np.where(is_added, delta, np.float32(0))
    total = np.cumsum(added, dtype=np.float64)
    starts = offsets[:-1]
    before_start = np.concatenate([[0.0], total])[starts]
    before = np.repeat(before_start, np.diff(offsets))
    return np.asarray(total - before, np.float64)


def log_edges(size: Array, bins: int, marks: tuple[float, ...] = ()) -> Floats:
    """Borders f64[bins+1], equal in the logarithm, that hold ``size`` f[n] (>= 0) and
    the ``marks``.

    The smallest 0.2% lie below them, and so does everything below `LOWEST`.
    """
    drawable = size[(size > 0) & np.isfinite(size)]
    inside = [mark for mark in marks if mark > 0]
    if len(drawable):
        step = max(1, len(drawable) // _SAMPLE)
        smallest = np.quantile(drawable[::step], 0.002)
        inside.append(float(smallest))
    lowest = min(inside, default=1e-3)
    low = max(LOWEST, lowest / 1.5)
    largest = float(drawable.max(initial=0.0))
    high = max(largest, *inside, low * 10) * 1.1
    return np.geomspace(low, high, bins + 1)


def log_bins(size: Array, edges: Floats) -> Bins:
    """The bin of each ``size`` f[n] >= 0 between edges of `log_edges`, i32[n]: what
    lies outside goes to the ends.

    -1 for 0, NaN and infinity.
    """
    bins = len(edges) - 1
    lowest = edges[0]
    highest = edges[-1]
    width = math.log(highest / lowest) / bins
    with np.errstate(divide="ignore", invalid="ignore"):
        place = (np.log(size) - math.log(lowest)) / width
    known = np.isfinite(place)
    finite = np.where(known, place, 0)
    return _bins_where(known, np.clip(finite, 0, bins - 1))


def linear_bins(values: Array, low: float, high: float, bins: int) -> Bins:
    """The bin of each value f[n] in ``bins`` equal ones from ``low`` to ``high``,
    i32[n]; -1 where it is in none.
    """
    per_unit = np.float32(bins / (high - low))
    with np.errstate(invalid="ignore"):
        place = (values - np.float32(low)) * per_unit
        known = (values >= low) & (values <= high)
    finite = np.where(known, place, 0)
    return _bins_where(known, np.minimum(finite, bins - 1))


def _bins_where(known: Bools, places: Array) -> Bins:
    """The whole part of each place, -1 where it is not ``known``."""
    bins: Bins = np.where(known, places, -1).astype(np.int32)
    return bins


def join_bins(rows: Bins, columns: Bins, width: int) -> Bins:
    """Cells of a grid ``width`` columns wide, i32[n]: row * width + column, -1 where
    either is in none.
    """
    inside = (rows >= 0) & (columns >= 0)
    cells = rows * np.int32(width) + columns
    return np.where(inside, cells, np.int32(-1))


def count_bins(bins: Bins, size: int) -> Ints:
    """How many tokens each of ``size`` bins has, i64[size]."""
    # A bin more, for -1: cheaper than leaving those tokens out first.
    with_none = np.bincount(bins + 1, minlength=size + 1)
    return with_none[1:]


def mean_bins(bins: Bins, values: Array, size: int) -> Floats:
    """Mean of the finite ``values`` f[n] of each of ``size`` bins, f64[size]; NaN for
    an empty one.
    """
    finite = np.isfinite(values)
    chosen = np.where(finite, bins, np.int32(-1))
    known = np.where(finite, values, 0)
    with_none = np.bincount(chosen + 1, known, minlength=size + 1)
    return _ratio(with_none[1:], count_bins(chosen, size))


def largest_bins(bins: Bins, size: Array, count: int) -> Ints:
    """Index of the token with the largest ``size`` f[n] (the first of equals) in each
    of ``count`` bins; -1: empty.
    """
    known = np.where(np.isnan(size), np.float32(-1), size)
    known = known.astype(np.float32, copy=False)
    shifted = bins + 1
    peak = np.full(count + 1, -np.inf, np.float32)
    np.maximum.at(peak, shifted, known)
    is_peak = known == peak[shifted]
    # Written from the end on, so that the first of equals is written last and stays.
    from_end = np.flatnonzero(is_peak)[::-1]
    index = np.full(count + 1, -1, np.int64)
    index[shifted[from_end]] = from_end
    return index[1:]


def sequence_bins(offsets: Array, rows: int, columns: int, end: int) -> Bins:
    """The cell of each of N tokens on a map of sequences (rows) over positions 0 to
    ``end`` - 1 (columns), i32[N].

    Neighbouring sequences share a row where there are more of them than ``rows``.
    """
    count = len(offsets) - 1
    tokens = int(offsets[-1])
    lengths = np.diff(offsets)
    row = np.arange(count) * min(rows, count) // max(1, count)
    first_cell = row.astype(np.int32) * np.int32(columns)
    start = offsets[:-1].astype(np.int32)
    position = np.arange(tokens, dtype=np.int32) - np.repeat(start, lengths)
    per_position = columns / max(1, end)
    column = (position * per_position).astype(np.int32)
    cells: Bins = np.repeat(first_cell, lengths) + column
    return cells


def shade_steps(values: Array) -> Floats:
    """Lower bounds of `SHADES` steps, f64[SHADES], each the same factor above the one
    before: at most 2, less where the values lie closer together, so that an even map
    still shows what is more and what is less.

    ``values`` f[n] are those of the cells, NaN for empty ones. The last step begins at
    about the 95th percentile.
    """
    drawable = values[np.isfinite(values) & (values > 0)]
    low = top = 1.0
    if len(drawable):
        low, top = np.quantile(drawable, (0.1, 0.95)).tolist()
    even_factor = (top / low) ** (1 / SHADES)
    factor = min(2.0, max(1.05, even_factor))
    last = _two_digits(top)
    steps = [last / factor**i for i in reversed(range(SHADES))]
    return np.asarray([_two_digits(step) for step in steps], np.float64)


def _two_digits(value: float) -> float:
    """Rounded as a legend writes it, so that the legend is the truth."""
    return float(f"{value:.2g}")


def shade_levels(values: Array, steps: Floats) -> npt.NDArray[np.int8]:
    """0 (below the first step or empty) to `SHADES` for each of ``values``, i8 of the
    same shape.
    """
    known = np.where(np.isnan(values), -np.inf, values)
    levels = np.searchsorted(steps, known, "right")
    return np.asarray(levels, np.int8)


def count_steps(counts: Ints) -> Floats:
    """Lower bounds of `SHADES` steps of token counts, equal in the logarithm up to the
    largest, f64[SHADES].
    """
    largest = max(2, int(counts.max(initial=1)))
    exponents = np.arange(SHADES) / SHADES
    return np.maximum(1.0, largest**exponents)


def rank_change(rank_a: Array, rank_b: Array) -> npt.NDArray[np.float32]:
    """log10(rank_b / rank_a), f32[n]: above 0 where A puts the token nearer to the top;
    NaN where a rank is unknown (0).
    """
    known = (rank_a > 0) & (rank_b > 0)
    a = np.where(known, rank_a, 1).astype(np.float32)
    b = np.where(known, rank_b, 1).astype(np.float32)
    change = np.log10(b / a)
    return nan_outside(known, change)
