"""Charts over the position in the sequence: delta, its running sum, and where ranks
flip.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.chart_data import (
    Band,
    envelope,
    make_band,
    rank_change,
    running_sums,
    shares,
)
from logdrift.core.numbers import percent, short, signed
from logdrift.core.report import svg
from logdrift.tui.widgets.charts.base import Chart, Drawing, NothingToDraw
from logdrift.tui.widgets.charts.places import Along
from logdrift.tui.widgets.charts.plot import Axes, Canvas, Curve, Tick

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.tui.widgets.charts.base import Table

    Array = npt.NDArray[Any]

_BINS = 110
_PER_BIN = 12
"""Tokens per bin that a band is worth drawing for, on average."""
_SVG_BINS = 400
_BAND = "░"


class AlongChart(Chart):
    """The x axis is the position: in the sequence, or for all of them in the scope."""

    def prepare(self) -> None:
        data = self.data
        self.prompt = 0
        if self.reach == "one":
            self.count = self.stop - self.start
            self.prompt = int(data.pair.sequences.prompt_lengths[self.source.sequence])
            if not data.pair.scored[self.start : self.stop].any():
                raise NothingToDraw("no token of this sequence is scored on both sides")
        else:
            self.kept = np.flatnonzero(data.counted & np.isfinite(data.delta))
            if not len(self.kept):
                raise NothingToDraw("no token is scored on both sides")
            self.place_of = data.from_scope[self.kept]
            self.count = int(self.place_of.max()) + 1
            enough = max(4, len(self.kept) // _PER_BIN)
            self.bins = min(_BINS, self.count, enough)

    def place(self, columns: int) -> Along:
        offsets = self.data.offsets
        starts = offsets[:-1]
        if self.reach == "all" and self.data.scope == "completion":
            starts = (
                starts + self.data.pair.sequences.prompt_lengths[: self.data.pair.count]
            )
        only = self.source.sequence if self.reach == "one" else None
        return Along(starts, offsets[1:], self.data.size, self.count, columns, only)

    def axes(self, low: float, high: float, y_ticks: list[Tick]) -> Axes:
        last = max(1, self.count - 1)
        at = sorted({round(i * last / 4) for i in range(5)} if self.count > 1 else {0})
        return Axes((0, last), (low, high), [(p, str(p)) for p in at], y_ticks)

    def canvas(
        self, axes: Axes, width: int, height: int, curves: list[Curve]
    ) -> Canvas:
        canvas = Canvas(axes, width, height, curves)
        if 0 < self.prompt < self.count:
            canvas.v_line(self.prompt, "p")
        return canvas

    @property
    def x_words(self) -> str:
        if self.reach == "one":
            return (
                f"p: end of the prompt ({self.prompt} tokens)"
                if 0 < self.prompt < self.count
                else "no prompt"
            )
        where = "completion" if self.data.scope == "completion" else "sequence"
        return f"x: position in the {where}"

    def fill_band(self, canvas: Canvas, band: Band) -> None:
        """The band's cells, below what is drawn already."""
        # A column between the middles of two bins shows the nearer one.
        index = np.clip(
            (np.arange(canvas.columns) * len(band.at) / canvas.columns).astype(int),
            0,
            len(band.at) - 1,
        )
        for column, i in enumerate(index.tolist()):
            if band.count[i]:
                for row in range(
                    canvas.row(float(band.high[i])), canvas.row(float(band.low[i])) + 1
                ):
                    canvas.put(column, row, _BAND, over=False)

    def band_drawing(
        self, band: Band, width: int, height: int, ticks: list[Tick], legend: list[str]
    ) -> Drawing:
        known = band.count > 0
        bottom, top = (
            min(0.0, float(band.low[known].min())),
            max(0.0, float(band.high[known].max())),
        )
        room = (top - bottom) * 0.05 or 1e-6
        axes = self.axes(bottom - room, top + room, ticks)
        canvas = self.canvas(
            axes, width, height, [Curve(band.at[known], band.mean[known])]
        )
        canvas.h_line(0)
        self.fill_band(canvas, band)
        return canvas.drawing(legend, self.place(canvas.columns))

    def band_svg(self, band: Band, title: str, y_label: str) -> str:
        where = "completion" if self.data.scope == "completion" else "sequence"
        return svg.line(
            band.at,
            band.mean,
            band.low,
            band.high,
            title=title,
            x_label=f"position in the {where}",
            y_label=y_label,
            ends=(0.0, float(self.count)),
            description=f"Line: mean; band: the middle 80%; {self.what} together.",
        )

    def tokens_table(self) -> dict[str, Array]:
        pair, part = self.data.pair, slice(self.start, self.stop)
        return {
            "sequence": np.full(self.stop - self.start, self.source.sequence),
            "position": np.arange(self.stop - self.start),
            "token_id": pair.sequences.token_ids[part],
            "in_completion": pair.in_completion[part].astype(int),
            "delta": self.data.delta[part],
        }

    @staticmethod
    def band_table(band: Band) -> dict[str, Array]:
        return {
            "position": band.at,
            "tokens": band.count,
            "mean": band.mean,
            "p10": band.low,
            "p90": band.high,
        }


