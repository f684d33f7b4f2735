"""The base of a screen of several panes: which one is in front, which one is zoomed."""

from __future__ import annotations

from textual import events, on

from logdrift.tui.screens.charted import ChartedScreen
from logdrift.tui.screens.explorer.pane_switch import NAMES, PaneSwitch
from logdrift.tui.widgets.bars import Tabs
from logdrift.tui.widgets.charts.pane import ChartPane


class PanedScreen(ChartedScreen, inherit_bindings=False):
    """A screen with the panes of `PaneSwitch`; ``tabs`` names them where not all are
    seen.
    """

    def __init__(self, chart: ChartPane, tabs: Tabs) -> None:
        super().__init__(chart, classes="-tokens")
        self.pane_switch = PaneSwitch(self, tabs, self._panes_changed)

    @property
    def pane(self) -> str:
        """The name of the pane that is in front or has the keys."""
        return self.pane_switch.pane

    @property
    def is_zoomed(self) -> bool:
        return self.pane_switch.zoomed

    def _panes_changed(self) -> None:
        """Other panes have come into sight, or one has the whole screen."""
        self.draw_soon()
        if self.is_mounted:
            self.show_hints()

    def to_tokens(self) -> None:
        """Give the keys to the text."""
        self.action_pane("tokens")

    def show_chart(self) -> None:
        """Bring the chart to where it is seen."""
        if not self.chart.display:
            self.action_pane("chart")

    def action_pane(self, name: str) -> None:
        """Show a pane and give it the keys."""
        self.pane_switch.go_to(name)

    def action_next_pane(self) -> None:
        self.pane_switch.step(1)

    def action_previous_pane(self) -> None:
        self.pane_switch.step(-1)

    def action_zoom(self) -> None:
        """Show the focused pane on the whole screen, or all panes again."""
        if self.pane == "chart":
            self._zoom_chart()
        elif not self.pane_switch.end_zoom():
            self.pane_switch.zoom()

    def _zoom_chart(self) -> None:
        from logdrift.tui.screens.chart import ChartScreen  # not for the first screen

        if self.chart.source is not None:
            zoomed = ChartScreen(self.chart)
            self.app.push_screen(zoomed)

    def action_back(self) -> None:
        """End the zoom; without one leave the session."""
        if not self.pane_switch.end_zoom():
            super().action_back()

    @on(events.DescendantFocus)
    def _on_pane_focus(self, event: events.DescendantFocus) -> None:
        name = event.widget.id or ""
        if name in NAMES:
            self.pane_switch.show(name)

    @on(Tabs.Picked)
    def _on_tab_picked(self, message: Tabs.Picked) -> None:
        self.action_pane(message.name)
