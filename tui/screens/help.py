"""Help: every key from the registry, and what colours and marks mean."""

from __future__ import annotations

from collections.abc import Iterator

from rich.style import Style

from tui.actions import SCOPE_TITLES, commands
from tui.glyphs import DOWN, UP, fit, number
from tui.palette import NAMES, STEPS, Palette
from tui.screens.texts import Row, TextScreen


def help_lines(palette: Palette, threshold: float) -> Iterator[Row]:
    """All lines of the help."""
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
    for scope, title in SCOPE_TITLES.items():
        yield [("", palette.text)]
        yield [(f" {title}", palette.strong)]
        for command in commands(scope):
            keys: Style = palette.accent
            yield [("   ", palette.text), (fit(" ".join(command.key_names), 16), keys), (command.help, palette.text)]


def help_screen(palette: Palette, threshold: float) -> TextScreen:
    return TextScreen("Help", list(help_lines(palette, threshold)))
