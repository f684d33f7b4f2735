"""How large the numbers of a matrix are: against the noise floor, the usual range, or
the largest of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from logdrift.core.compare.matrix import MatrixCell
from logdrift.core.compare.metric import metric
from logdrift.core.compare.usual import UsualRange
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
    perfect = metric(path).perfect
    if perfect is None:
        return 0.0
    values = [cell.value for cell in cells if cell.comparable]
    known = [value for value in values if value is not None]
    distances = [abs(value - perfect) for value in known]
    return max(distances, default=0.0)


def grade(
    cell: MatrixCell, path: str, infos: Sequence[CaptureInfo], largest: float
) -> Grade:
    """How far from agreement a number is; ``infos`` are the captures of the session,
    ``largest`` is `largest_distance` of all cells.
    """
    value = cell.value
    perfect = metric(path).perfect
    if value is None:
        return Grade(0, "not known for this pair")
    if perfect is None:
        return Grade(0, "says nothing of agreement")
    if value == perfect:
        return Grade(0, "perfect agreement")
    size = abs(value)
    if cell.floor and size <= cell.floor:
        return Grade(0, "not above the noise floor: it means nothing", noise=True)
    usual = None
    if path == "errors.mae":
        usual = _usual_range(cell, infos)
    if usual is not None:
        return _against_usual(value, usual, cell.floor)
    if cell.floor:
        times = size / cell.floor
        level = bisect_left(_OF_FLOOR, times)
        return Grade(level, f"{times:.3g} times the noise floor")
    distance = abs(value - perfect)
    return _against_largest(distance, largest)


def _against_largest(distance: float, largest: float) -> Grade:
    """By the worst number of the matrix."""
    share = 0.0
    if largest:
        share = distance / largest
    if share >= 1:
        return Grade(STEPS, "the farthest from agreement here")
    level = bisect_left(_OF_LARGEST, share)
    return Grade(level, f"{share:.0%} of the farthest here")


def _against_usual(mae: float, usual: UsualRange, floor: float | None) -> Grade:
    """By what is usual for the coarser dtype of the pair."""
    far_beyond = 2 * usual.broken
    steps = (usual.high, usual.beyond, usual.broken, far_beyond)
    place = _place(mae, usual)
    words = f"{place} the usual range of {usual.dtype}, {usual.words}"
    if floor:
        times = mae / floor
        words += f", {times:.3g} times the noise floor"
    level = bisect_left(steps, mae)
    return Grade(level, words)


def _place(mae: float, usual: UsualRange) -> str:
    if mae > usual.high:
        if mae < usual.broken:
            return "above"
        return "far above"
    if mae >= usual.low:
        return "within"
    return "below"


def _usual_range(cell: MatrixCell, infos: Sequence[CaptureInfo]) -> UsualRange | None:
    by_label = {info.label: info for info in infos}
    a = by_label.get(cell.a)
    b = by_label.get(cell.b)
    if a is None or b is None:
        return None
    return usual_range(a, b)
