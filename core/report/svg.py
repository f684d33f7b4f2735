"""Small charts as SVG text: lines with a band, histograms, density maps, bars,
sparklines. No dependency, no script.

A chart carries classes only; `CSS` colours them for light and dark screens, and prints
light. A page includes it once; `document` makes a file of one chart. Every chart has a
title and a description for those who cannot see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

WIDTH, HEIGHT = 460, 270
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 26, 40
_ROW = 24
_BARS_TOP = 6
_LONGEST = 30
"""Characters of a bar's name."""
_HEAT_LEVELS = 6

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


def _rules(c: dict[str, str]) -> str:
    return (
        f".cx text{{fill:{c['text']};stroke:{c['halo']}}}.cx"
        f" .cx-strong{{fill:{c['strong']}}}"
        f".cx .cx-name{{fill:{c['mark']}}}"
        f".cx-grid{{stroke:{c['grid']}}}.cx-axis{{stroke:{c['axis']}}}.cx-line{{stroke:{c['line']}}}"
        f".cx-band{{fill:{c['band']}}}.cx-bar{{fill:{c['bar']}}}.cx-up{{fill:{c['up']}}}.cx-down{{fill:{c['down']}}}"
        f".cx-mark{{stroke:{c['mark']}}}.cx-dot{{fill:{c['mark']}}}.cx-heat{{fill:{c['heat']}}}"
    )


