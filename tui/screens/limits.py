"""Limits: what every framework calls normal, held against the numbers of this pair."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from logdrift.core.compare.limits import JudgedLimit
from logdrift.core.compare.metric import unit_of
from logdrift.core.compare.pair import Pair, default_scope
from logdrift.core.numbers import exact
from logdrift.core.report.pair_numbers import bounds_text
from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.answer import AnswerLine, answer_line
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.saving import save
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import wrap, wrap_at_most
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.table import Table

STATES = {True: ("✓", "held"), False: ("✗", "exceeded"), None: ("?", "unknown")}
LEVELS = {
    "own": "your own limit, of the config file",
    "normal": "within is what the framework calls normal",
    "fault": "outside, the framework speaks of a fault",
    "exact": "holds only where trainer and engine are bitwise equal",
    "other": "published for another comparison: shown, never judged",
}
_ANSWER_LINES = 3
_ORDER = {"own": 0, "fault": 1, "normal": 1, "exact": 2, "other": 3}


@dataclass(eq=False, repr=False)
class LimitsJudged(Message):
    """Every limit was held against the pair, or ``problem`` says why not."""

    limits: list[JudgedLimit]
    problem: str | None = None


@dataclass(eq=False, repr=False)
class PairAnswered(Message):
    """The sentence on the pair was worked out."""

    line: AnswerLine


class LimitsScreen(BaseScreen, inherit_bindings=False):
    """A row for each limit: the user's own first, then by framework, those for bitwise
    equality last.
    """

    BINDINGS = bindings("limits")
    SCOPES = ("limits",)
    AUTO_FOCUS = "#limits"

    def __init__(self, pair: Pair, answer: AnswerLine | None = None) -> None:
        super().__init__()
        self.pair, self.answer = pair, answer
        self.limits: list[JudgedLimit] = []

    def panes(self) -> ComposeResult:
        yield Bar(id="answer")
        yield Table("Limits", id="limits")
        yield Bar(id="detail")

    @property
    def table(self) -> Table:
        return self.query_one("#limits", Table)

    def on_mount(self) -> None:
        a, b = visible(self.pair.a.info.label), visible(self.pair.b.info.label)
        self.table.title_text = f"Limits · {a} {ARROW} {b}"
        self.table.aside = "measuring"
        self.judge_limits()

    def on_unmount(self) -> None:
        self.workers.cancel_group(self, "limits")

    @background(
        group="limits", exclusive=True, failed=lambda words: LimitsJudged([], words)
    )
    def judge_limits(self) -> None:
        """Measure the pair, which takes a second or two for a million tokens, and
        judge.
        """
        # Imported here: the report is not needed for anything that is drawn before.
        from logdrift.core.compare.published import PUBLISHED
        from logdrift.core.config import load_config
        from logdrift.core.report.build import report_on_pair

        limits = (*load_config().thresholds, *PUBLISHED)
        report = report_on_pair(self.pair, default_scope(self.pair.sequences), limits)
        found = sorted(report.limits, key=lambda limit: _ORDER[limit.limit.level])
        self.post_message(LimitsJudged(found))
        if self.answer is None:
            self.post_message(PairAnswered(answer_line(self.pair.session, self.pair)))

    @on(PairAnswered)
    def _on_answered(self, message: PairAnswered) -> None:
        self.answer = message.line
        self._show_answer()

    def _show_answer(self) -> None:
        """What to make of the limits: the sentence on the pair."""
        if self.answer is None or not self.size.width:
            return
        p = self.palette
        parts = wrap_at_most(self.answer.sentence, self.size.width - 2, _ANSWER_LINES)
        self.query_one("#answer", Bar).put(
            [[(" ", p.text), (part, p.meaning(self.answer.meaning))] for part in parts]
        )

    @on(LimitsJudged)
    def _on_judged(self, message: LimitsJudged) -> None:
        if message.problem is not None:
            self.table.aside = "could not be measured"
            self.table.refresh_fixed()
            self.logdrift.show_error(message.problem)
            return
        self.limits = message.limits
        self.draw()

    def draw(self) -> None:
        self._show_answer()
        p = self.palette
        styles = {True: p.good, False: p.bad, None: p.muted}
        if self.limits:
            self.table.aside = _counted(self.limits, wide=self.size.width >= 120)
        self.table.put(
            ["whose", "their name", "value", "limit", "number"],
            [_cells(limit) for limit in self.limits],
            [
                # Not to be bitwise equal is no alarm.
                (
                    STATES[limit.ok][0],
                    p.muted if limit.limit.level == "exact" else styles[limit.ok],
                )
                for limit in self.limits
            ],
        )
        self._show_detail()

    @on(Rows.Moved)
    def _on_moved(self) -> None:
        self.say("")
        self._show_detail()

    def _show_detail(self) -> None:
        if not self.size.width:
            return
        p, width = self.palette, self.size.width - 2
        rows: list[list[Run]] = []
        if self.limits:
            limit = self.limits[self.table.selected]
            state, words = STATES[limit.ok]
            style = {True: p.good, False: p.bad, None: p.warn}[limit.ok]
            why = f": {visible(limit.note)}" if limit.note else ""
            whose, name, value, bound, metric = map(visible, _cells(limit))
            rows.append([(" ", p.text), (fit(f"{state} {words}{why}", width), style)])
            rows.append(
                [
                    (" ", p.text),
                    (
                        fit(
                            f"{name} ({whose}): {metric} is {value}, the limit {bound}",
                            width,
                        ),
                        p.strong,
                    ),
                ]
            )
            parts = wrap(
                f"{visible(limit.limit.meaning)} ({LEVELS[limit.limit.level]})", width
            )
            rows += [[(" ", p.text), (part, p.text)] for part in parts[:2]]
            rows.append(
                [(" ", p.text), (fit(visible(limit.limit.source), width), p.muted)]
            )
        self.query_one("#detail", Bar).put(
            rows or [[(" the numbers of the pair are being measured", p.muted)]]
        )

    # ---- commands

    @on(Rows.Chosen)
    def action_whole(self) -> None:
        """Everything about the limit."""
        if not self.limits:
            return
        limit = self.limits[self.table.selected]
        whose, name, value, bound, metric = _cells(limit)
        lines = [
            f"{name} ({whose})",
            "",
            f"number   {metric}",
            f"value    {value} {unit_of(limit.limit.metric)}",
            f"limit    {bound}",
            f"state    {STATES[limit.ok][1]}",
            *([f"why      {limit.note}"] if limit.note else []),
            "",
            limit.limit.meaning,
            f"{LEVELS[limit.limit.level]}.",
            "",
            f"source   {limit.limit.source}",
        ]
        self.app.push_screen(TextScreen("Limit", lines))

    def action_copy(self) -> None:
        self.say(self.logdrift.copy_text(self.text_to_save()))

    def action_save(self) -> None:
        save(self, "limits.tsv", self.text_to_save, session=self.pair.session.folder)

    def text_to_save(self) -> str:
        return self.table.copied()


def _counted(limits: list[JudgedLimit], *, wide: bool) -> str:
    """Held, exceeded and not judged; those for bitwise equal runs on their own."""
    usual = [limit.ok for limit in limits if limit.limit.level != "exact"]
    bitwise = [limit.ok for limit in limits if limit.limit.level == "exact"]
    counts = (
        f"{usual.count(True)} held, {usual.count(False)} exceeded, {usual.count(None)}"
        " unknown"
    )
    return (
        f"{counts}; bitwise: {bitwise.count(True)} of {len(bitwise)} held"
        if wide
        else counts
    )


def _cells(limit: JudgedLimit) -> list[str]:
    """Whose limit it is, its name there, the value, the bounds and the number."""
    return [
        limit.limit.framework,
        limit.limit.name.rpartition("/")[2],
        exact(limit.value),
        bounds_text(limit.limit),
        limit.limit.metric,
    ]
