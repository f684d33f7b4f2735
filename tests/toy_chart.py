"""A chart of a third party: one class, and `LINE`, its line in the registry."""

from __future__ import annotations

import numpy as np

from logdrift.core.charts.base import Table
from logdrift.core.charts.marks import Area, Axes, ChartAxis, Curve, Level, Picture
from logdrift.core.charts.registry import Entry
from logdrift.core.charts.tokens import TokenChart

LINE = Entry(
    "sorted",
    "sorted gaps",
    "tests.toy_chart:SortedChart",
    "Every |Δ| in order, the smallest first.",
    ("all", "one"),
)


class SortedChart(TokenChart):
    """The sorted sizes of delta."""

    def prepare(self) -> None:
        """Sort them once."""
        super().prepare()
        self.sorted = np.sort(self.size[np.isfinite(self.size)])

    @property
    def heading(self) -> str:
        """The title of an SVG."""
        return f"Sorted gaps, {self.what}"

    @property
    def description(self) -> str:
        """For those who cannot see it."""
        return "The sizes of delta in order."

    def axes(self, width: int) -> Axes:
        """Tokens across, nats upwards."""
        count = len(self.sorted)
        top = float(self.sorted[-1])
        return Axes(
            ChartAxis("tokens", 0, max(1, count - 1), [(0, "0")]),
            ChartAxis("|Δ|, nats", 0.0, top or 1.0, [(0.0, "0"), (top, f"{top:.2g}")]),
        )

    def picture(self, area: Area) -> Picture:
        """One curve."""
        at = np.linspace(0, len(self.sorted) - 1, area.columns).astype(int)
        legend = (f"sorted |Δ|, nats; {self.reach_words}",)
        return Picture((Curve(at, self.sorted[at]), Level(0.0)), legend)

    def table(self) -> Table:
        """The values."""
        return {"size": self.sorted}
