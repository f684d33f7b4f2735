"""A chart on the whole screen; moving in it moves the cursor of the explorer below."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult

from logdrift.tui.bindings import bindings
from logdrift.tui.screens.charted import ChartedScreen
from logdrift.tui.widgets.charts.pane import ChartPane


class ChartScreen(ChartedScreen, inherit_bindings=False):
    """Shows the chart of another screen's pane; that pane takes over what was
    chosen.
    """

    BINDINGS = bindings("zoom", "charts")
    SCOPES = ("zoom", "charts")
    AUTO_FOCUS = "#zoomed"

    def __init__(self, origin: ChartPane) -> None:
        pane = ChartPane(id="zoomed", kind=origin.kind, reach=origin.wanted_reach)
        pane.zoom = origin.zoom  # the same part of a map, here and below
        super().__init__(pane)
        self.origin = origin

    @property
    def is_zoomed(self) -> bool:
        return True

    @property
    def threshold(self) -> float:
        """What counts as divergent, nats: the help explains the colours with it."""
        source = self.origin.source
        if source is None:
            return 0.1
        return source.threshold

    def panes(self) -> ComposeResult:
        yield self.chart

    def on_mount(self) -> None:
        source = self.origin.source
        if source is not None:
            self.chart.show_source(source, self.origin.position)
        self.origin.mirror = self.chart

    def on_unmount(self) -> None:
        self.origin.mirror = None

    @on(ChartPane.CursorWanted)
    def _on_cursor_wanted(self, message: ChartPane.CursorWanted) -> None:
        message.stop()
        passed_on = ChartPane.CursorWanted(message.position)
        self.origin.post_message(passed_on)

    @on(ChartPane.TokensWanted)
    def _on_tokens_wanted(self, message: ChartPane.TokensWanted) -> None:
        message.stop()
        self.action_back()
        passed_on = ChartPane.TokensWanted()
        self.origin.post_message(passed_on)

    def action_back(self) -> None:
        chart = self.chart
        self.origin.choose(chart.kind, chart.wanted_reach)
        super().action_back()

    def action_zoom(self) -> None:
        self.action_back()

    async def action_next_divergence(self) -> None:
        explorer = self.origin.screen
        await explorer.run_action("next_divergence")

    async def action_previous_divergence(self) -> None:
        explorer = self.origin.screen
        await explorer.run_action("previous_divergence")
