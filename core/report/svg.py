"""Small charts as SVG text, without a dependency and without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt

from logdrift.core.report.svg_parts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Array,
    Axis,
    AxisMark,
    Mask,
    band_path,
    element,
    frame,
    line_path,
    point,
    stretches,
    text,
    ticks_below,
    uprights,
)

Counts = npt.NDArray[np.integer]
Pixels = tuple[int, int]
"""Where a bar starts, and where the longest one ends."""

_ROW = 24
_BARS_TOP = 6
_LONGEST = 30
"""Characters of a bar's name."""
_HEAT_LEVELS = 6


def line(
    x: Array,
    centre: Array,
    low: Array,
    high: Array,
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    ends: tuple[float, float],
) -> str:
    """``centre`` over ``x`` with a band from ``low`` to ``high``, all float[n]; a gap
    where one is not finite.

    ``ends`` are those of the x axis.
    """
    has_centre = np.isfinite(centre)
    has_band = np.isfinite(low) & np.isfinite(high)
    known = has_centre & has_band
    if not known.any():
        return nothing(title)
    lowest = float(low[known].min())
    highest = float(high[known].max())
    bottom = min(0.0, lowest)
    top = max(0.0, highest)
    room = (top - bottom) * 0.05 or 1e-9
    across = Axis(x_label, *ends)
    bottom -= room
    top += room
    up = Axis(y_label, bottom, top)
    known_low = np.where(known, low, np.nan)
    known_centre = np.where(known, centre, np.nan)
    band = band_path(across, up, x, known_low, high)
    curve = line_path(across, up, x, known_centre)
    body = (
        f'<path class="cx-band" d="{band}"/>'
        f"{zero_line(up)}"
        f'<path class="cx-line" d="{curve}"/>'
    )
    return frame(across, up, body, title, description)


def zero_line(up: Axis) -> str:
    """The line where the y axis is 0."""
    return f'<path class="cx-axis" d="M{LEFT} {up.up(0):.1f}H{WIDTH - RIGHT}"/>'


def histogram(
    edges: Array,
    above: Array,
    below: Array,
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    names: tuple[str, str],
    marks: Sequence[AxisMark] = (),
) -> str:
    """Counts ``above``, ``below`` float[n] between ``edges`` float[n+1] (> 0: a log
    axis), upwards and downwards.

    ``names`` say what the two sides are, ``marks`` are named vertical lines.
    """
    largest_above = above.max(initial=0)
    largest_below = below.max(initial=0)
    largest = float(max(largest_above, largest_below))
    if not largest:
        return nothing(title)
    first = float(edges[0])
    last = float(edges[-1])
    end = largest * 1.08
    across = Axis(x_label, first, last, log=True)
    up = Axis(y_label, -end, end, unsigned=True)
    upper_bins = _bins(across, up, edges, above)
    lower_bins = _bins(across, up, edges, -below)
    body = [
        f'<path class="cx-up" d="{upper_bins}"/>',
        f'<path class="cx-down" d="{lower_bins}"/>',
        zero_line(up),
        _names_of_sides(*names),
        *uprights(across, marks),
    ]
    shapes = "".join(body)
    return frame(across, up, shapes, title, description)


def _names_of_sides(upper: str, lower: str) -> str:
    """What counts upwards and downwards, in the corners at the left."""
    style = "cx-strong cx-small"
    x = LEFT + 6
    lower_y = HEIGHT - BOTTOM - 6
    return text(x, TOP + 12, upper, style) + text(x, lower_y, lower, style)


def _bins(across: Axis, up: Axis, edges: Array, values: Array) -> str:
    path = []
    zero = up.up(0.0)
    starts = edges[:-1]
    stops = edges[1:]
    bins = zip(values, starts, stops, strict=True)
    for value, left, right in bins:
        if value:
            x0 = across.across(float(left))
            x1 = across.across(float(right))
            y = up.up(float(value))
            path.append(f"M{x0:.1f} {zero:.1f}H{x1 - 0.6:.1f}V{y:.1f}H{x0:.1f}Z")
    return "".join(path)


def heat(
    counts: Counts,
    x: Axis,
    y: Axis,
    *,
    title: str,
    description: str,
    below: str = "",
) -> str:
    """Counts int[rows, columns], row 0 at the bottom, darker for more on a log scale,
    above the shapes of ``below``.
    """
    if not counts.max(initial=0):
        return nothing(title)
    levels = _heat_levels(counts)
    shades = [below]
    for level in range(1, _HEAT_LEVELS + 1):
        cells = levels == level
        shades.append(_shade(cells, level))
    body = "".join(shades)
    return frame(x, y, body, title, description)


def _heat_levels(counts: Counts) -> Counts:
    """1 to `_HEAT_LEVELS` on a log scale, 0 for none: one token must be visible beside
    ten thousand.
    """
    levels = np.zeros(counts.shape, np.int64)
    filled = counts > 0
    largest = int(counts.max())
    span = math.log(largest) or 1.0
    heights = np.log(counts[filled]) / span
    in_levels = heights * _HEAT_LEVELS
    steps = in_levels.astype(np.int64)
    highest = _HEAT_LEVELS - 1
    levels[filled] = 1 + np.minimum(highest, steps)
    return levels


def diagonal(x: Axis, y: Axis) -> str:
    """The line where both axes have the same value."""
    low = max(x.low, y.low)
    high = min(x.high, y.high)
    if low >= high:
        return ""
    start = point(x, y, low, low)
    end = point(x, y, high, high)
    return f'<path class="cx-mark" d="M{start}L{end}"/>'


