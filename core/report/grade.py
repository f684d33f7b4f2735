"""How large the numbers of a matrix are: against the noise floor, the usual range, or
the largest of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from logdrift.core.compare.matrix import MatrixCell
from logdrift.core.compare.metric import METRICS
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
    perfect = METRICS[path].perfect
    if perfect is None:
        return 0.0
    values = (cell.value for cell in cells if cell.comparable)
    distances = (abs(value - perfect) for value in values if value is not None)
    return max(distances, default=0.0)


def grade(
    cell: MatrixCell, path: str, infos: Sequence[CaptureInfo], largest: float
) -> Grade:
    """How far from agreement a number is; ``infos`` are the captures of the session,
    ``largest`` is `largest_distance` of all cells.
    """
    value = cell.value
    perfect = METRICS[path].perfect
    if value is None:
        return Grade(0, "not known for this pair")
    if perfect is None:
        return Grade(0, "says nothing of agreement")
    if value == perfect:
        return Grade(0, "perfect agreement")
    if cell.floor and abs(value) <= cell.floor:
        return Grade(0, "not above the noise floor: it means nothing", noise=True)
    usual = None
    if path == "errors.mae":
        usual = _usual_range(cell, infos)
    if usual is not None:
        return _against_usual(value, usual, cell.floor)
    if cell.floor:
        times = abs(value) / cell.floor
        level = bisect_left(_OF_FLOOR, times)
        return Grade(level, f"{times:.3g} times the noise floor")
    return _against_largest(abs(value - perfect), largest)


def _against_largest(distance: float, largest: float) -> Grade:
    """By the worst number of the matrix."""
    share = distance / largest if largest else 0.0
    if share >= 1:
        return Grade(STEPS, "the farthest from agreement here")
    return Grade(bisect_left(_OF_LARGEST, share), f"{share:.0%} of the farthest here")


def _against_usual(mae: float, usual: UsualRange, floor: float | None) -> Grade:
    """By what is usual for the coarser dtype of the pair."""
    steps = (usual.high, usual.beyond, usual.broken, 2 * usual.broken)
    words = f"{_place(mae, usual)} the usual range of {usual.dtype}, {usual.words}"
    if floor:
        words += f", {mae / floor:.3g} times the noise floor"
    return Grade(bisect_left(steps, mae), words)


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
    if cell.a not in by_label or cell.b not in by_label:
        return None
    return usual_range(by_label[cell.a], by_label[cell.b])
