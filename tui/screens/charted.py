"""The base of screens with a chart: the commands of charts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message

from logdrift.core.charts.registry import CHARTS, Entry
from logdrift.core.session.visible import visible
from logdrift.tui.actions import Words
from logdrift.tui.faults import background
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.widgets.charts.pane import ChartPane

if TYPE_CHECKING:
    from logdrift.core.charts.base import Chart
    from logdrift.core.charts.data import Reach
    from logdrift.tui.widgets.reading import Row


class ChartExported(Message):
    """The file of a chart was written, or could not be: ``text`` says which."""

    def __init__(self, text: str, failed: bool = False) -> None:
        super().__init__()
        self.text = text
        self.failed = failed


def _not_exported(words: str) -> ChartExported:
    return ChartExported(words, failed=True)


class ChartedScreen(BaseScreen, inherit_bindings=False):
    """A screen with one chart pane, ``chart``."""

    def __init__(self, chart: ChartPane, *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self.chart = chart

    @property
    def is_zoomed(self) -> bool:
        """Whether a pane has the whole screen."""
        return False

    def applies(self, name: str) -> bool:
        if name == "chart_reach":
            return len(self._entry.reaches) > 1
        if name == "chart_closer":
            return self._entry.has_parts
        return super().applies(name)

    @property
    def _entry(self) -> Entry:
        """What is known of the chart that is shown."""
        return CHARTS[self.chart.kind]

    def other_words(self) -> Words:
        if self.is_zoomed:
            return {"zoom": "unzoom"}
        return super().other_words()

    @on(ChartPane.ChartChosen)
    def _on_chart_chosen(self) -> None:
        self.show_hints()

    def show_chart(self) -> None:
        """Bring the pane to the front; nothing to do where it is always seen."""

    def action_next_chart(self) -> None:
        self._step_chart(1)

    def action_previous_chart(self) -> None:
        self._step_chart(-1)

    def _step_chart(self, step: int) -> None:
        chart = self.chart
        if chart.display:
            chart.choose(chart.kind + step)
        else:
            self.show_chart()  # seen first, changed by the next press

    def action_chart(self, number: int) -> None:
        """Chart ``number``, from 0."""
        self.show_chart()
        self.chart.choose(number)

    def action_chart_reach(self) -> None:
        """Switch between the chart of all sequences and of this one."""
        pane = self.chart
        if not self.applies("chart_reach"):
            self.say("this chart always shows all sequences")
            return
        other: Reach = "one" if pane.reach == "all" else "all"
        pane.choose(pane.kind, other)

    def action_charts(self) -> None:
        """Choose a chart from a list."""
        from logdrift.tui.screens.texts import Picker

        palette = self.palette

        def row(index: int, width: int) -> Row:
            title = CHARTS[index].title
            return [(f" {index + 1:>2} {title}", palette.text)]

        def chosen(index: int) -> None:
            self.action_chart(index)

        head = " v and V go through them"
        start = self.chart.kind
        picker = Picker("Charts", head, len(CHARTS), row, start)
        self.choose(picker, chosen)

    def action_export_chart(self) -> None:
        """Ask for a file name and write the chart to it."""
        pane = self.chart
        source = pane.source
        has_data = source is not None and source.data is not None
        if has_data and pane.chart is not None and pane.made is not None:
            shown = pane.zoom.part(pane.made)
            self._ask_export_name(shown)
            return
        words = "there is no chart to export"
        if pane.problem:
            words += f": {pane.problem}"
        self.warn(words)

    def _ask_export_name(self, chart: Chart) -> None:
        from logdrift.tui.report_file import problem
        from logdrift.tui.screens.prompt import LinePrompt
        from logdrift.tui.widgets.charts.export import ENDINGS, default_name

        pane = self.chart
        source = pane.source
        assert source is not None
        assert source.data is not None
        folder = source.data.session.folder
        place = visible(str(Path.cwd()))
        words = (
            ".svg: a picture, .txt: as on the screen, .csv: the numbers behind it"
            f" · in {place}"
        )
        offered = default_name(source, pane.kind, pane.reach, Path())

        def name_problem(name: str) -> str:
            return problem(name, folder, ENDINGS)

        def taken(name: str) -> None:
            self._write_chart(chart, name, folder)

        prompt = LinePrompt("Export the chart", words, offered, problem=name_problem)
        self.ask(prompt, taken)

    @background(group="export", exclusive=True, writes=True, failed=_not_exported)
    def _write_chart(self, chart: Chart, name: str, session: Path) -> None:
        from logdrift.tui.widgets.charts.export import write_chart

        words = write_chart(chart, name, session)
        self.post_message(ChartExported(words))

    @on(ChartPane.Told)
    def _on_chart_told(self, message: ChartPane.Told) -> None:
        self.say(message.text)

    @on(ChartExported)
    def _on_chart_exported(self, message: ChartExported) -> None:
        if message.failed:
            self.logdrift.show_error(message.text)
        else:
            self.say(message.text)
