"""The chart of a trend: one number over the steps, the selected step marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.events import Click, Resize
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer

from logdrift.core.trend.number import NUMBERS
from logdrift.tui.faults import background
from logdrift.tui.widgets.lines import Runs, Text, strip_of

if TYPE_CHECKING:
    from logdrift.core.trend.answered import AnsweredLine
    from logdrift.tui.widgets.charts.painting import Painter
    from logdrift.tui.widgets.charts.terminal import Drawing

_DELAY = 0.05
"""Seconds without a change before a picture is made."""
_LEGEND = 1


class TrendPane(Text, can_focus=False):
    """Draws a number of a line in a thread; `set_cursor` marks a row in it."""

    fixed = 1 + _LEGEND

    @dataclass(eq=False, repr=False)
    class RowWanted(Message):
        """A row was clicked."""

        index: int

    @dataclass(eq=False, repr=False)
    class TrendDrawn(Message):
        """A chart was drawn, or ``problem`` says why not; ``key`` is what was asked."""

        key: object
        drawing: Drawing | None
        problem: str = ""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.number = 0
        self._answered: AnsweredLine | None = None
        self._judged = False
        self._drawing: Drawing | None = None
        self._painter: Painter | None = None
        self._problem = ""
        self._cursor = 0
        self._key: object = None
        self._timer: Timer | None = None

    def show(self, answered: AnsweredLine | None, *, judged: bool) -> None:
        """Draw a line of a trend; None takes away what was drawn."""
        self._answered = answered
        self._judged = judged
        if answered is None:
            self._clear()
        else:
            self._want()

    def _clear(self) -> None:
        self._key = None
        self._drawing = None
        self._painter = None
        self._problem = ""
        self.refresh_fixed()
        self._paint()

    def choose(self, number: int) -> None:
        """Draw another number."""
        self.number = number % len(NUMBERS)
        self.refresh_fixed()
        self._want()

    def set_cursor(self, index: int) -> None:
        """Mark a row."""
        self._cursor = index
        self._paint()

    def on_resize(self, event: Resize) -> None:
        self._want()

    # ---- making the picture

    def _want(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_DELAY, self._ask)

    def _ask(self) -> None:
        height = self.size.height - self.fixed
        if not self.size.area or self._answered is None or height < 3:
            return
        key = (self._answered, self._judged, self.number, self.inner_width, height)
        if key != self._key:
            self._key = key
            self._draw(key)

    @background(group="trend chart", exclusive=True)
    def _draw(self, key: tuple[AnsweredLine, bool, int, int, int]) -> None:
        from logdrift.core.charts.data import NothingToDraw
        from logdrift.core.trend.chart import TrendChart
        from logdrift.tui.widgets.charts.terminal import draw

        answered, judged, number, width, height = key
        change = None
        if judged:
            change = answered.change
        try:
            chart = TrendChart(answered.line, NUMBERS[number], change)
            drawing = draw(chart, width, height)
            self.post_message(self.TrendDrawn(key, drawing))
        except NothingToDraw as nothing:
            self.post_message(self.TrendDrawn(key, None, str(nothing)))

    @on(TrendDrawn)
    def _on_trend_drawn(self, message: TrendDrawn) -> None:
        message.stop()
        if message.key == self._key:
            self._drawing = message.drawing
            self._problem = message.problem
            self._painter = None
            self.refresh_fixed()
            self._paint()

    # ---- showing

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return strip_of(self._titles(), width)
        text = ""
        if self._drawing is not None:
            from logdrift.tui.widgets.charts.legend import legend_rows

            rows: Sequence[str] = legend_rows(self._drawing.legend, width - 2, _LEGEND)
            text = "".join(rows[:1])
        run = (f" {text}", self.palette.muted)
        return strip_of([run], width)

    def _titles(self) -> Runs:
        """The numbers, that which is drawn in bright."""
        palette = self.palette
        runs: Runs = []
        for place, number in enumerate(NUMBERS):
            style = palette.muted
            if place == self.number:
                style = palette.strong
            runs.append((f" {number.title} ", style))
        return runs

    def _paint(self) -> None:
        drawing = self._drawing
        if drawing is None:
            words = (f" {self._problem}", self.palette.muted)
            self.set_lines([strip_of([words], self.inner_width)])
            return
        from logdrift.tui.widgets.charts.painting import Painter

        needed = (drawing, self.inner_width, self.palette)
        if self._painter is None or self._painter.paints != needed:
            self._painter = Painter(*needed)
        self.set_lines(list(self._painter.lines(self._cursor)))

    def on_click(self, event: Click) -> None:
        """Select the row that is nearest, or draw the number that is clicked."""
        event.stop()
        at = event.get_content_offset(self)
        if at is None:
            return
        if at.y == 0:
            self._choose_at(at.x)
            return
        drawing = self._drawing
        if drawing is None or drawing.place is None or self._answered is None:
            return
        column = at.x - drawing.left
        distances = []
        for index in range(len(self._answered.line.rows)):
            cell = drawing.place.cell(index)
            if cell is not None:
                distances.append((abs(cell.column - column), index))
        if distances:
            _, index = min(distances)
            self.post_message(self.RowWanted(index))

    def _choose_at(self, x: int) -> None:
        end = 0
        for place, number in enumerate(NUMBERS):
            end += len(number.title) + 2
            if x < end:
                self.choose(place)
                return
