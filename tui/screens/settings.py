"""Settings: how the captures really ran, side by side, below the gate's verdict."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual import on
from textual.app import ComposeResult

from logdrift.core.compare.gate import Gate, Reason
from logdrift.core.report.settings import settings_of
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.actions import key_of
from logdrift.tui.bindings import bindings
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.settings import (
    LEGEND,
    Group,
    PairSetting,
    SettingsHeading,
    SettingsLine,
    copied,
    pair_settings,
)
from logdrift.tui.screens.origin import Labels
from logdrift.tui.screens.result import ResultScreen
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import Row, wrap
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.table import Table

_REASON_LINES = 5
_FEW_REASON_LINES = 2
"""Lines for the gate's reasons; few on a terminal of less than 24 lines."""
_SEVERITIES = {
    "not_comparable": "!!",
    "caution": "! ",
    "info": "· ",
}


_NAME = 20
"""Cells that the name of a setting keeps."""
_MATTERS = 14
_MATTERS_FROM = 72
"""Width from which the column on what matters stands beside the pair's own."""
_VALUE = 28
"""Cells that the pair's own columns keep, at most."""
_DETAIL_LINES = 2
_FEW_DETAIL_LINES = 1


class SettingsTable(Table):
    """Rows of settings, with the headings of their groups over the whole width."""

    def __init__(self, *, id: str) -> None:
        super().__init__("Settings", id=id, dotted=True)
        self.listed: Sequence[SettingsLine] = ()

    def runs(self, index: int, width: int) -> Row:
        line = self.listed[index]
        if isinstance(line, SettingsHeading):
            heading = fit(line.text, width)
            return [(heading, self.palette.accent)]
        return super().runs(index, width)


