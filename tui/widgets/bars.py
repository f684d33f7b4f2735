"""The lines above and below the panes: header, tabs of a narrow screen, keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.style import Style
from textual.events import Click, Key, Resize
from textual.keys import key_to_character
from textual.message import Message
from textual.message_pump import MessagePump
from textual.timer import Timer

from logdrift.core.numbers import number
from logdrift.core.session.visible import visible
from logdrift.tui.actions import Hint
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.heading import Heading
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Row, Run, Runs, Text, strip_of

SECONDS_AT_LEAST = 4.0
CHARACTERS_A_SECOND = 15
"""How long a message is shown: this many seconds, and the time to read it."""
_NO_PAIR = "no pair to compare yet"
_SHORT_NAME = 16
"""Cells of a session's name that are kept while other parts can be left out."""


class Bar(Text, can_focus=False):
    """A pane of one or a few lines that takes as much height as it has lines."""

    @property
    def inner_width(self) -> int:
        width = self.size.width
        return max(1, width)

    def put(self, rows: Sequence[Row]) -> None:
        """Show rows of runs; the height follows."""
        count = len(rows)
        height = self.styles.height
        if height is None or height.value != count:
            self.styles.height = count
        width = self.inner_width
        strips = []
        for row in rows:
            strip = strip_of(row, width)
            strips.append(strip)
        self.set_lines(strips)

    def draw(self) -> None:
        """Put the rows for the present width; nothing where the screen puts them."""

    def on_resize(self, event: Resize) -> None:
        self.draw()


class HeaderPart(NamedTuple):
    """A part of the header, and the command of the explorer that a click on it runs."""

    action: str
    runs: Runs


_PROBLEM = "log"
"""What a click on a line with a problem runs."""


class Header(Bar):
    """Session, pair and progress; below them what is wrong, if anything.

    A click on a part opens what tells more about it.
    """

    heading: Heading | None = None

    def show(self, heading: Heading) -> None:
        if heading != self.heading:
            self.heading = heading
            self.draw()

    def draw(self) -> None:
        heading = self.heading
        if heading is None:
            return
        if self.size.width:
            width = self.inner_width
            rows = heading_rows(heading, width, self.palette)
            self.put(rows)

    async def on_click(self, event: Click) -> None:
        event.stop()
        action = self._action_at(event.x, event.y)
        if action:
            await self.screen.run_action(action)

    def _action_at(self, x: int, y: int) -> str:
        """The command of what stands at a cell; "" for none."""
        heading = self.heading
        if heading is None:
            return ""
        if y > 0:
            return _PROBLEM
        end = 1
        for part in heading_parts(heading, self.inner_width, self.palette):
            end += _cells(part.runs)
            if x < end:
                return part.action
        return ""


def heading_rows(heading: Heading, width: int, palette: Palette) -> list[Runs]:
    """The header's lines in ``width`` cells.

    Where there is no room for all, the parts that matter least are left out.
    """
    margin: Run = (" ", palette.text)
    room = width - 2
    first: Runs = [margin]
    for part in heading_parts(heading, width, palette):
        first += part.runs
    rows = [first]
    for problem in heading.problems:
        text = fit(problem, room)
        run = (text, palette.bad)
        rows.append([margin, run])
    return rows


def heading_parts(
    heading: Heading, width: int, palette: Palette
) -> tuple[HeaderPart, ...]:
    """The parts of the first line, as many as there is room for."""
    pair = heading.pair
    missing = _missing(heading, palette)
    state = _state(heading, palette)
    counts = _counts(heading, palette)
    numbers = _numbers(heading, palette)
    pair_cells = _pair_cells(pair)
    whole_name = cell_len(heading.name)
    shortest_name = min(whole_name, _SHORT_NAME)
    used = 2 + shortest_name + pair_cells
    used += _cells(missing)
    used += _cells(state)
    if used + _cells(counts) > width:
        counts = []
    used += _cells(counts)
    measured: Runs = []
    for number_runs in numbers:
        used += _cells(number_runs)
        if used > width:
            break
        measured += number_runs

    others = [*counts, *missing, *measured, *state]
    room = width - 2 - _cells(others)
    room_for_name = max(8, room - pair_cells)
    name_cells = min(whole_name, room_for_name)
    name = fit(heading.name, name_cells)
    pair_runs = _pair(pair, room - name_cells, palette)
    return (
        HeaderPart("facts", [(name, palette.strong)]),
        HeaderPart("pane('sequences')", counts),
        HeaderPart("pair", pair_runs),
        HeaderPart("why", missing),
        HeaderPart("report", measured),
        HeaderPart("log", state),
    )


