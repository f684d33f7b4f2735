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
"""An axis reaches so far beyond the size that so many of the tokens stay below."""
_WORTH_CUTTING = 1.5
"""An axis that would be no longer than so many times that holds all tokens."""
_MIDDLE_95 = (0.025, 0.975)


class GapChart(PossibleChart):
    """A log-probability to the right, up to 0, and delta upwards."""

    detail = Area(90, 30)

    def prepare(self) -> None:
        super().prepare()
        self.across = self.across_of(self.a, self.b)
        lowest = np.nanmin(self.across)
        self.low = min(float(lowest), -0.1)
        self.up = self._within_reach()
        self.ends, self.ticks = delta_range(self.up, self.source.threshold)

    def _within_reach(self) -> Array:
        """Delta f32[n], cut where a few tokens far out would push all others into the
        line at 0.
        """
        is_drawn = np.isfinite(self.across)
        drawn = self.size[is_drawn]
        most = float(np.quantile(drawn, _MOST)) * _BEYOND_MOST
        top = max(most, 2 * self.source.threshold)
        if drawn.max() <= _WORTH_CUTTING * top:
            return self.delta
        return np.clip(self.delta, -top, top)

    @property
    def _far_words(self) -> list[str]:
        """How many tokens are drawn at an edge, for a legend."""
        far = np.flatnonzero(np.isfinite(self.across) & (self.up != self.delta))
        if not len(far):
            return []
        farthest = self.delta[far[self.size[far].argmax()]]
        tokens = counted(len(far), "token")
        return [f"{tokens} further out, at the edge, up to {_signed(farthest)} nats"]

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
        return [threshold_guide(self.source.threshold)]

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
        x = ChartAxis(
            f"{self.across_words}, nats",
            low,
            0.0,
            value_ticks(low, low / 2, 0.0),
        )
        y = ChartAxis("Δ, nats", *self.ends, self.ticks, centred=True)
        return Axes(x, y)

    def bins(self, area: Area, columns: int = 1, rows: int = 1) -> Array:
        """The place of each token from the upper left, i32[n], where a cell of the area
        holds ``rows`` x ``columns`` places; -1 for none.
        """
        low, high = self.ends
        across = _places(self.across, (self.low, 0.0), area.columns, columns)
        # Downwards: the largest delta is in the first row.
        down = _places(-self.up, (-high, -low), area.lines, rows)
        return join_bins(down, across, area.columns * columns)

    def picture(self, area: Area) -> Picture:
        threshold = self.source.threshold
        places = Area(area.columns * DOT_COLUMNS, area.lines * DOT_ROWS)
        bins = self.bins(area, DOT_COLUMNS, DOT_ROWS)
        dots = dots_of(bins, self.delta, threshold, places)
        axis = self.axes(area.columns).y
        guides = seen_guides(self.guides, axis, rows_of(self, area))
        legend = (
            f"→ {self.across_words}, ↑ Δ = log p A − log p B, nats; {SIDES}",
            beyond_words(self.delta, threshold),
            *self._far_words,
            *guides.phrases,
            *self.hidden_words,
            self.reach_words,
        )
        place = cell_places(self.bins(area), self.size, area, self.start)
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
        low, high = np.quantile(self.drawn_delta, _MIDDLE_95).tolist()
        return low, high

    @property
    def mean(self) -> float:
        """Of delta, nats."""
        return float(self.drawn_delta.mean(dtype=np.float64))

    @property
    def guides(self) -> list[Guide]:
        low, high = self.band
        mean = self.mean
        band = Guide(
            "b",
            f"95% of the tokens from {_signed(low)} to {_signed(high)} nats",
            (Level(high, "95%", "b"), Level(low, "", "b")),
        )
        middle = Guide("m", f"mean {_signed(mean)} nats", (Level(mean, "mean", "m"),))
        return [band, middle, *super().guides]

    def table(self) -> Table:
        is_counted = self.counted
        return {**super().table(), "mean_logprob": self.across[is_counted]}


def _places(values: Array, ends: Ends, cells: int, parts: int) -> Array:
    """The place of each of ``values`` f[n] along an axis of cells, i32[n], where a cell
    has so many parts. The ends of the axis are the middles of the first and the last
    cell, where a terminal writes their ticks.
    """
    low, high = ends
    steps = max(1, cells - 1)
    half_cell = (high - low) / steps / 2
    return linear_bins(values, low - half_cell, high + half_cell, cells * parts)


def _signed(value: float) -> str:
    return plus(value, short(float(value)))
