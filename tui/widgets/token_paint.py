"""How a token is drawn: its mark, its style by level, the letters of a label, and the
legend that explains them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.cells import cell_len
from rich.style import Style

from logdrift.core.numbers import percent
from logdrift.tui.glyphs import BROKEN_MARK, DOWN, HIGH, HIGHEST, UP
from logdrift.tui.modes import Legend
from logdrift.tui.palette import BROKEN, STEPS, Palette
from logdrift.tui.widgets.lines import Run

MARKS = {
    **dict.fromkeys(range(1, STEPS + 1), UP),
    **dict.fromkeys(range(-STEPS, 0), DOWN),
    2 * STEPS - 1: HIGH,
    2 * STEPS: HIGHEST,
    BROKEN: BROKEN_MARK,
}
HAS_MARK = np.array([level in MARKS for level in range(-STEPS, BROKEN + 1)])
"""Whether a level has one, at level + `STEPS`."""
FOUND = 100
"""Keys of the styles of a match in `token_styles`: without a level, and with one."""


def token_styles(palette: Palette, plain: Style, greyed: bool) -> dict[int, Style]:
    """The style of every level, and of a match."""
    levels = range(-STEPS, 2 * STEPS + 1)
    return {
        **{level: palette.grey if greyed else palette.level(level) for level in levels},
        0: plain,
        BROKEN: palette.bad,  # grey or not: it is the reason
        FOUND: palette.found,
        FOUND + 1: palette.found + Style(underline=True),
    }


def headed(piece: str, mark: str, label: str) -> str:
    """A token's first fragment with its mark, behind a leading blank, and with a label
    over its first cells.
    """
    text = f" {mark}{piece[1:]}" if mark and piece.startswith(" ") else mark + piece
    if not label:
        return text
    if len(label) == 1 and text.startswith(f" {mark}") and cell_len(text) > 1:
        return f" {label}{_without(text, 2)}"
    return label + _without(text, len(label))


def _without(text: str, cells: int) -> str:
    """``text`` without its first cells; a blank for half of a wide character."""
    total = cell_len(text)
    while cell_len(text) > total - cells:
        text = text[1:]
    return " " * (total - cells - cell_len(text)) + text


def legend_runs(
    legend: Legend, greyed: bool, width: int, palette: Palette
) -> list[Run]:
    """The widest form of a legend that fits: both sides, one side, no steps."""
    head: list[Run] = [(f" {legend.head} ", palette.strong)]
    if legend.missing is not None:
        return [*head, (f"not here: {legend.missing}", palette.warn)]
    share = percent(legend.beyond or 0, legend.scored)
    counts = (
        [
            f"{legend.beyond:,} beyond ({share})",
            f"{legend.beyond:,} ({share})",
            f"{legend.beyond:,}",
        ]
        if legend.beyond is not None
        else []
    )
    forms = list(_scales(legend, greyed, palette))
    for form in forms:
        # The short count only where it saves the steps, or else there were none at all.
        for count in (counts[:1] if form in forms[:-2] else counts) or ["counting…"]:
            tail: list[Run] = [*_broken(legend, palette), (f" {count} ", palette.muted)]
            cells = sum(cell_len(text) for text, _ in [*head, *form, *tail])
            if cells <= width:
                return [*head, *form, (" " * (width - cells), palette.text), *tail]
    return [*head, *forms[-1]]


def _broken(legend: Legend, palette: Palette) -> list[Run]:
    return (
        [(f" {BROKEN_MARK} {legend.broken:,} NaN", palette.bad)]
        if legend.broken
        else []
    )


def _scales(legend: Legend, greyed: bool, palette: Palette) -> Iterator[list[Run]]:
    styles = token_styles(palette, palette.text, greyed)
    gap: Run = (" ", palette.text)
    rising: list[Run] = []
    for level, bound in legend.steps:
        mark = MARKS.get(level, "") if not legend.diverging else ""
        rising += [gap, (f"{mark}>{bound}", styles[level])]
    if not legend.diverging:
        yield rising
        yield [(text.replace(">", ""), style) for text, style in rising]
        yield [(f">{legend.steps[0][1]}", styles[legend.steps[0][0]])]
        return
    falling: list[Run] = []
    for level, bound in reversed(legend.steps):
        falling += [(f">{bound}", styles[-level]), gap]
    yield [
        (f"{DOWN} B more ", palette.muted),
        *falling,
        ("│", palette.muted),
        *rising,
        (f" A more {UP}", palette.muted),
    ]
    yield [
        (DOWN, palette.muted),
        *falling,
        ("│", palette.muted),
        *rising,
        (UP, palette.muted),
    ]
    yield [(f"{UP} A {DOWN} B more", palette.muted), *rising]
    short = [(text.removeprefix(">"), style) for text, style in rising]
    yield [(f"{UP}{DOWN}", palette.muted), *short]
    yield [(f"{UP}{DOWN} >{legend.steps[0][1]}", palette.muted)]
