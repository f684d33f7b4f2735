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


def help_lines(
    palette: Palette,
    threshold: float,
    here: Sequence[Scope] = (),
    keymap: Keymap = NO_KEYMAP,
) -> Iterator[Row]:
    """All lines of the help: the keys of the scopes ``here``, what colours and marks
    mean, then all other keys.
    """

    def said(text: str) -> Row:
        return Hanging([("   ", palette.text), (text, palette.text)])

    for scope in here:
        yield from _keys(scope, palette, keymap, about=True)
    yield [("", palette.text)]
    yield [(" Colours and marks", palette.strong)]
    yield said("Δ = log p of A − log p of B for the same token, in nats.")
    yield said(
        f"A token beyond the threshold (t + −, now {number(threshold)}) is marked:"
    )
    for sign, mark, words in ((1, UP, "A more likely"), (-1, DOWN, "A less likely")):
        runs = [("   ", palette.text)]
        for step in range(1, STEPS + 1):
            runs += [
                (f" {mark}{NAMES[step - 1]} ", palette.level(sign * step)),
                (" ", palette.text),
            ]
        yield [*runs, (f" {words}", palette.text)]
    yield [
        ("   ", palette.text),
        (f" {BROKEN_MARK} ", palette.level(BROKEN)),
        ("  NaN on a side, whatever the threshold", palette.text),
    ]
    yield said(
        "┊ prompt, dim   │ completion   · no number   ▸ the token itself   * your mark"
    )
    yield said("< -7.3  not among that side's top-k, so it lies below its last value")
    yield said("‹  part of a character that a later token completes")
    yield [
        ("   ", palette.text),
        (" found ", palette.found),
        ("  what was searched for   ", palette.text),
        (f" {UP} grey ", palette.grey),
        ("  a pair that cannot be compared", palette.text),
    ]
    yield from _modes(palette)
    rest = [scope for scope in SCOPE_TITLES if scope not in here]
    if here and rest:
        yield [("", palette.text)]
        yield [(" Elsewhere", palette.strong)]
    for scope in rest:
        yield from _keys(scope, palette, keymap)


def _modes(palette: Palette) -> Iterator[Row]:
    """What tokens can be coloured by: each has its own threshold, and the steps lie at
    1, 2, 4 and 8 times that.
    """
    yield [("", palette.text)]
    yield [(" What tokens are coloured by (o, O: choose)", palette.strong)]
    single: list[Run] = [("   no sign: ", palette.text)]
    for step, name in enumerate(NAMES[:STEPS]):
        mark = MARKS.get(STEPS + 1 + step, "")
        single += [(f" {mark}{name} ", palette.single[step]), (" ", palette.text)]
    yield single
    for mode in MODES:
        if mode.diverging:
            signs = f"{UP} {DOWN}"
        else:
            signs = f"{HIGH} {HIGHEST}"
        title = (fit(mode.title, 14), palette.accent)
        yield Hanging(
            [
                ("   ", palette.text),
                title,
                (f"{signs}  ", palette.muted),
                (mode.words, palette.text),
            ]
        )


def _keys(
    scope: Scope, palette: Palette, keymap: Keymap, about: bool = False
) -> Iterator[Row]:
    yield [("", palette.text)]
    yield [(f" {SCOPE_TITLES[scope]}", palette.strong)]
    if about and scope in ABOUT:
        yield Hanging([("   ", palette.muted), (ABOUT[scope], palette.muted)])
    for command in commands(scope):
        keys = " ".join(command.key_names(keymap)) or "palette"
        yield Hanging(
            [
                ("   ", palette.text),
                (fit(keys, 16), palette.accent),
                (command.help, palette.text),
            ]
        )


def help_screen(
    palette: Palette,
    threshold: float,
    here: Sequence[Scope] = (),
    keymap: Keymap = NO_KEYMAP,
) -> TextScreen:
    return TextScreen("Help", list(help_lines(palette, threshold, here, keymap)))
