"""Which part of a chart the pane shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logdrift.core.charts.base import Chart
    from logdrift.core.charts.window import Window, ZoomChart
    from logdrift.tui.widgets.charts.building import ChartKey

# The functions import the classes of charts that they need: a start shows none.

_NOT_THIS = "only the heat map can be looked at more closely"
_WHOLE = "this is the whole map"
_EACH = "every token has a cell of its own already"


class ChartZoom:
    """The window of one chart, None for the whole: another chart is shown whole."""

    def __init__(self) -> None:
        self.window: Window | None = None
        self._key: ChartKey | None = None

    def window_of(
        self, key: ChartKey, chart: Chart | None, position: int
    ) -> Window | None:
        """The window for the chart of a key, moved to where it holds the token."""
        if key != self._key:
            self._key = key
            self.window = None
        shown = self._shown(chart)
        if shown is not None:
            self.window = shown.following(position)
        return self.window

    def can(self, chart: Chart | None) -> bool:
        """Whether a chart has parts."""
        return self._shown(chart) is not None

    def part(self, chart: Chart) -> Chart:
        """What is shown of a chart."""
        from logdrift.tui.widgets.charts.building import part_of

        return part_of(chart, self.window)

    def closer(self, chart: Chart | None, position: int, cells: tuple[int, int]) -> str:
        """Half of what is shown, which lies in so many columns and rows of cells;
        returns why not.
        """
        from logdrift.core.charts.marks import Area

        shown = self._shown(chart)
        if shown is None:
            return _NOT_THIS
        window = shown.closer(position, Area(*cells))
        if window is None:
            return _EACH
        self.window = window
        return ""

    def wider(self, chart: Chart | None, position: int) -> str:
        """Twice what is shown; returns why not."""
        shown = self._shown(chart)
        if shown is None:
            return _NOT_THIS
        if self.window is None:
            return _WHOLE
        self.window = shown.wider(position)
        return ""

    def beside(
        self, chart: Chart | None, position: int, columns: int, rows: int
    ) -> int | None:
        """The next token beyond the window, in a direction."""
        shown = self._shown(chart)
        if shown is None or self.window is None:
            return None
        return shown.beside(position, columns, rows)

    def _shown(self, chart: Chart | None) -> ZoomChart | None:
        """The chart as it is shown, None for one that has no parts."""
        if chart is None:
            return None
        from logdrift.core.charts.window import ZoomChart

        if isinstance(chart, ZoomChart):
            return chart.within(self.window)
        return None