CSS = (
    ".cx{font-family:system-ui,'Segoe"
    " UI',Roboto,Helvetica,Arial,sans-serif;font-size:12px;font-variant-numeric:tabular-nums}.cx"
    " text{paint-order:stroke;stroke-width:3px;stroke-linejoin:round}.cx"
    " .cx-small{font-size:11px}.cx-grid,.cx-axis{stroke-width:1;fill:none}.cx-line{stroke-width:1.8;fill:none;stroke-linejoin:round}.cx-band{opacity:.35}.cx-mark{stroke-width:1.4;stroke-dasharray:4"
    " 3;fill:none}"
    + _rules(_LIGHT)
    + "@media screen and (prefers-color-scheme:dark){"
    + _rules(_DARK)
    + "}"
)


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values and its name. ``low`` < ``high``; both above 0 where
    ``log``.
    """

    label: str
    low: float
    high: float
    log: bool = False

    def place(self, value: float, start: float, stop: float) -> float:
        """Where ``value`` lies between the pixels ``start`` and ``stop``, held within
        them.
        """
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = (
                math.log10(low),
                math.log10(high),
                math.log10(max(value, self.low)),
            )
        return start + min(1.0, max(0.0, (at - low) / (high - low))) * (stop - start)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """About ``count`` values at round steps, or powers of ten, with their text."""
        if self.log:
            first, last = (
                math.ceil(math.log10(self.low) - 1e-9),
                math.floor(math.log10(self.high) + 1e-9),
            )
            step = max(1, math.ceil((last - first + 1) / (count + 2)))
            decades = [10.0**power for power in range(first, last + 1, step)]
            if len(decades) < 2:
                every = [
                    m * 10.0**p for p in range(first - 1, last + 1) for m in (1, 2, 5)
                ]
                decades = [value for value in every if self.low <= value <= self.high]
            return [(value, tick_text(value)) for value in decades]
        wide = round_step((self.high - self.low) / count)
        first = math.ceil(self.low / wide - 1e-9)
        values = [
            wide * n for n in range(first, math.floor(self.high / wide + 1e-9) + 1)
        ]
        return [(value, tick_text(value)) for value in values]


def round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten, at least ``step`` > 0."""
    power = math.pow(10.0, math.floor(math.log10(step)))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def tick_text(value: float) -> str:
    """``0.01``, ``1e-6``, ``20k``: short enough for an axis."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e9 or size < 1e-4:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for scale, suffix in ((1e6, "M"), (1e4, "k")):
        if size >= scale:
            return f"{round(value / (1000 if suffix == 'k' else scale), 6):g}{suffix}"
    return f"{round(value, 10):g}"


def document(chart: str) -> str:
    """A chart of this module as a file of its own."""
    style = f"<style>{CSS}</style>"
    head, _, rest = chart.partition(">")
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}'
        f' xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'
    )


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
    known = np.isfinite(centre) & np.isfinite(low) & np.isfinite(high)
    if not known.any():
        return nothing(title)
    bottom, top = min(0.0, float(low[known].min())), max(0.0, float(high[known].max()))
    room = (top - bottom) * 0.05 or 1e-9
    across = Axis(x_label, *ends)
    up = Axis(y_label, bottom - room, top + room)
    bands, lines = [], []
    for run in _runs(known):
        upper = [_point(across, up, x[i], high[i]) for i in run]
        lower = [_point(across, up, x[i], low[i]) for i in reversed(run)]
        middle = [_point(across, up, x[i], centre[i]) for i in run]
        if len(run) == 1:  # a line of one point would be invisible
            at = across.place(float(x[run[0]]), LEFT, WIDTH - RIGHT)
            middle = [
                f"{max(LEFT, at - 3):.1f} {middle[0].split()[1]}",
                f"{at + 3:.1f} {middle[0].split()[1]}",
            ]
        bands.append(f"M{'L'.join(upper + lower)}Z")
        lines.append(f"M{'L'.join(middle)}")
    zero = up.place(0, HEIGHT - BOTTOM, TOP)
    body = (
        f'<path class="cx-band" d="{"".join(bands)}"/><path class="cx-axis" d="M{LEFT}'
        f' {zero:.1f}H{WIDTH - RIGHT}"/><path class="cx-line" d="{"".join(lines)}"/>'
    )
    return _frame(across, up, body, title, description)


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
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Counts ``above``, ``below`` float[n] between ``edges`` float[n+1] (> 0: a log
    axis), upwards and downwards.

    ``names`` say what the two sides are, ``marks`` are named vertical lines.
    """
    largest = float(max(above.max(initial=0), below.max(initial=0)))
    if not largest:
        return nothing(title)
    across = Axis(x_label, float(edges[0]), float(edges[-1]), log=True)
    up = Axis(y_label, -largest * 1.08, largest * 1.08)
    body = []
    for counts, side, style in ((above, 1, "cx-up"), (below, -1, "cx-down")):
        path = []
        for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
            if count:
                x0, x1 = (
                    across.place(float(v), LEFT, WIDTH - RIGHT) for v in (left, right)
                )
                y0, y1 = (
                    up.place(v, HEIGHT - BOTTOM, TOP)
                    for v in (0.0, side * float(count))
                )
                path.append(f"M{x0:.1f} {y0:.1f}H{x1 - 0.6:.1f}V{y1:.1f}H{x0:.1f}Z")
        body.append(f'<path class="{style}" d="{"".join(path)}"/>')
    zero = up.place(0, HEIGHT - BOTTOM, TOP)
    body.append(f'<path class="cx-axis" d="M{LEFT} {zero:.1f}H{WIDTH - RIGHT}"/>')
    body.append(_text(LEFT + 6, TOP + 12, names[0], "cx-strong cx-small"))
    body.append(_text(LEFT + 6, HEIGHT - BOTTOM - 6, names[1], "cx-strong cx-small"))
    body += _marks(across, marks)
    return _frame(across, up, "".join(body), title, description, sizes=True)


def _marks(across: Axis, marks: Sequence[tuple[float, str]]) -> Iterable[str]:
    """Named vertical lines, each name in a row of its own so that close ones stay
    readable.
    """
    shown = sorted(
        (value, name) for value, name in marks if across.low <= value <= across.high
    )
    for row, (value, name) in enumerate(shown):
        x = across.place(value, LEFT, WIDTH - RIGHT)
        yield f'<path class="cx-mark" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
        left = x > WIDTH * 0.7
        yield _text(
            x - 4 if left else x + 4,
            TOP + 26 + 14 * row,
            name,
            "cx-name cx-small",
            "end" if left else "start",
        )


