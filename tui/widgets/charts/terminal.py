"""Paints a chart of `logdrift.core.charts` in the cells of a terminal: one function for
each kind of mark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from logdrift.core.charts.base import Drawable
from logdrift.core.charts.marks import (
    BAND,
    BOTH,
    DOT,
    DOT_COLUMNS,
    DOT_ROWS,
    ONLY_ABOVE,
    ONLY_BELOW,
    QUIET,
    SHADE_GLYPHS,
    Array,
    Axes,
    Cells,
    Curve,
    Diagonal,
    Dots,
    Histogram,
    LabelledBars,
    Level,
    Mark,
    Range,
    Stems,
    TokenPlaces,
    Upright,
)
from logdrift.core.charts.reduce import shade_levels
from logdrift.core.numbers import short
from logdrift.tui.widgets.charts.plot import QUIET_TONE, CellPlace, Plot

_BRAILLE = 0x2800
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bits of the braille dots, by row and column of a cell."""
_TIPS = {1: "▲", -1: "▼"}
"""The ends of stems beyond the threshold, as the text marks these tokens."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A painted chart: rows of text, and where the area between the axes lies, so that
    the cursor can be shown in it.

    ``legend`` are phrases, the most needed first. ``shaded``: `SHADE_GLYPHS` in the
    area are steps of one scale. ``tones`` are the steps of colour of cells between the
    axes, by row and column; ``by_sign``: cells without one are within the threshold.
    """

    rows: tuple[str, ...]
    left: int
    top: int
    columns: int
    lines: int
    legend: tuple[str, ...]
    place: TokenPlaces | None = None
    shaded: bool = False
    tones: Mapping[CellPlace, int] = field(default_factory=dict)
    by_sign: bool = False


def draw(chart: Drawable, width: int, height: int) -> Drawing:
    """The chart in ``width`` x ``height`` cells, axes included."""
    axes = chart.axes(width)
    empty = Plot(axes, width, height)
    if axes.y.centred and not _has_middle_line(empty):
        height -= 1
        empty = Plot(axes, width, height)
    picture = chart.picture(empty.area)
    marks = picture.marks
    plot = paint(axes, marks, width, height, empty)
    area = plot.area
    kinds = set(map(type, marks))
    signed_kinds = {Stems, Dots}
    return Drawing(
        rows=plot.rows,
        left=plot.left,
        top=plot.top,
        columns=area.columns,
        lines=area.lines,
        legend=picture.legend,
        place=picture.place,
        shaded=Cells in kinds,
        tones=plot.tones,
        by_sign=not kinds.isdisjoint(signed_kinds),
    )


def _has_middle_line(plot: Plot) -> bool:
    """Whether the middle of the area is a line of its own, as far as there is room."""
    lines = plot.area.lines
    is_odd = lines % 2 == 1
    return is_odd or lines <= 1


def paint(
    axes: Axes,
    marks: Sequence[Mark],
    width: int,
    height: int,
    empty: Plot | None = None,
) -> Plot:
    """The marks between the axes. ``empty``: the plot without marks, if it was made
    already.
    """
    curves: list[Curve] = []
    for mark in marks:
        curves += _curves(mark)
    plot = empty
    if curves or plot is None:
        plot = Plot(axes, width, height, curves)
    for mark in marks:
        kind = type(mark)
        painter = _PAINTERS.get(kind)
        if painter is not None:
            painter(plot, mark)
    return plot


def _curves(mark: Mark) -> list[Curve]:
    """The lines of a mark, which plotext draws."""
    if isinstance(mark, Curve):
        return [mark]
    return []


def _level(plot: Plot, mark: Level) -> None:
    plot.level(mark.y, mark.letter)


def _upright(plot: Plot, mark: Upright) -> None:
    plot.upright(mark.x, mark.letter)


def _diagonal(plot: Plot, mark: Diagonal) -> None:
    axis = plot.axes.x
    range_of_x = axis.high - axis.low
    columns = plot.area.columns
    last = max(1, columns - 1)
    for column in range(columns):
        above_low = range_of_x * column / last
        value = axis.low + above_low
        row = plot.row(value)
        plot.put_below(column, row, QUIET)


