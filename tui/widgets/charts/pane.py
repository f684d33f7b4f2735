"""The chart pane: has pictures made in a thread, and moves the cursor of the sequence.

Superseded work is dropped; what crosses over to the event loop is a frozen `Drawing`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from textual import on
from textual.events import Click, MouseScrollDown, MouseScrollUp, Resize
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.worker import get_current_worker

from logdrift.core.charts.registry import CHARTS, FAR
from logdrift.core.compare.pair import Pair
from logdrift.core.session.reader import Session
from logdrift.tui.actions import key_of
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.services import services
from logdrift.tui.widgets.lines import Text, strip_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from logdrift.core.charts.base import Array, Chart
    from logdrift.core.charts.data import ChangeData, ChartSource, PairData, Reach
    from logdrift.core.charts.marks import TokenPlaces
    from logdrift.tui.widgets.charts.building import BuiltChart, ChartKey, PictureKey
    from logdrift.tui.widgets.charts.painting import Painter
    from logdrift.tui.widgets.charts.terminal import Drawing
    from logdrift.tui.widgets.charts.title import ChartTitle
    from logdrift.tui.widgets.charts.zoom import ChartZoom

# What makes and paints a chart is imported by the functions that need it: 5 ms of a
# start, and the first screen of a small terminal shows no chart.

MIN_WIDTH = 24
MIN_HEIGHT = 5
_DELAY = 0.08
"""Seconds that must pass without a change before a picture is made: a held key draws
none.
"""
_AT_ONCE = 0.001
_WAIT = 0.3
"""Seconds after which the pane says that a picture is being made."""
_WIDE = 150
"""Columns from which on a legend needs half the lines."""
_LEGEND_HEIGHTS = (14, 22)
"""Lines of the pane from which on the legend has one more."""


class ChartPane(Text, inherit_bindings=False):
    """One of the charts with the cursor in it. `show` says what is looked at,
    `set_cursor` where the cursor stands.

    ``chart`` is the picture that is shown, None while there is none; ``kind`` and
    ``reach`` are the user's choice.
    """

    BINDINGS = bindings("chart")

    class CursorWanted(Message):
        """The cursor was moved in the chart: to a flat position."""

        def __init__(self, position: int) -> None:
            super().__init__()
            self.position = position

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, ChartPane.CursorWanted)

    class TokensWanted(Message):
        """The user pressed Enter to see the text of the token."""

    class ChartChosen(Message):
        """Another chart is shown."""

    class Told(Message):
        """A key could not do what it does, and why."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Drawn(Message):
        """A chart was built."""

        def __init__(self, key: PictureKey, built: BuiltChart) -> None:
            super().__init__()
            self.key = key
            self.built = built

    def __init__(
        self, *, id: str | None = None, kind: int = 0, reach: Reach | None = None
    ) -> None:
        super().__init__(id=id)
        self.kind = kind
        self.wanted_reach: Reach | None = reach
        self.chart: Drawing | None = None
        self.made: Chart | None = None
        self.problem = ""
        self.mirror: ChartPane | None = None
        self._source: ChartSource | None = None
        self._make_source: Callable[[], ChartSource] | None = None
        self._position = 0
        self._key: PictureKey | None = None
        self._made_key: ChartKey | None = None
        self._painter: Painter | None = None
        self._timer: Timer | None = None
        self._waiting: Timer | None = None

    # ---- what is looked at

    def show(
        self,
        session: Session,
        pair: Pair | None,
        sequence: int,
        threshold: float,
        position: int,
        change: ChangeData | None = None,
        order: Array | None = None,
    ) -> None:
        """Look at a sequence of a pair, the cursor on a flat position. A picture
        follows when there is time.
        """

        def make_source() -> ChartSource:
            from logdrift.core.charts.data import ChartSource, PairData

            data: PairData | None = None
            if pair is not None:
                data = self._kept_data(pair)
                if data is None:
                    data = PairData(session, pair)
            return ChartSource(data, sequence, threshold, change, order)

        self._make_source = make_source
        self._position = position
        self.want()
        if self.mirror is not None and self.source is not None:
            self.mirror.show_source(self.source, position)

    def _kept_data(self, pair: Pair) -> PairData | None:
        """What was made from this pair already, so that it is not made again."""
        if self._source is None:
            return None
        data = self._source.data
        if data is None or data.pair is not pair:
            return None
        return data

    def show_source(self, source: ChartSource, position: int) -> None:
        """`show` with what another pane looks at."""
        self._source = source
        self._make_source = None
        self._position = position
        self.want()

    def set_cursor(self, position: int) -> None:
        """Mark another token of what is shown."""
        if position != self._position:
            self._position = position
            self._paint()
            if self.zoom.window is not None:
                self.want(at_once=True)
        if self.mirror is not None:
            self.mirror.set_cursor(position)

    @property
    def source(self) -> ChartSource | None:
        """What is looked at, None before the first `show`; made when first asked
        for.
        """
        if self._make_source is not None:
            self._source = self._make_source()
            self._make_source = None
        return self._source

    @property
    def position(self) -> int:
        """The flat position of the cursor."""
        return self._position

    @property
    def reach(self) -> Reach:
        """What is shown: the user's choice, where the chart can show it."""
        reaches = CHARTS[self.kind].reaches
        if self.wanted_reach in reaches:
            return self.wanted_reach
        return reaches[0]

    @property
    def plot_size(self) -> tuple[int, int] | None:
        """Cells for a chart, None where it would not fit."""
        width = self.inner_width
        height = self.size.height - self.fixed
        if width >= MIN_WIDTH and height >= MIN_HEIGHT:
            return (width, height)
        return None

    def choose(self, kind: int, reach: Reach | None = None) -> None:
        """Another chart; ``reach`` None: as before."""
        self.kind = kind % len(CHARTS)
        self.wanted_reach = reach or self.wanted_reach
        self.refresh_fixed()
        self.want(at_once=True)
        self.post_message(self.ChartChosen())

    # ---- making the picture

    @property
    def fixed(self) -> int:  # type: ignore[override]
        """The title, and as many lines of the legend as leave room for a picture."""
        width, height = self.size
        rows = 1
        for least_height in _LEGEND_HEIGHTS:
            if height >= least_height:
                rows += 1
        if width >= _WIDE:
            rows = (rows + 1) // 2
        return 1 + rows

    def want(self, *, at_once: bool = False) -> None:
        """Have the picture made, once no more changes come in."""
        if self._timer is not None:
            self._timer.stop()
        delay = _DELAY
        if at_once:
            delay = _AT_ONCE
        self._timer = self.set_timer(delay, self._ask)

    def _ask(self) -> None:
        if not self.size.area:
            return  # hidden
        source = self.source
        if source is None:
            return
        size = self.plot_size
        if size is None:
            self._take_problem("too small for a chart")
            return
        from logdrift.tui.widgets.charts.building import PictureKey, chart_key

        chart = chart_key(source, self.kind, self.reach)
        made = None
        if chart == self._made_key:
            made = self.made
        window = self.zoom.window_of(chart, made, self._position)
        key = PictureKey(chart, size, window)
        if key == self._key and self._has_answer():
            self._paint()
            return
        self._key = key
        if self._waiting is None:
            self._waiting = self.set_timer(_WAIT, self._say_waiting)
        self._build(key, source, made)

    def _has_answer(self) -> bool:
        """Whether a picture is shown, or why there is none."""
        return self.chart is not None or bool(self.problem)

    @background(group="chart", exclusive=True)
    def _build(
        self,
        key: PictureKey,
        source: ChartSource,
        made: Chart | None,
    ) -> None:
        from logdrift.tui.widgets.charts.building import build

        worker = get_current_worker()
        built = build(source, key, made, lambda: worker.is_cancelled)
        if built is None or worker.is_cancelled:
            return
        drawn = self.Drawn(key, built)
        self.post_message(drawn)

    @on(Drawn)
    def _on_drawn(self, message: Drawn) -> None:
        message.stop()
        key = message.key
        if key == self._key:
            self._made_key = key.chart
            self._take(message.built)

    def _take(self, built: BuiltChart) -> None:
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None
        if built.chart is None:
            self._made_key = None
        else:
            self.made = built.chart
        self.chart = built.drawing
        self.problem = built.problem
        if built.problem and self._lacks_earlier:
            key = key_of("explorer", "before", services(self).keymap)
            self.problem += f": {key} chooses an earlier session"
        self.refresh_fixed()
        self._paint()

    @property
    def _lacks_earlier(self) -> bool:
        """The chart compares with an earlier session, and none was chosen."""
        source = self.source
        has_pair = source is not None and source.data is not None
        no_earlier = source is not None and source.change is None
        return CHARTS[self.kind].of_change and has_pair and no_earlier

    def _take_problem(self, words: str) -> None:
        """Say why there is no chart."""
        from logdrift.tui.widgets.charts.building import BuiltChart

        built = BuiltChart(None, None, words)
        self._take(built)

    def _say_waiting(self) -> None:
        self._waiting = None
        self._take_problem("the chart is being made …")

    # ---- showing

    def on_resize(self, event: Resize) -> None:
        self.want()

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self._title_line(width)
        rows: list[str] = []
        if self.chart is not None:
            from logdrift.tui.widgets.charts.legend import legend_rows

            phrases = self.chart.legend
            count = self.fixed - 1
            rows = legend_rows(phrases, width - 2, count)
        text = ""
        if y <= len(rows):
            row = rows[y - 1]
            text = f" {row}"
        run = (text, self.palette.muted)
        return strip_of([run], width)

    @cached_property
    def zoom(self) -> ChartZoom:
        """The window of a chart that is looked at closer."""
        from logdrift.tui.widgets.charts.zoom import ChartZoom

        return ChartZoom()

    @property
    def title(self) -> ChartTitle:
        """What the first line says."""
        from logdrift.tui.widgets.charts.title import ChartTitle

        return ChartTitle(
            kind=self.kind,
            reach=self.reach,
            focused=self.has_focus,
            keymap=services(self).keymap,
        )

    def _title_line(self, width: int) -> Strip:
        runs = self.title.runs(width, self.palette)
        return strip_of(runs, width)

    def _paint(self) -> None:
        chart = self.chart
        if chart is None:
            words = (f" {self.problem}", self.palette.muted)
            line = strip_of([words], self.inner_width)
            self.set_lines([line])
            return
        painter = self._painter_of(chart)
        lines = painter.lines(self._position)
        self.set_lines(list(lines))

    def _painter_of(self, chart: Drawing) -> Painter:
        """The painter of a chart, kept until chart, width or colours are others."""
        painter = self._painter
        needed = (chart, self.inner_width, self.palette)
        if painter is None or painter.paints != needed:
            from logdrift.tui.widgets.charts.painting import Painter

            painter = Painter(*needed)
            self._painter = painter
        return painter

    # ---- moving

    def action_chart_step(self, columns: int, rows: int) -> None:
        """Move the cursor so many columns or rows on."""
        place = self._place()
        if place is None:
            return
        position = place.step(self._position, columns, rows)
        if position is None:
            position = self.zoom.beside(self.made, self._position, columns, rows)
        if position is not None:
            self.set_cursor(position)
            wanted = self.CursorWanted(position)
            self.post_message(wanted)

    def _place(self) -> TokenPlaces | None:
        """Where the chart has its tokens; None where it has none."""
        if self.chart is None:
            return None
        return self.chart.place

    def action_chart_end(self, side: int) -> None:
        """To the first (-1) or the last (1) column."""
        columns = side * FAR
        self.action_chart_step(columns, 0)

    def action_chart(self, number: int) -> None:
        """Chart ``number``, from 0."""
        self.choose(number)

    def action_chart_closer(self) -> None:
        """Half of what is shown, around the cursor."""
        drawing = self.chart
        if drawing is not None:
            cells = (drawing.columns, drawing.lines)
            problem = self.zoom.closer(self.made, self._position, cells)
            self._show_zoom(problem)

    def action_chart_wider(self) -> None:
        """Twice what is shown."""
        problem = self.zoom.wider(self.made, self._position)
        self._show_zoom(problem)

    def _show_zoom(self, problem: str) -> None:
        if problem:
            told = self.Told(problem)
            self.post_message(told)
        else:
            self.want(at_once=True)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        event.stop()
        if self.zoom.can(self.made):
            self.action_chart_closer()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        event.stop()
        if self.zoom.can(self.made):
            self.action_chart_wider()

    def action_to_tokens(self) -> None:
        self.post_message(self.TokensWanted())

    def on_click(self, event: Click) -> None:
        """Put the cursor where it is clicked, or choose the name that is clicked."""
        event.stop()
        # A click counts from the border, what is drawn from inside of it.
        at = event.get_content_offset(self)
        if at is None:
            return
        if at.y > 0:
            y = at.y - self.fixed + self.top
            self._go_to_cell(at.x, y)
            return
        width = self.size.width
        kind = self.title.name_at(at.x, width, self.palette)
        if kind is not None:
            self.choose(kind)

    def _go_to_cell(self, x: int, y: int) -> None:
        """Move the cursor to a cell of the pane, as near as the chart has tokens."""
        drawing = self.chart
        place = self._place()
        if drawing is None or place is None:
            return
        cell = place.cell(self._position)
        column = 0
        if cell is not None:
            column = cell.column
        columns = x - drawing.left - column
        self.action_chart_step(columns, 0)
        cell = place.cell(self._position)
        if cell is not None and cell.row is not None:
            rows = y - drawing.top - cell.row
            self.action_chart_step(0, rows)