class FactsScreen(ResultScreen, inherit_bindings=False):
    """The settings of the pair in groups, differences first, and whether each matters.

    An unknown value is shown as unknown.
    """

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
        of_captures = settings_of(session)
        self.settings = pair_settings(of_captures, pair, gate)
        self.folded: set[Group] = {"environment"}
        self.lines: Sequence[SettingsLine] = ()

    def panes(self) -> ComposeResult:
        yield Bar(id="reasons")
        yield SettingsTable(id="facts")
        yield Bar(id="detail")

    @property
    def table(self) -> SettingsTable:
        return self.query_one("#facts", SettingsTable)

    @property
    def here(self) -> SettingsLine:
        """The selected line."""
        index = self.table.selected
        return self.lines[index]

    def draw(self) -> None:
        self._show_table()
        self._show_bars()

    def _show_table(self) -> None:
        settings = self.settings
        own = settings.own
        matters = "matters?"
        heads = settings.heads()
        self.lines = settings.lines(self.folded)
        of_pair = heads[:own]
        of_others = heads[own:]
        head = ["", *of_pair, matters, *of_others]
        columns = len(head)
        cells = []
        marks = []
        for line in self.lines:
            row = _cells(line, own, columns)
            mark = self._mark(line)
            cells.append(row)
            marks.append(mark)
        table = self.table
        table.listed = self.lines
        table.aside = LEGEND
        least = self._least()
        table.put(head, cells, marks, least)
        if table.selected == 0:
            table.select(1)  # the first row below its heading

    def _least(self) -> list[int]:
        """Cells that each column keeps: the pair's own share what the names leave, and
        what little width there is goes to them alone.
        """
        width = self.size.width
        room = width - _NAME - 10
        if width >= _MATTERS_FROM:
            room -= _MATTERS + 2
        own = self.settings.own
        share = room // max(1, own)
        value_cells = min(_VALUE, share)
        of_pair = [value_cells] * own
        return [_NAME, *of_pair, _MATTERS]

    def _mark(self, line: SettingsLine) -> Run:
        palette = self.palette
        if isinstance(line, SettingsHeading):
            return "", palette.text
        style = self._style(line)
        return line.mark, style

    def _style(self, row: PairSetting) -> Style:
        """The colour of a row's mark: that of what the gate says of it."""
        palette = self.palette
        reason = row.reason
        if reason is not None and reason.severity != "info":
            return palette.verdict(reason.severity)
        if row.kind == "differs":
            return palette.strong
        if row.kind == "unknown":
            return palette.accent
        return palette.muted

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
        self.bar("detail").put(detail)

    def _reasons(self) -> list[Row]:
        """What the gate says of the pair, as far as there is room."""
        palette = self.palette
        if self.pair is None:
            nothing = (" no pair to compare yet", palette.warn)
            return [[nothing]]
        names = _pair_name(self.pair)
        if self.gate is None:
            words = fit(f" {names}: being judged", self.text_width)
            waiting = (words, palette.muted)
            return [[waiting]]
        verdict = self._verdict(self.gate, names)
        reasons = self._reasons_that_fit(self.gate)
        return [verdict, *reasons]

    def _verdict(self, gate: Gate, names: str) -> Row:
        """The first line: the verdict, then the two captures."""
        palette = self.palette
        verdict = VERDICTS.get(gate.verdict, "")
        style = palette.verdict(gate.verdict)
        verdict += "  "
        room = self.text_width - len(verdict)
        shown_names = fit(names, room)
        return [
            (" ", palette.text),
            (verdict, style),
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
        hidden = lines[most - 1 :]
        left_out = len(hidden)
        keymap = self.logdrift.keymap
        key = key_of("facts", "reasons", keymap)
        more = f"    … {left_out} more lines: {key} shows them"
        run = (more, self.palette.muted)
        return [*kept, [run]]

    def _reason(self, reason: Reason) -> list[Row]:
        """One reason: its mark, and its text wrapped beside it."""
        palette = self.palette
        style = palette.verdict(reason.severity)
        if reason.severity == "info":
            style = palette.muted
        mark = _SEVERITIES[reason.severity]
        width = self.size.width - 5
        room = max(20, width)
        lines: list[Row] = []
        text = visible(reason.text)
        for part in wrap(text, room):
            margin = (f" {mark} ", style)
            words = (part, palette.text)
            lines.append([margin, words])
            mark = "  "
        return lines

    def _detail(self) -> list[Row]:
        """What stands below the table, in as many lines for every row."""
        most = _DETAIL_LINES
        if self.is_low:
            most = _FEW_DETAIL_LINES
        rows = self._about_the_row(most)
        lines = 1 + most
        while len(rows) < lines:
            rows.append([])
        return rows

    def _about_the_row(self, most: int) -> list[Row]:
        """The selected row: each different value once, and what to make of it."""
        palette = self.palette
        line = self.here
        if isinstance(line, SettingsHeading):
            verb = "lists" if line.folded else "folds"
            words = f"Enter {verb} these rows"
            paragraph = self.paragraph(words, palette.muted, most)
            return list(paragraph)
        own = self.settings.own or len(line.values)
        between = f" {ARROW} " if own == 2 else " | "
        values = map(visible, line.values[:own])
        words = between.join(values)
        width = self.size.width - 1
        named = fit(f" {line.name}: {words}", width)
        style = self._style(line)
        sentence = visible(line.advice)
        advice = self.paragraph(sentence, style, most)
        heading = (named, palette.strong)
        return [[heading], *advice]

    # ---- commands

    @on(Rows.Chosen)
    def action_whole(self) -> None:
        """The values of the row, each in full, or a group folded and unfolded."""
        line = self.here
        if isinstance(line, SettingsHeading):
            self.folded ^= {line.group}
            self.draw()
            return
        lines: list[str] = []
        columns = self.settings.columns
        values_of_columns = zip(columns, line.values, strict=True)
        for labels, value in values_of_columns:
            captures = ", ".join(labels)
            lines += ["", captures, f"    {value}"]
        lines += ["", "What to make of it", f"    {line.advice}"]
        window = TextScreen(line.name, lines)
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
        return copied(self.settings)


def _cells(line: SettingsLine, own: int, count: int) -> list[str]:
    """The cells of a line; a heading has none of its own."""
    if isinstance(line, SettingsHeading):
        return [""] * count
    of_pair = line.values[:own]
    of_others = line.values[own:]
    return [line.name, *of_pair, line.matters, *of_others]


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
