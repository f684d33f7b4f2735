"""A part of a map that is looked at more closely."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, Self

from logdrift.core.charts.base import Chart
from logdrift.core.charts.marks import Area


class Extent(NamedTuple):
    """Whole numbers from ``start`` to before ``stop``."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many there are."""
        return self.stop - self.start

    def holds(self, value: int) -> bool:
        """Whether the number is one of them."""
        return self.start <= value < self.stop

    def around(self, value: int, size: int) -> Extent:
        """``size`` of them with ``value`` in the middle, as far as the ends allow."""
        size = min(size, self.size)
        last_start = self.stop - size
        centred = value - size // 2
        not_beyond = min(centred, last_start)
        start = max(self.start, not_beyond)
        stop = start + size
        return Extent(start, stop)


class Window(NamedTuple):
    """A part of a map: stretches of its columns and of its rows."""

    across: Extent
    down: Extent

    def closer(self, x: int, y: int, columns: int, rows: int) -> Window:
        """Half of it around a place, in each direction that does not fit into so many
        cells yet; the same where all of it does.
        """
        across = _half(self.across, x, columns)
        down = _half(self.down, y, rows)
        return Window(across, down)

    def wider(self, x: int, y: int, whole: Window) -> Window:
        """Twice as much around a place, at most ``whole``."""
        columns = 2 * self.across.size
        rows = 2 * self.down.size
        across = whole.across.around(x, columns)
        down = whole.down.around(y, rows)
        return Window(across, down)

    def following(self, x: int, y: int, whole: Window) -> Window:
        """The same if it holds the place, else as much around it."""
        across = self.across
        down = self.down
        if not across.holds(x):
            across = whole.across.around(x, across.size)
        if not down.holds(y):
            down = whole.down.around(y, down.size)
        return Window(across, down)


def _half(stretch: Extent, value: int, cells: int) -> Extent:
    """Half of a stretch, and not less than one of each cell."""
    size = stretch.size
    if size <= cells:
        return stretch
    rounded_up = (size + 1) // 2
    half = max(cells, rounded_up)
    return stretch.around(value, half)


class ZoomChart(Chart):
    """A chart of which a part can be shown: its ``window``, None for the whole."""

    window: Window | None = None

    @abstractmethod
    def within(self, window: Window | None) -> Self:
        """The same chart of a part."""

    @abstractmethod
    def closer(self, position: int, area: Area) -> Window | None:
        """Half of what is shown, around a token; None where each token has a cell of
        the area.
        """

    @abstractmethod
    def wider(self, position: int) -> Window | None:
        """Twice what is shown, around a token; None for the whole."""

    @abstractmethod
    def following(self, position: int) -> Window | None:
        """What is shown, moved to where it holds a token; None for the whole."""

    @abstractmethod
    def beside(self, position: int, columns: int, rows: int) -> int | None:
        """The next token in a direction beyond what is shown, None at the end."""
