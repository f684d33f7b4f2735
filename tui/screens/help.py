"""Help: every key from the registry, and what colours and marks mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from logdrift.core.numbers import number
from logdrift.tui.actions import (
    NO_KEYMAP,
    SCOPE_TITLES,
    Command,
    Keymap,
    Scope,
    commands,
)
from logdrift.tui.actions.grammar import meanings
from logdrift.tui.actions.groups import GROUPS, group_of, grouped
from logdrift.tui.actions.key_names import key_names
from logdrift.tui.glyphs import BROKEN_MARK, DOWN, HIGH, HIGHEST, UP, fit
from logdrift.tui.models.modes import MODES
from logdrift.tui.palette import BROKEN, NAMES, STEPS, Palette
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.columns import Block, in_columns
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import Hanging, Line, Reading, Row, plain
from logdrift.tui.widgets.token_paint import MARKS

ABOUT: dict[Scope, str] = {
    "sessions": (
        "One session a row; the line below says what the selected one does or lacks."
    ),
    "explorer": "One pair of captures, A → B, over all sequences of the session.",
    "move": "The text of one sequence; coloured tokens lie beyond the threshold.",
    "list": "One row each; Enter takes it.",
    "inspector": (
        "The token under the cursor: every capture's numbers, the top-k lists side by"
        " side."
    ),
    "chart": (
        "A column of the chart is a place in the text: moving here moves the cursor"
        " there."
    ),
    "zoom": "The same chart with more room; the cursor of the text follows.",
    "matrix": (
        "Every capture (rows, A) against every capture (columns, B), by one number."
    ),
    "facts": (
        "How the captures really ran: what differs first, then what was not observed."
    ),
    "worst": "The tokens of all sequences that differ most, each in its text.",
    "limits": "What each framework calls normal, by its own definition.",
    "report": "The report as `logdrift report` writes it.",
    "why": "What explains the gap, the most likely cause first, with its evidence.",
    "experiments": (
        "One knob changed, everything else equal, captured again: what that explains of"
        " the gap."
    ),
    "layers": (
        "How far apart two backends are after each layer, for one token or sequence."
    ),
    "diff": (
        "The same pair in two sessions: what got better, by how much, and whether it"
        " is more than noise."
    ),
    "form": (
        "A plan is filled in; starting it makes a process of its own that outlives the"
        " screen."
    ),
}
"""What the pane or screen with the focus is, in one line."""
_MARKS_IN_WORDS = (
    "┊ prompt, dim   │ completion   · no number   ▸ the token itself   * your mark",
    "< -7.3  not among that side's top-k, so it lies below its last value",
    "‹  part of a character that a later token completes",
    "↻  sampled with other weights than the token before   ≠ first id that the text of"
    " the sequence does not give",
)
_MOVING_IN_WORDS = (
    "Arrows, h j k l, PgUp PgDn, Home End, g and G move; Tab goes to the next pane or"
    " text; digits choose the pane, or the chart while a chart has the focus."
)
_INDENT = "   "
_KEY_CELLS = 12
"""Cells of the keys beside what they do."""
_STEP_NAMES = NAMES[:STEPS]


class Section(NamedTuple):
    """A part of the help: lines as wide as the page, then blocks side by side."""

    lines: Sequence[Row]
    blocks: Sequence[Block]


Sections = Callable[[Palette], Iterator[Section]]
"""The help in the colours of a palette."""
_ONE_COLUMN = 88
"""Cells of a line of the help that is copied or saved."""


class HelpPage(Reading):
    """The help, laid out for the width that there is."""

    margin = ""  # its lines are indented by what they are

    def __init__(self, title: str, sections: Sections, *, id: str) -> None:
        super().__init__(title, [], id=id)
        self._sections = sections

    def rows(self, width: int) -> Iterator[Line]:
        """All lines in ``width`` cells."""
        palette = self.palette
        for section in self._sections(palette):
            yield from section.lines
            yield from in_columns(section.blocks, width, palette.text)

    def _lay_out(self) -> None:
        rows = self.rows(self.inner_width)
        self._source = list(rows)
        self.search_again()
        super()._lay_out()


class HelpScreen(TextScreen):
    """The help: the key that opened it closes it too."""

    def __init__(self, sections: Sections) -> None:
        super().__init__("Help", [])
        self._sections = sections

    def reading_of(self, title: str) -> Reading:
        return HelpPage(title, self._sections, id="text")

    def text_to_save(self) -> str:
        """The help in one column."""
        page = self.query_one(HelpPage)
        lines = [plain(row).rstrip() for row in page.rows(_ONE_COLUMN)]
        return "\n".join(lines)


def help_sections(
    palette: Palette,
    threshold: float,
    here: Sequence[Scope] = (),
    keymap: Keymap = NO_KEYMAP,
) -> Iterator[Section]:
    """The keys of the scopes ``here`` by what they are for, what every key means
    everywhere, colours and marks, then the keys of all other scopes.
    """
    if here:
        yield _here(here, palette, keymap)
    yield _everywhere(palette)
    yield Section(list(_colours_and_marks(palette, threshold)), [])
    rest = [scope for scope in SCOPE_TITLES if scope not in here]
    title = list(_title("All other keys, by where they are heard", palette))
    blocks = [_scope_block(scope, palette, keymap) for scope in rest]
    yield Section([*title, BLANK], blocks)


BLANK: Row = ()


def _here(here: Sequence[Scope], palette: Palette, keymap: Keymap) -> Section:
    """The keys that are heard where the help was opened."""
    names = [SCOPE_TITLES[scope] for scope in here if scope != "app"]
    title = "Here: " + " · ".join(names)
    lines: list[Row] = [BLANK, Hanging([(" ", palette.text), (title, palette.strong)])]
    for scope in here:
        lines += _about(scope, palette)
    heard = once_a_key(commands_of(here), keymap)
    blocks = []
    for group in grouped(heard):
        rows = [_key_row(command, palette, keymap) for command in group.commands]
        blocks.append([_heading(group.title, palette), *rows])
    return Section([*lines, BLANK], blocks)


def commands_of(scopes: Iterable[Scope]) -> Iterator[Command]:
    """The commands of the scopes, scope by scope."""
    for scope in scopes:
        yield from commands(scope)


def once_a_key(heard: Iterable[Command], keymap: Keymap) -> list[Command]:
    """The commands less those of which every key does what another one says.

    What is heard first is said; but of a row that is chosen, its screen says more.
    """
    in_order = list(heard)
    by_telling = sorted(in_order, key=_is_any_choice)
    said: set[str] = set()
    shown: set[str] = set()
    for command in by_telling:
        keys = set(command.keys_in(keymap))
        if not keys or keys - said:
            shown.add(command.id)
        said |= keys
    return [command for command in in_order if command.id in shown]


def _is_any_choice(command: Command) -> bool:
    return command.id == "list.choose"


def _everywhere(palette: Palette) -> Section:
    """One key, one meaning: the table of all keys."""
    lines = [
        *_title("One key, one meaning, wherever it does anything", palette),
        _paragraph(_MOVING_IN_WORDS, palette),
        BLANK,
    ]
    by_group: dict[str, list[Row]] = {title: [] for title in GROUPS}
    for keys, words in meanings():
        names = " ".join(key_names(keys))
        row = _two_parts(names, words, palette)
        by_group[group_of(keys[0])].append(row)
    blocks = [
        [_heading(title, palette), *rows] for title, rows in by_group.items() if rows
    ]
    return Section(lines, blocks)


def _scope_block(scope: Scope, palette: Palette, keymap: Keymap) -> Block:
    rows = [_key_row(command, palette, keymap) for command in commands(scope)]
    return [_heading(SCOPE_TITLES[scope], palette), *rows]


def _heading(text: str, palette: Palette) -> Row:
    return [(f"   {text}", palette.strong)]


def _key_row(command: Command, palette: Palette, keymap: Keymap) -> Row:
    keys = " ".join(command.key_names(keymap)) or "palette"
    return _two_parts(keys, command.help, palette)


def _two_parts(keys: str, words: str, palette: Palette) -> Row:
    """Keys, and beside them what they do."""
    cells = max(_KEY_CELLS, cell_len(keys) + 1)
    return Hanging(
        [
            (_INDENT, palette.text),
            (fit(keys, cells), palette.accent),
            (words, palette.text),
        ]
    )


def _colours_and_marks(palette: Palette, threshold: float) -> Iterator[Row]:
    yield from _colours(palette, threshold)
    yield from _marks(palette)
    yield from _modes(palette)


def _title(text: str, palette: Palette) -> Iterator[Row]:
    """An empty line, then the title of a section."""
    yield [("", palette.text)]
    yield [(f" {text}", palette.strong)]


def _paragraph(text: str, palette: Palette) -> Row:
    style = palette.text
    return Hanging([(_INDENT, style), (text, style)])


def _colours(palette: Palette, threshold: float) -> Iterator[Row]:
    """What the colours of tokens mean, by the sign and size of Δ."""
    meaning = "Δ = log p of A − log p of B for the same token, in nats."
    value = number(threshold)
    marked = f"A token beyond the threshold (t + −, now {value}) is marked:"
    yield from _title("Colours and marks", palette)
    yield _paragraph(meaning, palette)
    yield _paragraph(marked, palette)
    yield _steps(palette, 1, UP, "A more likely")
    yield _steps(palette, -1, DOWN, "A less likely")
    yield [
        (_INDENT, palette.text),
        (f" {BROKEN_MARK} ", palette.level(BROKEN)),
        ("  NaN on a side, whatever the threshold", palette.text),
    ]


def _steps(palette: Palette, sign: int, mark: str, words: str) -> Row:
    """The colours of one sign of Δ, weakest first."""
    plain = palette.text
    runs: list[Run] = [(_INDENT, plain)]
    for step, name in enumerate(_STEP_NAMES, start=1):
        style = palette.level(sign * step)
        runs.append((f" {mark}{name} ", style))
        runs.append((" ", plain))
    runs.append((f" {words}", plain))
    return runs


def _marks(palette: Palette) -> Iterator[Row]:
    """What the marks beside tokens and numbers mean."""
    for text in _MARKS_IN_WORDS:
        yield _paragraph(text, palette)
    yield [
        (_INDENT, palette.text),
        (" found ", palette.found),
        ("  what was searched for   ", palette.text),
        (f" {UP} grey ", palette.grey),
        ("  a pair that cannot be compared", palette.text),
    ]


def _modes(palette: Palette) -> Iterator[Row]:
    """What tokens can be coloured by: each has its own threshold, and the steps lie at
    1, 2, 4 and 8 times that.
    """
    yield from _title("What tokens are coloured by (o, O: choose)", palette)
    yield _steps_without_sign(palette)
    for mode in MODES:
        marks = f"{HIGH} {HIGHEST}"
        if mode.classes is not None:
            marks = "§ »"
        elif mode.diverging:
            marks = f"{UP} {DOWN}"
        title = fit(mode.title, 14)
        yield Hanging(
            [
                (_INDENT, palette.text),
                (title, palette.accent),
                (f"{marks}  ", palette.muted),
                (mode.words, palette.text),
            ]
        )


def _steps_without_sign(palette: Palette) -> Row:
    """The colours of a number that has no sign, weakest first."""
    plain = palette.text
    runs: list[Run] = [("   no sign: ", plain)]
    for step, name in enumerate(_STEP_NAMES):
        level = STEPS + 1 + step
        mark = MARKS.get(level, "")
        runs.append((f" {mark}{name} ", palette.single[step]))
        runs.append((" ", plain))
    return runs


def _about(scope: Scope, palette: Palette) -> Iterator[Row]:
    """What a scope is, where there is more to say than its title."""
    words = ABOUT.get(scope)
    if words is not None:
        muted = palette.muted
        yield Hanging([(_INDENT, muted), (words, muted)])


def help_screen(
    threshold: float,
    here: Sequence[Scope] = (),
    keymap: Keymap = NO_KEYMAP,
) -> HelpScreen:
    """The window with all lines of the help."""

    def sections(palette: Palette) -> Iterator[Section]:
        return help_sections(palette, threshold, here, keymap)

    return HelpScreen(sections)
