"""How tokens are drawn: marks, styles by level, letters of labels, and the legend."""

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
from logdrift.tui.widgets.lines import Run, Runs

MARKS = {
    **dict.fromkeys(range(1, STEPS + 1), UP),
    **dict.fromkeys(range(-STEPS, 0), DOWN),
    2 * STEPS - 1: HIGH,
    2 * STEPS: HIGHEST,
    BROKEN: BROKEN_MARK,
}
"""The mark of each level that has one."""
HAS_MARK = np.array([level in MARKS for level in range(-STEPS, BROKEN + 1)])
"""Whether a level has a mark, bool, at index level + `STEPS`."""
_MATCH = 100
_MATCH_WITH_LEVEL = 101
"""The keys under which `token_styles` has the styles of a match."""


def token_styles(palette: Palette, plain: Style, greyed: bool) -> dict[int, Style]:
    """The style of every level, and those of a match; ``plain`` is for level 0."""
    levels = range(-STEPS, 2 * STEPS + 1)
    if greyed:
        styles = dict.fromkeys(levels, palette.grey)
    else:
        styles = {level: palette.level(level) for level in levels}
    return {
        **styles,
        0: plain,
        BROKEN: palette.bad,  # never grey: a NaN is the reason why the pair is grey
        _MATCH: palette.found,
        _MATCH_WITH_LEVEL: palette.found + Style(underline=True),
    }


def styles_of(
    passage: Passage, palette: Palette, plain: Style
) -> Callable[[int], Style]:
    """A function from a token's index to its style; ``plain``: without a level."""
    styles = token_styles(palette, plain, passage.greyed)
    levels = passage.levels
    matched = passage.matched

    def style(token: int) -> Style:
        level = int(levels[token])
        if matched is None or not matched[token]:
            return styles[level]
        if level:
            return styles[_MATCH_WITH_LEVEL]
        return styles[_MATCH]

    return style


def pieces_of(
    passage: Passage, layout: Flow, line: int, labels: Mapping[int, str]
) -> Iterator[tuple[int, str]]:
    """Each fragment of a line: its token, and its text with mark and label.

    Mark and label stand on the first fragment of a token.
    """
    start = layout.lines[line]
    stop = layout.lines[line + 1]
    tokens = layout.token[start:stop].tolist()
    kinds = layout.kind[start:stop].tolist()
    previous = -1
    if start:
        previous = int(layout.token[start - 1])
    for token, kind in zip(tokens, kinds, strict=True):
        text = layout.fragments[kind].text
        if token != previous:
            mark = MARKS.get(int(passage.levels[token]), "")
            text = headed(text, mark, labels.get(token, ""))
        previous = token
        yield token, text


def headed(piece: str, mark: str, label: str) -> str:
    """A token's first fragment with its mark and with its label over its first cells.

    The mark stands after a leading blank.
    """
    if mark and piece.startswith(" "):
        text = f" {mark}{piece[1:]}"
    else:
        text = mark + piece
    if not label:
        return text
    after_blank = text.startswith(f" {mark}") and cell_len(text) > 1
    if after_blank and len(label) == 1:
        return f" {label}{_without(text, 2)}"
    return label + _without(text, len(label))


def _without(text: str, cells: int) -> str:
    """``text`` without its first cells; a blank for half of a wide character."""
    wanted = cell_len(text) - cells
    while cell_len(text) > wanted:
        text = text[1:]
    blanks = " " * (wanted - cell_len(text))
    return blanks + text


def legend_runs(legend: Legend, greyed: bool, width: int, palette: Palette) -> Runs:
    """The widest form of a legend that fits: both sides, one side, no steps."""
    head: Runs = [(f" {legend.head} ", palette.strong)]
    if legend.missing is not None:
        return [*head, (f"not here: {legend.missing}", palette.warn)]
    scales = list(_scales(legend, greyed, palette))
    for scale, count in _forms(scales, legend):
        tail = _broken(legend, palette)
        tail.append((f" {count} ", palette.muted))
        used = sum(cell_len(text) for text, _ in [*head, *scale, *tail])
        if used <= width:
            gap = " " * (width - used)
            return [*head, *scale, (gap, palette.text), *tail]
    return [*head, *scales[-1]]


def _forms(scales: list[Runs], legend: Legend) -> Iterator[tuple[Runs, str]]:
    """Scales with counts, the widest first.

    Shorter counts are tried only with the last two scales: a wider scale is worth less
    than the whole count, the last steps are worth more.
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


def _broken(legend: Legend, palette: Palette) -> Runs:
    """How many tokens are NaN on a side, if any."""
    if not legend.broken:
        return []
    return [(f" {BROKEN_MARK} {legend.broken:,} NaN", palette.bad)]


def _scales(legend: Legend, greyed: bool, palette: Palette) -> Iterator[Runs]:
    """The steps with their colours, the widest form first."""
    styles = token_styles(palette, palette.text, greyed)
    if legend.diverging:
        yield from _diverging_scales(legend, styles, palette)
    else:
        yield from _sequential_scales(legend, styles, palette)


def _sequential_scales(
    legend: Legend, styles: Mapping[int, Style], palette: Palette
) -> Iterator[Runs]:
    gap: Run = (" ", palette.text)
    rising: Runs = []
    for level, bound in legend.steps:
        mark = MARKS.get(level, "")
        rising += [gap, (f"{mark}>{bound}", styles[level])]
    yield rising
    yield [(text.replace(">", ""), style) for text, style in rising]
    level, bound = legend.steps[0]
    yield [(f">{bound}", styles[level])]


def _diverging_scales(
    legend: Legend, styles: Mapping[int, Style], palette: Palette
) -> Iterator[Runs]:
    gap: Run = (" ", palette.text)
    muted = palette.muted
    rising: Runs = []
    falling: Runs = []
    for level, bound in legend.steps:
        rising += [gap, (f">{bound}", styles[level])]
    for level, bound in reversed(legend.steps):
        falling += [(f">{bound}", styles[-level]), gap]
    both = [*falling, ("│", muted), *rising]
    yield [(f"{DOWN} B more ", muted), *both, (f" A more {UP}", muted)]
    yield [(DOWN, muted), *both, (UP, muted)]

    yield [(f"{UP} A {DOWN} B more", muted), *rising]
    short = [(text.removeprefix(">"), style) for text, style in rising]
    yield [(f"{UP}{DOWN}", muted), *short]
    _, smallest = legend.steps[0]
    yield [(f"{UP}{DOWN} >{smallest}", muted)]
