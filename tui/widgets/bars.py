"""The lines above and below the panes: session and pair, tabs of a narrow screen,
keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.message import Message

from logdrift.core.numbers import number
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.heading import Heading
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run, Text, strip_of

if TYPE_CHECKING:
    from logdrift.tui.models.answer import AnswerLine


class Bar(Text, can_focus=False):
    """A pane of one or a few lines that takes as much height as it has lines."""

    @property
    def inner_width(self) -> int:
        return max(1, self.size.width)

    def put(self, rows: Sequence[Sequence[Run]]) -> None:
        """Show rows of runs; the height follows."""
        if self.styles.height is None or self.styles.height.value != len(rows):
            self.styles.height = len(rows)
        self.set_lines([strip_of(row, self.inner_width) for row in rows])


class Header(Bar):
    """First line: session, pair, verdict, MAE, progress. Below it what is wrong, if
    anything.
    """

    heading: Heading | None = None

    def show(self, heading: Heading) -> None:
        if heading != self.heading:
            self.heading = heading
            self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self.heading is not None and self.size.width:
            self.put(heading_rows(self.heading, self.inner_width, self.palette))


def heading_rows(h: Heading, width: int, palette: Palette) -> list[list[Run]]:
    """The header's lines for a width: what matters least goes first when there is no
    room.
    """
    gap = ("  ", palette.text)
    state: list[Run] = []
    if h.state == "running":
        share = "" if h.running is None else f" {h.running:.0%}"
        left = f" {h.left} left" if h.left else ""
        state = [gap, (f"capturing{share}{left}", palette.accent)]
    elif h.state != "complete":
        state = [gap, (h.state, palette.warn)]
    verdict: list[Run] = []
    if h.pair is not None:
        shown = palette.muted if h.verdict == "not_comparable" else palette.strong
        verdict = [
            gap,
            (VERDICTS.get(h.verdict or "", "judging"), palette.verdict(h.verdict)),
        ]
        verdict += [
            gap,
            ("MAE ", palette.muted),
            (number(h.mae) if h.verdict else "…", shown),
        ]
        if h.broken:
            verdict += [gap, (f"{h.broken:,} NaN", palette.bad)]
        if h.infinite:
            verdict += [gap, (f"{h.infinite} infinite", palette.warn)]
    more = _more(h, palette)
    counts: list[Run] = [(f"  {h.sequences:,} seq · {h.tokens:,} tok", palette.muted)]
    a, b = h.pair or ("", "")
    pair_width = cell_len(a) + cell_len(b) + 5 if h.pair else 24
    fixed = sum(cell_len(text) for text, _ in [*verdict, *state])
    if (
        fixed + pair_width + cell_len(counts[0][0]) + min(cell_len(h.name), 16) + 2
        > width
    ):
        counts = []
    # One number after the other as far as there is room, floor and ESS going first.
    while (
        more
        and fixed
        + pair_width
        + min(cell_len(h.name), 16)
        + sum(map(_cells, [*more, counts]))
        + 2
        > width
    ):
        more.pop()
    verdict += [run for part in more for run in part]
    fixed = sum(cell_len(text) for text, _ in [*verdict, *state])
    room = width - fixed - sum(cell_len(text) for text, _ in counts) - 2
    name = fit(h.name, min(cell_len(h.name), max(8, room - pair_width)))
    pair: list[Run] = [gap, ("no pair to compare yet", palette.warn)]
    if h.pair is not None:
        each = max(6, (room - cell_len(name) - 5) // 2)
        spare = max(0, each - min(cell_len(a), cell_len(b)))
        pair = [
            gap,
            (
                fit(a, min(cell_len(a), each + (spare if cell_len(a) > each else 0))),
                palette.text,
            ),
            (f" {ARROW} ", palette.muted),
            (
                fit(b, min(cell_len(b), each + (spare if cell_len(b) > each else 0))),
                palette.text,
            ),
        ]
    rows: list[list[Run]] = [
        [(" ", palette.text), (name, palette.strong), *counts, *pair, *verdict, *state]
    ]
    if h.reason:
        rows.append(
            [
                (" ", palette.text),
                (fit(h.reason, width - 2), palette.verdict(h.verdict)),
            ]
        )
    rows += [
        [(" ", palette.text), (fit(problem, width - 2), palette.bad)]
        for problem in h.problems
    ]
    return rows


def _more(h: Heading, palette: Palette) -> list[list[Run]]:
    """k3, floor and ESS, most wanted first."""
    if h.pair is None or not h.measured:
        return []
    shown = palette.muted if h.verdict == "not_comparable" else palette.text
    parts = (
        ("k3", number(h.k3, 3)),
        ("floor", "none" if h.floor is None else number(h.floor, 3)),
        ("ESS", number(h.ess, 3)),
    )
    return [[(f"  {name} ", palette.muted), (value, shown)] for name, value in parts]


def _cells(runs: Sequence[Run]) -> int:
    return sum(cell_len(text) for text, _ in runs)


class AnswerBar(Bar):
    """The answer of the pair in one line, cut to the width; a blank line, or a
    ``rule``, until it is known.
    """

    def __init__(self, *, id: str, rule: bool = False) -> None:
        super().__init__(id=id)
        self._rule = rule
        self.answer: AnswerLine | None = None
        self._key = ""

    def show(self, answer: AnswerLine | None, key: str) -> None:
        """``key`` shows the whole of it."""
        if (answer, key) != (self.answer, self._key):
            self.answer, self._key = answer, key
            self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self.size.width:
            self.put(
                [
                    answer_runs(
                        self.answer,
                        self._key,
                        self.inner_width,
                        self.palette,
                        rule=self._rule,
                    )
                ]
            )


def answer_runs(
    answer: AnswerLine | None,
    key: str,
    width: int,
    palette: Palette,
    *,
    rule: bool = False,
) -> list[Run]:
    """The answer in ``width`` cells: whole, or cut and with the ``key`` that shows all
    of it.
    """
    edge = "─" if rule else " "
    if answer is None:
        return [(edge * width, palette.muted)]
    begin = "─ " if rule else " "
    style = palette.meaning(answer.meaning)
    room = width - len(begin) - 1
    if cell_len(answer.sentence) <= room:
        rest = room - cell_len(answer.sentence)
        return [
            (begin, palette.muted),
            (answer.sentence, style),
            (f" {edge * rest}" if rule else "", palette.muted),
        ]
    more = f"{key} all" if key else ""
    return [
        (begin, palette.muted),
        (fit(answer.sentence, room - cell_len(more) - 1), style),
        (" ", palette.muted),
        (more, palette.accent),
    ]


class Tabs(Bar):
    """Names of the panes of a narrow screen, the shown one marked."""

    names: Sequence[tuple[str, str]] = ()
    active = ""

    def show(self, names: Sequence[tuple[str, str]], active: str) -> None:
        self.names, self.active = names, active
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        p = self.palette
        runs: list[Run] = []
        for key, (name, title) in enumerate(self.names, 1):
            runs.append(
                (f" {key} {title} ", p.selected if name == self.active else p.muted)
            )
        self.put([runs])

    def on_click(self, event: events.Click) -> None:
        at = 0
        for key, (name, title) in enumerate(self.names, 1):
            at += cell_len(f" {key} {title} ")
            if event.x < at:
                self.post_message(self.Picked(name))
                return

    class Picked(Message):
        """A tab was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name


class Hints(Bar):
    """The keys that matter most, or for a while something to be said."""

    pairs: Sequence[tuple[str, str]] = ()
    said: tuple[str, Style] | None = None

    def show(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = pairs
        self._draw()

    def say(self, text: str, style: Style | None = None) -> None:
        """Show a message in place of the keys; an empty one brings them back."""
        said = (visible(text), style or self.palette.text) if text else None
        if said != self.said:
            self.said = said
            self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        width, p = self.inner_width, self.palette
        if self.said is not None:
            self.put([[(" ", p.text), (fit(self.said[0], width - 2), self.said[1])]])
            return
        runs: list[Run] = []
        used = 0
        last = f" {self.pairs[-1][0]} {self.pairs[-1][1]} " if self.pairs else ""
        for index, (key, word) in enumerate(self.pairs):
            cells = cell_len(f" {key} {word} ")
            # The last one is help: it stays when others go.
            if index < len(self.pairs) - 1 and used + cells + cell_len(last) > width:
                continue
            runs += [(f" {key}", p.accent), (f" {word} ", p.muted)]
            used += cells
        self.put([runs])
