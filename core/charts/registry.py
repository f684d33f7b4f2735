"""All charts, in the order of their numbers. A class is imported when its chart is
first made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from logdrift.core.charts.base import Chart
    from logdrift.core.charts.data import Reach

InReport = Literal["panel", "folded", "none"]

FAR = 1 << 30
"""Beyond this many columns or rows, a step in a chart goes to its end. It stands here
because a pane needs it before anything is drawn: `marks` is 5 ms of a start.
"""


class Entry(NamedTuple):
    """One line of the registry.

    ``place`` is ``module:class``; ``help`` says in a sentence what is drawn.
    ``reaches`` are what can be shown, the first unless asked for. ``of_threshold``,
    ``of_change``, ``of_order``: the chart has to be made again for another threshold,
    for another session to compare with, or for another order of the sequences.
    ``has_parts``: a part of it can be looked at more closely.

    ``in_report``: ``folded`` charts are added to a pair in the HTML report. ``panel``:
    the report shows the same with its own numbers. ``none``: a report has no data for
    it, or another chart shows the same there.
    """

    name: str
    title: str
    place: str
    help: str
    reaches: tuple[Reach, ...] = ("one", "all")
    of_threshold: bool = False
    of_change: bool = False
    of_order: bool = False
    has_parts: bool = False
    in_report: InReport = "folded"

    def load(self) -> type[Chart]:
        """The class."""
        module, _, name = self.place.partition(":")
        chart: type[Chart] = getattr(import_module(module), name)
        return chart


ALL_FIRST: tuple[Reach, ...] = ("all", "one")
_HERE = "logdrift.core.charts"

CHARTS: tuple[Entry, ...] = (
    Entry(
        "delta",
        "Δ by position",
        f"{_HERE}.along:DeltaChart",
        "Δ of every token, or mean and middle 80% of all sequences.",
        of_threshold=True,
        in_report="panel",
    ),
    Entry(
        "cumulative",
        "cumulative",
        f"{_HERE}.cumulative:CumulativeChart",
        "Sum of Δ so far; its exponential is the importance ratio of the sequence.",
    ),
    Entry(
        "gap",
        "Δ by log p",
        f"{_HERE}.gaps:LogprobGapChart",
        "A dot for each token: log p of B to the right, Δ upwards, and the threshold.",
        ALL_FIRST,
        of_threshold=True,
    ),
    Entry(
        "histogram",
        "histogram",
        f"{_HERE}.histogram:HistogramChart",
        "Tokens by |Δ|, both axes logarithmic.",
        ALL_FIRST,
        of_threshold=True,
        in_report="panel",
    ),
    Entry(
        "heatmap",
        "heat map",
        f"{_HERE}.heat:HeatChart",
        "Rows are sequences, columns positions from the end of the prompt on, shades"
        " the mean |Δ| of a cell.",
        ("all",),
        of_order=True,
        has_parts=True,
    ),
    Entry(
        "probability",
        "by probability",
        f"{_HERE}.buckets:ProbabilityChart",
        "Mean |Δ| (bar) and its root mean square (dot) by the probability in B.",
        ALL_FIRST,
        in_report="panel",
    ),
    Entry(
        "ranks",
        "rank flips",
        f"{_HERE}.ranks:RankChart",
        "Where the rank of a token differs; of all sequences, the share of such"
        " tokens.",
    ),
    Entry(
        "mean_gap",
        "Δ by mean",
        f"{_HERE}.gaps:MeanGapChart",
        "Bland-Altman: the mean of both log p to the right, Δ upwards, with its mean"
        " and the band of 95% of the tokens.",
        ALL_FIRST,
        of_threshold=True,
    ),
    Entry(
        "entropy",
        "by entropy",
        f"{_HERE}.buckets:EntropyChart",
        "Mean |Δ| (bar) and its root mean square (dot) by the entropy of A.",
        ALL_FIRST,
        in_report="panel",
    ),
    Entry(
        "position",
        "by position",
        f"{_HERE}.buckets:PositionChart",
        "Mean |Δ| (bar) and its root mean square (dot) by the position.",
        ALL_FIRST,
        in_report="panel",
    ),
    Entry(
        "change",
        "before / after",
        f"{_HERE}.change:ChangeChart",
        "|Δ| of another session over the same tokens (line) and of this one (bars).",
        ("all",),
        of_change=True,
        in_report="none",
    ),
    Entry(
        "scatter",
        "scatter",
        f"{_HERE}.logprobs:ScatterChart",
        "A dot for each token, log p of A to the right, of B upwards.",
        ALL_FIRST,
        of_threshold=True,
        in_report="none",
    ),
    Entry(
        "density",
        "density",
        f"{_HERE}.logprobs:DensityChart",
        "As the scatter; shades are the number of tokens in a cell.",
        ALL_FIRST,
        in_report="panel",
    ),
)


def index_of(name: str) -> int:
    """The place of a chart, 0 for a name that is not known."""
    names = [entry.name for entry in CHARTS]
    if name in names:
        return names.index(name)
    return 0


def entry_of(chart: Chart) -> Entry:
    """The line of a chart's class."""
    place = f"{type(chart).__module__}:{type(chart).__name__}"
    return next(entry for entry in CHARTS if entry.place == place)
