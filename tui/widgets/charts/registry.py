"""All charts, in the order of their numbers. A class is imported when its chart is
first drawn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from logdrift.tui.widgets.charts.base import Chart

Reach = Literal["one", "all"]
"""This sequence, or all of them."""


class Entry(NamedTuple):
    """``place`` is module and class below this package. ``reaches`` are what can be
    shown, the first unless asked for.

    ``of_threshold``, ``of_change``: it has to be made again for another threshold, or
    another session to compare with.
    """

    name: str
    title: str
    place: str
    reaches: tuple[Reach, ...] = ("one", "all")
    of_threshold: bool = False
    of_change: bool = False

    def load(self) -> type[Chart]:
        """The class."""
        module, _, name = self.place.partition(":")
        found: type[Chart] = getattr(
            import_module(f"logdrift.tui.widgets.charts.{module}"), name
        )
        return found


CHARTS: tuple[Entry, ...] = (
    Entry("delta", "Δ by position", "along:DeltaChart", of_threshold=True),
    Entry("cumulative", "cumulative", "along:CumulativeChart"),
    Entry(
        "scatter", "scatter", "values:ScatterChart", ("all", "one"), of_threshold=True
    ),
    Entry(
        "histogram",
        "histogram",
        "values:HistogramChart",
        ("all", "one"),
        of_threshold=True,
    ),
    Entry("heatmap", "heat map", "heat:HeatChart", ("all",)),
    Entry("probability", "by probability", "bars:ProbabilityChart", ("all", "one")),
    Entry("ranks", "rank flips", "along:RankChart"),
    Entry("density", "density", "values:DensityChart", ("all", "one")),
    Entry("entropy", "by entropy", "bars:EntropyChart", ("all", "one")),
    Entry("position", "by position", "bars:PositionChart", ("all", "one")),
    Entry("change", "before / after", "change:ChangeChart", ("all",), of_change=True),
)


def index_of(name: str) -> int:
    """The place of a chart, 0 for a name that is not known."""
    return next((i for i, entry in enumerate(CHARTS) if entry.name == name), 0)
