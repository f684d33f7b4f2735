"""Everything about one token: each capture's numbers, the alternatives side by side.

Reads a few rows of each capture, which is fast enough for every key press.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from logdrift.core.compare.alternatives import ListCell, TopList, alternatives, top_list
from logdrift.core.compare.pair import Pair
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import number, signed
from logdrift.core.session.joining import part_of, whole_text
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Capture, Session
from logdrift.core.session.tensors import Column
from logdrift.tui.models.pairs import reason
from logdrift.tui.models.places import sequence_of
from logdrift.tui.models.token_role import TokenRole, role_of
from logdrift.tui.models.token_sampling import (
    TurnNumbers,
    Weights,
    turn_numbers,
    weights_of,
)

# These records have neither comparison nor repr: making both for ten classes would take
# a fiftieth of the time of a start.

_FEW = 5
"""Of the likeliest tokens of A and of B: those that come first where rows are few."""


@dataclass(frozen=True, eq=False, repr=False)
class CaptureRow:
    """One capture's numbers for a token; None where there is no such number.

    ``side`` is A or B of the pair, "" for other captures. ``logprob`` and ``entropy``
    are in nats. ``delta`` is log p of the pair's A minus that of this capture, nats;
    ``times`` is its size as a multiple of the floor between A and this capture, None
    where the floor is 0 (``exact``: repeats agree to the last bit). ``note`` is the
    reason why there is no ``logprob``.
    """

    label: str
    side: str
    logprob: float | None = None
    rank: int | None = None
    delta: float | None = None
    entropy: float | None = None
    note: str = ""
    times: float | None = None
    exact: bool = False
    broken: bool = False
    """The capture computed a score, and it is NaN."""

    @property
    def ratio(self) -> float | None:
        """The probability that A gives over the one that this capture gives, None where
        that is 0.
        """
        if self.delta is None or self.delta >= 700:
            return None  # math.exp would raise OverflowError
        return math.exp(self.delta)


class AlternativeDelta(NamedTuple):
    """log p A - log p B of one id, nats. ``bound``: it is more (``>``) or less (``<``)
    than ``value``, because one side does not list the id.
    """

    value: float
    bound: Literal["", ">", "<"] = ""


@dataclass(frozen=True, eq=False, repr=False)
class TopRow:
    """One id of the union of the top-k lists.

    ``target``: it is the token of the sequence.
    """

    token_id: int
    text: str
    target: bool
    cells: tuple[ListCell, ...]

    def delta(self, a: int, b: int) -> AlternativeDelta | None:
        """Column ``a`` minus column ``b``; None where neither lists the id."""
        cell_a = self.cells[a]
        cell_b = self.cells[b]
        difference = _difference(cell_a.logprob, cell_b.logprob)
        if difference is not None:
            return AlternativeDelta(difference)
        least = _difference(cell_a.logprob, cell_b.below)
        if least is not None:
            return AlternativeDelta(least, ">")
        most = _difference(cell_a.below, cell_b.logprob)
        if most is not None:
            return AlternativeDelta(most, "<")
        return None


@dataclass(frozen=True, eq=False, repr=False)
class Inspection:
    """Everything about one token.

    ``position`` is flat, ``index`` its place in ``sequence``; ``raw`` are its bytes,
    None where the session does not have them; ``delta`` is that of the pair, nats.
    ``columns`` are the labels of the captures that have alternatives, A and B of the
    pair first. The rows of ``top`` are in the order of column ``by``; ``rest`` and
    ``k`` have an entry for each column.
    """

    position: int
    sequence: int
    index: int
    token_id: int
    text: str
    raw: bytes | None
    role: TokenRole
    delta: float | None
    captures: tuple[CaptureRow, ...] = ()
    columns: tuple[str, ...] = ()
    top: tuple[TopRow, ...] = ()
    rest: tuple[float | None, ...] = ()
    """The probability outside of each column's top-k list."""
    k: tuple[int, ...] = ()
    """The length of each column's top-k list."""
    by: int = 0
    mark: str | None = None
    """The reader's note, None without a mark."""
    weights: Weights = ()
    """With which weights each side computed the score."""
    turn: TurnNumbers | None = None
    """The numbers of the token's turn, where its sequence has several."""
    part: tuple[str, int, int] | None = None
    """The character of which the token has a part, and the first and the last index of
    the tokens that share it.
    """

    @property
    def pair_columns(self) -> tuple[int, int] | None:
        """The columns of A and of B, None where one of them has no alternatives."""
        sides = {row.side: row.label for row in self.captures}
        labels = (sides.get("A"), sides.get("B"))
        if self.columns[:2] == labels:
            return 0, 1
        return None

    def of_the_pair(self) -> Inspection:
        """With A and B alone of all captures, and the five likeliest tokens of each
        before all others.
        """
        sides = tuple(row for row in self.captures if row.side)
        top = sorted(self.top, key=_is_unlikely)
        return replace(self, captures=sides or self.captures, top=tuple(top))

    def in_one_line(self) -> str:
        """The token with its numbers, as it is copied."""
        cells = [
            f"seq {self.sequence}",
            f"pos {self.index}",
            f"id {self.token_id}",
            repr(self.text),
        ]
        for row in self.captures:
            if row.logprob is not None:
                value = number(row.logprob)
                cells.append(f"{row.label} {value} rank {row.rank}")
        if self.delta is not None:
            delta = signed(self.delta)
            cells.append(f"delta {delta}")
        return "  ".join(cells)


