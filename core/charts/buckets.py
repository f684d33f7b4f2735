"""The error of the tokens of each bucket: by the probability that B gave, by entropy,
by position.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from logdrift.core.charts.base import Array, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.marks import (
    DOT,
    Area,
    Axes,
    ChartAxis,
    LabelledBar,
    LabelledBars,
    Picture,
    Tick,
    value_ticks,
)
from logdrift.core.charts.places import CellPlaces, column_places
from logdrift.core.charts.tokens import TokenChart
from logdrift.core.compare.buckets import (
    ENTROPY_EDGES,
    PROBABILITY_EDGES,
    Bucket,
    by_position,
    make_buckets,
)
from logdrift.core.numbers import counted, range_text, short

_AXIS = 10
"""Columns that the axis at the left takes, about."""


class BucketChart(TokenChart):
    """Bars of the mean absolute error, dots of its root mean square. A bucket without
    tokens keeps its place.
    """

    by: ClassVar[str]
    whole: ClassVar[bool] = False

    def prepare(self) -> None:
        super().prepare()
        self.kept = np.flatnonzero(self.counted)
        delta = self.delta[self.kept]
        at = self.kept + self.start
        self.buckets = self.divide(delta, at)
        self.known = [bucket for bucket in self.buckets if bucket.mae is not None]
        if not self.known:
            raise NothingToDraw("no finite Δ within reach")

    @abstractmethod
    def divide(self, delta: Array, at: Array) -> Sequence[Bucket]:
        """The buckets of tokens at flat positions ``at`` i64[n], ``delta`` f32[n]."""

    @abstractmethod
    def bins(self, at: Array) -> Array:
        """The bucket of each of these tokens, -1 for none."""

    @abstractmethod
    def label(self, bucket: Bucket) -> str:
        """A few characters below the bar."""

    @property
    def heading(self) -> str:
        return f"Error {self.by}, {self.what}"

    @property
    def description(self) -> str:
        return f"Mean absolute error {self.by}."

    def axes(self, width: int) -> Axes:
        errors = [bucket.rmse or 0.0 for bucket in self.buckets]
        largest = max(errors)
        top = largest or 1e-9
        ticks = value_ticks(0.0, top / 2, top)
        x = ChartAxis(
            label=self.by,
            low=0.0,
            high=float(len(self.buckets)),
            ticks=self._labels(width),
        )
        y = ChartAxis(
            label="MAE (bar) and RMSE (dot), nats",
            low=0.0,
            high=top * 1.02,
            ticks=ticks,
        )
        return Axes(x, y)

    def _labels(self, width: int) -> list[Tick]:
        """The labels that fit side by side: all, or each second, third, …"""
        labels = list(map(self.label, self.buckets))
        count = len(labels)
        bar_width = (width - _AXIS) / count
        longest = max(map(len, labels))
        label_width = longest + 1
        bars_per_label = math.ceil(label_width / bar_width)
        step = max(1, bars_per_label)
        labelled = range(0, count, step)
        return [(i + 0.5, labels[i]) for i in labelled]

    def picture(self, area: Area) -> Picture:
        bars = tuple(map(self._bar, self.buckets))
        mark = LabelledBars(bars)
        return Picture(
            marks=(mark,),
            legend=self._legend(),
            place=self._places(area.columns),
        )

    def _places(self, columns: int) -> CellPlaces:
        """Each token in the middle column of its bar."""
        count = len(self.buckets)
        borders = np.arange(count + 1)
        edges = borders * columns // count
        left = edges[:-1]
        right = edges[1:]
        middles = (left + right) // 2
        tokens = self.stop - self.start
        bins = np.full(tokens, -1, np.int32)
        at = self.kept + self.start
        bins[self.kept] = self.bins(at)
        return column_places(bins, self.size, middles, self.start)

    def _bar(self, bucket: Bucket) -> LabelledBar:
        return LabelledBar(
            label=self.label(bucket),
            name=self._range(bucket),
            value=bucket.mae,
            dot=bucket.rmse,
            note=f"{_or_dash(bucket.mae)} · {bucket.tokens:,} tok",
        )

    def _range(self, bucket: Bucket) -> str:
        low = bucket.low
        high = bucket.high
        return range_text(low, high, whole=self.whole)

    def _legend(self) -> tuple[str, ...]:
        worst = max(self.known, key=_mae)
        error = _or_dash(worst.mae)
        bounds = self._range(worst)
        return (
            f"bar: mean |Δ|, {DOT} its root mean square, nats, {self.by}",
            f"worst: {bounds} with {error} over {counted(worst.tokens, 'token')}",
            self.reach_words,
        )

    def table(self) -> Table:
        rows = [bucket.to_json() for bucket in self.buckets]
        columns = {}
        for key in rows[0]:
            values = [row[key] for row in rows]
            known = [_or_nan(value) for value in values]
            columns[key] = np.array(known)
        return columns


def _mae(bucket: Bucket) -> float:
    return bucket.mae or 0.0


def _or_nan(value: float | None) -> float:
    if value is None:
        return np.nan
    return value


def _or_dash(value: float | None) -> str:
    if value is None:
        return "-"
    return short(value)


class ProbabilityChart(BucketChart):
    """By what B, the side that sampled, held the token for."""

    by = "by probability in B"

    def divide(self, delta: Array, at: Array) -> Sequence[Bucket]:
        logprob = self.data.pair.logprob_b[at]
        tokens = len(at)
        no_position = np.zeros(tokens, np.int64)
        buckets = make_buckets(delta, logprob, no_position, None)
        return buckets.by_probability

    def bins(self, at: Array) -> Array:
        inner_edges = PROBABILITY_EDGES[1:-1]
        log_edges = np.log(inner_edges)
        borders = log_edges.astype(np.float32)
        logprob = self.data.pair.logprob_b[at]
        return np.searchsorted(borders, logprob, "right")

    def label(self, bucket: Bucket) -> str:
        if not bucket.low:
            return "<1e-4"
        if bucket.low < 0.01:
            return f"≥{short(bucket.low)}"
        return f"≥{bucket.low:g}"


class EntropyChart(BucketChart):
    """By how open the choice was."""

    by = "by entropy (nats)"

    def divide(self, delta: Array, at: Array) -> Sequence[Bucket]:
        entropy = self.data.entropy
        if entropy is None:
            raise NothingToDraw(
                "neither capture has an entropy: engines give none, the Transformers"
                " backend does"
            )
        logprob = self.data.pair.logprob_b[at]
        tokens = len(at)
        no_position = np.zeros(tokens, np.int64)
        entropy_at = entropy[at]
        buckets = make_buckets(delta, logprob, no_position, entropy_at)
        return buckets.by_entropy or ()

    def bins(self, at: Array) -> Array:
        assert self.data.entropy is not None
        entropy = self.data.entropy[at]
        inner_edges = ENTROPY_EDGES[1:-1]
        borders = np.asarray(inner_edges, np.float32)
        bucket = np.searchsorted(borders, entropy, "right")
        unknown = np.isnan(entropy)
        return np.where(unknown, -1, bucket)

    def label(self, bucket: Bucket) -> str:
        if bucket.low:
            return f"≥{bucket.low:g}"
        return "<0.01"


class PositionChart(BucketChart):
    """By how far behind the start of the scope: each bucket is as long as all before
    it.
    """

    by = "by position"
    whole = True

    def divide(self, delta: Array, at: Array) -> Sequence[Bucket]:
        position = self.data.from_scope[at]
        return by_position(delta, position)

    def bins(self, at: Array) -> Array:
        position = self.data.from_scope[at]
        exact = position.astype(np.float64)
        _, exponent = np.frexp(exact)
        return exponent

    def label(self, bucket: Bucket) -> str:
        low = int(bucket.low)
        if low > 1:
            return f"{low}-"
        return str(low)
