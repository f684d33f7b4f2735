"""Before and after a fix: how large delta was in one session, and is in another, over
the same tokens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.charts.base import Array, Chart, Table
from logdrift.core.charts.data import ChangeData, NothingToDraw
from logdrift.core.charts.histogram import log_count_axes
from logdrift.core.charts.marks import (
    BOTH,
    ONLY_ABOVE,
    ONLY_BELOW,
    Area,
    Axes,
    Histogram,
    Picture,
)
from logdrift.core.charts.places import CellPlaces, column_places
from logdrift.core.charts.reduce import count_bins, count_true, log_bins, log_edges
from logdrift.core.numbers import counted, percent, short
from logdrift.core.session.visible import visible

if TYPE_CHECKING:
    from logdrift.core.compare.sessions import SessionComparison

_MOST_BINS = 60
_FEWEST_BINS = 8
_TABLE_BINS = 64
_AXIS = 10
"""Columns that the axis at the left takes, about."""


def change_data(
    old_name: str, new_name: str, comparison: SessionComparison
) -> ChangeData:
    """What the chart is made from, of a comparison whose new session is the one that is
    shown.
    """
    return ChangeData(
        old_name=old_name,
        new_name=new_name,
        old=comparison.old.delta,
        new=comparison.new.delta,
        at=comparison.new_at,
    )


class ChangeChart(Chart):
    """Histograms of |delta|, before and after in front of each other."""

    detail = Area(_TABLE_BINS, 100)

    def prepare(self) -> None:
        change = self.source.change
        if change is None:
            raise NothingToDraw("no earlier session to compare with")
        self.change = change
        self.old = np.abs(change.old)
        self.new = np.abs(change.new)
        sizes = [self.old, self.new]
        self.both = np.concatenate(sizes)
        is_finite = np.isfinite(self.both)
        drawable = is_finite & (self.both > 0)
        if not drawable.any():
            raise NothingToDraw("Δ is exactly 0, before and after")

    @property
    def heading(self) -> str:
        return "How large Δ is, before and after"

    @property
    def description(self) -> str:
        return (
            "Tokens by the size of delta on a logarithmic axis, after upwards,"
            " before downwards."
        )

    def counts(self, bins: int) -> tuple[Array, Array, Array]:
        """Borders f64[bins+1], and tokens before and after, i64[bins] each."""
        edges = log_edges(self.both, bins)
        old_bins = log_bins(self.old, edges)
        new_bins = log_bins(self.new, edges)
        before = count_bins(old_bins, bins)
        after = count_bins(new_bins, bins)
        return edges, before, after

    def axes(self, width: int) -> Axes:
        bins = _bins(width - _AXIS)
        edges, before, after = self.counts(bins)
        largest_before = int(before.max())
        largest_after = int(after.max())
        largest = max(largest_before, largest_after)
        return log_count_axes("|Δ|, nats (log)", edges, largest)

    def picture(self, area: Area) -> Picture:
        bins = _bins(area.columns)
        edges, before, after = self.counts(bins)
        bars = Histogram(
            edges=edges,
            above=after,
            below=before,
            names=("after", "before"),
            one=False,
        )
        return Picture(
            marks=(bars,),
            legend=self._legend(),
            place=self._places(area.columns),
        )

    def _places(self, columns: int) -> CellPlaces:
        """By |delta| after; a token that is not compared has no place."""
        inside = self.change.at < self.stop
        at = self.change.at[inside]
        edges = log_edges(self.both, columns)
        bin_of = log_bins(self.new, edges)
        bins = np.full(self.stop, -1, np.int32)
        bins[at] = bin_of[inside]
        size = np.full(self.stop, np.nan, np.float32)
        size[at] = self.new[inside]
        every_column = np.arange(columns)
        return column_places(bins, size, every_column)

    def _legend(self) -> tuple[str, ...]:
        old = self.old
        new = self.new
        finite_before = np.isfinite(old)
        finite_after = np.isfinite(new)
        finite = finite_before & finite_after
        count = len(old)
        smaller_count = count_true(new < old)
        larger_count = count_true(new > old)
        smaller = percent(smaller_count, count)
        larger = percent(larger_count, count)
        before = _mean(old[finite])
        after = _mean(new[finite])
        old_name = visible(self.change.old_name)
        new_name = visible(self.change.new_name)
        return (
            f"{BOTH} before and after, {ONLY_BELOW} before alone, {ONLY_ABOVE} after"
            " alone",
            f"mean |Δ| {before} → {after} nats",
            f"smaller at {smaller}, larger at {larger} of {counted(count, 'token')}",
            f"before: {old_name}, after: {new_name}",
            "tokens by |Δ|, nats, both axes log",
        )

    def table(self) -> Table:
        edges, before, after = self.counts(_TABLE_BINS)
        return {
            "low": edges[:-1],
            "high": edges[1:],
            "tokens_before": before,
            "tokens_after": after,
        }


def _bins(columns: int) -> int:
    return min(_MOST_BINS, max(_FEWEST_BINS, columns))


def _mean(size: Array) -> str:
    if len(size):
        return short(float(size.mean()))
    return short(math.nan)
