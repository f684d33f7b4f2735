"""How large the numbers of a matrix are: against the noise floor, the usual range, or
the largest of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from logdrift.core.compare.matrix import MatrixCell
from logdrift.core.compare.metric import METRICS
from logdrift.core.report.usual import usual_range
from logdrift.core.session.layout import CaptureInfo

STEPS = 4
_OF_FLOOR = (2.0, 4.0, 8.0, 16.0)
_OF_LARGEST = (1 / 8, 1 / 4, 1 / 2)


@dataclass(frozen=True, slots=True)
class Grade:
    """``level`` 0 (nothing to see) to `STEPS`; ``noise`` where the number is not above
    the noise floor.
    """

    level: int
    words: str
    noise: bool = False


def largest_distance(cells: Iterable[MatrixCell], path: str) -> float:
    """How far the worst of the comparable numbers is from perfect agreement; 0 where
    that means nothing.
    """
    perfect = METRICS[path].perfect
    if perfect is None:
        return 0.0
    return max(
        (abs(c.value - perfect) for c in cells if c.comparable and c.value is not None),
        default=0.0,
    )


def grade(
    cell: MatrixCell, path: str, infos: Sequence[CaptureInfo], largest: float
) -> Grade:
    """What is to be thought of a number; ``infos`` are the captures of the session."""
    perfect = METRICS[path].perfect
    if cell.value is None:
        return Grade(0, "not known for this pair")
    if perfect is None:
        return Grade(0, "says nothing of agreement")
    if cell.value == perfect:
        return Grade(0, "perfect agreement")
    if cell.floor and abs(cell.value) <= cell.floor:
        return Grade(0, "not above the noise floor: it means nothing", noise=True)
    if path == "errors.mae":
        by_dtype = _by_dtype(cell, infos)
        if by_dtype is not None:
            return by_dtype
    if cell.floor:
        times = abs(cell.value) / cell.floor
        return Grade(
            bisect_left(_OF_FLOOR, times), f"{times:.3g} times the noise floor"
        )
    share = abs(cell.value - perfect) / largest if largest else 0.0
    level = STEPS if share >= 1 else bisect_left(_OF_LARGEST, share)
    return Grade(
        level,
        (
            "the farthest from agreement here"
            if level == STEPS
            else f"{share:.0%} of the farthest here"
        ),
    )


def _by_dtype(cell: MatrixCell, infos: Sequence[CaptureInfo]) -> Grade | None:
    by_label = {info.label: info for info in infos}
    if cell.a not in by_label or cell.b not in by_label or cell.value is None:
        return None
    usual = usual_range(by_label[cell.a], by_label[cell.b])
    if usual is None:
        return None
    bounds = (usual.high, usual.beyond, usual.broken, 2 * usual.broken)
    level = bisect_left(bounds, cell.value)
    words = "within" if cell.value >= usual.low else "below"
    if level:
        words = "above" if cell.value < usual.broken else "far above"
    floor = (
        f", {cell.value / cell.floor:.3g} times the noise floor" if cell.floor else ""
    )
    return Grade(
        level, f"{words} the usual range of {usual.dtype}, {usual.words}{floor}"
    )
