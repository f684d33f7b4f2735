"""Charts of values, not of positions: both log-probabilities against each other, and
how large delta is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.chart_data import (
    count_bins,
    count_steps,
    join_bins,
    linear_bins,
    log_bins,
    log_edges,
    shade_levels,
)
from logdrift.core.numbers import percent, short
from logdrift.core.report import svg
from logdrift.tui.widgets.charts.base import Chart, Drawing, NothingToDraw
from logdrift.tui.widgets.charts.places import grid
from logdrift.tui.widgets.charts.plot import SHADES, Axes, Canvas, Tick

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.tui.widgets.charts.base import Table

    Array = npt.NDArray[Any]

_SVG_BINS = 72
_TABLE_BINS = 64
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bits of the braille dots, by row and column of a cell."""


class TokenChart(Chart):
    """Of the counted tokens within reach: their values, NaN for all others."""

    def prepare(self) -> None:
        data, part = self.data, slice(self.start, self.stop)
        self.counted = data.counted[part]
        if not self.counted.any():
            raise NothingToDraw(
                f"no token within reach is scored on both sides ({self.scope_word})"
            )
        self.delta = np.where(self.counted, data.delta[part], np.float32(np.nan))
        self.size = np.abs(self.delta)

    @property
    def reach_words(self) -> str:
        return f"{self.what}, {self.scope_word}: {int(self.counted.sum()):,} tokens"

    def tokens_table(self) -> dict[str, Array]:
        """Counted tokens by sequence and position."""
        at = np.flatnonzero(self.counted)
        flat = at + self.start
        sequence = np.searchsorted(self.data.offsets, flat, "right") - 1
        return {
            "sequence": sequence,
            "position": flat - self.data.offsets[sequence],
            "token_id": self.data.pair.sequences.token_ids[flat],
        }


class LogprobChart(TokenChart):
    """log p A to the right, log p B upwards, both from the same lowest value to 0."""

    def prepare(self) -> None:
        super().prepare()
        pair, part = self.data.pair, slice(self.start, self.stop)
        # Delta is 0 where both sides call the token impossible: such a one has no place
        # either.
        finite = (
            self.counted
            & np.isfinite(pair.logprob_a[part])
            & np.isfinite(pair.logprob_b[part])
        )
        self.a, self.b = (
            np.where(finite, side[part], np.float32(np.nan))
            for side in (pair.logprob_a, pair.logprob_b)
        )
        if not finite.any():
            raise NothingToDraw("no token within reach is possible on both sides")
        self.shown = int(finite.sum())
        self.low = float(min(np.nanmin(self.a), np.nanmin(self.b), -0.1))

    def canvas(self, width: int, height: int) -> Canvas:
        ticks: list[Tick] = [
            (value, short(value)) for value in (self.low, self.low / 2, 0.0)
        ]
        return Canvas(
            Axes((self.low, 0.0), (self.low, 0.0), ticks, ticks), width, height
        )

    def diagonal(self, canvas: Canvas) -> None:
        for column in range(canvas.columns):
            canvas.put(
                column,
                canvas.row(self.low - self.low * column / max(1, canvas.columns - 1)),
                "·",
                over=False,
            )

    def cells(self, canvas: Canvas, finer: tuple[int, int] = (1, 1)) -> Array:
        """The cell of each token, from the upper left, i32[n]; ``finer``: so many to a
        cell across and down.
        """
        columns, lines = canvas.columns * finer[0], canvas.lines * finer[1]
        across = linear_bins(self.a, self.low, 0.0, columns)
        up = linear_bins(self.b, self.low, 0.0, lines)
        return join_bins(
            np.where(up >= 0, lines - 1 - up, -1).astype(np.int32), across, columns
        )

    def finish(
        self, canvas: Canvas, legend: list[str], *, shaded: bool = False
    ) -> Drawing:
        self.diagonal(canvas)
        hidden = int(self.counted.sum()) - self.shown
        legend += [f"{hidden} impossible on a side, not drawn"] if hidden else []
        place = grid(
            self.cells(canvas),
            self.size,
            np.arange(canvas.columns),
            np.arange(canvas.lines),
            self.start,
        )
        return canvas.drawing(legend, place, shaded=shaded)

    def table(self) -> Table:
        at = np.flatnonzero(self.counted)
        pair = self.data.pair
        sides = {
            "logprob_a": pair.logprob_a[at + self.start],
            "logprob_b": pair.logprob_b[at + self.start],
        }
        return {**self.tokens_table(), **sides, "delta": self.delta[at]}

    def svg(self) -> str:
        rows, columns = (
            linear_bins(values, self.low, 0.0, _SVG_BINS) for values in (self.b, self.a)
        )
        counts = count_bins(join_bins(rows, columns, _SVG_BINS), _SVG_BINS**2).reshape(
            _SVG_BINS, _SVG_BINS
        )
        axes = (svg.Axis(f"log p_{side}, nats", self.low, 0.0) for side in "AB")
        return svg.heat(
            counts,
            *axes,
            title=f"log p_A against log p_B, {self.what}",
            description=(
                "Stronger colour: more tokens (log scale). On the dashed diagonal both"
                " sides agree."
            ),
        )


