"""Settings: how the captures really ran, side by side, below the gate's verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult

from logdrift.core.compare.gate import Gate, Reason
from logdrift.core.report.settings import (
    UNKNOWN,
    CaptureSetting,
    CaptureSettings,
    settings_of,
)
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.bindings import bindings
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.saving import save
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import wrap
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.table import Table

MARKS = {"differs": "≠", "unknown": "?", "same": "="}
_KINDS = {
    "differs": "differs",
    "unknown": "not observed everywhere, so perhaps not alike",
    "same": "alike",
}
_REASON_LINES = 5
_FEW_REASON_LINES = 2
"""Lines for the gate's reasons; few on a terminal of less than 24 lines."""
_SEVERITIES = {"not_comparable": "!!", "caution": "! ", "info": "· "}


class FactsScreen(BaseScreen, inherit_bindings=False):
    """A row for each fact, differences first; an unknown value is shown as unknown."""

    BINDINGS = bindings("facts")
    SCOPES = ("facts",)
    AUTO_FOCUS = "#facts"

    def __init__(
        self, session: Session, pair: tuple[str, str] | None, gate: Gate | None
    ) -> None:
        super().__init__()
        self.session = session
        self.pair = pair
        self.gate = gate
        self.settings: CaptureSettings = settings_of(session)

    def panes(self) -> ComposeResult:
        yield Bar(id="reasons")
        yield Table("Settings", id="facts", dotted=True)
        yield Bar(id="detail")

    @property
    def table(self) -> Table:
        return self.query_one("#facts", Table)

    def draw(self) -> None:
        self._show_table()
        self._show_bars()

    def _show_table(self) -> None:
        palette = self.palette
        rows = self.settings.rows
        styles = {
            "differs": palette.warn,
            "unknown": palette.accent,
            "same": palette.muted,
        }
        columns = [_column(labels) for labels in self.settings.columns]
        self.table.aside = _counts_in_words(rows)
        self.table.put(
            ["", *columns],
            [[row.name, *_shown_values(row)] for row in rows],
            [(MARKS[row.kind], styles[row.kind]) for row in rows],
        )

    @on(Rows.Moved)
    def _on_moved(self) -> None:
        self.say("")
        self._show_bars()

    def _show_bars(self) -> None:
        if not self.size.width:
            return
        self.query_one("#reasons", Bar).put(self._reasons())
        self.query_one("#detail", Bar).put([self._detail()])

    def _reasons(self) -> list[list[Run]]:
        """What the gate says of the pair, as far as there is room."""
        palette = self.palette
        width = self.size.width - 2
        if self.pair is None:
            return [[(" no pair to compare yet", palette.warn)]]
        names = _pair_name(self.pair)
        if self.gate is None:
            return [[(fit(f" {names}: being judged", width), palette.muted)]]
        return [self._verdict(self.gate, names), *self._reasons_that_fit(self.gate)]

    def _verdict(self, gate: Gate, names: str) -> list[Run]:
        """The first line: the verdict, then the two captures."""
        verdict = VERDICTS.get(gate.verdict, "")
        room = self.size.width - 2 - len(verdict) - 2
        return [
            (" ", self.palette.text),
            (f"{verdict}  ", self.palette.verdict(gate.verdict)),
            (fit(names, room), self.palette.text),
        ]

    def _reasons_that_fit(self, gate: Gate) -> list[list[Run]]:
        """The reasons, wrapped; where lines are left out, the last one counts them."""
        lines: list[list[Run]] = []
        for reason in gate.reasons:
            lines += self._reason(reason)
        most = _REASON_LINES if self.size.height >= 24 else _FEW_REASON_LINES
        if len(lines) <= most:
            return lines
        left_out = len(lines) - most + 1
        more = f"    … {left_out} more lines: r shows them"
        return [*lines[: most - 1], [(more, self.palette.muted)]]

    def _reason(self, reason: Reason) -> list[list[Run]]:
        """One reason: its mark, and its text wrapped beside it."""
        if reason.severity == "info":
            style = self.palette.muted
        else:
            style = self.palette.verdict(reason.severity)
        room = max(20, self.size.width - 5)
        mark = _SEVERITIES[reason.severity]
        lines: list[list[Run]] = []
        for part in wrap(visible(reason.text), room):
            lines.append([(f" {mark} ", style), (part, self.palette.text)])
            mark = "  "
        return lines

    def _detail(self) -> list[Run]:
        """The selected fact in one line, each different value once."""
        row = self.settings.rows[self.table.selected]
        values = dict.fromkeys(value or UNKNOWN for value in row.values)
        words = " | ".join(visible(value) for value in values)
        text = f" {row.name}, {_KINDS[row.kind]}: {words}"
        return [(fit(text, self.size.width - 1), self.palette.text)]

    # ---- commands

    @on(Rows.Chosen)
    def action_whole(self) -> None:
        """The values of the row, each in full."""
        row = self.settings.rows[self.table.selected]
        lines: list[str] = []
        for labels, value in zip(
            self.settings.columns, _shown_values(row), strict=True
        ):
            lines += ["", ", ".join(labels), f"    {value}"]
        self.app.push_screen(TextScreen(row.name, lines))

    def action_reasons(self) -> None:
        """All that the gate says of the pair."""
        if self.pair is None:
            self.say("there is no pair to compare yet", warn=True)
        elif self.gate is None:
            self.say("the pair has not been judged yet", warn=True)
        else:
            lines = _gate_in_words(self.gate, self.pair)
            self.app.push_screen(TextScreen("Gate", lines))

    def action_shift(self, step: int) -> None:
        self.table.shift(step)

    def action_copy(self) -> None:
        self.say(self.logdrift.copy_text(self.text_to_save()))

    def action_save(self) -> None:
        save(self, "settings.tsv", self.text_to_save, session=self.session.folder)

    def text_to_save(self) -> str:
        return self.table.copied()


def _column(labels: tuple[str, ...]) -> str:
    """``vllm/decode +2`` for three captures that ran alike."""
    if len(labels) == 1:
        return labels[0]
    return f"{labels[0]} +{len(labels) - 1}"


def _shown_values(row: CaptureSetting) -> list[str]:
    """The values of a fact, one a column."""
    return [UNKNOWN if value is None else value for value in row.values]


def _counts_in_words(rows: Sequence[CaptureSetting]) -> str:
    """How many facts differ, are unknown, are alike."""
    counts = Counter(row.kind for row in rows)
    return (
        f"{MARKS['differs']} {counts['differs']} differ"
        f"  {MARKS['unknown']} {counts['unknown']} unknown somewhere"
        f"  {MARKS['same']} {counts['same']} alike"
    )


def _pair_name(pair: tuple[str, str]) -> str:
    return f"{visible(pair[0])} {ARROW} {visible(pair[1])}"


def _gate_in_words(gate: Gate, pair: tuple[str, str]) -> list[str]:
    """The verdict and every reason in full."""
    lines = [f"{VERDICTS[gate.verdict]}  {pair[0]} {ARROW} {pair[1]}"]
    for reason in gate.reasons:
        mark = _SEVERITIES[reason.severity].strip()
        lines += ["", f"{mark} {reason.code}", f"    {reason.text}"]
    if not gate.reasons:
        lines += ["", "Nothing to object to."]
    return lines