def _band(plot: Plot, mark: Range) -> None:
    """Below what is drawn already; a column between two bins shows the nearer one."""
    bins = len(mark.x)
    columns = plot.area.columns
    nearest = _stretched(bins, columns)
    lows = mark.low[nearest]
    highs = mark.high[nearest]
    bounds = zip(lows.tolist(), highs.tolist(), strict=True)
    for column, (low, high) in enumerate(bounds):
        if math.isnan(low):
            continue
        top = plot.row(high)
        bottom = plot.row(low)
        rows = range(top, bottom + 1)
        for row in rows:
            plot.put_below(column, row, BAND)


def _stems(plot: Plot, mark: Stems) -> None:
    """The largest last, so that none is hidden behind a smaller one."""
    size = np.abs(mark.y)
    order = size.argsort(kind="stable")
    places = mark.x[order]
    heights = mark.y[order]
    levels = mark.levels[order]
    stems = zip(
        places.tolist(),
        heights.tolist(),
        levels.tolist(),
        strict=True,
    )
    for x, y, level in stems:
        column = plot.column(x)
        _stem(plot, column, y, level)


def _stem(plot: Plot, column: int, y: float, level: int) -> None:
    """A line of dots from 0 to ``y``, at least one, and a tip at the end of one with a
    level. In the row of 0 it has no colour: the row is one run, which is fewer bytes.
    """
    zero_row = plot.row(0)
    zero = plot.height_in_dots(0)
    end = plot.height_in_dots(y)
    if y > 0:
        first = min(end, zero - 1)
        dots = range(first, zero)
    else:
        stop = max(end, zero + 1)
        dots = range(zero, stop)
    rows = _rows_of_dots(dots)
    for row, bits in rows.items():
        tone = level
        if row == zero_row:
            tone = 0
        glyph = _braille(bits)
        plot.put(column, row, glyph, tone)
    if level:
        _tip(plot, column, y, level)


def _rows_of_dots(dots: range) -> dict[int, int]:
    """The bits of braille in the left half of each row, for dots counted from the
    top.
    """
    rows: dict[int, int] = {}
    for dot in dots:
        row, place = divmod(dot, DOT_ROWS)
        bit = int(_DOTS[place, 0])
        rows.setdefault(row, 0)
        rows[row] |= bit
    return rows


def _tip(plot: Plot, column: int, y: float, level: int) -> None:
    """Its sign is that of ``y``, at least a row away from 0."""
    zero_row = plot.row(0)
    row = plot.row(y)
    sign = 1 if y > 0 else -1
    rows_apart = abs(zero_row - row)
    length = max(1, rows_apart)
    tip_row = zero_row - sign * length
    tip = _TIPS[sign]
    plot.put(column, tip_row, tip, level)


def _braille(bits: int) -> str:
    return chr(_BRAILLE + bits)


def _histogram(plot: Plot, mark: Histogram) -> None:
    columns = plot.area.columns
    bin_count = len(mark.above)
    bins = _stretched(bin_count, columns)
    above = mark.above[bins]
    below = mark.below[bins]
    counts = zip(above.tolist(), below.tolist(), strict=True)
    for column, (up, down) in enumerate(counts):
        if mark.one:
            both = up + down
            height = plot.height(both)
            plot.bar(column, height)
        else:
            _two_bars(plot, column, up, down)


def _two_bars(plot: Plot, column: int, above: int, below: int) -> None:
    """One in front of the other, in whole rows: what both share, and what one has
    alone.
    """
    rows_above = _bar_rows(plot, above)
    rows_below = _bar_rows(plot, below)
    highest = max(rows_above, rows_below)
    last = plot.area.lines - 1
    for up in range(highest):
        glyph = BOTH
        tone = 0
        if up >= rows_above:
            glyph = ONLY_BELOW
            tone = QUIET_TONE
        elif up >= rows_below:
            glyph = ONLY_ABOVE
        row = last - up
        plot.put(column, row, glyph, tone)