def heat(
    counts: npt.NDArray[np.integer], x: Axis, y: Axis, *, title: str, description: str
) -> str:
    """Counts int[rows, columns], row 0 at the bottom, darker for more on a log scale;
    the diagonal is drawn.
    """
    largest = int(counts.max(initial=0))
    if not largest:
        return nothing(title)
    rows, columns = counts.shape
    width, height = (WIDTH - RIGHT - LEFT) / columns, (HEIGHT - BOTTOM - TOP) / rows
    # 1 to _HEAT_LEVELS on a log scale: one token must be visible beside ten thousand.
    level = np.zeros(counts.shape, np.int64)
    some = counts > 0
    span = math.log(largest) or 1.0
    level[some] = 1 + np.minimum(
        _HEAT_LEVELS - 1, np.log(counts[some]) / span * _HEAT_LEVELS
    ).astype(np.int64)
    body = []
    low, high = max(x.low, y.low), min(x.high, y.high)
    if low < high:
        body.append(
            '<path class="cx-mark"'
            f' d="M{_point(x, y, low, low)}L{_point(x, y, high, high)}"/>'
        )
    for step in range(1, _HEAT_LEVELS + 1):
        path = [
            f"M{LEFT + a * width:.1f}"
            f" {HEIGHT - BOTTOM - (row + 1) * height:.1f}h{(b - a) * width:.1f}v{height:.1f}h{(a - b) * width:.1f}z"
            for row in range(rows)
            for a, b in _stretches(level[row] == step)
        ]
        if path:
            body.append(
                '<path class="cx-heat"'
                f' fill-opacity="{0.15 + 0.85 * step / _HEAT_LEVELS:.2f}"'
                f' d="{"".join(path)}"/>'
            )
    return _frame(x, y, "".join(body), title, description)


def bars(
    rows: Sequence[tuple[str, float | None, str]],
    *,
    title: str,
    description: str,
    label: str,
    dots: Sequence[float | None] = (),
    styles: Sequence[str] = (),
) -> str:
    """One horizontal bar for each (name, value >= 0 or None, note written behind it);
    ``label`` names the axis.

    ``dots`` are second values on the same axis, ``styles`` classes of the bars
    (``cx-bar``, ``cx-up``, ``cx-down``).
    """
    values = [
        v
        for v in (*(row[1] for row in rows), *dots)
        if v is not None and math.isfinite(v)
    ]
    if not rows or not values:
        return nothing(title)
    left = 16 + min(170, max(round(6.3 * len(row[0])) for row in rows))
    right, height = WIDTH - 12, _BARS_TOP + len(rows) * _ROW + BOTTOM
    note = 14 + max(round(6.0 * len(row[2])) for row in rows)
    largest = max(*values, 0.0) or 1.0
    axis = Axis(label, 0.0, largest)
    stop = right - note
    body = [
        _ticks_below(axis, left, stop, _BARS_TOP, height - BOTTOM),
        _text((left + stop) / 2, height - 6, label, anchor="middle"),
    ]
    for index, (name, value, text) in enumerate(rows):
        y = _BARS_TOP + index * _ROW
        style = styles[index] if index < len(styles) else "cx-bar"
        body.append(
            _text(
                left - 8,
                y + 16,
                name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…",
                anchor="end",
            )
        )
        end = float(left)
        if value is not None and math.isfinite(value):
            end = axis.place(value, left, stop)
            body.append(
                f'<rect class="{style}" x="{left}" y="{y + 4}"'
                f' width="{max(0.8, end - left):.1f}" height="{_ROW - 8}"/>'
            )
        dot = dots[index] if index < len(dots) else None
        if dot is not None and math.isfinite(dot):
            at = axis.place(dot, left, stop)
            end = max(end, at + 3)
            body.append(
                f'<circle class="cx-dot" cx="{at:.1f}" cy="{y + _ROW / 2:g}" r="3.2"/>'
            )
        body.append(_text(end + 6, y + 16, text, "cx-small"))
    body.append(f'<path class="cx-axis" d="M{left} {_BARS_TOP}V{height - BOTTOM}"/>')
    return _svg(WIDTH, height, "".join(body), title, description)


