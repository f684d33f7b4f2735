"""The columns of the rows of a trend: one table for the screen and for documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from logdrift.core.numbers import UNKNOWN, even_ends
from logdrift.core.session.visible import visible
from logdrift.core.trend.line import TrendLine, minute
from logdrift.core.trend.number import NUMBERS, TrendNumber
from logdrift.core.trend.row import TrendRow

_WAITING = "…"
GAP = 1
"""Cells between two columns."""
_WIDEST = 40
"""Cells of a column at most: a cause is a sentence."""
_NOTHING = frozenset({UNKNOWN, ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendColumn:
    """One column; its place is that in `COLUMNS`.

    Attributes:
        name: its head.
        rank: how early it is given room, 0 first.
        text: of a row, without anything that a terminal would obey.
        right: whether its texts stand at the right.
        is_long: its texts need the room of a page or a comment.
    """

    name: str
    rank: int
    text: Callable[[TrendRow], str]
    right: bool = True
    is_long: bool = False


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
    return even_ends(*row.mae_interval)


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
    TrendColumn(name="cause", rank=10, text=_cause, right=False, is_long=True),
    TrendColumn(name="time", rank=11, text=_time, right=False, is_long=True),
    TrendColumn(name="session", rank=12, text=_session, right=False, is_long=True),
)


@dataclass(frozen=True, slots=True)
class ColumnTexts:
    """A column with its text of each row of a line."""

    column: TrendColumn
    texts: Sequence[str]

    @property
    def cells(self) -> int:
        """How wide it is with its head."""
        longest = max(map(len, self.texts), default=0)
        return max(len(self.column.name), min(_WIDEST, longest))


def known_columns(rows: Sequence[TrendRow]) -> Iterator[ColumnTexts]:
    """The columns in which a row has anything."""
    for column in COLUMNS:
        texts = list(map(column.text, rows))
        if set(texts) - _NOTHING:
            yield ColumnTexts(column, texts)


class TrendLayout(NamedTuple):
    """The columns that a width holds, and those that it lacks the room for."""

    shown: list[ColumnTexts]
    left_out: list[ColumnTexts]


def trend_layout(line: TrendLine, width: int, *, has_long: bool = True) -> TrendLayout:
    """The most important columns that have anything to say, as wide as their widest
    text. The names of sessions come first where no step tells rows apart; without
    ``has_long``, other long columns are neither shown nor left out.
    """
    ranks = {column.name: column.rank for column in COLUMNS}
    if line.order != "step":
        ranks["session"] = 0

    def rank(known: ColumnTexts) -> int:
        return ranks[known.column.name]

    wanted = []
    for known in known_columns(line.rows):
        if has_long or not rank(known) or not known.column.is_long:
            wanted.append(known)
    chosen: set[str] = set()
    used = 0
    for known in sorted(wanted, key=rank):
        needed = known.cells + GAP
        if used + needed <= width or not chosen:
            chosen.add(known.column.name)
            used += needed
    shown = [known for known in wanted if known.column.name in chosen]
    left_out = [known for known in wanted if known.column.name not in chosen]
    return TrendLayout(shown, left_out)