def even_ticks(low: float, high: float) -> list[Tick]:
    """Both ends, and 0 where it lies between them and not too near."""
    inner = [
        low,
        *([0.0] if low < -0.15 * (high - low) and high > 0.15 * (high - low) else []),
        high,
    ]
    return [(value, short(value)) for value in inner]


class DeltaChart(AlongChart):
    """Delta at every token of the sequence, or mean and band of all sequences."""

    title = "Δ by position"

    @cached_property
    def band(self) -> Band:
        return make_band(
            self.data.delta[self.kept], self.place_of, self.count, self.bins
        )

    def draw(self, width: int, height: int) -> Drawing:
        if self.reach == "all":
            band = self.band
            known = band.count > 0
            ends = (
                min(0.0, float(band.low[known].min())),
                max(0.0, float(band.high[known].max())),
            )
            legend = [
                (
                    "line: mean Δ = log p A − log p B, nats · ░ the middle 80% of the"
                    " tokens"
                ),
                f"{self.what}, {self.scope_word}",
                self.x_words,
            ]
            return self.band_drawing(band, width, height, even_ticks(*ends), legend)
        delta = self.data.delta[self.start : self.stop]
        threshold = self.source.threshold
        at, values = envelope(delta, max(8, width - 10))
        top = float(np.max(np.abs(values))) if len(values) else 0.0
        top = max(top, threshold * 1.2)
        ticks = [(value, short(value)) for value in (-top, 0.0, top)]
        axes = self.axes(-top * 1.05, top * 1.05, ticks)
        canvas = self.canvas(axes, width, height, [Curve(at, values)])
        for y in (threshold, -threshold):
            canvas.h_line(y)
        return canvas.drawing(self._legend(delta), self.place(canvas.columns))

    def _legend(self, delta: Array) -> list[str]:
        threshold = self.source.threshold
        scored, hidden = int((~np.isnan(delta)).sum()), int(np.isinf(delta).sum())
        beyond = int((np.abs(delta) > threshold).sum())
        return [
            "Δ = log p A − log p B, nats",
            (
                f"{beyond} of {scored} beyond ±{short(threshold)}"
                f" ({percent(beyond, scored)})"
            ),
            *([f"{hidden} infinite, not drawn"] if hidden else []),
            f"lines: ±threshold; {self.x_words}",
        ]

    def table(self) -> Table:
        return (
            self.band_table(self.band) if self.reach == "all" else self.tokens_table()
        )

    def svg(self) -> str:
        if self.reach == "all":
            return self.band_svg(self.band, "Δ over the position", "Δ, nats")
        delta = self.data.delta[self.start : self.stop]
        known = np.flatnonzero(np.isfinite(delta))
        bins = min(_SVG_BINS, self.count)
        # With one value a bin the band has no width: the line is the values themselves.
        band = make_band(delta[known], known, self.count, bins)
        return svg.line(
            band.at,
            band.mean,
            *_extremes(delta[known], known, self.count, bins),
            title=f"Δ over the position, {self.what}",
            x_label="position in the sequence",
            y_label="Δ, nats",
            ends=(0.0, float(self.count)),
            description=(
                "Line: mean of delta; band: from its lowest to its highest value."
            ),
        )


def _extremes(
    values: Array, position: Array, end: int, bins: int
) -> tuple[Array, Array]:
    index = np.minimum(position * (min(bins, end) / end), min(bins, end) - 1).astype(
        np.int64
    )
    low, high = np.full(min(bins, end), np.inf), np.full(min(bins, end), -np.inf)
    np.minimum.at(low, index, values)
    np.maximum.at(high, index, values)
    return np.where(np.isinf(low), np.nan, low), np.where(np.isinf(high), np.nan, high)


