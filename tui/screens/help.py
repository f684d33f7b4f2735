"""Help: every key from the registry, and what colours and marks mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from logdrift.core.numbers import number
from logdrift.tui.actions import NO_KEYMAP, SCOPE_TITLES, Keymap, Scope, commands
from logdrift.tui.glyphs import BROKEN_MARK, DOWN, HIGH, HIGHEST, UP, fit
from logdrift.tui.models.modes import MODES
from logdrift.tui.palette import BROKEN, NAMES, STEPS, Palette
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import Hanging, Row
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
)
_INDENT = "   "
_STEP_NAMES = NAMES[:STEPS]


class HelpScreen(TextScreen):
    """The help: the key that opened it closes it too."""

    SAVED_AS = "logdrift-help.txt"


def help_lines(
    palette: Palette,
    threshold: float,
    here: Sequence[Scope] = (),
    keymap: Keymap = NO_KEYMAP,
) -> Iterator[Row]:
    """All lines of the help: the keys of the scopes ``here``, what colours and marks
    mean, then all other keys.
    """
    for scope in here:
        yield from _title(SCOPE_TITLES[scope], palette)
        yield from _about(scope, palette)
        yield from _keys(scope, palette, keymap)
    yield from _colours(palette, threshold)
    yield from _marks(palette)
    yield from _modes(palette)
    rest = [scope for scope in SCOPE_TITLES if scope not in here]
    if here and rest:
        yield from _title("Elsewhere", palette)
    for scope in rest:
        yield from _title(SCOPE_TITLES[scope], palette)
        yield from _keys(scope, palette, keymap)


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
        if mode.diverging:
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


def _keys(scope: Scope, palette: Palette, keymap: Keymap) -> Iterator[Row]:
    """The commands of a scope with their keys."""
    for command in commands(scope):
        names = command.key_names(keymap)
        keys = " ".join(names) or "palette"
        yield Hanging(
            [
                (_INDENT, palette.text),
                (fit(keys, 16), palette.accent),
                (command.help, palette.text),
            ]
        )


def help_screen(
    palette: Palette,
    threshold: float,
    here: Sequence[Scope] = (),
    keymap: Keymap = NO_KEYMAP,
) -> HelpScreen:
    """The window with all lines of the help."""
    lines = help_lines(palette, threshold, here, keymap)
    return HelpScreen("Help", list(lines))
