"""The charts of a pair: arrays of any size reduced to what a small picture can show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.charts import registry
from logdrift.core.charts.base import Chart
from logdrift.core.charts.data import ChartSource, NothingToDraw, PairData
from logdrift.core.charts.reduce import LOWEST, bin_middles
from logdrift.core.compare.decomposition import Decomposition
from logdrift.core.compare.pair import Pair, Scope
from logdrift.core.numbers import counted, figure, is_number
from logdrift.core.report import svg
from logdrift.core.report.gap_tables import BucketKind, bucket_name
from logdrift.core.report.pair_numbers import split_title, terms_of
from logdrift.core.report.scale import THRESHOLD
from logdrift.core.report.svg_parts import Axis
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible

Floats = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
Sizes = Mapping[str, float | None]
"""Sizes in nats by their names; None where one is not known."""

_POSITION_BINS = 110
_FEWEST_BINS = 4
_PER_BIN = 12
"""Tokens per bin that a band is worth drawing for, on average."""
_HISTOGRAM_BINS = 64
_DENSITY_BINS = 72
_SPARK_BINS = 60


def position_chart(pair: Pair, scope: Scope, mask: Bools) -> str:
    """Mean of delta with the middle 80% of the tokens over their position in the scope,
    all sequences together.
    """
    is_drawn = mask & np.isfinite(pair.delta)
    at = np.flatnonzero(is_drawn)
    title = "Δ over the position"
    if not len(at):
        return svg.nothing(title)
    position = pair.positions(scope)[at]
    end = int(position.max()) + 1
    bins = _position_bins(len(at), end)
    # int16 sorts by radix: a million tokens take 10 ms.
    bin_of = position * bins // end
    bin_of = bin_of.astype(np.int16)
    order = np.argsort(bin_of, kind="stable")
    delta = pair.delta[at][order]
    first_of_bins = np.arange(1, bins)
    borders = np.searchsorted(bin_of[order], first_of_bins)
    exact = delta.astype(np.float64)
    parts = np.split(exact, borders)
    ranges = [_mean_and_range(part) for part in parts]
    mean, low, high = np.array(ranges).T
    where = "completion" if scope == "completion" else "sequence"
    return svg.line(
        bin_middles(end, bins),
        mean,
        low,
        high,
        title=title,
        x_label=f"position in the {where}",
        y_label="Δ, nats",
        ends=(0.0, float(end)),
        description=(
            f"Line: mean of delta; band: the middle 80% of the tokens, {pair.count}"
            " sequences together."
        ),
    )


def _position_bins(tokens: int, end: int) -> int:
    """How many bins of positions 0 to ``end`` - 1 are worth drawing."""
    worth_drawing = max(_FEWEST_BINS, tokens // _PER_BIN)
    possible = max(_FEWEST_BINS, end)
    return min(_POSITION_BINS, possible, worth_drawing)


def _mean_and_range(part: Floats) -> tuple[float, float, float]:
    """Mean and the ends of the middle 80% of values, NaN for none."""
    if not len(part):
        return np.nan, np.nan, np.nan
    quantiles = np.quantile(part, (0.1, 0.9))
    low, high = quantiles.tolist()
    return float(part.mean()), low, high


def histogram_chart(delta: Floats, sizes: Sizes) -> str:
    """How large delta is, on a log axis, tokens that A gives more above those that B
    gives more; ``sizes`` in nats are marked by their names.
    """
    finite = delta[np.isfinite(delta)]
    above = finite[finite > 0]
    below = -finite[finite < 0]
    magnitudes = np.concatenate([above, below])
    title = "How large Δ is"
    if not len(magnitudes):
        return svg.nothing(title)
    marks = []
    for name, size in sizes.items():
        if is_number(size) and size > 0:
            marks.append((size, name))
    marked = [size for size, _ in marks]
    edges = _histogram_edges(magnitudes, marked)
    exact = int(np.count_nonzero(delta == 0))
    rest = ""
    if exact:
        rest = f" Not drawn: {counted(exact, 'token')} with delta exactly 0."
    return svg.histogram(
        edges,
        _counts(above, edges),
        _counts(below, edges),
        title=title,
        x_label="|Δ|, nats (log)",
        y_label="tokens",
        names=("A gives more", "B gives more"),
        marks=marks,
        description=(
            "Tokens by the size of delta on a logarithmic axis, A more upwards, B more"
            f" downwards.{rest}"
        ),
    )


def _histogram_edges(magnitudes: Floats, marked: list[float]) -> Floats:
    """Borders of the bins, equal in the logarithm. The smallest 0.2% lie below them."""
    smallest = float(np.quantile(magnitudes, 0.002))
    largest = float(magnitudes.max())
    lowest = min(smallest, *marked, 1.0)
    low = max(LOWEST, lowest / 1.5)
    high = max(largest, low * 10) * 1.3
    return np.geomspace(low, high, _HISTOGRAM_BINS + 1)


def _counts(sizes: Floats, edges: Floats) -> Floats:
    """How many sizes lie between the edges, what lies outside in the end bins."""
    first = float(edges[0])
    last = float(edges[-1])
    inside = np.clip(sizes, first, last)
    counts, _ = np.histogram(inside, edges)
    return counts.astype(np.float64)


def density_chart(logprob_a: Floats, logprob_b: Floats) -> str:
    """log p_B over log p_A as a map of token counts: what lies off the diagonal
    differs.
    """
    possible_a = np.isfinite(logprob_a)
    possible_b = np.isfinite(logprob_b)
    both = possible_a & possible_b
    title = "log p_A against log p_B"
    if not both.any():
        return svg.nothing(title)
    a = logprob_a[both]
    b = logprob_b[both]
    lowest_a = float(a.min())
    lowest_b = float(b.min())
    low = min(lowest_a, lowest_b, -1.0)
    ends = (low, 0.0)
    counts, _, _ = np.histogram2d(b, a, bins=_DENSITY_BINS, range=(ends, ends))
    x = Axis("log p_A, nats", low, 0.0)
    y = Axis("log p_B, nats", low, 0.0)
    return svg.heat(
        counts.astype(np.int64),
        x,
        y,
        title=title,
        below=svg.diagonal(x, y),
        description=(
            "Stronger colour: more tokens (log scale). On the dashed diagonal both"
            " sides agree."
        ),
    )


def bucket_chart(kind: BucketKind) -> str:
    """MAE (bars) and RMSE (dots) of the buckets that have tokens."""
    rows = []
    for bucket in kind.filled:
        name = bucket_name(bucket, whole=kind.whole)
        note = f"{figure(bucket.mae)} · {bucket.tokens:,} tok"
        bar = svg.SvgBar(name, bucket.mae, note, bucket.rmse)
        rows.append(bar)
    return svg.bars(
        rows,
        title=kind.title,
        label="MAE (bar) and RMSE (dot), nats",
        description=(
            f"Mean absolute error by {kind.label}; behind each bar its value and the"
            " number of tokens."
        ),
    )


def terms_chart(split: Decomposition) -> str:
    """MAE of a gap, of its parts, and of each side against the reference."""
    rows = []
    for index, (name, term) in enumerate(terms_of(split)):
        mae = None
        note = "unknown"
        if term is not None and term.mae is not None:
            mae = term.mae
            note = figure(mae)
        style = _term_style(index, name)
        bar = svg.SvgBar(name, mae, note, style=style)
        rows.append(bar)
    return svg.bars(
        rows,
        title=visible(split_title(split)),
        label="MAE, nats",
        description=(
            "Mean absolute error of the whole gap, of its two parts, and of each side"
            " against the reference."
        ),
    )


def _term_style(index: int, name: str) -> str:
    """Grey for the whole, which is first; orange for its parts, blue for the
    reference.
    """
    if "reference" in name:
        return "cx-down"
    if index:
        return "cx-up"
    return "cx-bar"


def more_charts(session: Session, pair: Pair) -> Iterator[tuple[Chart, str]]:
    """The charts that are folded away, each with its caption: of those that
    `registry.CHARTS` adds to a report, each that has anything to draw.
    """
    data = PairData(session, pair)
    source = ChartSource(data, 0, THRESHOLD)
    for entry in registry.CHARTS:
        is_folded = entry.in_report == "folded"
        if not is_folded or "all" not in entry.reaches:
            continue
        try:
            chart = entry.load()(source, "all")
        except NothingToDraw:
            continue
        yield chart, entry.help


def sparkline(pair: Pair, sequence: int, mask: Bools, scale: float) -> str:
    """The largest delta of each stretch of a sequence, signed; tokens outside of
    ``mask`` count as 0.
    """
    start, stop = pair.sequences.bounds(sequence)
    part = slice(start, stop)
    signed = pair.delta[part]
    delta = np.where(mask[part], signed, 0)
    most = max(1, len(delta))
    bins = min(_SPARK_BINS, most)
    pieces = np.array_split(delta, bins)
    largest = list(map(_largest, pieces))
    values = np.array(largest, np.float64)
    return svg.sparkline(values, scale, title=f"Δ along sequence {sequence}")


def _largest(deltas: Floats) -> float:
    """The one that is furthest from 0; 0 for none."""
    if len(deltas):
        farthest = np.abs(deltas).argmax()
        return float(deltas[farthest])
    return 0.0
