"""The base of screens with a chart: the commands of charts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message

from logdrift.core.charts.registry import CHARTS
from logdrift.core.session.visible import visible
from logdrift.tui.faults import background
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.widgets.charts.pane import ChartPane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logdrift.core.charts.base import Chart
    from logdrift.core.charts.data import Reach
    from logdrift.tui.widgets.lines import Run


class ChartExported(Message):
    """The file of a chart was written, or could not be: ``text`` says which."""

    def __init__(self, text: str, failed: bool = False) -> None:
        super().__init__()
        self.text = text
        self.failed = failed


class ChartedScreen(BaseScreen, inherit_bindings=False):
    """A screen with one chart pane, ``chart``."""

    def __init__(self, chart: ChartPane, *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self.chart = chart

    def show_chart(self) -> None:
        """Bring the pane to the front; nothing to do where it is always seen."""

    def action_next_chart(self) -> None:
        self._step_chart(1)

    def action_previous_chart(self) -> None:
        self._step_chart(-1)

    def _step_chart(self, step: int) -> None:
        if self.chart.display:
            self.chart.choose(self.chart.kind + step)
        else:
            self.show_chart()  # seen first, changed by the next press

    def action_chart(self, number: int) -> None:
        """Chart ``number``, from 0."""
        self.show_chart()
        self.chart.choose(number)

    def action_chart_reach(self) -> None:
        """Switch between the chart of all sequences and of this one."""
        if len(CHARTS[self.chart.kind].reaches) == 1:
            self.say("this chart always shows all sequences")
            return
        other: Reach = "one" if self.chart.reach == "all" else "all"
        self.chart.choose(self.chart.kind, other)

    def action_charts(self) -> None:
        """Choose a chart from a list."""
        from logdrift.tui.screens.texts import Picker

        palette = self.palette

        def row(index: int, width: int) -> Sequence[Run]:
            return [(f" {index + 1:>2} {CHARTS[index].title}", palette.text)]

        def chosen(index: int | None) -> None:
            if index is not None:
                self.action_chart(index)

        head = " v and V go through them"
        picker = Picker("Charts", head, len(CHARTS), row, self.chart.kind)
        self.app.push_screen(picker, chosen)

    def action_export_chart(self) -> None:
        """Ask for a file name and write the chart to it."""
        from logdrift.tui.screens.prompt import LinePrompt
        from logdrift.tui.widgets.charts.export import default_name, problem

        pane = self.chart
        source = pane.source
        chart = pane.made
        if source is None or source.data is None or chart is None or pane.chart is None:
            words = "there is no chart to export"
            if pane.problem:
                words += f": {pane.problem}"
            self.say(words, warn=True)
            return
        folder = source.data.session.folder
        prompt = LinePrompt(
            "Export the chart",
            ".svg: a picture, .txt: as on the screen, .csv: the numbers behind it"
            f" · in {visible(str(Path.cwd()))}",
            default_name(source, pane.kind, pane.reach, Path()),
            problem=lambda name: problem(name, folder),
        )

        def typed(name: str | None) -> None:
            if name is not None:
                self._write_chart(chart, name, folder)

        self.app.push_screen(prompt, typed)

    @background(
        group="export",
        exclusive=True,
        writes=True,
        failed=lambda words: ChartExported(words, failed=True),
    )
    def _write_chart(self, chart: Chart, name: str, session: Path) -> None:
        from logdrift.tui.widgets.charts.export import write_chart

        self.post_message(ChartExported(write_chart(chart, name, session)))

    @on(ChartExported)
    def _on_chart_exported(self, message: ChartExported) -> None:
        if message.failed:
            self.logdrift.show_error(message.text)
        else:
            self.say(message.text)
