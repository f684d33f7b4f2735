"""The sessions of a folder over the steps of a training; it follows what is added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from logdrift.core.session.visible import visible
from logdrift.core.trend.number import NUMBERS
from logdrift.core.trend.wish import TrendWish
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.trend_follower import TrendFollower, TrendRead
from logdrift.tui.tones import painted, tone_styles
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Row
from logdrift.tui.widgets.paragraph import paragraph
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.trend_chart import TrendPane
from logdrift.tui.widgets.trend_rows import TrendRows

if TYPE_CHECKING:
    from logdrift.core.compare.scopes import Scope
    from logdrift.core.report.document import Tone
    from logdrift.core.trend.answered import AnsweredLine, TrendReport
    from logdrift.core.trend.line import LineKey
    from logdrift.core.trend.row import TrendRow

_ANSWER_LINES = 3
_LOW = 30
"""Rows below which the answer has a line less."""
_WIDEST = 100
_WIDEST_WINDOW = 80
_FRAME = 4
"""Cells of a window beside its text."""
_STILL_MEASURED = "the steps are still being measured"
_OF_A_ROW = frozenset({"open", "why", "report", "mark"})
_OF_ROWS = frozenset({"next_chart", "charts", "copy", "save", "save_page"})


@dataclass(eq=False, repr=False)
class StepsCompared(Message):
    """Two steps were compared: the lines of the comparison."""

    title: str
    lines: Sequence[Row]


class TrendScreen(BaseScreen, inherit_bindings=False):
    """Rows, the answer above them, a chart below them."""

    BINDINGS = bindings("trend")
    CSS_PATH = "trend.tcss"
    SCOPES = ("trend",)
    AUTO_FOCUS = "#trend-rows"

    def __init__(
        self, folder: Path, pair: str | None = None, scope: Scope | None = None
    ) -> None:
        super().__init__()
        self.title_text = str(folder)
        self.folder = folder
        self.follower = TrendFollower(self, folder, TrendWish(pair, scope))
        self.report: TrendReport | None = None
        self._chosen: LineKey | None = None
        """The line that is shown; the first one where none was chosen."""
        self._read: TrendRead | None = None

    def panes(self) -> ComposeResult:
        yield Bar(id="verdict")
        yield TrendRows(id="trend-rows")
        yield TrendPane(id="trend-chart")

    def on_mount(self) -> None:
        self.set_timer(self.LATER / 4, self.follower.start)

    def on_unmount(self) -> None:
        self.follower.stop()

    @property
    def rows(self) -> TrendRows:
        return self.query_one(TrendRows)

    @property
    def chart(self) -> TrendPane:
        return self.query_one(TrendPane)

    @property
    def shown(self) -> AnsweredLine | None:
        """The line that is shown."""
        if self.report is None or not self.report.lines:
            return None
        return self.report.lines[self.at]

    @property
    def at(self) -> int:
        """Which line is shown: lines that grow change places."""
        if self.report is not None:
            for place, answered in enumerate(self.report.lines):
                if answered.line.key == self._chosen:
                    return place
        return 0

    @property
    def is_measured(self) -> bool:
        """Whether every row has its numbers, and the change was looked for."""
        return self._read is not None and self._read.judged

    def applies(self, name: str) -> bool:
        if name in _OF_A_ROW:
            return self.rows.here is not None
        if name in _OF_ROWS:
            return self.shown is not None
        if name == "left_out":
            return self._has_left_out
        if name == "pair":
            return self.report is not None and len(self.report.lines) > 1
        if name == "next_change":
            shown = self.shown
            return self.is_measured and shown is not None and shown.change is not None
        return True

    # ---- the folder

    @on(TrendRead)
    def _on_trend_read(self, message: TrendRead) -> None:
        self._read = message
        if message.report is not None:
            self.report = message.report
        self._show()

    def _show(self) -> None:
        """The line that is shown, as it is now."""
        shown = self.shown
        self.rows.put(shown, self._aside(), judged=self.is_measured)
        self.chart.show(shown, judged=self.is_measured)
        self.chart.set_cursor(self.rows.selected)
        self.draw()
        self.show_hints()

    def _aside(self) -> str:
        """What else there is beside the rows."""
        words = []
        read = self._read
        shown = self.shown
        if shown is not None and shown.line.scope_words:
            words.append(f"scope {' and '.join(shown.line.scopes)}")
        if self.report is not None and len(self.report.lines) > 1:
            number = self.at + 1
            words.append(f"pair {number} of {len(self.report.lines)}")
        if self.report is not None and self.report.trend.problems:
            words.append(f"{len(self.report.trend.problems):,} not measured")
        if read is not None and read.left:
            done = read.total - read.left
            words.append(f"measured {done:,} of {read.total:,}")
        return " · ".join(words)

    def draw(self) -> None:
        """The answer, and what speaks for it."""
        if not self.size.width:
            return
        rows = [self._head(), *self._answer_rows()]
        self.query_one("#verdict", Bar).put(rows)

    def _head(self) -> Row:
        palette = self.palette
        width = self.size.width - 2
        name = f"logdrift · {visible(str(self.folder))}"
        shown = self.shown
        if shown is not None:
            name += f" · {visible(shown.line.source_words)}"
        return [(f" {fit(name, width)}", palette.muted)]

    def _answer_rows(self) -> Sequence[Row]:
        palette = self.palette
        styles = tone_styles(palette)
        words, tone = self._answer_words()
        width = self.size.width - 2
        most = _ANSWER_LINES
        if self.size.height < _LOW:
            most -= 1
        return paragraph(words, styles[tone], palette, width=width, most=most)

    def _answer_words(self) -> tuple[str, Tone]:
        read = self._read
        if read is None:
            return "reading the folder", "dim"
        if read.problem:
            return visible(read.problem), "bad"
        shown = self.shown
        if shown is None:
            return self._nothing(), "warn"
        if not self.is_measured:
            done = read.total - read.left
            if not read.left:
                return "looking for a change", "dim"
            return f"measuring: {done:,} of {read.total:,} steps", "dim"
        answer = shown.answer
        words = answer.text
        if shown.change is not None and shown.change.evidence:
            words = f"{words} {shown.change.evidence[0].sentence}"
        return visible(words), answer.tone

    def _nothing(self) -> str:
        words = "No session with two captures to compare is here."
        if self.report is not None:
            for session, problem in self.report.trend.problems[:1]:
                words += f" {session}: {problem}"
        return visible(words)

    # ---- moving

    @on(Rows.Moved)
    def _on_moved(self) -> None:
        self.chart.set_cursor(self.rows.selected)
        if self.rows.marked is None:
            self.say("")

    @on(TrendPane.RowWanted)
    def _on_row_wanted(self, message: TrendPane.RowWanted) -> None:
        self.rows.select(message.index, tell=True)

    def action_next_change(self) -> None:
        """Select the step at which the MAE changed."""
        shown = self.shown
        if not self.is_measured:
            self.say(_STILL_MEASURED)
        elif shown is None or shown.change is None:
            self.say("no change beyond noise")
        else:
            self.rows.select(shown.change.shift.start, tell=True)

    # ---- a step

    @on(Rows.Chosen)
    def _on_chosen(self) -> None:
        self._open()

    def action_open(self) -> None:
        self._open()

    def _open(self, front: str = "") -> None:
        row = self.rows.here
        if row is None:
            return
        place = None
        if row.part:
            place = (row.first_sequence, 0)
        self.logdrift.open_folder(
            self._session_folder(row), front=front, pair=(row.a, row.b), place=place
        )

    def _session_folder(self, row: TrendRow) -> Path:
        if row.part and self.folder.name == row.session:
            return self.folder
        folder = self.folder / row.session
        if folder.exists():
            return folder
        return self.folder

    def action_why(self) -> None:
        self._open("why")

    def action_report(self) -> None:
        self._open("report")

    # ---- two steps

    def action_mark(self) -> None:
        """Mark a step, or compare the marked one with this one."""
        rows = self.rows
        here = rows.here
        if here is None or self.shown is None:
            return
        marked = rows.marked
        if marked is None:
            rows.mark(here)
            self.say(
                "Space on another step compares the two, Esc removes the mark",
                stays=True,
            )
            return
        rows.mark(None)
        self.say("")
        place = rows.place_of(marked)
        if place is None or place == rows.selected:
            return
        earlier, later = sorted((place, rows.selected))
        self._compare(self.shown, earlier, later)

    @background(group="compare", exclusive=True)
    def _compare(self, shown: AnsweredLine, earlier: int, later: int) -> None:
        from logdrift.core.report.layout import Canvas
        from logdrift.core.report.paint.text import styled_lines
        from logdrift.core.trend.compare import StepPair, compared_steps

        pair = StepPair(shown.line, earlier, later)
        blocks = compared_steps(self.folder, pair)
        lines = styled_lines(blocks, Canvas(self._window_width))
        rows = painted(lines, self.palette)
        self.post_message(StepsCompared(pair.title, rows))

    @on(StepsCompared)
    def _on_steps_compared(self, message: StepsCompared) -> None:
        from logdrift.tui.screens.texts import TextScreen

        title = visible(message.title).replace("→", ARROW)
        self.app.push_screen(TextScreen(title, message.lines))

    def action_clear(self) -> None:
        """Esc removes the mark; without one it leaves."""
        if self.rows.marked is None:
            self.action_back()
            return
        self.rows.mark(None)
        self.say("")

    # ---- what is shown

    def action_next_chart(self) -> None:
        self.chart.choose(self.chart.number + 1)

    def action_previous_chart(self) -> None:
        self.chart.choose(self.chart.number - 1)

    def action_charts(self) -> None:
        """Choose the number that is drawn from a list."""
        from logdrift.tui.screens.texts import Picker

        palette = self.palette

        def row(index: int, width: int) -> Row:
            number = NUMBERS[index]
            return [
                (f" {fit(number.title, 9)}", palette.strong),
                (fit(number.meaning, max(1, width - 11)), palette.muted),
            ]

        start = self.chart.number
        picker = Picker("Charts", "", len(NUMBERS), row, start)
        self.choose(picker, self.chart.choose)

    def action_pair(self) -> None:
        """Choose the line from a list."""
        from logdrift.tui.screens.texts import Picker

        report = self.report
        if report is None or len(report.lines) < 2:
            self.say("there is one pair here")
            return
        palette = self.palette

        def row(index: int, width: int) -> Row:
            line = report.lines[index].line
            words = f"{line.name} · {line.model} · {len(line.rows):,} rows"
            return [(f" {fit(visible(words), width - 2)}", palette.text)]

        def chosen(index: int) -> None:
            self._choose_line(report.lines[index].line.key)

        picker = Picker("Pairs", "", len(report.lines), row, self.at)
        self.choose(picker, chosen)

    def _choose_line(self, key: LineKey) -> None:
        self._chosen = key
        self.rows.mark(None)
        self._show()

    def action_refresh(self) -> None:
        self.say("read the folder again")
        self.follower.read_again()

    @property
    def _has_left_out(self) -> bool:
        if self.report is None:
            return False
        trend = self.report.trend
        return bool(trend.problems or trend.notes)

    @property
    def _window_width(self) -> int:
        """Cells of a text in a window over the screen."""
        return min(_WIDEST_WINDOW, self.size.width - _FRAME)

    def action_left_out(self) -> None:
        """Say what is in no row, and why."""
        from logdrift.core.report.layout import Canvas
        from logdrift.core.report.paint.text import styled_lines
        from logdrift.core.trend.document import every_left_out
        from logdrift.tui.screens.texts import TextScreen

        if self.report is None or not self._has_left_out:
            self.say("nothing was left out")
            return
        blocks = every_left_out(self.report.trend)
        lines = styled_lines(blocks, Canvas(self._window_width))
        self.app.push_screen(TextScreen("Left out", painted(lines, self.palette)))

    # ---- copying and saving

    @property
    def _finished(self) -> TrendReport | None:
        """What may be copied and saved: a trend of which every row is measured. Of
        another it is said that it is not.
        """
        if self.is_measured:
            return self.report
        self.say(self._problem or _STILL_MEASURED)
        return None

    @property
    def _problem(self) -> str:
        """Why the folder cannot be read; "" where it can."""
        if self._read is None:
            return ""
        return visible(self._read.problem)

    def action_copy(self) -> None:
        report = self._finished
        if report is not None:
            outcome = self.logdrift.copy_text(_rendered("text", report))
            self.say(outcome)

    def action_save(self) -> None:
        # Imported here, as below: with it comes all that a report is made of.
        from logdrift.tui.screens.saving import save

        report = self._finished
        if report is not None:
            save(self, "trend.txt", lambda: _rendered("text", report))

    def action_save_page(self) -> None:
        """Save the page."""
        from logdrift.tui.report_file import offered_name
        from logdrift.tui.screens.saving import save

        report = self._finished
        if report is None:
            return
        save(
            self,
            offered_name(self.folder.name, "-trend.html", Path()),
            lambda: _rendered("html", report),
            title="Save HTML",
            endings=(".html",),
        )


def _rendered(form: str, report: TrendReport) -> str:
    from logdrift.core.report.layout import Canvas
    from logdrift.core.trend.forms import rendered_trend

    return rendered_trend(form, report, Canvas(_WIDEST))
