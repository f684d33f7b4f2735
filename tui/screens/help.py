"""Help: every key from the registry, and what colours and marks mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui.actions import NO_KEYMAP, SCOPE_TITLES, Keymap, Scope, commands
from tui.glyphs import DOWN, UP, fit, number
from tui.palette import NAMES, STEPS, Palette
from tui.screens.texts import TextScreen
from tui.widgets.reading import Row


def help_lines(
    palette: Palette, threshold: float, here: Sequence[Scope] = (), keymap: Keymap = NO_KEYMAP
) -> Iterator[Row]:
    """All lines of the help: the keys of the scopes ``here``, what colours and marks mean, then all other keys."""
    for scope in here:
        yield from _keys(scope, palette, keymap)
    yield [("", palette.text)]
    yield [(" Colours and marks", palette.strong)]
    yield [("   Δ = log p of A − log p of B for the same token, in nats.", palette.text)]
    yield [(f"   A token beyond the threshold (t + −, now {number(threshold)}) is marked:", palette.text)]
    for sign, mark, words in ((1, UP, "A more likely"), (-1, DOWN, "A less likely")):
        runs = [("   ", palette.text)]
        for step in range(1, STEPS + 1):
            runs += [(f" {mark}{NAMES[step - 1]} ", palette.level(sign * step)), (" ", palette.text)]
        yield [*runs, (f" {words}", palette.text)]
    yield [("   ┊ prompt, dim   │ completion   · no number   ▸ the token itself", palette.text)]
    yield [("   < -7.3  not among that side's top-k, so it lies below its last value", palette.text)]
    rest = [scope for scope in SCOPE_TITLES if scope not in here]
    if here and rest:
        yield [("", palette.text)]
        yield [(" Elsewhere", palette.strong)]
    for scope in rest:
        yield from _keys(scope, palette, keymap)


def _keys(scope: Scope, palette: Palette, keymap: Keymap) -> Iterator[Row]:
    yield [("", palette.text)]
    yield [(f" {SCOPE_TITLES[scope]}", palette.strong)]
    for command in commands(scope):
        keys = " ".join(command.shown_keys(keymap)) or "palette"
        yield [("   ", palette.text), (fit(keys, 16), palette.accent), (command.help, palette.text)]


def help_screen(
    palette: Palette, threshold: float, here: Sequence[Scope] = (), keymap: Keymap = NO_KEYMAP
) -> TextScreen:
    return TextScreen("Help", list(help_lines(palette, threshold, here, keymap)))
