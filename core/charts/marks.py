"""What a picture is made of, in units of the data: axes, and marks between them.

A mark is already reduced to what a picture can show: its arrays are as long as the
picture is wide, however many tokens there are. A painter places marks by the axes;
what is painted first lies below, but for guides and bands, which lie below everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from logdrift.core.numbers import short

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ends = tuple[float, float]
"""The lowest and the highest value of a range."""
Tick = tuple[float, str]
"""A value on an axis and the text that stands at it."""


def value_ticks(*values: float) -> list[Tick]:
    """Ticks at values, written as short numbers."""
    return [(value, short(value)) for value in values]


def index_ticks(last: int, steps: int) -> list[Tick]:
    """Whole numbers from 0 to ``last``, about ``steps`` equal steps apart."""
    places = [i * last / steps for i in range(steps + 1)]
    indices = sorted(set(map(round, places)))
    return [(index, str(index)) for index in indices]


SHADE_GLYPHS = " ░▒▓█"
"""Glyphs of a terminal for the steps of `Cells`, from none; legends quote them."""
BAND = "░"
QUIET = "·"
DOT = "•"
"""Glyphs for `Range`, for a cell below the first step, and for a bar's second value."""
BOTH = "█"
ONLY_ABOVE = "▓"
ONLY_BELOW = "░"
"""Glyphs for two populations of a `Histogram`."""


def shade_scale(steps: Floats, in_words: Callable[[float], str]) -> str:
    """The shades in a legend, each with the value that it begins at."""
    glyphs = SHADE_GLYPHS[1:]
    shades = zip(glyphs, steps.tolist(), strict=True)
    entries = [f"{shade} {in_words(step)}" for shade, step in shades]
    return " ".join(entries)


@dataclass(frozen=True)
class ChartAxis:
    """Values from ``low`` to ``high``, their name with its unit, and ticks.

    ``scale``: ``log`` for values above 0; ``counts`` for counts, where one stands well
    above none and the rest follows the logarithm. ``unsigned``: ticks are written
    without a sign, for an axis that counts downwards or both ways. ``centred``: the
    middle of the axis is a value that needs a row of its own.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[Tick] = ()
    scale: Literal["linear", "log", "counts"] = "linear"
    unsigned: bool = False
    centred: bool = False

    def at(self, value: float) -> float:
        """Where ``value`` lies, in units that grow evenly along the axis."""
        if self.scale == "log":
            return math.log10(value)
        if self.scale == "counts":
            return count_height(value)
        return value

    @property
    def ends(self) -> Ends:
        """`at` of both ends."""
        low = self.at(self.low)
        high = self.at(self.high)
        return low, high

    def share(self, value: float) -> float:
        """How far along the axis a value lies: 0 at its low end, 1 at its high end."""
        low, high = self.ends
        above_low = self.at(value) - low
        return above_low / (high - low)

    def row(self, value: float, lines: int) -> int:
        """The row of a value, from the top of so many lines: the ends of the axis are
        the middles of the first and the last one.
        """
        last = lines - 1
        from_bottom = round(self.share(value) * last)
        return last - from_bottom


def count_height(count: float) -> float:
    """Height of a count: 0 for none, then by its logarithm from 0.3 on."""
    if count:
        return 0.3 + math.log10(count)
    return 0.0


@dataclass(frozen=True)
class Axes:
    """Both axes of a picture."""

    x: ChartAxis
    y: ChartAxis


@dataclass(frozen=True)
class Area:
    """The cells between the axes: the resolution of a picture."""

    columns: int
    lines: int

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.columns * self.lines


# ---- marks


@dataclass(frozen=True, eq=False)
class Curve:
    """A line through finite points ``x``, ``y`` f[n]."""

    x: Array
    y: Array


@dataclass(frozen=True, eq=False)
class Range:
    """From ``low`` to ``high`` f[n] over ``x`` f[n], which ascends evenly; NaN: a
    gap.
    """

    x: Array
    low: Array
    high: Array


@dataclass(frozen=True, eq=False)
class Stems:
    """A dot at each finite ``x``, ``y`` f[n], and a line to it from y = 0.

    ``levels`` i8[n] are their steps of colour, as `reduce.sign_levels` gives them.
    """

    x: Array
    y: Array
    levels: Array


@dataclass(frozen=True)
class Level:
    """A guide line across the picture at ``y``: ``letter`` marks it in a terminal,
    ``name`` in an SVG.
    """

    y: float
    name: str = ""
    letter: str = ""


@dataclass(frozen=True)
class Upright:
    """A guide line at ``x``: ``letter`` marks it in a terminal, ``name`` in an SVG."""

    x: float
    letter: str
    name: str


@dataclass(frozen=True)
class Diagonal:
    """A guide line where y is x."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """Two counts ``above`` and ``below`` i64[n] between ``edges`` f64[n+1] (> 0).

    Of ``one`` population in two parts: a terminal paints their sum. Otherwise it paints
    what both have in a bin (`BOTH`), and what one has more of (`ONLY_ABOVE`,
    `ONLY_BELOW`). An SVG paints one upwards and the other downwards. ``names`` say what
    they are.
    """

    edges: Floats
    above: Array
    below: Array
    names: tuple[str, str]
    one: bool = True


@dataclass(frozen=True, eq=False)
class Cells:
    """A map of ``values`` f[rows, columns], row 0 on top, stretched over the picture;
    NaN: empty.

    ``steps`` f64[4] are the lowest values of the shades of a terminal. An SVG has more
    of them, from ``least`` on, by the logarithm.
    """

    values: Floats
    steps: Floats
    least: float


@dataclass(frozen=True, eq=False)
class Dots:
    """How many tokens lie in each place, i64[rows, columns], row 0 on top.

    A cell of a terminal holds `DOT_ROWS` x `DOT_COLUMNS` places. ``levels`` i8 of the
    same shape are the steps of colour of the token with the largest |delta| of each.
    """

    counts: Array
    levels: Array


DOT_ROWS = 4
DOT_COLUMNS = 2


@dataclass(frozen=True)
class LabelledBar:
    """A bar of ``value`` and a dot at ``dot``, None where there are no tokens.

    ``label`` is short, for below the bar; ``name`` and ``note`` stand before and
    behind a bar that lies.
    """

    label: str
    name: str
    value: float | None
    dot: float | None
    note: str


@dataclass(frozen=True)
class LabelledBars:
    """Bars side by side, each as wide as the others, from y = 0 on."""

    bars: tuple[LabelledBar, ...]


Mark = (
    Curve
    | Range
    | Stems
    | Level
    | Upright
    | Diagonal
    | Histogram
    | Cells
    | Dots
    | LabelledBars
)


class TokenCell(NamedTuple):
    """A cell between the axes, counted from the upper left corner.

    ``row`` is None where the whole column is the token's place.
    """

    column: int
    row: int | None


class TokenPlaces(Protocol):
    """Where tokens lie between the axes."""

    def cell(self, position: int) -> TokenCell | None:
        """The cell of a flat position; None where the picture does not show it."""

    def step(self, position: int, columns: int, rows: int) -> int | None:
        """The flat position that many cells on, None where nothing lies further.

        From +-`registry.FAR` on, the step goes to the last token in that direction.
        """


@dataclass(frozen=True, eq=False)
class Picture:
    """The marks of one area.

    ``legend`` are phrases, the most needed first. ``place`` says where each token
    lies, for a cursor.
    """

    marks: tuple[Mark, ...]
    legend: tuple[str, ...] = ()
    place: TokenPlaces | None = None
