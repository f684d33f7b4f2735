"""Limits: what every framework calls normal, compared with the numbers of a pair."""

from __future__ import annotations

from dataclasses import dataclass

from rich.style import Style
from textual import on
from textual.app import ComposeResult
from textual.message import Message

from logdrift.core.compare.limits import JudgedLimit
from logdrift.core.compare.pair import Pair
from logdrift.core.report.limit_words import Conclusion, limit_tone
from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.answer import AnswerLine, answer_line
from logdrift.tui.models.limits import (
    COLUMNS,
    LEAST,
    LEVELS,
    STATES,
    PairLimits,
    cells,
    counted,
    judge_pair,
    whole_text,
)
from logdrift.tui.screens.result import ResultScreen
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.tones import tone_styles
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import Row, wrap
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.table import Table

_ANSWER_LINES = 3
_CONCLUSION_LINES = 2


@dataclass(eq=False, repr=False)
class LimitsJudged(Message):
    """The pair was compared with every limit, or ``problem`` says why not."""

    limits: PairLimits | None
    problem: str | None = None


@dataclass(eq=False, repr=False)
class PairAnswered(Message):
    """The sentence on the pair was worked out."""

    line: AnswerLine


def _not_judged(words: str) -> LimitsJudged:
    return LimitsJudged(None, words)


class LimitsScreen(ResultScreen, inherit_bindings=False):
    """A row for each limit: the user's own first, those for bitwise equality last."""

    BINDINGS = bindings("limits")
    SCOPES = ("limits",)
    AUTO_FOCUS = "#limits"
    SAVED_AS = "limits.tsv"

    def __init__(self, pair: Pair, answer: AnswerLine | None = None) -> None:
        super().__init__()
        self.session = pair.session
        self.pair = pair
        self.answer = answer
        self.limits: list[JudgedLimit] = []
        self.conclusion: Conclusion | None = None

    def panes(self) -> ComposeResult:
        yield Bar(id="answer")
        yield Bar(id="normal")
        yield Table("Limits", id="limits")
        yield Bar(id="detail")

    @property
    def table(self) -> Table:
        return self.query_one("#limits", Table)

    @property
    def here(self) -> JudgedLimit:
        """The selected limit, once there are any."""
        index = self.table.selected
        return self.limits[index]

    def on_mount(self) -> None:
        pair = self.pair
        a = visible(pair.a.info.label)
        b = visible(pair.b.info.label)
        table = self.table
        table.title_text = f"Limits · {a} {ARROW} {b}"
        table.aside = "measuring"
        self.judge_limits()

    def on_unmount(self) -> None:
        self.workers.cancel_group(self, "limits")

    @background(group="limits", exclusive=True, failed=_not_judged)
    def judge_limits(self) -> None:
        """Measure the pair and judge."""
        limits = judge_pair(self.pair)
        judged = LimitsJudged(limits)
        self.post_message(judged)
        if self.answer is None:
            line = answer_line(self.session, self.pair)
            self.post_message(PairAnswered(line))

    @on(PairAnswered)
    def _on_answered(self, message: PairAnswered) -> None:
        self.answer = message.line
        self._show_answer()

    def _show_answer(self) -> None:
        """The sentence on the pair."""
        answer = self.answer
        if answer is None or not self.size.width:
            return
        style = self.palette.meaning(answer.meaning)
        rows = self.paragraph(answer.sentence, style, _ANSWER_LINES)
        self.bar("answer").put(rows)

    def _show_conclusion(self) -> None:
        """What all limits say together: is it normal?"""
        normal = self.conclusion
        if normal is None or not self.size.width:
            return
        styles = tone_styles(self.palette)
        style = styles[normal.tone]
        rows = self.paragraph(normal.text, style, _CONCLUSION_LINES)
        self.bar("normal").put(rows)

    @on(LimitsJudged)
    def _on_judged(self, message: LimitsJudged) -> None:
        if message.limits is None:
            self.table.aside = "could not be measured"
            self.table.refresh_fixed()
            problem = message.problem or ""
            self.logdrift.show_error(problem)
            return
        self.limits = message.limits.judged
        self.conclusion = message.limits.conclusion
        self.draw()

    def draw(self) -> None:
        self._show_answer()
        self._show_conclusion()
        limits = self.limits
        if limits:
            is_wide = self.size.width >= 120
            self.table.aside = counted(limits, wide=is_wide)
        rows = []
        marks = []
        for item in limits:
            row = cells(item)
            mark = self._mark(item)
            rows.append(row)
            marks.append(mark)
        self.table.put(COLUMNS, rows, marks, LEAST)
        self._show_detail()

    def _mark(self, item: JudgedLimit) -> Run:
        mark, _ = STATES[item.ok]
        return mark, self._style(item)

    def _style(self, item: JudgedLimit) -> Style:
        """The colour of a limit: one that only bitwise equal runs hold, or one that
        cannot be judged, is no alarm.
        """
        tone = limit_tone(item)
        styles = tone_styles(self.palette)
        return styles[tone]

    @on(Rows.Moved)
    def _on_moved(self) -> None:
        self.say("")
        self._show_detail()

    def _show_detail(self) -> None:
        if not self.size.width:
            return
        text_style = self.palette.text
        rows: list[Row] = []
        if self.limits:
            blank = (" ", text_style)
            for run in self._detail(self.here):
                rows.append([blank, run])
        else:
            words = " the numbers of the pair are being measured"
            waiting = (words, self.palette.muted)
            rows.append([waiting])
        self.bar("detail").put(rows)

    def _detail(self, item: JudgedLimit) -> list[Run]:
        """What to make of it, the numbers, what the limit means and where it was
        read.
        """
        palette = self.palette
        width = self.text_width
        limit = item.limit
        mark, state = STATES[item.ok]
        if item.ok is False:
            mark += f" {state}:"
        style = self._style(item)
        shown_cells = map(visible, cells(item))
        whose, name, value, allowed, words, metric = shown_cells
        conclusion = fit(f"{mark} {words}", width)
        numbers = f"{name} ({whose}): {metric} is {value}, the limit {allowed}"
        numbers = fit(numbers, width)
        level = LEVELS[limit.level]
        meaning = visible(limit.meaning)
        meaning_lines = wrap(f"{meaning} ({level})", width)
        source = visible(limit.source)
        source = fit(source, width)
        runs = [
            (conclusion, style),
            (numbers, palette.strong),
        ]
        for line in meaning_lines[:2]:
            runs.append((line, palette.text))
        runs.append((source, palette.muted))
        return runs

    # ---- commands

    @on(Rows.Chosen)
    def action_whole(self) -> None:
        """Everything about the limit."""
        if not self.limits:
            return
        lines = whole_text(self.here)
        window = TextScreen("Limit", lines)
        self.app.push_screen(window)

    def action_shift(self, step: int) -> None:
        """Columns that do not fit."""
        self.table.shift(step)

    def text_to_save(self) -> str:
        return self.table.copied()
