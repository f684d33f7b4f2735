"""The commands of charts, for every screen that has a chart pane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.dom import DOMNode
from textual.message import Message
from textual.screen import Screen

from logdrift.core.charts.registry import CHARTS
from logdrift.core.session.visible import visible
from logdrift.tui.faults import background
from logdrift.tui.widgets.charts.pane import ChartPane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logdrift.core.charts.base import Chart
    from logdrift.tui.widgets.lines import Run

    _Screen = Screen[None]
else:
    # Textual collects handlers from classes of this base alone.
    _Screen = DOMNode


class ChartExported(Message):
    """A file was written, or not: ``text`` says so."""

    def __init__(self, text: str, failed: bool = False) -> None:
        super().__init__()
        self.text, self.failed = text, failed


class ChartKeys(_Screen):
    """Mixin of screens: `chart` is their pane, `say` puts a line on the screen."""

    if TYPE_CHECKING:

        def say(self, text: str, *, warn: bool = False) -> None:
            """As `logdrift.tui.screens.base.BaseScreen` has it."""

    @property
    def chart(self) -> ChartPane:
        """The pane that the commands are about."""
        raise NotImplementedError

    def show_chart(self) -> None:
        """Bring the pane to where it is seen; a screen on which it always is does
        nothing.
        """

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
        """All sequences, or this one."""
        reaches = CHARTS[self.chart.kind].reaches
        if len(reaches) == 1:
            self.say("this chart always shows all sequences")
            return
        self.chart.choose(
            self.chart.kind, "one" if self.chart.reach == "all" else "all"
        )

    def action_charts(self) -> None:
        """A list to choose from."""
        from logdrift.tui.screens.texts import Picker

        palette = self.chart.palette

        def row(index: int, width: int) -> Sequence[Run]:
            return [(f" {index + 1:>2} {CHARTS[index].title}", palette.text)]

        def chosen(index: int | None) -> None:
            if index is not None:
                self.action_chart(index)

        self.app.push_screen(
            Picker(
                "Charts", " v and V go through them", len(CHARTS), row, self.chart.kind
            ),
            chosen,
        )

    def action_export_chart(self) -> None:
        """Ask for a file name, then write."""
        from logdrift.tui.screens.prompt import Prompt
        from logdrift.tui.widgets.charts.export import default_name, problem

        pane = self.chart
        source, made = pane.source, pane.made
        if source is None or source.data is None or made is None or pane.chart is None:
            self.say(
                "there is no chart to"
                f" export{': ' + pane.problem if pane.problem else ''}",
                warn=True,
            )
            return
        folder = source.data.session.folder

        def typed(name: str | None) -> None:
            if name is not None:
                self._write_chart(made, name, folder)

        self.app.push_screen(
            Prompt(
                "Export the chart",
                ".svg: a picture, .txt: as on the screen, .csv: the numbers behind it"
                f" · in {visible(str(Path.cwd()))}",
                default_name(source, pane.kind, pane.reach, Path()),
                problem=lambda name: problem(name, folder),
            ),
            typed,
        )

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
            self.app.show_error(message.text)  # type: ignore[attr-defined]
        else:
            self.say(message.text)
