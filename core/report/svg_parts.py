"""Parts of SVG charts: colours, axes with their ticks, the frame, and text.

A chart carries classes only; `CSS` colours them for light and dark screens, and prints
light. A page includes it once; `document` makes a file of one chart. Every chart has a
title and a description for those who cannot see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

WIDTH = 460
HEIGHT = 270
LEFT = 54
RIGHT = 12
TOP = 26
BOTTOM = 40
"""Pixels of a picture, and those around the area between its axes."""

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
AxisMark = tuple[float, str]
"""A value of an axis, and the text that stands there."""

_LIGHT = {
    "text": "#4a4f57",
    "strong": "#1b1d21",
    "grid": "#e4e5e7",
    "axis": "#9aa0a8",
    "line": "#334155",
    "band": "#94a3b8",
    "bar": "#64748b",
    "up": "#d78700",
    "down": "#0087d7",
    "mark": "#b0215a",
    "heat": "#1d4e89",
    "halo": "#ffffff",
}
_DARK = {
    "text": "#b4b8bf",
    "strong": "#eceef1",
    "grid": "#303338",
    "axis": "#6b7078",
    "line": "#e2e8f0",
    "band": "#64748b",
    "bar": "#8fa0b8",
    "up": "#ffaf00",
    "down": "#5fafff",
    "mark": "#ff8fb8",
    "heat": "#8ec5ff",
    "halo": "#1b1d20",
}


def _rules(colours: dict[str, str]) -> str:
    return (
        f".cx text{{fill:{colours['text']};stroke:{colours['halo']}}}"
        f".cx .cx-strong{{fill:{colours['strong']}}}"
        f".cx .cx-name{{fill:{colours['mark']}}}"
        f".cx-grid{{stroke:{colours['grid']}}}"
        f".cx-axis{{stroke:{colours['axis']}}}"
        f".cx-line{{stroke:{colours['line']}}}"
        f".cx-band{{fill:{colours['band']}}}"
        f".cx-bar{{fill:{colours['bar']}}}"
        f".cx-up{{fill:{colours['up']}}}"
        f".cx-down{{fill:{colours['down']}}}"
        f".cx-a{{stroke:{colours['up']}}}"
        f".cx-b{{stroke:{colours['down']}}}"
        f".cx-within{{stroke:{colours['bar']}}}"
        f".cx-mark{{stroke:{colours['mark']}}}"
        f".cx-dot{{fill:{colours['mark']}}}"
        f".cx-heat{{fill:{colours['heat']}}}"
    )


_FONT = "system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_SHAPES = (
    f".cx{{font-family:{_FONT};font-size:12px;font-variant-numeric:tabular-nums}}"
    ".cx text{paint-order:stroke;stroke-width:3px;stroke-linejoin:round}"
    ".cx .cx-small{font-size:11px}"
    ".cx-grid,.cx-axis{stroke-width:1;fill:none}"
    ".cx-line{stroke-width:1.8;fill:none;stroke-linejoin:round}"
    ".cx-band{opacity:.35}"
    ".cx-stem{stroke-width:1.2;fill:none}"
    ".cx-point{stroke-width:3.4;stroke-linecap:round;fill:none}"
    ".cx-mark{stroke-width:1.4;stroke-dasharray:4 3;fill:none}"
)
_DARK_RULES = f"@media screen and (prefers-color-scheme:dark){{{_rules(_DARK)}}}"
CSS = _SHAPES + _rules(_LIGHT) + _DARK_RULES


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values and its name. ``low`` < ``high``; both above 0 where ``log``.

    ``unsigned``: ticks are written without a sign, for an axis that counts both ways.
    """

    label: str
    low: float
    high: float
    log: bool = False
    unsigned: bool = False

    def place(self, value: float, start: float, stop: float) -> float:
        """The pixel of ``value`` between ``start`` and ``stop``, which are those of the
        ends; the nearer end for a value outside.
        """
        low = self.low
        high = self.high
        at = value
        if self.log:
            low = math.log10(low)
            high = math.log10(high)
            drawable = max(value, self.low)
            at = math.log10(drawable)
        size = high - low
        share = (at - low) / size
        inside = min(1.0, max(0.0, share))
        return start + inside * (stop - start)

    def across(self, value: float) -> float:
        """The pixel of ``value`` on the x axis of a frame."""
        right = WIDTH - RIGHT
        return self.place(value, LEFT, right)

    def up(self, value: float) -> float:
        """The pixel of ``value`` on the y axis of a frame."""
        bottom = HEIGHT - BOTTOM
        return self.place(value, bottom, TOP)

    def ticks(self, count: int = 5) -> list[AxisMark]:
        """About ``count`` values at round steps, or powers of ten, with their text."""
        if self.log:
            values = self._decades(count)
        else:
            values = self._steps(count)
        return [(value, self._text(value)) for value in values]

    def _text(self, value: float) -> str:
        text = tick_text(value)
        if self.unsigned:
            return text.removeprefix("-")
        return text

    def _decades(self, count: int) -> list[float]:
        low_power = math.log10(self.low)
        high_power = math.log10(self.high)
        first = math.ceil(low_power - 1e-9)
        last = math.floor(high_power + 1e-9)
        number = last - first + 1
        per_tick = math.ceil(number / (count + 2))
        step = max(1, per_tick)
        powers = range(first, last + 1, step)
        decades = [10.0**power for power in powers]
        if len(decades) >= 2:
            return decades
        finer = []
        for power in range(first - 1, last + 1):
            decade = 10.0**power
            finer += [decade, 2 * decade, 5 * decade]
        return list(filter(self._holds, finer))

    def _holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def _steps(self, count: int) -> list[float]:
        size = self.high - self.low
        step = round_step(size / count)
        first_step = self.low / step
        last_step = self.high / step
        first = math.ceil(first_step - 1e-9)
        last = math.floor(last_step + 1e-9)
        whole_steps = range(first, last + 1)
        return [step * n for n in whole_steps]