class ScatterChart(LogprobChart):
    """One dot for each token."""

    title = "scatter"

    def draw(self, width: int, height: int) -> Drawing:
        canvas = self.canvas(width, height)
        columns, lines = canvas.columns, canvas.lines
        dots = (
            count_bins(self.cells(canvas, (2, 4)), columns * lines * 8).reshape(
                lines, 4, columns, 2
            )
            > 0
        )
        codes = (dots * _DOTS[None, :, None, :]).sum(axis=(1, 3))
        for row, column in np.argwhere(codes).tolist():
            canvas.put(column, row, chr(0x2800 + int(codes[row, column])))
        threshold = self.source.threshold
        beyond = int((self.size > threshold).sum())
        return self.finish(
            canvas,
            [
                "→ log p A, ↑ log p B, nats; on the dotted diagonal both agree",
                (
                    f"{beyond:,} beyond ±{short(threshold)}"
                    f" ({percent(beyond, int(self.counted.sum()))})"
                ),
                self.reach_words,
            ],
        )


class DensityChart(LogprobChart):
    """How many tokens lie in each cell."""

    title = "density"

    def draw(self, width: int, height: int) -> Drawing:
        canvas = self.canvas(width, height)
        columns, lines = canvas.columns, canvas.lines
        counts = count_bins(self.cells(canvas), columns * lines)
        steps = count_steps(counts)
        levels = shade_levels(counts.astype(np.float64), steps).reshape(lines, columns)
        for row, column in np.argwhere(levels).tolist():
            canvas.put(column, row, SHADES[levels[row, column]])
        scale = " ".join(
            f"{SHADES[i + 1]} {math.ceil(step):,}" for i, step in enumerate(steps)
        )
        legend = [
            "→ log p A, ↑ log p B, nats",
            f"tokens in a cell, from: {scale}",
            self.reach_words,
        ]
        return self.finish(canvas, legend, shaded=True)

    def table(self) -> Table:
        """The counts of a grid, cells without tokens left out."""
        rows, columns = (
            linear_bins(values, self.low, 0.0, _SVG_BINS) for values in (self.b, self.a)
        )
        counts = count_bins(join_bins(rows, columns, _SVG_BINS), _SVG_BINS**2)
        cells = np.flatnonzero(counts)
        middle = self.low - (np.arange(_SVG_BINS) + 0.5) * self.low / _SVG_BINS
        return {
            "logprob_a": middle[cells % _SVG_BINS],
            "logprob_b": middle[cells // _SVG_BINS],
            "tokens": counts[cells],
        }


class HistogramChart(TokenChart):
    """How large |delta| is: both axes logarithmic, so that few large ones are seen
    beside many small ones.
    """

    title = "histogram"

    def prepare(self) -> None:
        super().prepare()
        floor = self.data.floor
        finite = self.size[np.isfinite(self.size)]
        self.floor = None if floor is None else floor.mae
        self.mae = float(finite.mean()) if len(finite) else None
        self.exact, self.infinite = (
            int((finite == 0).sum()),
            int(np.isinf(self.size).sum()),
        )
        if len(finite) == self.exact:
            raise NothingToDraw(
                f"Δ is exactly 0 at {self.exact:,} tokens, {self.infinite:,} are"
                " infinite"
            )

    @property
    def marks(self) -> list[tuple[float, str, str]]:
        known = (
            ("f", "noise floor", self.floor),
            ("m", "mean", self.mae),
            ("t", "threshold", self.source.threshold),
        )
        return [(value, letter, word) for letter, word, value in known if value]

    def edges(self, bins: int) -> Array:
        return log_edges(self.size, bins, tuple(value for value, *_ in self.marks))

    def draw(self, width: int, height: int) -> Drawing:
        edges = self.edges(1)
        ends = math.log10(edges[0]), math.log10(edges[-1])
        decades = range(math.ceil(ends[0]), math.floor(ends[1]) + 1)
        x_ticks = [(float(power), short(10.0**power)) for power in decades] or [
            (ends[0], short(float(edges[0])))
        ]
        # The area's width depends on the ticks at the left, so on the largest count:
        # found first with a guess.
        guess = int(
            count_bins(log_bins(self.size, self.edges(width - 8)), width - 8).max(
                initial=1
            )
        )
        top = log_share(guess * 1.1)
        y_ticks = [
            (log_share(10.0**power), f"{10**power:,}")
            for power in range(int(math.log10(guess)) + 1)
        ]
        canvas = Canvas(Axes(ends, (0.0, top), x_ticks, y_ticks), width, height)
        bins = log_bins(self.size, self.edges(canvas.columns))
        for column, count in enumerate(count_bins(bins, canvas.columns).tolist()):
            canvas.bar(column, min(1.0, log_share(count) / top) if count else 0.0)
        for value, letter, _ in self.marks:
            canvas.v_line(math.log10(value), letter)
        place = grid(
            bins,
            self.size,
            np.arange(canvas.columns),
            np.arange(1),
            self.start,
            flat=True,
        )
        return canvas.drawing(self._legend(), place)

    def _legend(self) -> list[str]:
        counted = int(self.counted.sum())
        marks = " ".join(
            f"{letter} {word} {short(value)}" for value, letter, word in self.marks
        )
        more = int((self.delta > 0).sum())
        return [
            f"tokens by |Δ|, nats, both axes log · {marks}",
            *(
                []
                if self.floor
                else [
                    (
                        "noise floor 0: repeats agree"
                        if self.floor == 0
                        else "no floor: nothing was repeated"
                    )
                ]
            ),
            f"A gives more to {percent(more, counted)}",
            *(
                [f"{percent(self.exact, counted)} exactly equal, not drawn"]
                if self.exact
                else []
            ),
            *([f"{self.infinite} infinite, not drawn"] if self.infinite else []),
            self.reach_words,
        ]

    def table(self) -> Table:
        edges = self.edges(_TABLE_BINS)
        bins = log_bins(self.size, edges)
        up, down = (
            np.where(side, bins, np.int32(-1))
            for side in (self.delta > 0, self.delta < 0)
        )
        return {
            "low": edges[:-1],
            "high": edges[1:],
            "tokens_a_more": count_bins(up, _TABLE_BINS),
            "tokens_b_more": count_bins(down, _TABLE_BINS),
        }

    def svg(self) -> str:
        found = self.table()
        edges = np.append(found["low"], found["high"][-1])
        return svg.histogram(
            edges,
            found["tokens_a_more"].astype(np.float64),
            found["tokens_b_more"].astype(np.float64),
            title=f"How large Δ is, {self.what}",
            x_label="|Δ|, nats (log)",
            y_label="tokens",
            names=("A gives more", "B gives more"),
            marks=[(value, word) for value, _, word in self.marks],
            description=(
                "Tokens by the size of delta on a logarithmic axis, A more upwards, B"
                " more downwards."
            ),
        )


def log_share(count: float) -> float:
    """Height of a count: logarithmic, one token well above none."""
    return 0.3 + math.log10(count)
