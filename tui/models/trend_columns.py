"""The columns of the rows of a trend, and how many a width holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from logdrift.core.numbers import UNKNOWN
from logdrift.core.session.visible import visible
from logdrift.core.trend.line import TrendLine, minute
from logdrift.core.trend.number import NUMBERS, TrendNumber
from logdrift.core.trend.row import TrendRow

_WAITING = "…"
_WIDEST = 40
_GAP = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendColumn:
    """One column; its place is that in `COLUMNS`.

    Attributes:
        name: its head.
        rank: how early it is given room, 0 first.
        text: of a row.
        right: whether its texts stand at the right.
    """

    name: str
    rank: int
    text: Callable[[TrendRow], str]
    right: bool = True


@dataclass(frozen=True, slots=True)
class TrendColumnRoom:
    """A column that is shown, and how wide."""

    column: TrendColumn
    cells: int


def _step(row: TrendRow) -> str:
    if row.step is None:
        return UNKNOWN
    return str(row.step)


def _version(row: TrendRow) -> str:
    return visible(row.version) or UNKNOWN


def _verdict(row: TrendRow) -> str:
    if not row.measured and row.mae is None:
        return _WAITING
    return row.verdict_words


def _interval(row: TrendRow) -> str:
    if row.mae_interval is None:
        return UNKNOWN
    low, high = row.mae_interval
    return f"{low:.2g} {high:.2g}"


def _cause(row: TrendRow) -> str:
    return visible(row.reason or row.cause_words)


def _time(row: TrendRow) -> str:
    return visible(minute(row.created))


def _session(row: TrendRow) -> str:
    return visible(row.session)


_RANKS = {"mae": 1, "k3": 4, "ess": 5, "beyond": 6, "lag": 7, "entropy": 8, "length": 9}


def _of_number(number: TrendNumber) -> TrendColumn:
    def text(row: TrendRow) -> str:
        return number.text(number.value(row))

    return TrendColumn(name=number.title, rank=_RANKS[number.name], text=text)


_MAE, *_OTHERS = map(_of_number, NUMBERS)
COLUMNS = (
    TrendColumn(name="step", rank=0, text=_step),
    TrendColumn(name="version", rank=3, text=_version),
    _MAE,
    TrendColumn(name="95%", rank=3, text=_interval),
    TrendColumn(name="verdict", rank=2, text=_verdict, right=False),
    *_OTHERS,
    TrendColumn(name="cause", rank=10, text=_cause, right=False),
    TrendColumn(name="time", rank=11, text=_time, right=False),
    TrendColumn(name="session", rank=12, text=_session, right=False),
)


def trend_layout(line: TrendLine, width: int) -> list[TrendColumnRoom]:
    """The columns that a width holds with their cells: the most important ones that
    have anything to say, as wide as their widest text.

    Without steps, the session's name stands first.
    """
    rooms = []
    for column in COLUMNS:
        texts = list(map(column.text, line.rows))
        if set(texts) - {UNKNOWN, ""}:
            rooms.append(TrendColumnRoom(column, _cells(column, texts)))

    def rank(room: TrendColumnRoom) -> int:
        is_name = room.column.name == "session"
        if is_name and line.order != "step":
            return 0
        return room.column.rank

    chosen: list[TrendColumnRoom] = []
    used = 0
    for room in sorted(rooms, key=rank):
        needed = room.cells + _GAP
        if used + needed <= width or not chosen:
            chosen.append(room)
            used += needed
    return [room for room in rooms if room in chosen]


def _cells(column: TrendColumn, texts: Sequence[str]) -> int:
    longest = max(map(len, texts), default=0)
    return min(_WIDEST, max(longest, len(column.name)))