def round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten, at least ``step`` > 0."""
    decade = math.floor(math.log10(step))
    power = math.pow(10.0, decade)
    least = step * (1 - 1e-9)
    for digit in (1, 2, 5):
        if digit * power >= least:
            return digit * power
    return 10 * power


def tick_text(value: float) -> str:
    """``0.01``, ``1e-6``, ``20k``: short enough for an axis."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e9 or size < 1e-4:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    if size >= 1e6:
        return f"{round(value / 1e6, 6):g}M"
    if size >= 1e4:
        return f"{round(value / 1000, 6):g}k"
    return f"{round(value, 10):g}"


def document(chart: str) -> str:
    """A chart of this module as a file of its own."""
    style = f"<style>{CSS}</style>"
    head, _, rest = chart.partition(">")
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}'
        f' xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'
    )


def frame(x: Axis, y: Axis, body: str, title: str, description: str) -> str:
    """Axes around ``body``."""
    bottom = HEIGHT - BOTTOM
    right = WIDTH - RIGHT
    out = []
    words_x = LEFT - 7
    for value, words in y.ticks():
        at = y.up(value)
        out.append(f'<path class="cx-grid" d="M{LEFT} {at:.1f}H{right}"/>')
        out.append(text(words_x, at + 4, words, "cx-small", "end"))
    middle = (LEFT + right) / 2
    out += [
        ticks_below(x, LEFT, right, TOP, bottom),
        body,
        f'<path class="cx-axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>',
        text(4, 14, y.label),
        text(middle, HEIGHT - 4, x.label, anchor="middle"),
    ]
    shapes = "".join(out)
    return element(WIDTH, HEIGHT, shapes, title, description)


def ticks_below(
    axis: Axis, left: float, right: float, top: float, bottom: float
) -> str:
    """Grid lines and their text between the pixels ``left`` and ``right``."""
    out = []
    words_y = bottom + 15
    count = round((right - left) / 70)
    count = max(2, count)
    for value, words in axis.ticks(count):
        at = axis.place(value, left, right)
        out.append(f'<path class="cx-grid" d="M{at:.1f} {top}V{bottom}"/>')
        out.append(text(at, words_y, words, "cx-small", "middle"))
    return "".join(out)


