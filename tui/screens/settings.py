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
from logdrift.tui.screens.saving import SavableScreen
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import Row, wrap
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.table import Table

_DIFFERS = "≠"
_UNKNOWN = "?"
_SAME = "="
_MARKS = {
    "differs": _DIFFERS,
    "unknown": _UNKNOWN,
    "same": _SAME,
}
_KINDS = {
    "differs": "differs",
    "unknown": "not observed everywhere, so perhaps not alike",
    "same": "alike",
}
_REASON_LINES = 5
_FEW_REASON_LINES = 2
"""Lines for the gate's reasons; few on a terminal of less than 24 lines."""
_SEVERITIES = {
    "not_comparable": "!!",
    "caution": "! ",
    "info": "· ",
}


class FactsScreen(SavableScreen, inherit_bindings=False):
    """A row for each fact, differences first; an unknown value is shown as unknown."""

    BINDINGS = bindings("facts")
    SCOPES = ("facts",)
    AUTO_FOCUS = "#facts"
    SAVED_AS = "settings.tsv"

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

    @property
    def here(self) -> CaptureSetting:
        """The selected row."""
        return self.settings.rows[self.table.selected]

    def draw(self) -> None:
        self._show_table()
        self._show_bars()

    def _show_table(self) -> None:
        rows = self.settings.rows
        columns = list(map(_column, self.settings.columns))
        cells = [[row.name, *_shown_values(row)] for row in rows]
        marks = list(map(self._mark, rows))
        self.table.aside = _counts_in_words(rows)
        self.table.put(["", *columns], cells, marks)

    def _mark(self, row: CaptureSetting) -> Run:
        palette = self.palette
        styles = {
            "differs": palette.warn,
            "unknown": palette.accent,
            "same": palette.muted,
        }
        return _MARKS[row.kind], styles[row.kind]

    @on(Rows.Moved)
    def _on_moved(self) -> None:
        self.say("")
        self._show_bars()

    def _show_bars(self) -> None:
        if not self.size.width:
            return
        self.bar("reasons").put(self._reasons())
        self.bar("detail").put([self._detail()])

    def _reasons(self) -> list[Row]:
        """What the gate says of the pair, as far as there is room."""
        palette = self.palette
        if self.pair is None:
            return [[(" no pair to compare yet", palette.warn)]]
        names = _pair_name(self.pair)
        if self.gate is None:
            width = self.size.width - 2
            words = fit(f" {names}: being judged", width)
            return [[(words, palette.muted)]]
        verdict = self._verdict(self.gate, names)
        return [verdict, *self._reasons_that_fit(self.gate)]

    def _verdict(self, gate: Gate, names: str) -> Row:
        """The first line: the verdict, then the two captures."""
        palette = self.palette
        verdict = VERDICTS.get(gate.verdict, "")
        width = self.size.width - 2
        room = width - len(verdict) - 2
        return [
            (" ", palette.text),
            (f"{verdict}  ", palette.verdict(gate.verdict)),
            (fit(names, room), palette.text),
        ]

    def _reasons_that_fit(self, gate: Gate) -> list[Row]:
        """The reasons, wrapped; where lines are left out, the last one counts them."""
        lines: list[Row] = []
        for reason in gate.reasons:
            lines += self._reason(reason)
        most = _FEW_REASON_LINES
        if self.size.height >= 24:
            most = _REASON_LINES
        if len(lines) <= most:
            return lines
        kept = lines[: most - 1]
        left_out = len(lines) - len(kept)
        more = f"    … {left_out} more lines: r shows them"
        return [*kept, [(more, self.palette.muted)]]

    def _reason(self, reason: Reason) -> list[Row]:
        """One reason: its mark, and its text wrapped beside it."""
        palette = self.palette
        style = palette.verdict(reason.severity)
        if reason.severity == "info":
            style = palette.muted
        mark = _SEVERITIES[reason.severity]
        room = max(20, self.size.width - 5)
        lines: list[Row] = []
        text = visible(reason.text)
        for part in wrap(text, room):
            line = [(f" {mark} ", style), (part, palette.text)]
            lines.append(line)
            mark = "  "
        return lines

    def _detail(self) -> Row:
        """The selected fact in one line, each different value once."""
        row = self.here
        values = dict.fromkeys(value or UNKNOWN for value in row.values)
        words = " | ".join(map(visible, values))
        text = f" {row.name}, {_KINDS[row.kind]}: {words}"
        width = self.size.width - 1
        return [(fit(text, width), self.palette.text)]

    # ---- commands

    @on(Rows.Chosen)
    def action_whole(self) -> None:
        """The values of the row, each in full."""
        row = self.here
        columns = self.settings.columns
        values = _shown_values(row)
        lines: list[str] = []
        for labels, value in zip(columns, values, strict=True):
            captures = ", ".join(labels)
            lines += ["", captures, f"    {value}"]
        self.app.push_screen(TextScreen(row.name, lines))

    def action_reasons(self) -> None:
        """All that the gate says of the pair."""
        if self.pair is None:
            self.say("there is no pair to compare yet", warn=True)
        elif self.gate is None:
            self.say("the pair has not been judged yet", warn=True)
        else:
            lines = _gate_in_words(self.gate, self.pair)
            window = TextScreen("Gate", lines)
            self.app.push_screen(window)

    def action_shift(self, step: int) -> None:
        self.table.shift(step)

    def text_to_save(self) -> str:
        return self.table.copied()


def _column(labels: tuple[str, ...]) -> str:
    """``vllm/decode +2`` for three captures that ran alike."""
    first = labels[0]
    others = len(labels) - 1
    if others:
        return f"{first} +{others}"
    return first


def _shown_values(row: CaptureSetting) -> list[str]:
    """The values of a fact, one a column."""
    return [UNKNOWN if value is None else value for value in row.values]


def _counts_in_words(rows: Sequence[CaptureSetting]) -> str:
    """How many facts differ, are unknown, are alike."""
    counts = Counter(row.kind for row in rows)
    parts = (
        f"{_DIFFERS} {counts['differs']} differ",
        f"{_UNKNOWN} {counts['unknown']} unknown somewhere",
        f"{_SAME} {counts['same']} alike",
    )
    return "  ".join(parts)


def _pair_name(pair: tuple[str, str]) -> str:
    a, b = map(visible, pair)
    return f"{a} {ARROW} {b}"


def _gate_in_words(gate: Gate, pair: tuple[str, str]) -> list[str]:
    """The verdict and every reason in full."""
    a, b = pair
    lines = [f"{VERDICTS[gate.verdict]}  {a} {ARROW} {b}"]
    for reason in gate.reasons:
        mark = _SEVERITIES[reason.severity].strip()
        head = f"{mark} {reason.code}"
        lines += ["", head, f"    {reason.text}"]
    if not gate.reasons:
        lines += ["", "Nothing to object to."]
    return lines