def _state(heading: Heading, palette: Palette) -> Runs:
    """How far a running capture is, or that the session is not complete."""
    gap: Run = ("  ", palette.text)
    state = heading.state
    if state == "complete":
        return []
    if state != "running":
        return [gap, (state, palette.warn)]
    words = "capturing"
    share = heading.running
    if share is not None:
        words += f" {share:.0%}"
    if heading.left:
        words += f" {heading.left} left"
    return [gap, (words, palette.accent)]


def _missing(heading: Heading, palette: Palette) -> Runs:
    """How many tokens are left out of the numbers, and why."""
    if heading.pair is None:
        return []
    gap: Run = ("  ", palette.text)
    runs: Runs = []
    if heading.broken:
        words = f"{heading.broken:,} NaN"
        runs += [gap, (words, palette.bad)]
    if heading.infinite:
        words = f"{heading.infinite:,} infinite"
        runs += [gap, (words, palette.warn)]
    return runs


def _counts(heading: Heading, palette: Palette) -> Runs:
    text = f"  {heading.sequences:,} seq · {heading.tokens:,} tok"
    return [(text, palette.muted)]


def _numbers(heading: Heading, palette: Palette) -> list[Runs]:
    """k3 and ESS, the most important first."""
    if heading.pair is None or not heading.measured:
        return []
    style = palette.text
    if heading.refused:
        style = palette.muted
    values = {
        "k3": number(heading.k3, 3),
        "ESS": number(heading.ess, 3),
    }
    numbers: list[Runs] = []
    for name, text in values.items():
        head = (f"  {name} ", palette.muted)
        value = (text, style)
        numbers.append([head, value])
    return numbers


def _pair_cells(pair: tuple[str, str] | None) -> int:
    """Cells of the pair with its gaps, where nothing is cut."""
    if pair is None:
        return 2 + cell_len(_NO_PAIR)
    a, b = map(cell_len, pair)
    return 5 + a + b


