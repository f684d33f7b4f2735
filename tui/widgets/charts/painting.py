"""A drawn chart as lines of a pane: axis muted, curve bright, the cursor marked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.style import Style
from textual.strip import Strip

from logdrift.tui.palette import STEPS, Palette
from logdrift.tui.widgets.charts.plot import QUIET_TONE, CellPlace
from logdrift.tui.widgets.lines import Runs, strip_of

if TYPE_CHECKING:
    from rich.color import Color

    from logdrift.core.charts.marks import TokenCell
    from logdrift.tui.widgets.charts.terminal import Drawing

_BRIGHT = frozenset("▁▂▃▄▅▆▇█▓▲▼")
_FREE = frozenset(" ·░╌─┆")
"""What the line of the cursor is drawn over."""


class Painter:
    """Paints one chart in ``width`` cells, again for each place of the cursor."""

    def __init__(self, chart: Drawing, width: int, palette: Palette) -> None:
        self.chart = chart
        self.width = width
        self.palette = palette
        self._runs = _styled_rows(chart, palette)
        self._plain: list[Strip] = []
        for runs in self._runs:
            strip = strip_of(runs, width)
            self._plain.append(strip)

    @property
    def paints(self) -> tuple[Drawing, int, Palette]:
        """Chart, width and colours: a change of one of them needs a new painter."""
        return self.chart, self.width, self.palette

    def lines(self, position: int) -> Iterator[Strip]:
        """The rows with the cursor on a flat position: its cell, or a line through its
        column, and marks in the frame.
        """
        cell = self._cell(position)
        if cell is None:
            yield from self._plain
            return
        chart = self.chart
        cursor = _Cursor(chart, cell, self.palette)
        for y, runs in enumerate(self._runs):
            marked = cursor.marked(runs, y)
            if marked is runs:
                yield self._plain[y]
            else:
                yield strip_of(marked, self.width)

    def _cell(self, position: int) -> TokenCell | None:
        """Where the chart shows a token, None where it does not."""
        place = self.chart.place
        if place is None:
            return None
        return place.cell(position)


class _Styles:
    """Style of each character of a chart. Shades have one colour, or each cell would
    cost twenty bytes of a slow line: the glyph tells the step.
    """

    def __init__(self, chart: Drawing, palette: Palette) -> None:
        self.shaded = chart.shaded
        self.muted = palette.muted
        self.bright = palette.text
        if chart.by_sign:
            # What is beyond the threshold stands out, and fewer bytes are sent: tokens
            # and lines are one run.
            self.bright = palette.muted
        self.tones = chart.tones
        below_strongest = SINGLE - 1
        self.shade = ink_of(palette, below_strongest)
        self.inks: dict[int, Style] = {}
        one_of_equals: dict[Style, Style] = {}
        for level in range(-STEPS, STEPS + 1):
            ink = ink_of(palette, level)
            # Cells of one style object are one run.
            shared_ink = one_of_equals.setdefault(ink, ink)
            self.inks[level] = shared_ink
        self.inks[QUIET_TONE] = palette.muted

    def of(self, char: str, place: CellPlace) -> Style:
        """The style of a character between the axes."""
        if self.shaded:
            return self.shade
        tone = self.tones.get(place)
        if tone:
            return self.inks[tone]
        is_braille = "⠀" < char <= "⣿"
        if is_braille or char in _BRIGHT:
            return self.bright
        return self.muted


SINGLE = 2 * STEPS
"""The level of `ink_of` for a number without a sign."""
_LEAST_CONTRAST = 4.5
"""Between a mark and its page: as for text (WCAG 2.1, 1.4.3), because a dot of braille
is no larger than that of an i.
"""


def ink_of(palette: Palette, level: int) -> Style:
    """The colour of a mark of a level: the background that a token of the level has, or
    of the next step that stands out from the page.
    """
    if not level:
        return palette.text
    if palette.depth == "none":
        return palette.strong
    dark = palette.dark
    page_colour = palette.back.bgcolor
    page = _triplet(page_colour, dark=dark)
    for further in _steps_from(level):
        background = palette.level(further)
        colour = background.bgcolor
        mark = _triplet(colour, dark=dark)
        contrast = _contrast(mark, page)
        if contrast >= _LEAST_CONTRAST:
            return Style(color=colour)
    return palette.text


def _steps_from(level: int) -> range:
    """A level and the stronger ones of its sign."""
    sign = -1 if level < 0 else 1
    size = abs(level)
    strongest = SINGLE if size > STEPS else STEPS
    after_strongest = sign * (strongest + 1)
    return range(level, after_strongest, sign)


_Triplet = tuple[int, int, int]


def _triplet(colour: Color | None, *, dark: bool) -> _Triplet:
    """Red, green and blue; without a colour those of the page itself."""
    if colour is not None:
        red, green, blue = colour.get_truecolor()
        return red, green, blue
    level = 0 if dark else 255
    return level, level, level


def _contrast(one: _Triplet, other: _Triplet) -> float:
    """The ratio of both colours' luminances, 1 to 21 (WCAG 2.1)."""
    luminances = [_luminance(one), _luminance(other)]
    darker, lighter = sorted(luminances)
    flare = 0.05
    return (lighter + flare) / (darker + flare)


