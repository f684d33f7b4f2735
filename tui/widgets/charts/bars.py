"""The error of the tokens of each bucket: by the probability that B gave, by entropy,
by position.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from logdrift.core.compare.buckets import (
    ENTROPY_EDGES,
    PROBABILITY_EDGES,
    Bucket,
    by_position,
    make_buckets,
)
from logdrift.core.numbers import short
from logdrift.core.report import svg
from logdrift.core.report.meaning import bucket_text
from logdrift.tui.widgets.charts.base import Drawing, NothingToDraw
from logdrift.tui.widgets.charts.places import grid
from logdrift.tui.widgets.charts.plot import Axes, Canvas
from logdrift.tui.widgets.charts.values import TokenChart

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.tui.widgets.charts.base import Table

    Array = npt.NDArray[Any]

_DOT = "•"


class BucketChart(TokenChart):
    """Bars of the mean absolute error, dots of its root mean square. A bucket without
    tokens keeps its place.
    """

    by: ClassVar[str]
    whole: ClassVar[bool] = False

    def prepare(self) -> None:
        super().prepare()
        self.kept = np.flatnonzero(self.counted)
        self.buckets = self.divide(self.delta[self.kept], self.kept + self.start)
        if not any(bucket.mae is not None for bucket in self.buckets):
            raise NothingToDraw("no finite Δ within reach")

    @abstractmethod
    def divide(self, delta: Array, at: Array) -> Sequence[Bucket]:
        """The buckets of tokens at flat positions ``at``."""

    @abstractmethod
    def bins(self, at: Array) -> Array:
        """The bucket of each of these tokens, -1 for none."""

    @abstractmethod
    def label(self, bucket: Bucket) -> str:
        """A few characters below the bar."""

    def draw(self, width: int, height: int) -> Drawing:
        count = len(self.buckets)
        top = max(bucket.rmse or 0.0 for bucket in self.buckets) or 1e-9
        y_ticks = [(value, short(value)) for value in (0.0, top / 2, top)]
        each = (width - 10) / count
        room = max(
            1, math.ceil((max(len(self.label(b)) for b in self.buckets) + 1) / each)
        )
        x_ticks = [
            (i + 0.5, self.label(b))
            for i, b in enumerate(self.buckets)
            if i % room == 0
        ]
        canvas = Canvas(
            Axes((0.0, float(count)), (0.0, top * 1.02), x_ticks, y_ticks),
            width,
            height,
        )
        edges = np.arange(count + 1) * canvas.columns // count
        for i, bucket in enumerate(self.buckets):
            self._bar(canvas, bucket, int(edges[i]), int(edges[i + 1]), top)
        bins = np.full(self.stop - self.start, -1, np.int32)
        bins[self.kept] = self.bins(self.kept + self.start)
        place = grid(
            bins,
            self.size,
            (edges[:-1] + edges[1:]) // 2,
            np.arange(1),
            self.start,
            flat=True,
        )
        return canvas.drawing(self._legend(), place)

    def _bar(
        self, canvas: Canvas, bucket: Bucket, left: int, right: int, top: float
    ) -> None:
        if bucket.mae is None or bucket.rmse is None:
            return
        for column in range(left, max(left + 1, right - 1)):
            canvas.bar(column, bucket.mae / top)
        middle = (left + right) // 2
        canvas.put(middle, canvas.row(bucket.rmse), _DOT)
        text = short(bucket.mae)
        above = canvas.lines - 1 - math.ceil(bucket.mae / top * canvas.lines)
        if len(text) < right - left and above >= 0 and canvas.row(bucket.rmse) != above:
            canvas.write(left + (right - left - len(text)) // 2, above, text)

    def _legend(self) -> list[str]:
        worst = max(
            (b for b in self.buckets if b.mae is not None), key=lambda b: b.mae or 0.0
        )
        return [
            f"bar: mean |Δ|, {_DOT} its root mean square, nats, {self.by}",
            (
                f"worst: {bucket_text(worst.to_json(), whole=self.whole)} with"
                f" {_or_dash(worst.mae)} over {worst.tokens:,} tokens"
            ),
            self.reach_words,
        ]

    def table(self) -> Table:
        rows = [bucket.to_json() for bucket in self.buckets]
        return {
            key: np.array([np.nan if row[key] is None else row[key] for row in rows])
            for key in rows[0]
        }

    def svg(self) -> str:
        filled = [bucket for bucket in self.buckets if bucket.tokens]
        rows = [
            (
                bucket_text(b.to_json(), whole=self.whole),
                b.mae,
                f"{_or_dash(b.mae)} · {b.tokens:,} tok",
            )
            for b in filled
        ]
        return svg.bars(
            rows,
            title=f"Error {self.by}, {self.what}",
            label="MAE (bar) and RMSE (dot), nats",
            dots=[b.rmse for b in filled],
            description=f"Mean absolute error {self.by}.",
        )


def _or_dash(value: float | None) -> str:
    return "-" if value is None else short(value)


class ProbabilityChart(BucketChart):
    """By what B, the side that sampled, held the token for."""

    title = "by probability"
    by = "by probability in B"

    def divide(self, delta: Array, at: Array) -> Sequence[Bucket]:
        nothing = np.zeros(len(at), np.int64)
        return make_buckets(
            delta, self.data.pair.logprob_b[at], nothing, None
        ).by_probability

    def bins(self, at: Array) -> Array:
        borders = np.log(np.asarray(PROBABILITY_EDGES[1:-1])).astype(np.float32)
        return np.searchsorted(borders, self.data.pair.logprob_b[at], "right")

    def label(self, bucket: Bucket) -> str:
        return (
            f"≥{short(bucket.low) if bucket.low < 0.01 else f'{bucket.low:g}'}"
            if bucket.low
            else "<1e-4"
        )


class EntropyChart(BucketChart):
    """By how open the choice was."""

    title = "by entropy"
    by = "by entropy (nats)"

    def divide(self, delta: Array, at: Array) -> Sequence[Bucket]:
        entropy = self.data.entropy
        if entropy is None:
            raise NothingToDraw(
                "neither capture has an entropy: engines give none, the Transformers"
                " backend does"
            )
        nothing = np.zeros(len(at), np.int64)
        return (
            make_buckets(
                delta, self.data.pair.logprob_b[at], nothing, entropy[at]
            ).by_entropy
            or ()
        )

    def bins(self, at: Array) -> Array:
        assert self.data.entropy is not None
        entropy = self.data.entropy[at]
        found = np.searchsorted(
            np.asarray(ENTROPY_EDGES[1:-1], np.float32), entropy, "right"
        )
        return np.where(np.isnan(entropy), -1, found)

    def label(self, bucket: Bucket) -> str:
        return f"≥{bucket.low:g}" if bucket.low else "<0.01"


class PositionChart(BucketChart):
    """By how far behind the start of the scope: each bucket is as long as all before
    it.
    """

    title = "by position"
    by = "by position"
    whole = True

    def divide(self, delta: Array, at: Array) -> Sequence[Bucket]:
        return by_position(delta, self.data.from_scope[at])

    def bins(self, at: Array) -> Array:
        return np.frexp(self.data.from_scope[at].astype(np.float64))[1]

    def label(self, bucket: Bucket) -> str:
        low = int(bucket.low)
        return f"{low}-" if low > 1 else str(low)