def _is_unlikely(row: TopRow) -> bool:
    """Whether neither of the first two columns has the row among its five likeliest."""
    ranks = [cell.rank for cell in row.cells[:2] if cell.rank]
    return min(ranks, default=_FEW + 1) > _FEW


@dataclass(frozen=True, eq=False, repr=False)
class _Alternatives:
    """The top-k list of a capture; ``side``: A or B of the pair, "" for others."""

    label: str
    side: str
    top: TopList

    @property
    def backend(self) -> str:
        return self.label.partition("/")[0]


def inspect(
    session: Session,
    pair: Pair | None,
    position: int,
    *,
    by: int = 0,
    floors: Mapping[str, float] | None = None,
    mark: str | None = None,
    threshold: float = math.inf,
) -> Inspection:
    """Everything about the token at flat ``position``.

    ``by`` is the column that gives the alternatives their order, ``floors`` the floor
    (nats) between A and the capture of each label, ``mark`` the reader's note;
    ``threshold`` (nats) is that of the turn's tokens.
    """
    sequences = session.sequences
    pieces = session.pieces
    sequence = sequence_of(sequences, position)
    start, _ = sequences.bounds(sequence)
    index = position - start
    token_id = int(sequences.token_ids[position])
    rows, lists = _captures(session, pair, position, floors or {})
    token = Inspection(
        position=position,
        sequence=sequence,
        index=index,
        token_id=token_id,
        text=pieces.text(token_id),
        raw=pieces.get(token_id),
        role=role_of(sequences, sequence, index),
        delta=_delta(pair, position),
        captures=_a_above_b(rows),
        mark=mark,
        weights=weights_of(pair, position),
        turn=turn_numbers(pair, position, threshold),
        part=_part(session, position, sequence),
    )
    return _with_alternatives(token, session, lists, by)


def _with_alternatives(
    token: Inspection, session: Session, lists: list[_Alternatives], by: int
) -> Inspection:
    """The token with the alternatives of the captures that have some."""
    filled = [entry for entry in lists if entry.top.entries]
    columns = _in_order(filled)
    labels = [column.label for column in columns]
    tops = [column.top for column in columns]
    rest = [top.rest for top in tops]
    lengths = [len(top.entries) for top in tops]
    last_column = len(columns) - 1
    by = max(0, min(by, last_column))
    return replace(
        token,
        columns=tuple(labels),
        top=_union(session, tops, token.token_id, by),
        rest=tuple(rest),
        k=tuple(lengths),
        by=by,
    )


def _delta(pair: Pair | None, position: int) -> float | None:
    if pair is None or position >= pair.tokens:
        return None
    return float(pair.delta[position])


# ---- a token that is a part of a character


def _part(
    session: Session, position: int, sequence: int
) -> tuple[str, int, int] | None:
    """The `Inspection.part` of a token."""
    sequences = session.sequences
    token_ids = sequences.token_ids
    pieces = session.pieces
    token_id = int(token_ids[position])
    raw = pieces.get(token_id)
    if raw is None or whole_text(raw):
        return None
    # A character has at most four bytes: the tokens that share it with this one are at
    # most three tokens away.
    start, stop = sequences.bounds(sequence)
    first = max(start, position - 3)
    last = min(stop, position + 4)
    neighbours: list[bytes] = []
    for neighbour in token_ids[first:last].tolist():
        piece = pieces.get(neighbour)
        neighbours.append(piece or b"")
    part = part_of(neighbours, position - first)
    if part is None:
        return None
    char, first_piece, last_piece = part
    offset = first - start
    return char, first_piece + offset, last_piece + offset


# ---- the captures


def _in_order(lists: list[_Alternatives]) -> list[_Alternatives]:
    """A and B first, then one capture of every other backend, then the others.

    A narrow table shows only the first few.
    """
    sides = [entry for entry in lists if entry.side]
    sides.sort(key=operator.attrgetter("side"))
    backends = {entry.backend for entry in sides}
    first_of_backend: list[_Alternatives] = []
    others: list[_Alternatives] = []
    for entry in lists:
        if entry.side:
            continue
        if entry.backend in backends:
            others.append(entry)
        else:
            first_of_backend.append(entry)
            backends.add(entry.backend)
    return [*sides, *first_of_backend, *others]


