"""How tokens are drawn: marks, styles by level, letters of labels, and the legend."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.cells import cell_len
from rich.style import Style

from logdrift.core.numbers import percent
from logdrift.tui.glyphs import (
    BROKEN_MARK,
    CHANGED,
    COMPLETION_BAR,
    DOWN,
    HIGH,
    HIGHEST,
    PROMPT_BAR,
    ROLE_MARKS,
    UNLIKE,
    UP,
)
from logdrift.tui.models.flow import Flow, flow
from logdrift.tui.models.modes import Legend
from logdrift.tui.models.passage import Passage
from logdrift.tui.palette import (
    BROKEN,
    LAST_LEVEL,
    ROLE_STARTS,
    STEPS,
    Palette,
)
from logdrift.tui.widgets.lines import Run, Runs

if TYPE_CHECKING:
    import numpy.typing as npt

    Flags = npt.NDArray[np.bool_]

_RISING = range(1, STEPS + 1)
_FALLING = range(-STEPS, 0)
MARKS = {
    **dict.fromkeys(_RISING, UP),
    **dict.fromkeys(_FALLING, DOWN),
    2 * STEPS - 1: HIGH,
    2 * STEPS: HIGHEST,
    BROKEN: BROKEN_MARK,
    **{ROLE_STARTS + role: mark for role, mark in enumerate(ROLE_MARKS.values(), 1)},
}
"""The mark of each level that has one."""
HAS_MARK = np.array([level in MARKS for level in range(-STEPS, LAST_LEVEL + 1)])
"""Whether a level has a mark, bool, at index level + `STEPS`."""
_SHORT_ROLES = ("sys", "user", "asst", "tool")
_ROOM_BELOW = 6
"""Lines that are free below a text from which the next sequence is begun there."""
_LETTERS = "asdfghjklqwertyuiopzxcvbnm"
_MATCH = 100
_MATCH_WITH_LEVEL = 101
"""The keys under which `token_styles` has the styles of a match."""


def token_styles(palette: Palette, plain: Style, greyed: bool) -> dict[int, Style]:
    """The style of every level, and those of a match; ``plain`` is for level 0."""
    highest = 2 * STEPS
    levels = range(-STEPS, highest + 1)
    if greyed:
        styles = dict.fromkeys(levels, palette.grey)
    else:
        styles = {level: palette.level(level) for level in levels}
    underlined = Style(underline=True)
    styles[0] = plain
    styles[BROKEN] = palette.bad  # never grey: a NaN is the reason why the pair is grey
    for level in range(ROLE_STARTS + 1, LAST_LEVEL + 1):
        styles[level] = palette.level(level)
    styles[_MATCH] = palette.found
    styles[_MATCH_WITH_LEVEL] = palette.found + underlined
    return styles


def marks_joints(passage: Passage, palette: Palette) -> bool:
    """Whether tokens within a word are told apart by a mark: there is no shade."""
    return passage.boundaries and not palette.shade


def styles_of(
    passage: Passage, palette: Palette, plain: Style, shaded: Flags | None
) -> Callable[[int], Style]:
    """A function from a token's index to its style; ``plain``: without a level.

    ``shaded`` bool[n] are the tokens of every other shade, None where all look alike.
    """
    styles = token_styles(palette, plain, passage.greyed)
    levels = passage.levels
    matched = passage.matched
    masked = passage.masked
    plains = {False: plain, True: plain + palette.shade}
    dim = masked_style(palette)
    dims = {False: dim, True: dim + palette.shade}

    def unmatched(token: int, level: int) -> Style:
        counts = masked is None or not masked[token]
        if level > BROKEN:
            return styles[level]
        if level:
            return styles[level] if counts else palette.grey
        is_shaded = shaded is not None and bool(shaded[token])
        if counts:
            return plains[is_shaded]
        return dims[is_shaded]

    def style(token: int) -> Style:
        level = int(levels[token])
        if matched is None or not matched[token]:
            return unmatched(token, level)
        if level:
            return styles[_MATCH_WITH_LEVEL]
        return styles[_MATCH]

    return style


def masked_style(palette: Palette) -> Style:
    """The style of a token that the mask takes out of every number."""
    if palette.depth == "256":
        return palette.muted
    return palette.muted + Style(dim=True)


def pieces_of(
    passage: Passage,
    layout: Flow,
    line: int,
    labels: Mapping[int, str],
    *,
    joint: str = "",
) -> Iterator[tuple[int, str]]:
    """Each fragment of a line: its token, and its text with mark and label.

    Mark and label stand on the first fragment of a token, and ``joint`` on one that
    goes on with a word.
    """
    fragments = layout.fragments
    start = layout.lines[line]
    stop = layout.lines[line + 1]
    tokens = layout.token[start:stop].tolist()
    kinds = layout.kind[start:stop].tolist()
    previous = -1
    if start:
        token_before = layout.token[start - 1]
        previous = int(token_before)
    for token, kind in zip(tokens, kinds, strict=True):
        text = fragments[kind].text
        if token != previous:
            mark = mark_of(passage, token)
            if not mark and layout.joints[token]:
                mark = joint
            label = labels.get(token, "")
            text = headed(text, mark, label)
        previous = token
        yield token, text


def mark_of(passage: Passage, token: int) -> str:
    """The mark before a token: other weights, else that of its level; "" for none."""
    if token == passage.unlike:
        return UNLIKE
    if token in passage.changes:
        return CHANGED
    level = int(passage.levels[token])
    return MARKS.get(level, "")


def have_mark(passage: Passage) -> Flags:
    """Whether each token has a mark, bool[n]."""
    marked: Flags = HAS_MARK[passage.levels + STEPS]
    marked[list(passage.changes)] = True
    if passage.unlike is not None:
        marked[passage.unlike] = True
    return marked


class BelowLine(NamedTuple):
    """A line below the text of a short sequence: of the sequence that is listed
    ``steps`` behind it.
    """

    runs: Runs
    steps: int


class TextBelow:
    """The sequences that follow a short one, below its text in its pane."""

    def __init__(self) -> None:
        self._lines: list[BelowLine] = []
        self._key: tuple[object, ...] = ()

    def lines(
        self, passage: Passage | None, width: int, rows: int, palette: Palette
    ) -> Sequence[BelowLine]:
        """What follows ``passage``, on ``rows`` lines: of each sequence an empty line,
        its title, and its text in its colours.
        """
        key = (passage, width, rows, palette.depth, palette.dark)
        if passage is not None and key != self._key:
            self._lines = list(_lines_below(passage, width, rows, palette))
            self._key = key
        return self._lines


def _lines_below(
    passage: Passage, width: int, rows: int, palette: Palette
) -> Iterator[BelowLine]:
    steps = 0
    following = passage.following()
    while following is not None and rows >= _ROOM_BELOW:
        steps += 1
        text = _text_below(following, width, palette)
        for runs in itertools.islice(text, rows):
            yield BelowLine(runs, steps)
            rows -= 1
        following = following.following()


def _text_below(passage: Passage, width: int, palette: Palette) -> Iterator[Runs]:
    digits = len(str(max(1, len(passage.ids) - 1)))
    gutter = digits + 2
    layout = flow(
        passage.ids,
        marked=have_mark(passage),
        prompt=passage.prompt,
        cache=passage.fragments,
        width=max(1, width - gutter),
        joints_marked=marks_joints(passage, palette),
    )
    yield []
    yield [(f" {passage.title}", palette.muted)]
    for line in range(layout.height):
        first, _ = layout.tokens_of(line)
        plain = palette.text
        if first < passage.prompt:
            plain = palette.muted
        style_of = styles_of(passage, palette, plain, None)
        runs = [(gutter_text(passage, layout, line, gutter), palette.muted)]
        for token, piece in pieces_of(passage, layout, line, {}):
            runs.append((piece, style_of(token)))
        yield runs


def gutter_text(passage: Passage, layout: Flow, index: int, width: int) -> str:
    """The index of a line's first token, and * where the reader marked one in it."""
    first, last = layout.tokens_of(index)
    bar = COMPLETION_BAR
    if first < passage.prompt:
        bar = PROMPT_BAR
    star = " "
    for token in passage.notes:
        if first <= token <= last:
            star = "*"
    digits = width - 2
    return f"{first:>{digits}}{bar}{star}"


