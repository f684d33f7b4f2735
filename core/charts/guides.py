"""Guide lines across a picture: a picture of few rows shows those that can be told
apart, and its legend says which are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from logdrift.core.charts.base import Chart
from logdrift.core.charts.marks import Area, ChartAxis, Level
from logdrift.core.numbers import short

_SVG_ROWS = 101
"""In a picture of 204 pixels between its axes: lines two pixels apart."""
ZERO = Level(0)
"""The line at 0."""


@dataclass(frozen=True, slots=True)
class Guide:
    """Lines that are shown together: all of one letter, and what it stands for."""

    letter: str
    words: str
    levels: tuple[Level, ...]


def threshold_guide(threshold: float) -> Guide:
    """The lines at +- the threshold, nats."""
    above = Level(threshold, "threshold", "t")
    below = Level(-threshold, "", "t")
    nats = short(threshold)
    return Guide(
        letter="t",
        words=f"threshold ±{nats} nats",
        levels=(above, below),
    )


def rows_of(chart: Chart, area: Area) -> int:
    """The rows in which lines can be told apart: an SVG has finer ones than the places
    of its dots.
    """
    if area is chart.detail:
        return _SVG_ROWS
    return area.lines


@dataclass(frozen=True, slots=True)
class SeenGuides:
    """The lines that a picture shows, and what its legend says of all of them."""

    levels: tuple[Level, ...]
    phrases: tuple[str, ...]


def seen_guides(guides: Sequence[Guide], axis: ChartAxis, lines: int) -> SeenGuides:
    """The line at 0, then each guide that has rows of its own in so many lines.

    The first guides take their rows first.
    """
    zero_row = axis.row(0, lines)
    taken = {zero_row}
    levels = [ZERO]
    phrases: list[str] = []
    for guide in guides:
        rows = [axis.row(level.y, lines) for level in guide.levels]
        if _is_free(rows, taken, lines):
            taken.update(rows)
            levels += guide.levels
            phrases.append(f"{guide.letter}: {guide.words}")
        else:
            phrases.append(f"{guide.words} (too few rows for its line)")
    return SeenGuides(tuple(levels), tuple(phrases))


def _is_free(rows: Sequence[int], taken: set[int], lines: int) -> bool:
    """Whether these are different rows of the picture that no other line has."""
    different_rows = set(rows)
    are_different = len(different_rows) == len(rows)
    is_inside = [0 <= row < lines for row in rows]
    are_inside = all(is_inside)
    return are_different and are_inside and taken.isdisjoint(rows)
