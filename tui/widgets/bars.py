"""The lines above and below the panes: header, answer, tabs of a narrow screen,
keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.style import Style
from textual.events import Click, Resize
from textual.message import Message

from logdrift.core.numbers import number
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.heading import Heading
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run, Runs, Text, strip_of

if TYPE_CHECKING:
    from logdrift.tui.models.answer import AnswerLine

_NO_PAIR = "no pair to compare yet"
_SHORT_NAME = 16
"""Cells of a session's name that are kept while other parts can be left out."""


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
    """Session, pair, verdict, MAE and progress; below them what is wrong, if
    anything.
    """

    heading: Heading | None = None

    def show(self, heading: Heading) -> None:
        if heading != self.heading:
            self.heading = heading
            self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self.heading is not None and self.size.width:
            self.put(heading_rows(self.heading, self.inner_width, self.palette))


def heading_rows(heading: Heading, width: int, palette: Palette) -> list[Runs]:
    """The header's lines in ``width`` cells.

    Where there is no room for all, the parts that matter least are left out.
    """
    margin: Run = (" ", palette.text)
    rows = [[margin, *_first_line(heading, width, palette)]]
    if heading.reason:
        style = palette.verdict(heading.verdict)
        rows.append([margin, (fit(heading.reason, width - 2), style)])
    for problem in heading.problems:
        rows.append([margin, (fit(problem, width - 2), palette.bad)])
    return rows


def _first_line(heading: Heading, width: int, palette: Palette) -> Runs:
    verdict = _verdict(heading, palette)
    state = _state(heading, palette)
    counts = _counts(heading, palette)
    numbers = _numbers(heading, palette)
    pair_width = _pair_width(heading.pair)
    whole_name = cell_len(heading.name)
    shortest_name = min(whole_name, _SHORT_NAME)
    used = 2 + shortest_name + pair_width + _cells([*verdict, *state])
    if used + _cells(counts) > width:
        counts = []
    used += _cells(counts)
    for number_runs in numbers:
        used += _cells(number_runs)
        if used > width:
            break
        verdict += number_runs

    room = width - 2 - _cells([*counts, *verdict, *state])
    name_width = min(whole_name, max(8, room - pair_width))
    name = (fit(heading.name, name_width), palette.strong)
    pair = _pair(heading.pair, room - name_width, palette)
    return [name, *counts, *pair, *verdict, *state]


def _state(heading: Heading, palette: Palette) -> Runs:
    """How far a running capture is, or that the session is not complete."""
    gap: Run = ("  ", palette.text)
    if heading.state == "complete":
        return []
    if heading.state != "running":
        return [gap, (heading.state, palette.warn)]
    words = "capturing"
    if heading.running is not None:
        words += f" {heading.running:.0%}"
    if heading.left:
        words += f" {heading.left} left"
    return [gap, (words, palette.accent)]


def _verdict(heading: Heading, palette: Palette) -> Runs:
    """The verdict and the mean absolute error, and how many tokens are left out of
    it.
    """
    if heading.pair is None:
        return []
    gap: Run = ("  ", palette.text)
    words = VERDICTS.get(heading.verdict or "", "judging")
    mae = "…"
    if heading.verdict:
        mae = number(heading.mae)
    style = palette.strong
    if heading.verdict == "not_comparable":
        style = palette.muted
    runs: Runs = [
        gap,
        (words, palette.verdict(heading.verdict)),
        gap,
        ("MAE ", palette.muted),
        (mae, style),
    ]
    if heading.broken:
        runs += [gap, (f"{heading.broken:,} NaN", palette.bad)]
    if heading.infinite:
        runs += [gap, (f"{heading.infinite} infinite", palette.warn)]
    return runs


def _counts(heading: Heading, palette: Palette) -> Runs:
    text = f"  {heading.sequences:,} seq · {heading.tokens:,} tok"
    return [(text, palette.muted)]


def _numbers(heading: Heading, palette: Palette) -> list[Runs]:
    """k3, floor and ESS, the most important first."""
    if heading.pair is None or not heading.measured:
        return []
    style = palette.text
    if heading.verdict == "not_comparable":
        style = palette.muted
    floor = "none"
    if heading.floor is not None:
        floor = number(heading.floor, 3)
    values = {
        "k3": number(heading.k3, 3),
        "floor": floor,
        "ESS": number(heading.ess, 3),
    }
    muted = palette.muted
    return [[(f"  {name} ", muted), (text, style)] for name, text in values.items()]


def _pair_width(pair: tuple[str, str] | None) -> int:
    """Cells of the pair with its gaps, where nothing is cut."""
    if pair is None:
        return 2 + cell_len(_NO_PAIR)
    return 5 + sum(map(cell_len, pair))