def _luminance(colour: _Triplet) -> float:
    """Relative luminance of sRGB, 0 to 1 (WCAG 2.1)."""
    red, green, blue = map(_linear, colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: int) -> float:
    share = channel / 255
    if share <= 0.04045:
        return share / 12.92
    base = (share + 0.055) / 1.055
    power: float = base**2.4
    return power


def _styled_rows(chart: Drawing, palette: Palette) -> list[Runs]:
    """The rows of a chart, each as runs of one style."""
    styles = _Styles(chart, palette)
    right = chart.left + chart.columns
    bottom = chart.top + chart.lines
    inside = range(chart.top, bottom)
    between_axes = range(chart.left, right)
    nothing = range(0)
    rows = []
    for y, text in enumerate(chart.rows):
        area = nothing
        if y in inside:
            area = between_axes
        padded = text.ljust(right)
        row = y - chart.top
        runs = _runs(padded, area, row, styles)
        rows.append(runs)
    return rows


def _runs(text: str, area: range, row: int, styles: _Styles) -> Runs:
    """A row as runs of one style; ``area`` are its columns between the axes."""
    runs: Runs = []
    style_before = None
    for x, char in enumerate(text):
        style = styles.muted
        if x in area:
            column = x - area.start
            place = (row, column)
            style = styles.of(char, place)
        if style_before is style:
            before, _ = runs[-1]
            text = before + char
            runs[-1] = (text, style)
        else:
            runs.append((char, style))
        style_before = style
    return runs


class _Cursor:
    """The cursor in the rows of a chart: its column, and its row unless the whole
    column is its place.
    """

    def __init__(self, chart: Drawing, cell: TokenCell, palette: Palette) -> None:
        self.left = chart.left
        self.top = chart.top
        self.bottom = chart.top + chart.lines
        self.column = chart.left + cell.column
        self.row: int | None = None
        if cell.row is not None:
            self.row = chart.top + cell.row
        self.palette = palette

    def marked(self, runs: Runs, y: int) -> Runs:
        """Row ``y`` with the cursor; the same ``runs`` where the cursor is not in
        it.
        """
        frame_above = self.top - 1
        if y == frame_above:
            return self._pointed(runs, "▼")
        if y == self.bottom:
            return self._pointed(runs, "▲")
        inside = self.top <= y < self.bottom
        if not inside:
            return runs
        if self.row is None:
            return self._marked_column(runs)
        if y == self.row:
            return self._marked_cell(runs)
        return runs

    def _pointed(self, runs: Runs, mark: str) -> Runs:
        """A row with a mark in the cursor's column."""
        accent = self.palette.accent
        return _replace(runs, self.column, mark, accent)

    def _marked_column(self, runs: Runs) -> Runs:
        """A row with the line through the cursor's column."""
        under = _char_at(runs, self.column)
        if under in _FREE:
            return self._pointed(runs, "┊")
        style = self.palette.cursor
        return _replace(runs, self.column, under, style)

    def _marked_cell(self, runs: Runs) -> Runs:
        """The cursor's row, with its cell and a mark in the frame."""
        palette = self.palette
        frame = self.left - 1
        column = self.column
        under = _char_at(runs, column)
        marked = _replace(runs, column, under, palette.cursor)
        return _replace(marked, frame, "▸", palette.accent)


def _char_at(runs: Runs, column: int) -> str:
    texts = [text for text, _ in runs]
    row = "".join(texts)
    return row[column]


def _replace(runs: Runs, column: int, char: str, style: Style) -> Runs:
    """The runs with one cell (every character here is one cell wide) replaced."""
    replaced: Runs = []
    start = 0
    for text, old in runs:
        offset = column - start
        length = len(text)
        start += length
        is_in_run = 0 <= offset < length
        if not is_in_run:
            replaced.append((text, old))
            continue
        behind = offset + 1
        before = text[:offset]
        after = text[behind:]
        replaced.append((before, old))
        replaced.append((char, style))
        replaced.append((after, old))
    return replaced
