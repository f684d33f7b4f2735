"""Charts over the position in the sequence, and the first of them: delta itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from logdrift.core.charts.base import Array, Chart, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.guides import ZERO, rows_of, seen_guides, threshold_guide
from logdrift.core.charts.marks import (
    BAND,
    Area,
    Axes,
    ChartAxis,
    Curve,
    Ends,
    Mark,
    Picture,
    Range,
    Stems,
    Tick,
    Upright,
    index_ticks,
    value_ticks,
)
from logdrift.core.charts.places import PositionPlaces
from logdrift.core.charts.reduce import (
    Band,
    count_true,
    envelope,
    make_band,
    sign_levels,
)
from logdrift.core.numbers import counted, percent, plus, short

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
        sequence = self.source.sequence
        scored = pair.scored[self.part]
        self.count = self.stop - self.start
        prompt = pair.sequences.prompt_lengths[sequence]
        self.prompt = int(prompt)
        if not scored.any():
            raise NothingToDraw("no token of this sequence is scored on both sides")

    def prepare_all(self) -> None:
        """Of all sequences together."""
        data = self.data
        is_finite = np.isfinite(data.delta)
        is_drawn = data.counted & is_finite
        self.kept = np.flatnonzero(is_drawn)
        if not len(self.kept):
            raise NothingToDraw("no token is scored on both sides")
        self.place_of = data.from_scope[self.kept]
        last = int(self.place_of.max())
        self.count = last + 1
        tokens = len(self.kept)
        per_band = tokens // _PER_BIN
        worth_drawing = max(4, per_band)
        self.bins = min(_BINS, self.count, worth_drawing)

    def places(self, columns: int) -> PositionPlaces:
        """Where each token lies in a picture of so many columns."""
        offsets = self.data.offsets
        starts = offsets[:-1]
        if self.in_completion:
            starts = starts + self._prompt_lengths()
        only = None
        if self.reach == "one":
            only = self.source.sequence
        return PositionPlaces(
            starts=starts,
            stops=offsets[1:],
            size=self.data.size,
            count=self.count,
            columns=columns,
            only=only,
        )

    def _prompt_lengths(self) -> Array:
        """Of the sequences of the pair, i64[S]."""
        pair = self.data.pair
        prompts = pair.sequences.prompt_lengths
        return prompts[: pair.count]

    def axes_of(
        self, label: str, ends: Ends, ticks: list[Tick], *, centred: bool = False
    ) -> Axes:
        """Positions across, ``ends`` upwards; ``centred``: 0 has the middle row."""
        last = self.count - 1
        x = ChartAxis(
            label=f"position in the {self.where}",
            low=0,
            high=max(1, last),
            ticks=index_ticks(last, _X_TICKS),
        )
        y = ChartAxis(label, *ends, ticks, centred=centred)
        return Axes(x, y)

    @property
    def in_completion(self) -> bool:
        """Positions are counted from the start of the completion."""
        of_all = self.reach == "all"
        return of_all and self.data.scope == "completion"

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
        end = Upright(self.prompt, "p", "end of the prompt")
        return [end]

    @property
    def x_words(self) -> str:
        """The x axis in a legend."""
        if self.reach == "all":
            return f"x: position in the {self.where}"
        if self.has_prompt:
            return f"p: end of the prompt ({counted(self.prompt, 'token')})"
        return "no prompt"

    def pictured(self, marks: list[Mark], legend: list[str], area: Area) -> Picture:
        """A picture of these marks with the end of the prompt."""
        ends_of_prompt = self.prompt_marks()
        return Picture(
            marks=(*ends_of_prompt, *marks),
            legend=tuple(legend),
            place=self.places(area.columns),
        )

    def tokens_table(self) -> dict[str, Array]:
        """The tokens of the sequence."""
        part = self.part
        pair = self.data.pair
        length = self.stop - self.start
        sequence = np.full(length, self.source.sequence)
        in_completion = pair.in_completion[part]
        return {
            "sequence": sequence,
            "position": np.arange(length),
            "token_id": pair.sequences.token_ids[part],
            "in_completion": in_completion.astype(int),
            "delta": self.data.delta[part],
        }


# ---- what charts with a band share


def band_ends(band: Band) -> Ends:
    """Lowest and highest value of the band, and 0."""
    known = band.count > 0
    lowest = band.low[known].min()
    highest = band.high[known].max()
    return around_zero(lowest, highest)


def around_zero(lowest: float, highest: float) -> Ends:
    """The range from one to the other, widened to hold 0."""
    low = min(0.0, float(lowest))
    high = max(0.0, float(highest))
    return low, high


def with_room(low: float, high: float) -> Ends:
    """The same range, a little wider."""
    room = (high - low) * _ROOM or 1e-6
    return low - room, high + room


def band_marks(band: Band) -> list[Mark]:
    """The band, its mean, and a line at 0."""
    known = band.count > 0
    at = band.at[known]
    mean = band.mean[known]
    return [
        Curve(at, mean),
        ZERO,
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

SIDES = "up: A gives more"
"""What the sides of the line at 0 are, in a legend."""


def delta_range(delta: Array, threshold: float) -> tuple[Ends, list[Tick]]:
    """The ends of an axis for ``delta`` f[n] and the threshold, as far above 0 as
    below it, and its ticks.
    """
    is_finite = np.isfinite(delta)
    size = np.abs(delta[is_finite])
    largest = float(size.max(initial=0.0))
    above_threshold = threshold * 1.2
    top = max(largest, above_threshold)
    ends = (-top * 1.05, top * 1.05)
    signed = plus(top, short(top))
    ticks = [*value_ticks(-top, 0.0), (top, signed)]
    return ends, ticks


def beyond_words(delta: Array, threshold: float) -> str:
    """How many of ``delta`` f[n], NaN: none, are beyond the threshold, in a legend."""
    unscored = np.isnan(delta)
    scored = count_true(~unscored)
    size = np.abs(delta)
    beyond = count_true(size > threshold)
    share = percent(beyond, scored)
    tokens = counted(scored, "token")
    return f"{beyond:,} of {tokens} beyond ±{short(threshold)} nats ({share})"


class DeltaChart(AlongChart):
    """Delta at every token of the sequence, or mean and band of all sequences."""

    @cached_property
    def band(self) -> Band:
        """Of all sequences."""
        kept = self.data.delta[self.kept]
        return make_band(kept, self.place_of, self.count, self.bins)

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
            return (
                "A line from 0 to each delta, the lowest and the highest of each"
                " stretch; orange: A gives more, blue: B gives more."
            )
        return f"Line: mean; band: the middle 80%; {self.what} together."

    def axes(self, width: int) -> Axes:
        label = "Δ, nats"
        if self.reach == "all":
            low, high = band_ends(self.band)
            ticks = even_ticks(low, high)
            ends = with_room(low, high)
            return self.axes_of(label, ends, ticks)
        ends, ticks = delta_range(self.delta, self.source.threshold)
        return self.axes_of(label, ends, ticks, centred=True)

    def picture(self, area: Area) -> Picture:
        if self.reach == "all":
            marks = band_marks(self.band)
            legend = self._legend_of_all()
            return self.pictured(marks, legend, area)
        columns = area.columns
        threshold = self.source.threshold
        axis = self.axes(columns).y
        lines = rows_of(self, area)
        guides = seen_guides([threshold_guide(threshold)], axis, lines)
        at, delta = envelope(self.delta, columns)
        levels = sign_levels(delta, threshold)
        stems = Stems(at, delta, levels)
        legend = self._legend_of_one(guides.phrases)
        return self.pictured([*guides.levels, stems], legend, area)

    def _legend_of_all(self) -> list[str]:
        return [
            f"line: mean Δ = log p A − log p B, nats · {BAND} the middle 80% of the"
            " tokens",
            f"{self.what}, {self.scope_words}",
            self.x_words,
        ]

    def _legend_of_one(self, guides: Sequence[str]) -> list[str]:
        delta = self.delta
        infinite = np.isinf(delta)
        hidden = count_true(infinite)
        legend = [
            f"Δ = log p A − log p B, nats; {SIDES}",
            beyond_words(delta, self.source.threshold),
        ]
        if hidden:
            legend.append(f"{hidden} infinite, not drawn")
        return [*legend, *guides, self.x_words]

    def table(self) -> Table:
        if self.reach == "all":
            return band_table(self.band)
        return self.tokens_table()