class CumulativeChart(AlongChart):
    """The sum of delta so far: its exponential is the importance ratio of the
    sequence.
    """

    title = "cumulative"

    def prepare(self) -> None:
        super().prepare()
        data = self.data
        if self.reach == "one":
            part = slice(self.start, self.stop)
            counted = data.counted[part]
            ends = np.array([0, self.stop - self.start])
            self.sums = running_sums(data.delta[part], counted, ends)
            self.tokens = int((counted & np.isfinite(data.delta[part])).sum())
            self.infinite = int((counted & np.isinf(data.delta[part])).sum())
            if not self.tokens:
                raise NothingToDraw(
                    "nothing to add up: no token of this sequence counts"
                    f" ({self.scope_word})"
                )
        else:
            sums = running_sums(data.delta, data.counted, data.offsets)
            self.infinite = int((data.counted & np.isinf(data.delta)).sum())
            filled = np.diff(data.offsets) > 0
            self.totals = sums[data.offsets[1:][filled] - 1]
            self.band = make_band(sums[self.kept], self.place_of, self.count, self.bins)

    @property
    def _infinite(self) -> list[str]:
        return [f"{self.infinite} infinite Δ left out"] if self.infinite else []

    def draw(self, width: int, height: int) -> Drawing:
        if self.reach == "all":
            known = self.band.count > 0
            ends = (
                min(0.0, float(self.band.low[known].min())),
                max(0.0, float(self.band.high[known].max())),
            )
            low, middle, high = np.quantile(self.totals, (0.1, 0.5, 0.9)).tolist()
            far = int((np.abs(self.totals) > math.log(2)).sum())
            legend = [
                (
                    "sum of Δ so far; ratio of a sequence = exp(sum) · line: mean · ░"
                    " middle 80%"
                ),
                (
                    f"whole sequences: median ×{_ratio(middle)}, 80% within"
                    f" ×{_ratio(low)} to ×{_ratio(high)}"
                ),
                f"{far:,} of {len(self.totals):,} off by more than ×2",
                *self._infinite,
                self.x_words,
            ]
            return self.band_drawing(
                self.band, width, height, _ratio_ticks(*ends), legend
            )
        at, values = envelope(self.sums, max(8, width - 14))
        ends = min(0.0, float(values.min())), max(0.0, float(values.max()))
        room = (ends[1] - ends[0]) * 0.05 or 1e-6
        canvas = self.canvas(
            self.axes(ends[0] - room, ends[1] + room, _ratio_ticks(*ends)),
            width,
            height,
            [Curve(at, values)],
        )
        canvas.h_line(0)
        total = float(self.sums[-1])
        legend = [
            f"sum of Δ so far, {self.scope_word}: {signed(total)} nats at the end",
            (
                f"ratio of the sequence ×{_ratio(total)}, of a token on average"
                f" ×{_ratio(total / self.tokens)}"
            ),
            *self._infinite,
            self.x_words,
        ]
        return canvas.drawing(legend, self.place(canvas.columns))

    def table(self) -> Table:
        if self.reach == "all":
            return self.band_table(self.band)
        return {**self.tokens_table(), "sum": self.sums, "ratio": _exp(self.sums)}

    def svg(self) -> str:
        if self.reach == "all":
            return self.band_svg(
                self.band, "Sum of Δ up to the position", "sum of Δ, nats"
            )
        at, values = envelope(self.sums, _SVG_BINS)
        values = values.astype(np.float64)
        return svg.line(
            at.astype(np.float64),
            values,
            values,
            values,
            title=f"Sum of Δ, {self.what}",
            x_label="position in the sequence",
            y_label="sum of Δ, nats",
            ends=(0.0, float(self.count)),
            description=(
                "The sum of delta up to each token; its exponential is the ratio,"
                f" ×{_ratio(float(self.sums[-1]))} at the end."
            ),
        )