def _pair(pair: tuple[str, str] | None, room: int, palette: Palette) -> Runs:
    """Both labels in ``room`` cells; a long one takes the cells that a short one
    leaves.
    """
    gap: Run = ("  ", palette.text)
    if pair is None:
        return [gap, (_NO_PAIR, palette.warn)]
    room_for_labels = room - 5
    half = max(6, room_for_labels // 2)
    shorter = min(map(cell_len, pair))
    spare = max(0, half - shorter)
    most = half + spare
    a, b = pair
    a = _cut(a, most)
    b = _cut(b, most)
    arrow = f" {ARROW} "
    return [
        gap,
        (a, palette.text),
        (arrow, palette.muted),
        (b, palette.text),
    ]


def _cut(label: str, most: int) -> str:
    """A label in at most ``most`` cells."""
    cells = cell_len(label)
    return fit(label, min(cells, most))


def _cells(runs: Sequence[Run]) -> int:
    widths = [cell_len(text) for text, _ in runs]
    return sum(widths)


class Tabs(Bar):
    """Names of the panes of a narrow screen, the shown one marked.

    ``numbered``: digits choose among them, and stand before the names.
    """

    names: Sequence[tuple[str, str]] = ()
    active = ""
    numbered = True

    def show(
        self, names: Sequence[tuple[str, str]], active: str, *, numbered: bool = True
    ) -> None:
        self.names = names
        self.active = active
        self.numbered = numbered
        self.draw()

    def draw(self) -> None:
        palette = self.palette
        runs: Runs = []
        for name, text in self._texts():
            style = palette.muted
            if name == self.active:
                style = palette.selected
            runs.append((text, style))
        self.put([runs])

    def _texts(self) -> Iterator[tuple[str, str]]:
        """Each pane's name and its text, with the key that shows it."""
        for key, (name, title) in enumerate(self.names, 1):
            if self.numbered:
                title = f"{key} {title}"
            yield name, f" {title} "

    def on_click(self, event: Click) -> None:
        end = 0
        for name, text in self._texts():
            end += cell_len(text)
            if event.x < end:
                picked = self.Picked(name)
                self.post_message(picked)
                return

    class Picked(Message):
        """A tab was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name


class Hints(Bar):
    """The keys that matter most, or for a while a message.

    A click on a key does what the key does; a click on a message brings the keys back.
    """

    hints: Sequence[Hint] = ()
    message: tuple[str, Style] | None = None
    _timer: Timer | None = None

    def show(self, hints: Sequence[Hint]) -> None:
        if hints != self.hints:
            self.hints = hints
            self.draw()

    def say(
        self, text: str, style: Style | None = None, *, stays: bool = False
    ) -> None:
        """Show a message in place of the keys; an empty one brings them back.

        It goes by itself once it could be read, unless it ``stays``.
        """
        message = None
        if text:
            style = style or self.palette.text
            message = (visible(text), style)
        self._end_timer()
        if text and not stays:
            seconds = seconds_to_read(text)
            self._timer = self.set_timer(seconds, self._bring_back)
        if message != self.message:
            self.message = message
            self.draw()

    def _bring_back(self) -> None:
        self.say("")

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def draw(self) -> None:
        if self.message is None:
            self.put([self._keys()])
            return
        text, style = self.message
        room = self.inner_width - 2
        palette = self.palette
        margin: Run = (" ", palette.text)
        words = (fit(text, room), style)
        self.put([[margin, words]])

    def _keys(self) -> Runs:
        """As many keys as fit."""
        palette = self.palette
        runs: Runs = []
        for hint in fitting(self.hints, self.inner_width):
            if hint.name:
                runs.append((f" {hint.name}", palette.accent))
            runs.append((f" {hint.word} ", palette.muted))
        return runs

    def on_click(self, event: Click) -> None:
        event.stop()
        if self.message is not None:
            self._bring_back()
            return
        hint = self._hint_at(event.x)
        if hint is not None and hint.key:
            press(self.app, hint.key)

    def _hint_at(self, x: int) -> Hint | None:
        end = 0
        for hint in fitting(self.hints, self.inner_width):
            end += _hint_cells(hint)
            if x < end:
                return hint
        return None


def press(app: MessagePump, key: str) -> None:
    """Do what a key does, as if it had been pressed."""
    character = key
    if len(key) > 1:
        character = key_to_character(key) or ""
    app.post_message(Key(key, character or None))


def seconds_to_read(text: str) -> float:
    """How long a message is shown."""
    return SECONDS_AT_LEAST + len(text) / CHARACTERS_A_SECOND


def fitting(hints: Sequence[Hint], width: int) -> list[Hint]:
    """The hints that there is room for, in their order.

    Those that stay are given their room first, the last one always.
    """
    kept = set(_kept(hints, width))
    return [hint for hint in hints if hint in kept]


def _kept(hints: Sequence[Hint], room: int) -> Iterator[Hint]:
    staying = [hint for hint in hints if hint.stays]
    others = [hint for hint in hints if not hint.stays]
    for hint in [*reversed(staying), *others]:
        cells = _hint_cells(hint)
        if cells <= room:
            yield hint
            room -= cells


def _hint_cells(hint: Hint) -> int:
    words = f" {hint.word} "
    if hint.name:
        words = f" {hint.name}{words}"
    return cell_len(words)