def sparkline(
    values: Array, scale: float, *, title: str, width: int = 120, height: int = 24
) -> str:
    """Signed ``values`` float[n] as thin bars around a middle line, full height at
    +-``scale``; not finite: a gap.
    """
    middle, step = height / 2, width / max(1, len(values))
    ups: list[str] = []
    downs: list[str] = []
    for index, value in enumerate(
        np.nan_to_num(values, nan=0.0, posinf=scale, neginf=-scale)
    ):
        size = min(1.0, abs(float(value)) / scale) * (middle - 1) if scale > 0 else 0.0
        if size >= 0.05:
            path = (
                f"M{index * step:.1f}"
                f" {middle:g}v{-size if value > 0 else size:.1f}h{max(step, 0.6):.1f}V{middle:g}z"
            )
            (ups if value > 0 else downs).append(path)
    body = f'<path class="cx-grid" d="M0 {middle:g}H{width}"/>'
    body += "".join(
        f'<path class="{s}" d="{"".join(p)}"/>'
        for s, p in (("cx-up", ups), ("cx-down", downs))
        if p
    )
    return _svg(width, height, body, title, "", fixed=True)


def nothing(title: str) -> str:
    """What stands where there is nothing to draw."""
    return _svg(
        WIDTH,
        60,
        _text(WIDTH / 2, 36, "nothing to draw: no finite values", anchor="middle"),
        title,
        "",
    )


def _frame(
    x: Axis, y: Axis, body: str, title: str, description: str, *, sizes: bool = False
) -> str:
    """Axes around ``body``; ``sizes``: the y axis counts both ways, so its text has no
    sign.
    """
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    out = []
    for value, text in y.ticks():
        at = y.place(value, bottom, TOP)
        out.append(f'<path class="cx-grid" d="M{LEFT} {at:.1f}H{right}"/>')
        out.append(
            _text(
                LEFT - 7,
                at + 4,
                text.removeprefix("-") if sizes else text,
                "cx-small",
                "end",
            )
        )
    out += [
        _ticks_below(x, LEFT, right, TOP, bottom),
        body,
        f'<path class="cx-axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>',
    ]
    out += [
        _text(4, 14, y.label),
        _text((LEFT + right) / 2, HEIGHT - 4, x.label, anchor="middle"),
    ]
    return _svg(WIDTH, HEIGHT, "".join(out), title, description)


def _ticks_below(
    axis: Axis, left: float, right: float, top: float, bottom: float
) -> str:
    out = []
    for value, text in axis.ticks(max(2, round((right - left) / 70))):
        at = axis.place(value, left, right)
        out.append(f'<path class="cx-grid" d="M{at:.1f} {top}V{bottom}"/>')
        out.append(_text(at, bottom + 15, text, "cx-small", "middle"))
    return "".join(out)


def _svg(
    width: int,
    height: int,
    body: str,
    title: str,
    description: str,
    *,
    fixed: bool = False,
) -> str:
    size = f' width="{width}" height="{height}"' if fixed else ""
    what = f"<desc>{escape(description)}</desc>" if description else ""
    return (
        f'<svg class="cx" viewBox="0 0 {width} {height}"{size} role="img"'
        f' aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{what}{body}</svg>"
    )


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    classes = f' class="{style}"' if style else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{classes}{place}>{escape(text)}</text>'


def _point(x: Axis, y: Axis, at: float, value: float) -> str:
    return (
        f"{x.place(float(at), LEFT, WIDTH - RIGHT):.1f}"
        f" {y.place(float(value), HEIGHT - BOTTOM, TOP):.1f}"
    )


def _stretches(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of every stretch of True."""
    edges = np.flatnonzero(
        np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    )
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _runs(mask: npt.NDArray[np.bool_]) -> list[range]:
    return [range(a, b) for a, b in _stretches(mask)]
