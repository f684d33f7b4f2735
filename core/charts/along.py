"""Charts over the position in the sequence, and the first of them: delta itself."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from logdrift.core.charts.base import Array, Chart, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.marks import (
    BAND,
    Area,
    Axes,
    ChartAxis,
    Curve,
    Level,
    Mark,
    Picture,
    Range,
    Tick,
    Upright,
    index_ticks,
    value_ticks,
)
from logdrift.core.charts.places import PositionPlaces
from logdrift.core.charts.reduce import Band, count_true, envelope, make_band
from logdrift.core.numbers import percent, short

_BINS = 110
_PER_BIN = 12
"""Tokens per bin that a band is worth drawing for, on average."""
_X_TICKS = 4
_ROOM = 0.05
"""Share of the range that is left free above and below."""


class AlongChart(Chart):
    """The x axis is the position: in the sequence, or for all of them in the scope."""

    def prepare(self) -> None:
        self.prompt = 0
        if self.reach == "one":
            self.prepare_one()
        else:
            self.prepare_all()

    def prepare_one(self) -> None:
        """Of one sequence."""
        pair = self.data.pair
        self.count = self.stop - self.start
        self.prompt = int(pair.sequences.prompt_lengths[self.source.sequence])
        if not pair.scored[self.part].any():
            raise NothingToDraw("no token of this sequence is scored on both sides")

    def prepare_all(self) -> None:
        """Of all sequences together."""
        data = self.data
        self.kept = np.flatnonzero(data.counted & np.isfinite(data.delta))
        if not len(self.kept):
            raise NothingToDraw("no token is scored on both sides")
        self.place_of = data.from_scope[self.kept]
        self.count = int(self.place_of.max()) + 1
        worth_drawing = max(4, len(self.kept) // _PER_BIN)
        self.bins = min(_BINS, self.count, worth_drawing)

    def places(self, columns: int) -> PositionPlaces:
        """Where each token lies in a picture of so many columns."""
        offsets = self.data.offsets
        pair = self.data.pair
        starts = offsets[:-1]
        if self.in_completion:
            starts = starts + pair.sequences.prompt_lengths[: pair.count]
        only = self.source.sequence if self.reach == "one" else None
        return PositionPlaces(
            starts=starts,
            stops=offsets[1:],
            size=self.data.size,
            count=self.count,
            columns=columns,
            only=only,
        )

    def axes_of(self, label: str, ends: tuple[float, float], ticks: list[Tick]) -> Axes:
        """Positions across, ``ends`` upwards."""
        x = ChartAxis(
            label=f"position in the {self.where}",
            low=0,
            high=max(1, self.count - 1),
            ticks=index_ticks(self.count - 1, _X_TICKS),
        )
        y = ChartAxis(label, *ends, ticks)
        return Axes(x, y)

    @property
    def in_completion(self) -> bool:
        """Positions are counted from the start of the completion."""
        return self.reach == "all" and self.data.scope == "completion"

    @property
    def where(self) -> str:
        """What positions are counted in."""
        if self.in_completion:
            return "completion"
        return "sequence"

    @property
    def has_prompt(self) -> bool:
        """The end of the prompt lies within the picture."""
        return 0 < self.prompt < self.count

    def prompt_marks(self) -> list[Mark]:
        """The end of the prompt."""
        if not self.has_prompt:
            return []
        return [Upright(self.prompt, "p", "end of the prompt")]

    @property
    def x_words(self) -> str:
        """The x axis in a legend."""
        if self.reach == "all":
            return f"x: position in the {self.where}"
        if self.has_prompt:
            return f"p: end of the prompt ({self.prompt} tokens)"
        return "no prompt"

    def pictured(self, marks: list[Mark], legend: list[str], area: Area) -> Picture:
        """A picture of these marks with the end of the prompt."""
        return Picture(
            marks=(*self.prompt_marks(), *marks),
            legend=tuple(legend),
            place=self.places(area.columns),
        )

    def tokens_table(self) -> dict[str, Array]:
        """The tokens of the sequence."""
        pair = self.data.pair
        length = self.stop - self.start
        return {
            "sequence": np.full(length, self.source.sequence),
            "position": np.arange(length),
            "token_id": pair.sequences.token_ids[self.part],
            "in_completion": pair.in_completion[self.part].astype(int),
            "delta": self.data.delta[self.part],
        }


# ---- what charts with a band share


def band_ends(band: Band) -> tuple[float, float]:
    """Lowest and highest value of the band, and 0."""
    known = band.count > 0
    lowest = float(band.low[known].min())
    highest = float(band.high[known].max())
    return min(0.0, lowest), max(0.0, highest)


def with_room(low: float, high: float) -> tuple[float, float]:
    """The same range, a little wider."""
    room = (high - low) * _ROOM or 1e-6
    return low - room, high + room


def band_marks(band: Band) -> list[Mark]:
    """The band, its mean, and a line at 0."""
    known = band.count > 0
    return [
        Curve(band.at[known], band.mean[known]),
        Level(0),
        Range(band.at, band.low, band.high),
    ]


def band_table(band: Band) -> Table:
    """The bins of a band."""
    return {
        "position": band.at,
        "tokens": band.count,
        "mean": band.mean,
        "p10": band.low,
        "p90": band.high,
    }


def even_ticks(low: float, high: float) -> list[Tick]:
    """Both ends, and 0 where it lies between them and not too near."""
    apart = 0.15 * (high - low)
    has_zero = low < -apart and high > apart
    if has_zero:
        return value_ticks(low, 0.0, high)
    return value_ticks(low, high)


# ---- delta


class DeltaChart(AlongChart):
    """Delta at every token of the sequence, or mean and band of all sequences."""

    @cached_property
    def band(self) -> Band:
        """Of all sequences."""
        delta = self.data.delta[self.kept]
        return make_band(delta, self.place_of, self.count, self.bins)

    @property
    def delta(self) -> Array:
        """Of the sequence, f32[n]."""
        return self.data.delta[self.part]

    @property
    def heading(self) -> str:
        if self.reach == "all":
            return "Δ over the position"
        return f"Δ over the position, {self.what}"

    @property
    def description(self) -> str:
        if self.reach == "one":
            return "Line: delta, the lowest and the highest of each stretch."
        return f"Line: mean; band: the middle 80%; {self.what} together."

    def axes(self, width: int) -> Axes:
        if self.reach == "all":
            ends = band_ends(self.band)
            return self.axes_of("Δ, nats", with_room(*ends), even_ticks(*ends))
        finite = self.delta[np.isfinite(self.delta)]
        largest = float(np.abs(finite).max(initial=0.0))
        top = max(largest, self.source.threshold * 1.2)
        ends = (-top * 1.05, top * 1.05)
        return self.axes_of("Δ, nats", ends, value_ticks(-top, 0.0, top))

    def picture(self, area: Area) -> Picture:
        if self.reach == "all":
            marks = band_marks(self.band)
            return self.pictured(marks, self._legend_of_all(), area)
        threshold = self.source.threshold
        marks = [
            Curve(*envelope(self.delta, area.columns)),
            Level(threshold, "threshold"),
            Level(-threshold),
        ]
        return self.pictured(marks, self._legend_of_one(), area)

    def _legend_of_all(self) -> list[str]:
        return [
            f"line: mean Δ = log p A − log p B, nats · {BAND} the middle 80% of the"
            " tokens",
            f"{self.what}, {self.scope_words}",
            self.x_words,
        ]

    def _legend_of_one(self) -> list[str]:
        delta = self.delta
        threshold = self.source.threshold
        scored = count_true(~np.isnan(delta))
        hidden = count_true(np.isinf(delta))
        beyond = count_true(np.abs(delta) > threshold)
        share = percent(beyond, scored)
        legend = [
            "Δ = log p A − log p B, nats",
            f"{beyond} of {scored} beyond ±{short(threshold)} ({share})",
        ]
        if hidden:
            legend.append(f"{hidden} infinite, not drawn")
        return [*legend, f"lines: ±threshold; {self.x_words}"]

    def table(self) -> Table:
        if self.reach == "all":
            return band_table(self.band)
        return self.tokens_table()
