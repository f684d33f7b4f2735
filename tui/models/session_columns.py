"""The columns of the list of sessions: what each is sorted by, and how many a width
holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from logdrift.tui.models.sessions import SessionRow

_BADNESS = {"comparable": 0, "caution": 1, "not_comparable": 2}
_MEANINGS = {"good": 0, "warn": 1, "bad": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListColumn:
    """One column; its place is that in `COLUMNS`.

    Attributes:
        title: its head.
        cells: how wide it is.
        rank: how early it is given room, 0 first.
        key: what rows are sorted by; None for a row without a value.
        right: whether its texts stand at the right.
        down: whether sorting by it puts the largest first.
    """

    title: str
    cells: int
    rank: int
    key: Callable[[SessionRow], Any]
    right: bool = False
    down: bool = False


def _badness(row: SessionRow) -> tuple[int, float] | None:
    """The worst meaning last, within it the largest MAE; None without a verdict."""
    if row.verdict is None:
        return None
    size = row.size or 0.0
    answer = row.answer
    if answer is None:
        badness = _BADNESS.get(row.verdict, 0)
    else:
        badness = _MEANINGS[answer.meaning]
    return badness, size


def _cause_key(row: SessionRow) -> str | None:
    if row.answer is None:
        return None
    return row.answer.cause.casefold()


COLUMNS: dict[str, ListColumn] = {
    "name": ListColumn(
        title="session", cells=16, rank=0, key=lambda row: row.name.casefold()
    ),
    "mae": ListColumn(
        title="MAE", cells=8, rank=1, key=lambda row: row.size, right=True, down=True
    ),
    "verdict": ListColumn(
        title="verdict",
        cells=16,
        rank=2,
        key=_badness,
        down=True,
    ),
    "cause": ListColumn(
        title="cause",
        cells=22,
        rank=4,
        key=_cause_key,
    ),
    "state": ListColumn(
        title="state", cells=9, rank=3, key=lambda row: row.state or None
    ),
    "tokens": ListColumn(
        title="tokens",
        cells=10,
        rank=5,
        key=lambda row: None if row.problem else row.tokens,
        right=True,
        down=True,
    ),
    "backends": ListColumn(
        title="backends",
        cells=24,
        rank=6,
        key=lambda row: row.backends.casefold() or None,
    ),
    "date": ListColumn(
        title="date", cells=16, rank=7, key=lambda row: row.created or None, down=True
    ),
    "model": ListColumn(
        title="model", cells=16, rank=8, key=lambda row: row.model.casefold() or None
    ),
}
ROOMY_STATE = 18
"""Of a running session with its time left, where there is room."""
_ROOMY_CAUSE = 43
"""Of a cause with how sure it is, where there is room; what a running session takes
for its state is taken from it.
"""
_ROOMY = 110
_NAME_CELLS = 44


class ColumnRoom(NamedTuple):
    """A column that is shown, and how wide."""

    name: str
    cells: int


def layout(width: int, wanted: str = "", *, any_runs: bool = True) -> list[ColumnRoom]:
    """The columns that a width holds with their cells: ``wanted`` next to the name,
    then the most important ones that fit; what is left is the name's. ``any_runs``: a
    listed session runs, whose state needs more room than others.
    """
    sizes = {name: column.cells for name, column in COLUMNS.items()}
    if width >= _ROOMY:
        sizes["cause"] = _ROOMY_CAUSE
        if any_runs:
            sizes["cause"] -= ROOMY_STATE - sizes["state"]
            sizes["state"] = ROOMY_STATE
    chosen: list[str] = []
    used = 1
    by_rank = sorted(COLUMNS, key=_rank_beside(wanted))
    for name in by_rank:
        needed = sizes[name] + 1
        if used + needed > width and chosen:
            continue
        chosen.append(name)
        used += needed
    widest_name = max(_NAME_CELLS, width // 4)
    spare = max(0, width - used)
    name_cells = sizes["name"] + spare
    sizes["name"] = min(name_cells, widest_name)
    in_order = [name for name in COLUMNS if name in chosen]
    return [ColumnRoom(name, sizes[name]) for name in in_order]


def _rank_beside(wanted: str) -> Callable[[str], int]:
    """The rank of a column; ``wanted`` comes right after the name."""

    def rank(name: str) -> int:
        own_rank = COLUMNS[name].rank
        if name == wanted:
            return min(1, own_rank)
        return own_rank

    return rank


def sorted_rows(
    rows: Sequence[SessionRow], column: str, down: bool
) -> tuple[SessionRow, ...]:
    """Rows by a column; those without a value come last either way, equal ones stay as
    they were.
    """
    key = COLUMNS[column].key
    with_value: list[SessionRow] = []
    without_value: list[SessionRow] = []
    for row in rows:
        value = key(row)
        if value is None:
            without_value.append(row)
        else:
            with_value.append(row)
    with_value.sort(key=key, reverse=down)
    return (*with_value, *without_value)
