"""How large delta is."""

from __future__ import annotations

import math

import numpy as np

from logdrift.core.charts.base import Array, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.marks import (
    Area,
    Axes,
    ChartAxis,
    Histogram,
    Picture,
    Tick,
    Upright,
    value_ticks,
)
from logdrift.core.charts.places import column_places
from logdrift.core.charts.reduce import (
    NO_BIN,
    count_bins,
    count_true,
    log_bins,
    log_edges,
)
from logdrift.core.charts.tokens import TokenChart
from logdrift.core.numbers import percent, short

_TABLE_BINS = 64
_AXIS = 8
"""Columns that the axis at the left takes, about."""


class HistogramChart(TokenChart):
    """How large |delta| is: both axes logarithmic, so that few large ones are seen
    beside many small ones.
    """

    detail = Area(_TABLE_BINS, 100)

    def prepare(self) -> None:
        super().prepare()
        floor = self.data.floor
        self.floor = None
        if floor is not None:
            self.floor = floor.mae
        is_finite = np.isfinite(self.size)
        finite = self.size[is_finite]
        self.mae = None
        if len(finite):
            self.mae = float(finite.mean())
        self.exact = count_true(finite == 0)
        infinite = np.isinf(self.size)
        self.infinite = count_true(infinite)
        if len(finite) == self.exact:
            raise NothingToDraw(
                f"Δ is exactly 0 at {self.exact:,} tokens, {self.infinite:,} are"
                " infinite"
            )

    @property
    def heading(self) -> str:
        return f"How large Δ is, {self.what}"

    @property
    def description(self) -> str:
        return (
            "Tokens by the size of delta on a logarithmic axis, A more upwards, B"
            " more downwards."
        )

    @property
    def guides(self) -> list[Upright]:
        """The values that are marked, those that are known and above 0."""
        floor = self.floor or 0.0
        mae = self.mae or 0.0
        threshold = self.source.threshold
        guides = [
            Upright(floor, "f", "noise floor"),
            Upright(mae, "m", "mean"),
            Upright(threshold, "t", "threshold"),
        ]
        return [guide for guide in guides if guide.x]

    def edges(self, bins: int) -> Array:
        """Borders of so many bins, f64[bins+1]."""
        marked = [guide.x for guide in self.guides]
        return log_edges(self.size, bins, tuple(marked))

    def counts(self, bins: int) -> tuple[Array, Array]:
        """Tokens to which A gives more, and B, i64[bins] each."""
        edges = self.edges(bins)
        bin_of = log_bins(self.size, edges)
        is_above = self.delta > 0
        is_below = self.delta < 0
        up = np.where(is_above, bin_of, NO_BIN)
        down = np.where(is_below, bin_of, NO_BIN)
        above = count_bins(up, bins)
        below = count_bins(down, bins)
        return above, below

    def axes(self, width: int) -> Axes:
        edges = self.edges(1)
        # The width between the axes depends on the text of the ticks, so on the
        # largest count, which depends on that width: it is made for about that width.
        columns = max(1, width - _AXIS)
        above, below = self.counts(columns)
        in_a_bin = above + below
        largest = int(in_a_bin.max(initial=1))
        return log_count_axes("|Δ|, nats (log)", edges, largest)

    def picture(self, area: Area) -> Picture:
        edges = self.edges(area.columns)
        above, below = self.counts(area.columns)
        bars = Histogram(
            edges=edges,
            above=above,
            below=below,
            names=("A gives more", "B gives more"),
        )
        bins = log_bins(self.size, edges)
        columns = np.arange(area.columns)
        place = column_places(bins, self.size, columns, self.start)
        return Picture(
            marks=(bars, *self.guides),
            legend=tuple(self._legend()),
            place=place,
        )

    def _legend(self) -> list[str]:
        guides = [
            f"{guide.letter} {guide.name} {short(guide.x)}" for guide in self.guides
        ]
        a_more = count_true(self.delta > 0)
        legend = [
            f"tokens by |Δ|, nats, both axes log · {' '.join(guides)}",
            *self._floor_words(),
            f"A gives more to {percent(a_more, self.number)}",
        ]
        if self.exact:
            share = percent(self.exact, self.number)
            legend.append(f"{share} exactly equal, not drawn")
        if self.infinite:
            legend.append(f"{self.infinite} infinite, not drawn")
        return [*legend, self.reach_words]

    def _floor_words(self) -> list[str]:
        if self.floor is None:
            return ["no floor: nothing was repeated"]
        if self.floor:
            return []
        return ["noise floor 0: repeats agree"]

    def table(self) -> Table:
        edges = self.edges(_TABLE_BINS)
        above, below = self.counts(_TABLE_BINS)
        return {
            "low": edges[:-1],
            "high": edges[1:],
            "tokens_a_more": above,
            "tokens_b_more": below,
        }


def log_count_axes(label: str, edges: Array, largest: int) -> Axes:
    """Both axes of a histogram: ``edges`` f64 (> 0) across, counts to ``largest`` up,
    a tick at each power of ten.
    """
    low = float(edges[0])
    high = float(edges[-1])
    ticks = _size_ticks(low, high) or value_ticks(low)
    x = ChartAxis(
        label,
        low=low,
        high=high,
        ticks=ticks,
        scale="log",
    )
    y = ChartAxis(
        "tokens",
        low=0.0,
        high=largest * 1.1,
        ticks=_count_ticks(largest),
        scale="counts",
    )
    return Axes(x, y)


def _size_ticks(low: float, high: float) -> list[Tick]:
    """The powers of ten from ``low`` to ``high``."""
    low_power = math.log10(low)
    high_power = math.log10(high)
    first = math.ceil(low_power)
    last = math.floor(high_power)
    powers = range(first, last + 1)
    sizes = [10.0**power for power in powers]
    return value_ticks(*sizes)


def _count_ticks(largest: int) -> list[Tick]:
    """1, 10, 100, ... up to the largest count."""
    last = int(math.log10(largest))
    powers = range(last + 1)
    counts = [10**power for power in powers]
    return [(float(count), f"{count:,}") for count in counts]