def _pair(pair: tuple[str, str] | None, room: int, palette: Palette) -> Runs:
    """Both labels in ``room`` cells; a long one takes the cells that a short one
    leaves.
    """
    gap: Run = ("  ", palette.text)
    if pair is None:
        return [gap, (_NO_PAIR, palette.warn)]
    half = max(6, (room - 5) // 2)
    shorter = min(map(cell_len, pair))
    spare = max(0, half - shorter)
    a, b = (_cut(label, half + spare) for label in pair)
    return [
        gap,
        (a, palette.text),
        (f" {ARROW} ", palette.muted),
        (b, palette.text),
    ]


def _cut(label: str, most: int) -> str:
    """A label in at most ``most`` cells."""
    return fit(label, min(cell_len(label), most))


def _cells(runs: Sequence[Run]) -> int:
    return sum(cell_len(text) for text, _ in runs)


class AnswerBar(Bar):
    """The answer of the pair in one line, cut to the width.

    Until it is known the line is blank, or with ``rule`` a rule.
    """

    def __init__(self, *, id: str, rule: bool = False) -> None:
        super().__init__(id=id)
        self._rule = rule
        self.answer: AnswerLine | None = None
        self._key = ""

    def show(self, answer: AnswerLine | None, key: str) -> None:
        """Show an answer; ``key`` is the one that shows it in full."""
        if answer == self.answer and key == self._key:
            return
        self.answer = answer
        self._key = key
        self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if not self.size.width:
            return
        runs = answer_runs(
            self.answer,
            self._key,
            self.inner_width,
            self.palette,
            rule=self._rule,
        )
        self.put([runs])


def answer_runs(
    answer: AnswerLine | None,
    key: str,
    width: int,
    palette: Palette,
    *,
    rule: bool = False,
) -> Runs:
    """The answer in ``width`` cells: whole, or cut and with the ``key`` for all of
    it.
    """
    muted = palette.muted
    if answer is None:
        edge = "─" if rule else " "
        return [(edge * width, muted)]
    begin = "─ " if rule else " "
    style = palette.meaning(answer.meaning)
    room = width - len(begin) - 1
    spare = room - cell_len(answer.sentence)
    if spare >= 0:
        end = ""
        if rule:
            end = f" {'─' * spare}"
        return [(begin, muted), (answer.sentence, style), (end, muted)]
    more = ""
    if key:
        more = f"{key} all"
    return [
        (begin, muted),
        (fit(answer.sentence, room - cell_len(more) - 1), style),
        (" ", muted),
        (more, palette.accent),
    ]


class Tabs(Bar):
    """Names of the panes of a narrow screen, the shown one marked."""

    names: Sequence[tuple[str, str]] = ()
    active = ""

    def show(self, names: Sequence[tuple[str, str]], active: str) -> None:
        self.names = names
        self.active = active
        self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        runs: Runs = []
        for name, text in self._texts():
            style = self.palette.muted
            if name == self.active:
                style = self.palette.selected
            runs.append((text, style))
        self.put([runs])

    def _texts(self) -> Iterator[tuple[str, str]]:
        """Each pane's name and its text, with the key that shows it."""
        for key, (name, title) in enumerate(self.names, 1):
            yield name, f" {key} {title} "

    def on_click(self, event: Click) -> None:
        end = 0
        for name, text in self._texts():
            end += cell_len(text)
            if event.x < end:
                self.post_message(self.Picked(name))
                return

    class Picked(Message):
        """A tab was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name


class Hints(Bar):
    """The keys that matter most, or for a while a message."""

    pairs: Sequence[tuple[str, str]] = ()
    message: tuple[str, Style] | None = None

    def show(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = pairs
        self._draw()

    def say(self, text: str, style: Style | None = None) -> None:
        """Show a message in place of the keys; an empty one brings them back."""
        if text:
            message = (visible(text), style or self.palette.text)
        else:
            message = None
        if message != self.message:
            self.message = message
            self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self.message is None:
            self.put([self._keys()])
            return
        text, style = self.message
        margin: Run = (" ", self.palette.text)
        self.put([[margin, (fit(text, self.inner_width - 2), style)]])

    def _keys(self) -> Runs:
        """As many keys as fit. The last one is the key of help, which always stays."""
        *others, help_pair = self.pairs or [("", "")]
        room = self.inner_width - _hint_cells(help_pair)
        fitting: list[tuple[str, str]] = []
        for pair in others:
            cells = _hint_cells(pair)
            if cells <= room:
                fitting.append(pair)
                room -= cells
        fitting.append(help_pair)
        palette = self.palette
        runs: Runs = []
        for key, word in fitting:
            runs.append((f" {key}", palette.accent))
            runs.append((f" {word} ", palette.muted))
        return runs


def _hint_cells(pair: tuple[str, str]) -> int:
    key, word = pair
    return cell_len(f" {key} {word} ")
