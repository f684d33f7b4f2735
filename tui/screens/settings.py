"""Settings: how the captures really ran, side by side, and above it what the gate makes
of the pair.
"""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult

from logdrift.core.compare.gate import Gate
from logdrift.core.report.settings import UNKNOWN, CaptureSettings, settings_of
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
_REASON_LINES = 5
_SEVERITIES = {"not_comparable": "!!", "caution": "! ", "info": "· "}


class FactsScreen(BaseScreen, inherit_bindings=False):
    """A row for each fact, differences first; unknown is said as unknown."""

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
        p = self.palette
        settings = self.settings
        styles = {"differs": p.warn, "unknown": p.accent, "same": p.muted}
        counts = {
            kind: sum(row.kind == kind for row in settings.rows) for kind in MARKS
        }
        self.table.aside = (
            f"{MARKS['differs']} {counts['differs']} differ  {MARKS['unknown']}"
            f" {counts['unknown']} unknown somewhere  {MARKS['same']} {counts['same']}"
            " alike"
        )
        self.table.put(
            ["", *(_column(labels) for labels in settings.columns)],
            [
                [
                    row.name,
                    *(UNKNOWN if value is None else value for value in row.values),
                ]
                for row in settings.rows
            ],
            [(MARKS[row.kind], styles[row.kind]) for row in settings.rows],
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
        p = self.palette
        width = self.size.width - 2
        if self.pair is None:
            return [[(" no pair to compare yet", p.warn)]]
        names = f"{visible(self.pair[0])} {ARROW} {visible(self.pair[1])}"
        if self.gate is None:
            return [[(fit(f" {names}: being judged", width), p.muted)]]
        verdict = VERDICTS.get(self.gate.verdict, "")
        rows: list[list[Run]] = [
            [
                (" ", p.text),
                (f"{verdict}  ", p.verdict(self.gate.verdict)),
                (fit(names, width - len(verdict) - 2), p.text),
            ]
        ]
        wrapped: list[list[Run]] = []
        for reason in self.gate.reasons:
            if reason.severity != "info":
                style = p.verdict(reason.severity)
            else:
                style = p.muted
            for index, part in enumerate(
                wrap(visible(reason.text), max(20, width - 3))
            ):
                wrapped.append(
                    [
                        (
                            f" {_SEVERITIES[reason.severity] if not index else '  '} ",
                            style,
                        ),
                        (part, p.text),
                    ]
                )
        most = _REASON_LINES if self.size.height >= 24 else 2
        if len(wrapped) > most:
            wrapped = [
                *wrapped[: most - 1],
                [
                    (
                        f"    … {len(wrapped) - most + 1} more lines: r shows them",
                        p.muted,
                    )
                ],
            ]
        return [*rows, *wrapped]

    def _detail(self) -> list[Run]:
        row = self.settings.rows[self.table.selected]
        values = {value or UNKNOWN: None for value in row.values}
        words = {
            "differs": "differs",
            "unknown": "not observed everywhere, so perhaps not alike",
            "same": "alike",
        }
        return [
            (
                fit(
                    f" {row.name}, {words[row.kind]}:"
                    f" {' | '.join(visible(v) for v in values)}",
                    self.size.width - 1,
                ),
                self.palette.text,
            )
        ]

    # ---- commands

    @on(Rows.Chosen)
    def action_whole(self) -> None:
        """The values of the row, each in full."""
        row = self.settings.rows[self.table.selected]
        lines: list[str] = []
        for labels, value in zip(self.settings.columns, row.values, strict=True):
            lines += [
                "",
                ", ".join(labels),
                f"    {UNKNOWN if value is None else value}",
            ]
        self.app.push_screen(TextScreen(row.name, lines))

    def action_reasons(self) -> None:
        """All that the gate says of the pair."""
        if self.gate is None or self.pair is None:
            self.say(
                (
                    "the pair has not been judged yet"
                    if self.pair
                    else "there is no pair to compare yet"
                ),
                warn=True,
            )
            return
        lines = [
            f"{VERDICTS[self.gate.verdict]}  {self.pair[0]} {ARROW} {self.pair[1]}"
        ]
        for reason in self.gate.reasons:
            lines += [
                "",
                f"{_SEVERITIES[reason.severity].strip()} {reason.code}",
                f"    {reason.text}",
            ]
        self.app.push_screen(
            TextScreen(
                "Gate",
                lines if self.gate.reasons else [*lines, "", "Nothing to object to."],
            )
        )

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