def labelled(label: str | None, piece: str, style: Style, palette: Palette) -> Runs:
    """A piece with the letters of its label apart: in a style of their own, or they
    would read as letters of the text.
    """
    if label is None:
        return [(piece, style)]
    blank = " " if piece.startswith(f" {label}") else ""
    if not piece.startswith(blank + label):
        return [(piece, style)]  # a later line of the token
    rest = piece[len(blank + label) :]
    letters = (label, palette.found)
    return [run for run in ((blank, style), letters, (rest, style)) if run[0]]


def labels_of(tokens: list[int], layout: Flow) -> dict[int, str]:
    """A label of one letter, or of two, for each token that is as wide as that."""
    letters = 1
    if len(tokens) > len(_LETTERS):
        letters = 2
    wide_enough: list[int] = []
    for token in tokens:
        if layout.cells_of(token) >= letters:
            wide_enough.append(token)
    combinations = itertools.product(_LETTERS, repeat=letters)
    labels = map("".join, combinations)
    pairs = zip(wide_enough, labels, strict=False)
    return dict(pairs)


def headed(piece: str, mark: str, label: str) -> str:
    """A token's first fragment with its mark and with its label over its first cells.

    The mark stands after a leading blank.
    """
    text = mark + piece
    if mark and piece.startswith(" "):
        rest = piece[1:]
        text = f" {mark}{rest}"
    if not label:
        return text
    letters = len(label)
    has_blank = text.startswith(f" {mark}")
    has_room = cell_len(text) > 1
    if has_blank and has_room and letters == 1:
        rest = _without(text, 2)
        return f" {label}{rest}"
    rest = _without(text, letters)
    return label + rest


