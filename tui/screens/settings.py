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
from logdrift.tui.actions import key_of
from logdrift.tui.bindings import bindings
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.screens.origin import Labels
from logdrift.tui.screens.result import ResultScreen
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import Row, wrap
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.table import Table

_DIFFERS = "≠"
_UNKNOWN = "?"
_SAME = "="

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


class FactsScreen(ResultScreen, inherit_bindings=False):
    """A row for each fact, differences first; an unknown value is shown as unknown."""

    BINDINGS = bindings("facts")
    SCOPES = ("facts",)
    AUTO_FOCUS = "#facts"
    SAVED_AS = "settings.tsv"

    def __init__(
        self, session: Session, pair: Labels | None, gate: Gate | None
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
        head = [""]
        head += map(_column, self.settings.columns)
        rows = self.settings.rows
        cells = []
        marks = []
        for row in rows:
            values = _shown_values(row)
            cells.append([row.name, *values])
            marks.append(self._mark(row))
        self.table.aside = _counts_in_words(rows)
        self.table.put(head, cells, marks)

    def _mark(self, row: CaptureSetting) -> Run:
        palette = self.palette
        if row.kind == "differs":
            return _DIFFERS, palette.warn
        if row.kind == "unknown":
            return _UNKNOWN, palette.accent
        return _SAME, palette.muted

    @on(Rows.Moved)
    def _on_moved(self) -> None:
        self.say("")
        self._show_bars()

    def _show_bars(self) -> None:
        if not self.size.width:
            return
        reasons = self._reasons()
        detail = self._detail()
        self.bar("reasons").put(reasons)
        self.bar("detail").put([detail])

    def _reasons(self) -> list[Row]:
        """What the gate says of the pair, as far as there is room."""
        palette = self.palette
        if self.pair is None:
            nothing = (" no pair to compare yet", palette.warn)
            return [[nothing]]
        names = _pair_name(self.pair)
        if self.gate is None:
            words = fit(f" {names}: being judged", self.text_width)
            return [[(words, palette.muted)]]
        verdict = self._verdict(self.gate, names)
        reasons = self._reasons_that_fit(self.gate)
        return [verdict, *reasons]

    def _verdict(self, gate: Gate, names: str) -> Row:
        """The first line: the verdict, then the two captures."""
        palette = self.palette
        verdict = VERDICTS.get(gate.verdict, "")
        style = palette.verdict(gate.verdict)
        room = self.text_width - len(verdict) - 2
        shown_names = fit(names, room)
        return [
            (" ", palette.text),
            (f"{verdict}  ", style),
            (shown_names, palette.text),
        ]

    def _reasons_that_fit(self, gate: Gate) -> list[Row]:
        """The reasons, wrapped; where lines are left out, the last one counts them."""
        lines: list[Row] = []
        for reason in gate.reasons:
            lines += self._reason(reason)
        most = _REASON_LINES
        if self.is_low:
            most = _FEW_REASON_LINES
        if len(lines) <= most:
            return lines
        kept = lines[: most - 1]
        left_out = len(lines) - len(kept)
        key = key_of("facts", "reasons", self.logdrift.keymap)
        more = f"    … {left_out} more lines: {key} shows them"
        last_line = [(more, self.palette.muted)]
        return [*kept, last_line]

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
        shown_text = fit(text, self.size.width - 1)
        return [(shown_text, self.palette.text)]

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
        window = TextScreen(row.name, lines)
        self.app.push_screen(window)

    def action_reasons(self) -> None:
        """All that the gate says of the pair."""
        if self.pair is None:
            self.warn("there is no pair to compare yet")
        elif self.gate is None:
            self.warn("the pair has not been judged yet")
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
    values = []
    for value in row.values:
        if value is None:
            value = UNKNOWN
        values.append(value)
    return values


def _counts_in_words(rows: Sequence[CaptureSetting]) -> str:
    """How many facts differ, are unknown, are alike."""
    counts = Counter(row.kind for row in rows)
    parts = (
        f"{_DIFFERS} {counts['differs']} differ",
        f"{_UNKNOWN} {counts['unknown']} unknown somewhere",
        f"{_SAME} {counts['same']} alike",
    )
    return "  ".join(parts)


def _pair_name(pair: Labels) -> str:
    a, b = map(visible, pair)
    return f"{a} {ARROW} {b}"


def _gate_in_words(gate: Gate, pair: Labels) -> list[str]:
    """The verdict and every reason in full."""
    a, b = pair
    lines = [f"{VERDICTS[gate.verdict]}  {a} {ARROW} {b}"]
    for reason in gate.reasons:
        padded_mark = _SEVERITIES[reason.severity]
        mark = padded_mark.strip()
        head = f"{mark} {reason.code}"
        lines += ["", head, f"    {reason.text}"]
    if not gate.reasons:
        lines += ["", "Nothing to object to."]
    return lines
