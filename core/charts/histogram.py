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
)
from logdrift.core.charts.places import places_of_bins
from logdrift.core.charts.reduce import count_bins, log_bins, log_edges
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
        self.floor = None if floor is None else floor.mae
        finite = self.size[np.isfinite(self.size)]
        self.mae = float(finite.mean()) if len(finite) else None
        self.exact = int((finite == 0).sum())
        self.infinite = int(np.isinf(self.size).sum())
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
        values = (
            (self.floor, "f", "noise floor"),
            (self.mae, "m", "mean"),
            (self.source.threshold, "t", "threshold"),
        )
        return [Upright(value, letter, name) for value, letter, name in values if value]

    def edges(self, bins: int) -> Array:
        """Borders of so many bins, f64[bins+1]."""
        return log_edges(self.size, bins, tuple(guide.x for guide in self.guides))

    def counts(self, bins: int) -> tuple[Array, Array]:
        """Tokens to which A gives more, and B, i64[bins] each."""
        bin_of = log_bins(self.size, self.edges(bins))
        up = np.where(self.delta > 0, bin_of, np.int32(-1))
        down = np.where(self.delta < 0, bin_of, np.int32(-1))
        return count_bins(up, bins), count_bins(down, bins)

    def axes(self, width: int) -> Axes:
        edges = self.edges(1)
        # The width between the axes depends on the text of the ticks, so on the
        # largest count, which depends on that width: it is made for about that width.
        above, below = self.counts(max(1, width - _AXIS))
        largest = int((above + below).max(initial=1))
        return log_count_axes("|Δ|, nats (log)", edges, largest)

    def picture(self, area: Area) -> Picture:
        edges = self.edges(area.columns)
        above, below = self.counts(area.columns)
        bars = Histogram(edges, above, below, names=("A gives more", "B gives more"))
        place = places_of_bins(
            log_bins(self.size, edges),
            self.size,
            np.arange(area.columns),
            np.arange(1),
            self.start,
            flat=True,
        )
        return Picture((bars, *self.guides), tuple(self._legend()), place)

    def _legend(self) -> list[str]:
        marks = " ".join(
            f"{guide.letter} {guide.name} {short(guide.x)}" for guide in self.guides
        )
        more = int((self.delta > 0).sum())
        legend = [
            f"tokens by |Δ|, nats, both axes log · {marks}",
            *self._floor_words(),
            f"A gives more to {percent(more, self.number)}",
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
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    x_ticks: list[Tick] = [(10.0**power, short(10.0**power)) for power in powers]
    y_ticks: list[Tick] = [
        (10.0**power, f"{10**power:,}") for power in range(int(math.log10(largest)) + 1)
    ]
    return Axes(
        ChartAxis(label, low, high, x_ticks or [(low, short(low))], scale="log"),
        ChartAxis("tokens", 0.0, largest * 1.1, y_ticks, scale="counts"),
    )