def _without(text: str, cells: int) -> str:
    """``text`` without its first cells; a blank for half of a wide character."""
    kept_cells = cell_len(text) - cells
    while cell_len(text) > kept_cells:
        text = text[1:]
    missing = kept_cells - cell_len(text)
    return " " * missing + text


def legend_runs(legend: Legend, greyed: bool, width: int, palette: Palette) -> Runs:
    """The widest form of a legend that fits: both sides, one side, no steps."""
    name = (f" {legend.head} ", palette.strong)
    if legend.missing is not None:
        words = f"not here: {legend.missing}"
        style = palette.warn
        return [name, (words, style)]
    if legend.by_role:
        return [name, *_roles(width - _cells([name]), palette)]
    broken = _broken(legend, palette)
    scales = [*_scales(legend, greyed, palette)]
    for scale, count in _forms(scales, legend):
        head = [name, *scale]
        count_run = (f" {count} ", palette.muted)
        tail = [*broken, count_run]
        used = _cells(head) + _cells(tail)
        spare = width - used
        if spare >= 0:
            blanks = " " * spare
            gap = (blanks, palette.text)
            return [*head, gap, *tail]
    shortest = scales[-1]
    return [name, *shortest]


def _roles(width: int, palette: Palette) -> Runs:
    """Each role in its colour with its mark; in few cells, its name cut short."""
    whole = _role_runs(tuple(ROLE_MARKS), palette)
    if _cells(whole) <= width:
        return whole
    return _role_runs(_SHORT_ROLES, palette)


def _role_runs(names: Sequence[str], palette: Palette) -> Runs:
    runs: Runs = []
    marks = ROLE_MARKS.values()
    for name, mark, style in zip(names, marks, palette.roles, strict=True):
        runs.append((f" {mark} {name} ", style))
    return runs


def _cells(runs: Runs) -> int:
    widths = [cell_len(text) for text, _ in runs]
    return sum(widths)


def _forms(scales: list[Runs], legend: Legend) -> Iterator[tuple[Runs, str]]:
    """Scales with counts, the widest first.

    Shorter counts are tried only with the last two scales: a wider scale is worth less
    than the whole count, the last steps are worth more.
    """
    counts = _count_texts(legend)
    whole_count = counts[0]
    for scale in scales[:-2]:
        yield scale, whole_count
    for scale in scales[-2:]:
        for count in counts:
            yield scale, count


def _count_texts(legend: Legend) -> list[str]:
    """How many tokens have a level, the longest text first."""
    beyond = legend.beyond
    if beyond is None:
        return ["counting…"]
    share = percent(beyond, legend.scored)
    return [
        f"{beyond:,} beyond ({share})",
        f"{beyond:,} beyond",
        f"{beyond:,}",
    ]


def _broken(legend: Legend, palette: Palette) -> Runs:
    """How many tokens are NaN on a side, if any."""
    if not legend.broken:
        return []
    words = f" {BROKEN_MARK} {legend.broken:,} NaN"
    return [(words, palette.bad)]


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
    without_signs: Runs = []
    for level, bound in legend.steps:
        style = styles[level]
        mark = MARKS.get(level, "")
        text = f"{mark}>{bound}"
        rising += [gap, (text, style)]
        text = f"{mark}{bound}"
        without_signs += [gap, (text, style)]
    yield rising
    yield without_signs
    level, bound = legend.steps[0]
    style = styles[level]
    yield [(f">{bound}", style)]


def _diverging_scales(
    legend: Legend, styles: Mapping[int, Style], palette: Palette
) -> Iterator[Runs]:
    gap: Run = (" ", palette.text)
    muted = palette.muted
    rising: Runs = []
    both_sides: Runs = []
    falling: Runs = []
    for level, bound in legend.steps:
        style = styles[level]
        text = f">{bound}"
        rising += [gap, (text, style)]
        # Each step in the colours of both sides, in few cells.
        both_sides += [(f"{UP}{bound}", style), (DOWN, styles[-level])]
    for level, bound in reversed(legend.steps):
        style = styles[-level]
        text = f">{bound}"
        falling += [(text, style), gap]
    middle = ("│", muted)
    both = [*falling, middle, *rising]
    b_words = (f"{DOWN} B more ", muted)
    a_words = (f" A more {UP}", muted)
    yield [b_words, *both, a_words]
    down = (DOWN, muted)
    up = (UP, muted)
    yield [down, *both, up]

    both_words = (f"{UP} A {DOWN} B more", muted)
    yield [both_words, *rising]
    yield both_sides
    marks = f"{UP}{DOWN}"
    _, smallest = legend.steps[0]
    yield [(f"{marks} >{smallest}", muted)]