def uprights(across: Axis, marks: Sequence[AxisMark]) -> Iterator[str]:
    """Named vertical lines, each name in a row of its own so that close ones stay
    readable.
    """
    low = across.low
    high = across.high
    inside = []
    for value, name in marks:
        if low <= value <= high:
            inside.append((value, name))
    bottom = HEIGHT - BOTTOM
    for row, (value, name) in enumerate(sorted(inside)):
        x = across.across(value)
        yield f'<path class="cx-mark" d="M{x:.1f} {TOP}V{bottom}"/>'
        y = TOP + 26 + 14 * row
        style = "cx-name cx-small"
        if x > WIDTH * 0.7:
            yield text(x - 4, y, name, style, "end")
        else:
            yield text(x + 4, y, name, style)


def element(
    width: int,
    height: int,
    body: str,
    title: str,
    description: str,
    *,
    fixed: bool = False,
) -> str:
    """The SVG element around ``body``; ``fixed``: of this size, else as wide as its
    place.
    """
    size = ""
    if fixed:
        size = f' width="{width}" height="{height}"'
    words = ""
    if description:
        words = f"<desc>{escape(description)}</desc>"
    return (
        f'<svg class="cx" viewBox="0 0 {width} {height}"{size} role="img"'
        f' aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{words}{body}</svg>"
    )


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    """Words at a pixel; ``style`` are classes."""
    attributes = f'x="{x:.1f}" y="{y:.1f}"'
    if style:
        attributes += f' class="{style}"'
    if anchor != "start":
        attributes += f' text-anchor="{anchor}"'
    return f"<text {attributes}>{escape(words)}</text>"


def point(x: Axis, y: Axis, at: float, value: float) -> str:
    """The pixel of a point in a path."""
    across = x.across(float(at))
    up = y.up(float(value))
    return f"{across:.1f} {up:.1f}"


def stretches(mask: Mask) -> list[tuple[int, int]]:
    """(start, stop) of every stretch of True."""
    padded = np.concatenate([[False], mask, [False]])
    levels = padded.astype(np.int8)
    changes = np.diff(levels)
    edges = np.flatnonzero(changes).tolist()
    starts = edges[::2]
    stops = edges[1::2]
    return list(zip(starts, stops, strict=True))


def line_path(x: Axis, y: Axis, at: Array, values: Array) -> str:
    """A line through ``at``, ``values`` f[n]; a gap where a value is not finite."""
    path = ""
    known = np.isfinite(values)
    for start, stop in stretches(known):
        part = slice(start, stop)
        at_part = at[part]
        points = _points(x, y, at_part, values[part])
        path += f"M{'L'.join(points)}"
    return path


def _points(x: Axis, y: Axis, at: Array, values: Array) -> list[str]:
    """The points of a line without gaps."""
    if len(at) > 1:
        places = zip(at, values, strict=True)
        return [point(x, y, a, value) for a, value in places]
    # A line of one point would be invisible.
    across = x.across(float(at[0]))
    up = y.up(float(values[0]))
    left = max(LEFT, across - 3)
    right = across + 3
    return [f"{left:.1f} {up:.1f}", f"{right:.1f} {up:.1f}"]


def band_path(x: Axis, y: Axis, at: Array, low: Array, high: Array) -> str:
    """The area between ``low`` and ``high`` f[n]; a gap where one is not finite."""
    areas = []
    has_low = np.isfinite(low)
    has_high = np.isfinite(high)
    known = has_low & has_high
    for start, stop in stretches(known):
        from_left = range(start, stop)
        from_right = reversed(from_left)
        upper = [point(x, y, at[i], high[i]) for i in from_left]
        lower = [point(x, y, at[i], low[i]) for i in from_right]
        outline = "L".join(upper + lower)
        areas.append(f"M{outline}Z")
    return "".join(areas)