def _bar_rows(plot: Plot, count: int) -> int:
    """Rows of a bar, one at least for any count."""
    if not count:
        return 0
    share = plot.height(count)
    height = share * plot.area.lines
    rows = round(height)
    return max(1, rows)


def _cells(plot: Plot, mark: Cells) -> None:
    levels = shade_levels(mark.values, mark.steps)
    value_rows, value_columns = levels.shape
    area = plot.area
    rows = _stretched(value_rows, area.lines)
    columns = _stretched(value_columns, area.columns)
    stretched = np.ix_(rows, columns)
    is_empty = np.isnan(mark.values)
    has_value = ~is_empty[stretched]
    shades = levels[stretched]
    filled = SHADE_GLYPHS[1:]
    glyphs = (QUIET, *filled)
    places = np.argwhere(has_value)
    for row, column in places.tolist():
        level = shades[row, column]
        glyph = glyphs[level]
        plot.put(column, row, glyph)


def _dots(plot: Plot, mark: Dots) -> None:
    area = plot.area
    shape = (area.lines, DOT_ROWS, area.columns, DOT_COLUMNS)
    counts = mark.counts.reshape(shape)
    bits_of_a_cell = _DOTS[None, :, None, :]
    has_token = counts > 0
    bits = has_token * bits_of_a_cell
    within_cell = (1, 3)
    codes = bits.sum(within_cell)
    levels = mark.levels.reshape(shape)
    highest = levels.max(within_cell)
    lowest = levels.min(within_cell)
    is_up = highest >= -lowest
    tones = np.where(is_up, highest, lowest)
    places = np.argwhere(codes)
    for row, column in places.tolist():
        code = codes[row, column]
        tone = tones[row, column]
        glyph = _braille(int(code))
        plot.put(column, row, glyph, int(tone))


def _bars(plot: Plot, mark: LabelledBars) -> None:
    """A bar as high as the highest dot fills the height."""
    bars = mark.bars
    dots = [bar.dot or 0.0 for bar in bars]
    highest = max(dots) or 1.0
    columns = plot.area.columns
    count = len(bars)
    for index, bar in enumerate(bars):
        value = bar.value
        if value is None or bar.dot is None:
            continue
        following = index + 1
        left = index * columns // count
        right = following * columns // count
        place = range(left, right)
        height = value / highest
        dot_row = plot.row(bar.dot)
        _bar(plot, place, height, dot_row)
        text = short(value)
        _bar_value(plot, place, height, dot_row, text)


def _bar(plot: Plot, columns: range, height: float, dot_row: int) -> None:
    """A bar, a column narrower than its place where that has more than one, and a dot
    in its middle.
    """
    left = columns.start
    right = columns.stop
    stop = max(left + 1, right - 1)
    for column in range(left, stop):
        plot.bar(column, height)
    middle = (left + right) // 2
    plot.put(middle, dot_row, DOT)


def _bar_value(
    plot: Plot, columns: range, height: float, dot_row: int, text: str
) -> None:
    """The value of a bar as text, where it is wide enough: above it, or where its dot
    stands there in it or above the dot.
    """
    lines = plot.area.lines
    bar_lines = math.ceil(height * lines)
    above = lines - 1 - bar_lines
    first_whole = above + 2
    rows = [above]
    if bar_lines > 2:
        rows.append(first_whole)
    rows.append(above - 1)
    free = [row for row in rows if 0 <= row < lines and row != dot_row]
    if not free:
        return
    row = free[0]
    width = len(text)
    room = len(columns) - width
    if room > 0:
        start = columns.start + room // 2
        plot.write(start, row, text)


def _stretched(bins: int, cells: int) -> Array:
    """The bin that each of ``cells`` cells shows, i64[cells]."""
    indices = np.arange(cells)
    return indices * bins // cells


_PAINTERS: dict[type, Callable[[Plot, Any], None]] = {
    Level: _level,
    Upright: _upright,
    Diagonal: _diagonal,
    Range: _band,
    Stems: _stems,
    Histogram: _histogram,
    Cells: _cells,
    Dots: _dots,
    LabelledBars: _bars,
}
"""By kind of mark; curves are drawn by plotext."""
