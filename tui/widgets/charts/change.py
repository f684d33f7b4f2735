"""Before and after a fix: how large delta was in one session, and is in another, over
the same tokens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.chart_data import count_bins, log_bins, log_edges
from logdrift.core.numbers import percent, short
from logdrift.core.report import svg
from logdrift.core.session.visible import visible
from logdrift.tui.widgets.charts.base import ChangeData, Chart, Drawing, NothingToDraw
from logdrift.tui.widgets.charts.places import grid
from logdrift.tui.widgets.charts.plot import Axes, Canvas, Curve
from logdrift.tui.widgets.charts.values import log_share

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.compare.sessions import Comparison
    from logdrift.tui.widgets.charts.base import Table

    Array = npt.NDArray[Any]

_CURVE_BINS = 60
_TABLE_BINS = 64


def change_data(old_name: str, new_name: str, comparison: Comparison) -> ChangeData:
    """What the chart is made from, of a comparison whose new session is the one that is
    shown.
    """
    return ChangeData(
        old_name,
        new_name,
        comparison.old.delta,
        comparison.new.delta,
        comparison.new_at,
    )


class ChangeChart(Chart):
    """Histograms of |delta|: bars after, a line before."""

    title = "before / after"

    def prepare(self) -> None:
        change = self.source.change
        if change is None:
            raise NothingToDraw("no other session to compare with")
        self.change = change
        self.old, self.new = (np.abs(side) for side in (change.old, change.new))
        both = np.concatenate([self.old, self.new])
        if not (np.isfinite(both) & (both > 0)).any():
            raise NothingToDraw("Δ is exactly 0, before and after")
        self.both = both

    def draw(self, width: int, height: int) -> Drawing:
        ends = log_edges(self.both, 1)
        low, high = math.log10(ends[0]), math.log10(ends[-1])
        x_ticks = [
            (float(p), short(10.0**p))
            for p in range(math.ceil(low), math.floor(high) + 1)
        ]
        bins = min(_CURVE_BINS, max(8, width - 10))
        edges = log_edges(self.both, bins)
        before, after = (
            count_bins(log_bins(side, edges), bins) for side in (self.old, self.new)
        )
        most = int(max(before.max(), after.max()))
        top = log_share(most * 1.1)
        y_ticks = [
            (log_share(10.0**p), f"{10**p:,}") for p in range(int(math.log10(most)) + 1)
        ]
        middle = np.log10(np.sqrt(edges[:-1] * edges[1:]))
        heights = np.array(
            [log_share(count) if count else 0.0 for count in before.tolist()]
        )
        axes = Axes(
            (low, high), (0.0, top), x_ticks or [(low, short(float(ends[0])))], y_ticks
        )
        canvas = Canvas(axes, width, height, [Curve(middle, heights)])
        for column in range(canvas.columns):
            count = int(after[column * bins // canvas.columns])
            canvas.bar(column, log_share(count) / top if count else 0.0, over=False)
        return canvas.drawing(self._legend(), self._place(canvas))

    def _place(self, canvas: Canvas) -> Any:
        """By |delta| after; a token that is not compared has no place."""
        columns = canvas.columns
        at = self.change.at
        cells, size = (
            np.full(self.stop, -1, np.int32),
            np.full(self.stop, np.nan, np.float32),
        )
        inside = at < self.stop
        cells[at[inside]] = log_bins(self.new, log_edges(self.both, columns))[inside]
        size[at[inside]] = self.new[inside]
        return grid(cells, size, np.arange(columns), np.arange(1), flat=True)

    def _legend(self) -> list[str]:
        finite = np.isfinite(self.old) & np.isfinite(self.new)
        old, new = (
            float(side[finite].mean()) if finite.any() else math.nan
            for side in (self.old, self.new)
        )
        count = len(self.old)
        better, worse = (
            int((self.new < self.old).sum()),
            int((self.new > self.old).sum()),
        )
        return [
            (
                "tokens by |Δ|, nats, both axes log · line: before · bars: after ·"
                f" mean {short(old)} → {short(new)}"
            ),
            (
                f"smaller at {percent(better, count)}, larger at"
                f" {percent(worse, count)} of {count:,} tokens"
            ),
            (
                f"before: {visible(self.change.old_name)}, after:"
                f" {visible(self.change.new_name)}"
            ),
        ]

    def table(self) -> Table:
        edges = log_edges(self.both, _TABLE_BINS)
        before, after = (
            count_bins(log_bins(side, edges), _TABLE_BINS)
            for side in (self.old, self.new)
        )
        return {
            "low": edges[:-1],
            "high": edges[1:],
            "tokens_before": before,
            "tokens_after": after,
        }

    def svg(self) -> str:
        found = self.table()
        return svg.histogram(
            np.append(found["low"], found["high"][-1]),
            found["tokens_after"].astype(np.float64),
            found["tokens_before"].astype(np.float64),
            title="How large Δ is, before and after",
            x_label="|Δ|, nats (log)",
            y_label="tokens",
            names=("after", "before"),
            description=(
                "Tokens by the size of delta on a logarithmic axis, after upwards,"
                " before downwards."
            ),
        )