def _exp(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.exp(values)


def _ratio(total: float) -> str:
    return short(math.exp(total) if total < 700 else math.inf)


def _ratio_ticks(low: float, high: float) -> list[Tick]:
    return [
        (value, f"{text} ×{_ratio(value)}") for value, text in even_ticks(low, high)
    ]


class RankChart(AlongChart):
    """Where the token's rank differs, and by how much; for all sequences the share of
    such tokens.
    """

    title = "rank flips"

    def prepare(self) -> None:
        super().prepare()
        data, part = self.data, slice(self.start, self.stop)
        if not (data.pair.a.top_k and data.pair.b.top_k):
            raise NothingToDraw(
                "no rank can be compared: a capture without top-k lists"
            )
        if self.reach == "one":
            self.flips = data.flips_in(self.start, self.stop)
            ranks = (
                side.rank.rows(self.start, self.stop)
                for side in (data.pair.a, data.pair.b)
            )
            self.change = np.where(self.flips, rank_change(*ranks), np.float32(np.nan))
            self.scored = int(data.pair.scored[part].sum())
        else:
            self.flips = data.flips[self.kept]
            self.share, self.number = shares(
                self.flips, self.place_of, self.count, self.bins
            )

    def draw(self, width: int, height: int) -> Drawing:
        return (
            self._draw_share(width, height)
            if self.reach == "all"
            else self._draw_flips(width, height)
        )

    def _draw_share(self, width: int, height: int) -> Drawing:
        known = self.number > 0
        at = (np.arange(len(self.share)) + 0.5) * self.count / len(self.share)
        top = float(self.share[known].max()) or 0.01
        ticks = [(value, f"{100 * value:.3g}%") for value in (0.0, top / 2, top)]
        axes = self.axes(0.0, top * 1.05, ticks)
        canvas = self.canvas(axes, width, height, [Curve(at[known], self.share[known])])
        flips = int(self.flips.sum())
        legend = [
            (
                f"share of tokens whose rank differs: {percent(flips, len(self.flips))}"
                f" of {len(self.flips):,}"
            ),
            f"{self.what}, {self.scope_word}",
            "a flip within a tie is none",
            self.x_words,
        ]
        return canvas.drawing(legend, self.place(canvas.columns))

    def _draw_flips(self, width: int, height: int) -> Drawing:
        known = np.flatnonzero(np.isfinite(self.change))
        top = max(1.0, float(np.abs(self.change[known]).max()) if len(known) else 0.0)
        axes = self.axes(
            -top * 1.05,
            top * 1.05,
            [(-top, f"B ×{_power(top)}"), (0.0, "same"), (top, f"A ×{_power(top)}")],
        )
        canvas = self.canvas(axes, width, height, [])
        zero = canvas.row(0)
        canvas.h_line(0)
        for index, change in zip(
            known.tolist(), self.change[known].tolist(), strict=True
        ):
            column, row = canvas.column(index), canvas.row(change)
            if row == zero:
                row += -1 if change > 0 else 1
            for between in range(min(row, zero + 1), max(row, zero - 1) + 1):
                canvas.put(column, between, "│")
            canvas.put(column, row, "●")
        flips, lost = int(self.flips.sum()), int(self.flips.sum()) - len(known)
        legend = [
            (
                f"rank differs at {flips} of {self.scored} tokens"
                f" ({percent(flips, self.scored)})"
            ),
            "up: A ranks it that many times nearer to the top, down: B does",
            *([f"{lost} with an unknown rank, not drawn"] if lost else []),
            "a flip within a tie is none",
            self.x_words,
        ]
        return canvas.drawing(legend, self.place(canvas.columns))

    def table(self) -> Table:
        if self.reach == "all":
            at = (np.arange(len(self.share)) + 0.5) * self.count / len(self.share)
            return {"position": at, "tokens": self.number, "flip_share": self.share}
        sides = (
            (name, side.rank.rows(self.start, self.stop))
            for name, side in self._sides()
        )
        return {**self.tokens_table(), **dict(sides), "flip": self.flips.astype(int)}

    def _sides(self) -> tuple[tuple[str, Any], ...]:
        return ("rank_a", self.data.pair.a), ("rank_b", self.data.pair.b)

    def svg(self) -> str:
        if self.reach == "all":
            at = (np.arange(len(self.share)) + 0.5) * self.count / len(self.share)
            values, words, label = (
                self.share,
                "Share of tokens whose rank differs",
                "share",
            )
        else:
            where, found = envelope(np.nan_to_num(self.change), _SVG_BINS)
            at, values = where.astype(np.float64), found.astype(np.float64)
            words, label = "How far ranks differ", "log10(rank B / rank A)"
        return svg.line(
            at,
            values,
            values,
            values,
            title=f"Rank flips, {self.what}",
            x_label="position",
            y_label=label,
            ends=(0.0, float(self.count)),
            description=f"{words}; a flip within a tie is none.",
        )


def _power(log: float) -> str:
    return short(10.0**log)
