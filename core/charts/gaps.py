"""The gap of each token as a point: over its log-probability, and over the mean of
both sides.

Where both engines agree, log p against log p is a diagonal, however much they differ:
what is drawn here is the difference alone.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from logdrift.core.charts.along import SIDES, beyond_words, delta_range
from logdrift.core.charts.base import Array, Table
from logdrift.core.charts.guides import (
    Guide,
    rows_of,
    seen_guides,
    threshold_guide,
)
from logdrift.core.charts.logprobs import dots_of
from logdrift.core.charts.marks import (
    DOT_COLUMNS,
    DOT_ROWS,
    Area,
    Axes,
    ChartAxis,
    Ends,
    Level,
    Picture,
    value_ticks,
)
from logdrift.core.charts.places import cell_places
from logdrift.core.charts.reduce import join_bins, linear_bins
from logdrift.core.charts.tokens import PossibleChart
from logdrift.core.numbers import counted, plus, short

_MOST = 0.995
_BEYOND_MOST = 1.25
"""An axis reaches to this many times the size that `_MOST` (a share) of the tokens stay
below.
"""
_WORTH_CUTTING = 1.5
"""An axis that would be no longer than so many times that holds all tokens."""
_MIDDLE_95 = (0.025, 0.975)


class GapChart(PossibleChart):
    """A log-probability to the right, up to 0, and delta upwards."""

    detail = Area(90, 30)

    def prepare(self) -> None:
        super().prepare()
        self.across = self.across_of(self.a, self.b)
        lowest = float(np.nanmin(self.across))
        self.low = min(lowest, -0.1)
        self.up = self._within_reach()
        threshold = self.source.threshold
        self.ends, self.ticks = delta_range(self.up, threshold)

    def _within_reach(self) -> Array:
        """Delta f32[n], cut where a few tokens far out would push all others into the
        line at 0.
        """
        is_drawn = np.isfinite(self.across)
        drawn = self.size[is_drawn]
        size_of_most = float(np.quantile(drawn, _MOST))
        beyond_most = size_of_most * _BEYOND_MOST
        least_top = 2 * self.source.threshold
        top = max(beyond_most, least_top)
        worth_cutting = _WORTH_CUTTING * top
        delta = self.delta
        if drawn.max() <= worth_cutting:
            return delta
        return np.clip(delta, -top, top)

    @property
    def _far_words(self) -> list[str]:
        """How many tokens are drawn at an edge, for a legend."""
        is_drawn = np.isfinite(self.across)
        is_cut = self.up != self.delta
        far = np.flatnonzero(is_drawn & is_cut)
        count = len(far)
        if not count:
            return []
        sizes = self.size[far]
        largest = sizes.argmax()
        farthest = self.delta[far[largest]]
        tokens = counted(count, "token")
        nats = _signed(farthest)
        return [f"{tokens} further out, at the edge, up to {nats} nats"]

    @abstractmethod
    def across_of(self, a: Array, b: Array) -> Array:
        """What lies to the right, f32[n], of both log-probabilities."""

    @property
    @abstractmethod
    def across_words(self) -> str:
        """What that is, in words."""

    @property
    def guides(self) -> list[Guide]:
        """Lines across, besides that at 0; the first ones are the most needed."""
        threshold = self.source.threshold
        return [threshold_guide(threshold)]

    @property
    def heading(self) -> str:
        return f"Δ against {self.across_words}, {self.what}"

    @property
    def description(self) -> str:
        words = (
            "A dot for each token; above 0 A gives more (orange beyond the threshold),"
            " below 0 B does (blue)."
        )
        return " ".join([words, *self._far_words])

    def axes(self, width: int) -> Axes:
        low = self.low
        middle = low / 2
        x = ChartAxis(
            f"{self.across_words}, nats",
            low=low,
            high=0.0,
            ticks=value_ticks(low, middle, 0.0),
        )
        bottom, top = self.ends
        y = ChartAxis(
            "Δ, nats",
            low=bottom,
            high=top,
            ticks=self.ticks,
            centred=True,
        )
        return Axes(x, y)

    def bins(self, area: Area, columns: int = 1, rows: int = 1) -> Array:
        """The place of each token from the upper left, i32[n], where a cell of the area
        holds ``rows`` x ``columns`` places; -1 for none.
        """
        low, high = self.ends
        x_ends = (self.low, 0.0)
        across = _places(self.across, x_ends, area.columns, columns)
        # Downwards: the largest delta is in the first row.
        from_top = -self.up
        y_ends = (-high, -low)
        down = _places(from_top, y_ends, area.lines, rows)
        width = area.columns * columns
        return join_bins(down, across, width)

    def picture(self, area: Area) -> Picture:
        threshold = self.source.threshold
        places = Area(
            columns=area.columns * DOT_COLUMNS,
            lines=area.lines * DOT_ROWS,
        )
        bins = self.bins(area, DOT_COLUMNS, DOT_ROWS)
        dots = dots_of(bins, self.delta, threshold, places)
        axes = self.axes(area.columns)
        rows = rows_of(self, area)
        guides = seen_guides(self.guides, axes.y, rows)
        legend = (
            f"→ {self.across_words}, ↑ Δ = log p A − log p B, nats; {SIDES}",
            beyond_words(self.delta, threshold),
            *self._far_words,
            *guides.phrases,
            *self.hidden_words,
            self.reach_words,
        )
        cells = self.bins(area)
        place = cell_places(cells, self.size, area, self.start)
        return Picture((dots, *guides.levels), legend, place)


class LogprobGapChart(GapChart):
    """Delta against log p of B, the side that sampled."""

    def across_of(self, a: Array, b: Array) -> Array:
        return b

    @property
    def across_words(self) -> str:
        return "log p B"


class MeanGapChart(GapChart):
    """Delta against the mean of both sides (Bland and Altman, Lancet 1986): unlike one
    side's own value, the mean does not lean towards either.

    The band holds 95% of the tokens: quantiles, as the authors advise for differences
    that are not normal (Statistical Methods in Medical Research, 1999).
    """

    def across_of(self, a: Array, b: Array) -> Array:
        mean = (a + b) / 2
        return np.asarray(mean, np.float32)

    @property
    def across_words(self) -> str:
        return "mean of both log p"

    @property
    def drawn_delta(self) -> Array:
        """Delta of the tokens that have a place, f32."""
        is_drawn = np.isfinite(self.across)
        return self.delta[is_drawn]

    @property
    def band(self) -> Ends:
        """Between which values the middle 95% of delta lie, nats."""
        bounds = np.quantile(self.drawn_delta, _MIDDLE_95)
        low, high = bounds.tolist()
        return low, high

    @property
    def mean(self) -> float:
        """Of delta, nats."""
        mean = self.drawn_delta.mean(dtype=np.float64)
        return float(mean)

    @property
    def guides(self) -> list[Guide]:
        threshold = super().guides
        return [self._band_guide, self._mean_guide, *threshold]

    @property
    def _band_guide(self) -> Guide:
        low, high = self.band
        top = Level(high, "95%", "b")
        bottom = Level(low, "", "b")
        from_words = f"from {_signed(low)}"
        to_words = f"to {_signed(high)}"
        return Guide(
            letter="b",
            words=f"95% of the tokens {from_words} {to_words} nats",
            levels=(top, bottom),
        )

    @property
    def _mean_guide(self) -> Guide:
        mean = self.mean
        line = Level(mean, "mean", "m")
        words = f"mean {_signed(mean)} nats"
        return Guide("m", words, (line,))

    def table(self) -> Table:
        mean_logprob = self.across[self.counted]
        of_all_charts = super().table()
        return {**of_all_charts, "mean_logprob": mean_logprob}


def _places(values: Array, ends: Ends, cells: int, parts: int) -> Array:
    """The place of each of ``values`` f[n] along an axis of cells, i32[n], where a cell
    has so many parts. The ends of the axis are the middles of the first and the last
    cell, where a terminal writes their ticks.
    """
    low, high = ends
    steps = max(1, cells - 1)
    cell = (high - low) / steps
    half_cell = cell / 2
    left_edge = low - half_cell
    right_edge = high + half_cell
    places = cells * parts
    return linear_bins(values, left_edge, right_edge, places)


def _signed(value: float) -> str:
    text = short(float(value))
    return plus(value, text)
