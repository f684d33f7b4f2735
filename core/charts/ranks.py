"""Where the rank of a token differs between the two sides, over the position."""

from __future__ import annotations

import numpy as np

from logdrift.core.charts.along import AlongChart
from logdrift.core.charts.base import Array, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.guides import ZERO
from logdrift.core.charts.marks import Area, Axes, Curve, Picture, Stems, Tick
from logdrift.core.charts.reduce import (
    bin_middles,
    count_true,
    nan_outside,
    rank_change,
    shares,
    sign_levels,
)
from logdrift.core.numbers import counted, percent, short


class RankChart(AlongChart):
    """Where the token's rank differs, and by how much; for all sequences the share of
    such tokens.
    """

    def prepare_one(self) -> None:
        super().prepare_one()
        self._need_lists()
        start = self.start
        stop = self.stop
        self.flips = self.data.flips_in(start, stop)
        rank_a, rank_b = self._ranks()
        change = rank_change(rank_a, rank_b)
        self.change = nan_outside(self.flips, change)
        scored = self.data.pair.scored[self.part]
        self.scored = count_true(scored)

    def prepare_all(self) -> None:
        super().prepare_all()
        self._need_lists()
        self.flips = self.data.flips[self.kept]
        self.share, self.number = shares(
            self.flips, self.place_of, self.count, self.bins
        )

    def _need_lists(self) -> None:
        pair = self.data.pair
        a = pair.a
        b = pair.b
        has_lists = a.top_k and b.top_k
        if not has_lists:
            raise NothingToDraw(
                "no rank can be compared: a capture without top-k lists"
            )

    def _ranks(self) -> tuple[Array, Array]:
        """The ranks of A and of B within reach, i32[n] each."""
        pair = self.data.pair
        start = self.start
        stop = self.stop
        rank_a = pair.a.rank.rows(start, stop)
        rank_b = pair.b.rank.rows(start, stop)
        return rank_a, rank_b

    @property
    def heading(self) -> str:
        return f"Rank flips, {self.what}"

    @property
    def description(self) -> str:
        if self.reach == "all":
            return (
                "Share of tokens whose rank differs; a flip within a tie does not"
                " count."
            )
        return "How far ranks differ; a flip within a tie does not count."

    @property
    def _middles(self) -> Array:
        """The middle of each bin, f64[bins]."""
        bins = len(self.share)
        return bin_middles(self.count, bins)

    def axes(self, width: int) -> Axes:
        if self.reach == "all":
            return self._axes_of_all()
        is_known = np.isfinite(self.change)
        size = np.abs(self.change[is_known])
        top = float(size.max(initial=1.0))
        times = short(10.0**top)
        ticks: list[Tick] = [
            (-top, f"B ×{times}"),
            (0.0, "same"),
            (top, f"A ×{times}"),
        ]
        ends = (-top * 1.05, top * 1.05)
        label = "log10(rank B / rank A)"
        return self.axes_of(label, ends, ticks, centred=True)

    def _axes_of_all(self) -> Axes:
        known = self.share[self.number > 0]
        top = float(known.max()) or 0.01
        values = (0.0, top / 2, top)
        ticks = [(value, f"{100 * value:.3g}%") for value in values]
        ends = (0.0, top * 1.05)
        return self.axes_of("share", ends, ticks)

    def picture(self, area: Area) -> Picture:
        if self.reach == "all":
            known = self.number > 0
            middles = self._middles[known]
            share = self.share[known]
            curve = Curve(middles, share)
            legend = self._legend_of_all()
            return self.pictured([curve], legend, area)
        is_known = np.isfinite(self.change)
        at = np.flatnonzero(is_known)
        change = self.change[at]
        stems = Stems(at, change, _levels(change))
        legend = self._legend_of_one(len(at))
        return self.pictured([ZERO, stems], legend, area)

    def _legend_of_all(self) -> list[str]:
        flips = count_true(self.flips)
        tokens = len(self.flips)
        share = percent(flips, tokens)
        return [
            f"share of tokens whose rank differs: {share} of {tokens:,}",
            f"{self.what}, {self.scope_words}",
            "a flip within a tie does not count",
            self.x_words,
        ]

    def _legend_of_one(self, drawn: int) -> list[str]:
        flips = count_true(self.flips)
        share = percent(flips, self.scored)
        legend = [
            f"rank differs at {flips:,} of {counted(self.scored, 'token')} ({share})",
            "up: A ranks it that many times nearer to the top, down: B does",
        ]
        if flips > drawn:
            legend.append(f"{flips - drawn} with an unknown rank, not drawn")
        return [*legend, "a flip within a tie does not count", self.x_words]

    def table(self) -> Table:
        if self.reach == "all":
            return {
                "position": self._middles,
                "tokens": self.number,
                "flip_share": self.share,
            }
        rank_a, rank_b = self._ranks()
        return {
            **self.tokens_table(),
            "rank_a": rank_a,
            "rank_b": rank_b,
            "flip": self.flips.astype(int),
        }


def _levels(change: Array) -> Array:
    """The steps of log10 of rank ratios f[n], i8[n]: more than once, twice, four and
    eight times as near to the top.
    """
    size = np.abs(change)
    times = 10.0**size
    return sign_levels(np.sign(change) * times, 1.0)
