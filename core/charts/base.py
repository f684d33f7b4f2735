"""What a chart is: reduced once from a source, then pictured for any area."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy.typing as npt

from logdrift.core.charts.data import ChartSource, NothingToDraw, PairData, Reach
from logdrift.core.charts.marks import Area, Axes, Picture
from logdrift.core.numbers import all_counted

Array = npt.NDArray[Any]
Table = Mapping[str, Array]
"""Columns of one length: the numbers behind a chart."""


class Drawable(ABC):
    """What a painter draws. Made in a thread; `axes` and `picture` are called again for
    every size.

    ``detail`` is the area that an SVG is drawn with.
    """

    detail: ClassVar[Area] = Area(400, 100)

    @abstractmethod
    def axes(self, width: int) -> Axes:
        """The axes of a picture of about ``width`` columns, their text included."""

    @abstractmethod
    def picture(self, area: Area) -> Picture:
        """The marks between these axes."""

    @abstractmethod
    def table(self) -> Table:
        """The numbers behind it."""

    @property
    @abstractmethod
    def heading(self) -> str:
        """The title of a picture that stands alone."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What the picture shows, for those who cannot see it."""


class Chart(Drawable):
    """A chart of one source."""

    def __init__(self, source: ChartSource, reach: Reach) -> None:
        """Raises `NothingToDraw`."""
        if source.data is None:
            raise NothingToDraw("there is no pair to compare yet")
        self.source = source
        self.reach = reach
        self.data: PairData = source.data
        start, stop = source.part(reach)
        self.start = start
        self.stop = stop
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Reduce; what does not depend on the size of the picture."""

    @property
    def part(self) -> slice:
        """The flat tokens within reach."""
        return slice(self.start, self.stop)

    @property
    def what(self) -> str:
        """What is shown, in words."""
        if self.reach == "one":
            return f"sequence {self.source.sequence}"
        return all_counted(self.data.pair.count, "sequence")

    @property
    def scope_words(self) -> str:
        """Which tokens count, in words."""
        if self.data.scope == "completion":
            return "completions"
        return "all tokens"