def _shade(cells: Mask, level: int) -> str:
    """The cells of one level, bool[rows, columns]; neighbours are one rectangle."""
    rows, columns = cells.shape
    cell_width = (WIDTH - RIGHT - LEFT) / columns
    height = (HEIGHT - BOTTOM - TOP) / rows
    path = []
    for row in range(rows):
        above_axis = (row + 1) * height
        top = HEIGHT - BOTTOM - above_axis
        for start, stop in stretches(cells[row]):
            left = LEFT + start * cell_width
            width = (stop - start) * cell_width
            path.append(f"M{left:.1f} {top:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z")
    if not path:
        return ""
    opacity = 0.15 + 0.85 * level / _HEAT_LEVELS
    return f'<path class="cx-heat" fill-opacity="{opacity:.2f}" d="{"".join(path)}"/>'


class SvgBar(NamedTuple):
    """A horizontal bar of ``value`` >= 0 between its name and its note.

    ``value`` is None for a row without a bar, ``dot`` is a second value on the same
    axis. ``style`` is the bar's class: ``cx-bar``, ``cx-up`` or ``cx-down``.
    """

    name: str
    value: float | None
    note: str
    dot: float | None = None
    style: str = "cx-bar"


def bars(
    rows: Sequence[SvgBar],
    *,
    title: str,
    description: str,
    label: str,
) -> str:
    """Horizontal bars, one below the other; ``label`` names their axis."""
    values = [row.value for row in rows]
    values += [row.dot for row in rows]
    finite = list(filter(_is_finite, values))
    if not finite:
        return nothing(title)
    longest_name = max(len(row.name) for row in rows)
    longest_note = max(len(row.note) for row in rows)
    name_width = round(6.3 * longest_name)
    note_width = round(6.0 * longest_note)
    left = 16 + min(170, name_width)
    stop = WIDTH - 26 - note_width
    bottom = _BARS_TOP + len(rows) * _ROW
    largest = max(*finite, 0.0)
    axis = Axis(label, 0.0, largest or 1.0)
    middle = (left + stop) / 2
    height = bottom + BOTTOM
    body = [
        ticks_below(axis, left, stop, _BARS_TOP, bottom),
        text(middle, height - 6, label, anchor="middle"),
    ]
    ends = left, stop
    for index, row in enumerate(rows):
        y = _BARS_TOP + index * _ROW
        body += _bar(row, y, ends, axis)
    body.append(f'<path class="cx-axis" d="M{left} {_BARS_TOP}V{bottom}"/>')
    shapes = "".join(body)
    return element(WIDTH, height, shapes, title, description)


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _bar(row: SvgBar, y: int, ends: Pixels, axis: Axis) -> list[str]:
    """A row of `bars` from the pixel ``y`` on; ``ends`` are the pixels of the axis."""
    left, stop = ends
    name = _shortened(row.name)
    words_y = y + 16
    name_x = left - 8
    parts = [text(name_x, words_y, name, anchor="end")]
    end = float(left)
    if _is_finite(row.value):
        end = axis.place(row.value, left, stop)
        width = max(0.8, end - left)
        parts.append(
            f'<rect class="{row.style}" x="{left}" y="{y + 4}"'
            f' width="{width:.1f}" height="{_ROW - 8}"/>'
        )
    if _is_finite(row.dot):
        at = axis.place(row.dot, left, stop)
        end = max(end, at + 3)
        middle = y + _ROW / 2
        parts.append(f'<circle class="cx-dot" cx="{at:.1f}" cy="{middle:g}" r="3.2"/>')
    note = text(end + 6, words_y, row.note, "cx-small")
    return [*parts, note]


def _shortened(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    return name[: _LONGEST - 1] + "…"


def sparkline(
    values: Array, scale: float, *, title: str, width: int = 120, height: int = 24
) -> str:
    """Signed ``values`` float[n] as thin bars around a middle line, full height at
    +-``scale``; not finite: a gap.
    """
    middle = height / 2
    step = width / max(1, len(values))
    bar_width = max(step, 0.6)
    up: list[str] = []
    down: list[str] = []
    finite = np.nan_to_num(values, nan=0.0, posinf=scale, neginf=-scale)
    for index, value in enumerate(finite.tolist()):
        share = _share(value, scale)
        size = share * (middle - 1)
        if size < 0.05:
            continue
        if value > 0:
            path = up
            rise = -size
        else:
            path = down
            rise = size
        path.append(
            f"M{index * step:.1f} {middle:g}v{rise:.1f}h{bar_width:.1f}V{middle:g}z"
        )
    body = f'<path class="cx-grid" d="M0 {middle:g}H{width}"/>'
    if up:
        body += f'<path class="cx-up" d="{"".join(up)}"/>'
    if down:
        body += f'<path class="cx-down" d="{"".join(down)}"/>'
    return element(width, height, body, title, "", fixed=True)


def _share(value: float, scale: float) -> float:
    """The size of a value as a share of the scale, at most 1."""
    if scale > 0:
        return min(1.0, abs(value) / scale)
    return 0.0


def nothing(title: str) -> str:
    """What stands where there is nothing to draw."""
    reason = "nothing to draw: no finite values"
    words = text(WIDTH / 2, 36, reason, anchor="middle")
    return element(WIDTH, 60, words, title, "")
