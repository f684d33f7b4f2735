"""How a token is drawn: its mark, its style by level, the letters of a label, and the
legend that explains them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from rich.cells import cell_len
from rich.style import Style

from logdrift.core.numbers import percent
from logdrift.tui.glyphs import BROKEN_MARK, DOWN, HIGH, HIGHEST, UP
from logdrift.tui.models.flow import Flow
from logdrift.tui.models.modes import Legend
from logdrift.tui.models.passage import Passage
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
_MATCH = 100
_MATCH_WITH_LEVEL = 101
"""Keys of the styles of a match in `token_styles`."""


def token_styles(palette: Palette, plain: Style, greyed: bool) -> dict[int, Style]:
    """The style of every level, and of a match."""
    levels = range(-STEPS, 2 * STEPS + 1)
    if greyed:
        styles = dict.fromkeys(levels, palette.grey)
    else:
        styles = {level: palette.level(level) for level in levels}
    return {
        **styles,
        0: plain,
        BROKEN: palette.bad,  # grey or not: it is the reason
        _MATCH: palette.found,
        _MATCH_WITH_LEVEL: palette.found + Style(underline=True),
    }


def styles_of(
    passage: Passage, palette: Palette, plain: Style
) -> Callable[[int], Style]:
    """The style of each token of a passage; ``plain`` is that of one without a level."""
    styles = token_styles(palette, plain, passage.greyed)
    levels = passage.levels
    matched = passage.matched

    def style(token: int) -> Style:
        level = int(levels[token])
        if matched is None or not matched[token]:
            return styles[level]
        return styles[_MATCH_WITH_LEVEL if level else _MATCH]

    return style


def pieces_of(
    passage: Passage, layout: Flow, line: int, labels: Mapping[int, str]
) -> Iterator[tuple[int, str]]:
    """Each fragment of a line: its token, and its text with mark and label."""
    start = layout.lines[line]
    stop = layout.lines[line + 1]
    tokens = layout.token[start:stop].tolist()
    kinds = layout.kind[start:stop].tolist()
    if start:
        previous = int(layout.token[start - 1])
    else:
        previous = -1
    for token, kind in zip(tokens, kinds, strict=True):
        text = layout.fragments[kind].text
        if token != previous:
            mark = MARKS.get(int(passage.levels[token]), "")
            text = headed(text, mark, labels.get(token, ""))
        previous = token
        yield token, text


def headed(piece: str, mark: str, label: str) -> str:
    """A token's first fragment with its mark, behind a leading blank, and with a label
    over its first cells.
    """
    if mark and piece.startswith(" "):
        text = f" {mark}{piece[1:]}"
    else:
        text = mark + piece
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
    scales = list(_scales(legend, greyed, palette))
    for scale, count in _forms(scales, legend):
        tail: list[Run] = [*_broken(legend, palette), (f" {count} ", palette.muted)]
        spare = width - sum(cell_len(text) for text, _ in [*head, *scale, *tail])
        if spare >= 0:
            return [*head, *scale, (" " * spare, palette.text), *tail]
    return [*head, *scales[-1]]


def _forms(scales: list[list[Run]], legend: Legend) -> Iterator[tuple[list[Run], str]]:
    """Scales with counts, the widest first.

    The short counts are used only with the last two scales: where they save the steps,
    or where else there were none at all.
    """
    counts = _count_texts(legend)
    for scale in scales[:-2]:
        yield scale, counts[0]
    for scale in scales[-2:]:
        for count in counts:
            yield scale, count


def _count_texts(legend: Legend) -> list[str]:
    """How many tokens have a level, the longest text first."""
    if legend.beyond is None:
        return ["counting…"]
    share = percent(legend.beyond, legend.scored)
    return [
        f"{legend.beyond:,} beyond ({share})",
        f"{legend.beyond:,} ({share})",
        f"{legend.beyond:,}",
    ]


def _broken(legend: Legend, palette: Palette) -> list[Run]:
    if not legend.broken:
        return []
    return [(f" {BROKEN_MARK} {legend.broken:,} NaN", palette.bad)]


def _scales(legend: Legend, greyed: bool, palette: Palette) -> Iterator[list[Run]]:
    """The steps with their colours, the widest form first."""
    styles = token_styles(palette, palette.text, greyed)
    if legend.diverging:
        yield from _diverging_scales(legend, styles, palette)
    else:
        yield from _sequential_scales(legend, styles, palette)


def _sequential_scales(
    legend: Legend, styles: Mapping[int, Style], palette: Palette
) -> Iterator[list[Run]]:
    gap: Run = (" ", palette.text)
    rising: list[Run] = []
    for level, bound in legend.steps:
        rising += [gap, (f"{MARKS.get(level, '')}>{bound}", styles[level])]
    yield rising
    yield [(text.replace(">", ""), style) for text, style in rising]
    level, bound = legend.steps[0]
    yield [(f">{bound}", styles[level])]


def _diverging_scales(
    legend: Legend, styles: Mapping[int, Style], palette: Palette
) -> Iterator[list[Run]]:
    gap: Run = (" ", palette.text)
    rising: list[Run] = []
    falling: list[Run] = []
    for level, bound in legend.steps:
        rising += [gap, (f">{bound}", styles[level])]
    for level, bound in reversed(legend.steps):
        falling += [(f">{bound}", styles[-level]), gap]
    both = [*falling, ("│", palette.muted), *rising]
    muted = palette.muted
    yield [(f"{DOWN} B more ", muted), *both, (f" A more {UP}", muted)]
    yield [(DOWN, muted), *both, (UP, muted)]
    yield [(f"{UP} A {DOWN} B more", muted), *rising]
    short = [(text.removeprefix(">"), style) for text, style in rising]
    yield [(f"{UP}{DOWN}", muted), *short]
    yield [(f"{UP}{DOWN} >{legend.steps[0][1]}", muted)]