def _a_above_b(rows: Sequence[CaptureRow]) -> tuple[CaptureRow, ...]:
    """Rows in the order of the session, with A above B: a trainer that was added to an
    import is A, and comes last in it.
    """
    sides = [row for row in rows if row.side]
    sides.sort(key=operator.attrgetter("side"))
    in_order = iter(sides)
    return tuple(next(in_order) if row.side else row for row in rows)


def _captures(
    session: Session, pair: Pair | None, position: int, floors: Mapping[str, float]
) -> tuple[tuple[CaptureRow, ...], list[_Alternatives]]:
    """A row for each capture, and the alternatives of those that have the token."""
    logprob_a = None
    if pair is not None and position < pair.tokens:
        logprob_a = _scalar(pair.logprob_a[position])
    rows: list[CaptureRow] = []
    lists: list[_Alternatives] = []
    for info in session.captures:
        label = info.label
        side = _side_of(pair, label)
        scores = _scores(session, info, position)
        if isinstance(scores, str):
            row = CaptureRow(label, side, note=scores)
            rows.append(row)
            continue
        floor = floors.get(label)
        row = _row(label, side, scores, logprob_a, floor)
        rows.append(row)
        top = scores.top_list()
        entry = _Alternatives(label, side, top)
        lists.append(entry)
    return tuple(rows), lists


def _side_of(pair: Pair | None, label: str) -> str:
    if pair is None:
        return ""
    if label == pair.b.info.label:
        return "B"
    if label == pair.a.info.label:
        return "A"
    return ""


def _row(
    label: str,
    side: str,
    scores: _Scores,
    logprob_a: float | None,
    floor: float | None,
) -> CaptureRow:
    delta = _difference(logprob_a, scores.logprob)
    return CaptureRow(
        label=label,
        side=side,
        logprob=scores.logprob,
        rank=scores.rank,
        delta=delta,
        entropy=scores.entropy,
        note=scores.note,
        times=_times(delta, floor),
        exact=floor == 0,
        broken=scores.broken,
    )


@dataclass(frozen=True, eq=False, repr=False)
class _Scores:
    """One capture's numbers for a token. ``broken``: its score is NaN."""

    logprob: float | None
    broken: bool
    rank: int | None
    entropy: float | None
    top_ids: Any
    top_logprobs: Any

    @property
    def note(self) -> str:
        """Why there is no number."""
        if self.logprob is not None:
            return ""
        if self.broken:
            return "NaN"
        return "no score here"

    def top_list(self) -> TopList:
        return top_list(self.top_ids, self.top_logprobs, self.logprob, self.rank)


def _scores(session: Session, info: CaptureInfo, position: int) -> _Scores | str:
    """One capture's numbers for a token, or in words why there are none."""
    try:
        capture = session.capture(info.label)
        if position < capture.tokens:
            return _read_scores(capture, position)
    except LogdriftError as error:
        return reason(session, error)
    if info.status == "failed":
        return "failed"
    return "not captured yet"


def _read_scores(capture: Capture, position: int) -> _Scores:
    """Read one row. Raises InputError where the part was replaced by another one."""

    def row(column: Column) -> Any:
        rows = column.rows(position, position + 1)
        return rows[0]

    logprob = _scalar(row(capture.logprob))
    broken = False
    if logprob is None and capture.nan is not None:
        broken = bool(row(capture.nan))
    entropy = None
    if capture.entropy is not None:
        entropy = _scalar(row(capture.entropy))
    return _Scores(
        logprob=logprob,
        broken=broken,
        rank=int(row(capture.rank)) or None,
        entropy=entropy,
        top_ids=row(capture.top_ids),
        top_logprobs=row(capture.top_logprobs),
    )


def _union(
    session: Session, lists: list[TopList], target: int, by: int
) -> tuple[TopRow, ...]:
    """The union of the lists, in the order of list ``by``.

    `alternatives` takes the order of the first list: list ``by`` is moved there, and
    its cells are moved back.
    """
    if not lists:
        return ()
    pieces = session.pieces
    moved = list(lists)
    leading = moved.pop(by)
    moved.insert(0, leading)
    rows: list[TopRow] = []
    for entry in alternatives(moved, target):
        cells = list(entry.cells)
        leading_cell = cells.pop(0)
        cells.insert(by, leading_cell)
        row = TopRow(
            token_id=entry.token_id,
            text=pieces.text(entry.token_id),
            target=entry.target,
            cells=tuple(cells),
        )
        rows.append(row)
    return tuple(rows)


def _scalar(value: Any) -> float | None:
    """A number read from a column; None for NaN."""
    number = float(value)
    if math.isnan(number):
        return None
    return number


def _difference(a: float | None, b: float | None) -> float | None:
    """a - b; 0 where both are the same infinity."""
    if a is None or b is None:
        return None
    if a == b:
        return 0.0
    return a - b


def _times(delta: float | None, floor: float | None) -> float | None:
    """|delta| as a multiple of the floor, None where there is none or it is 0."""
    if delta is None or not floor:
        return None
    return abs(delta) / floor
