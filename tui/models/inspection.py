"""Everything about one token, as the inspector is given it: each capture's numbers, and
the alternatives side by side.

Reads a handful of rows, so it can be called on each key press.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from logdrift.core.compare.alternatives import ListCell, TopList, alternatives, top_list
from logdrift.core.compare.pair import Pair
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import number, signed
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Capture, Session
from logdrift.core.session.tensors import Column
from logdrift.tui.models.flow import part_of, whole_text
from logdrift.tui.models.pairs import reason

# Records without comparison and repr: making those of ten classes is a fiftieth of a
# start.


@dataclass(frozen=True, eq=False, repr=False)
class CaptureRow:
    """One capture's numbers at the cursor; ``delta`` is log p of the pair's A minus
    this one's, nats, and ``times`` its size over the floor between A and this one
    (infinite where repeats differ by nothing), None where unknown.
    """

    label: str
    side: str
    logprob: float | None = None
    rank: int | None = None
    delta: float | None = None
    entropy: float | None = None
    note: str = ""
    times: float | None = None
    broken: bool = False
    """It computed a score, and that is NaN."""

    @property
    def ratio(self) -> float | None:
        """Probability by A over probability by this one."""
        if self.delta is None:
            return None
        if self.delta < 700:
            return math.exp(self.delta)
        return math.inf


@dataclass(frozen=True, eq=False, repr=False)
class TopRow:
    """One id of the union of the top-k lists. ``target`` is the token that really
    follows.
    """

    token_id: int
    text: str
    target: bool
    cells: tuple[ListCell, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Inspection:
    """Everything about one token. ``columns`` are the captures of ``top``, A and B of
    the pair first; the rows of ``top`` are in the order of column ``by``.
    """

    position: int
    sequence: int
    index: int
    token_id: int
    text: str
    raw: bytes | None
    in_prompt: bool
    masked: bool
    delta: float | None
    captures: tuple[CaptureRow, ...] = ()
    columns: tuple[str, ...] = ()
    top: tuple[TopRow, ...] = ()
    rest: tuple[float | None, ...] = ()
    """Probability outside of each column's top-k."""
    k: tuple[int, ...] = ()
    by: int = 0
    mark: str | None = None
    """The reader's note, None without a mark."""
    part: tuple[str, int, int] | None = None
    """The character of which the token has a part, and the first and the last token
    (index) that have one.
    """

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
                cells.append(f"{row.label} {number(row.logprob)} rank {row.rank}")
        if self.delta is not None:
            cells.append(f"delta {signed(self.delta)}")
        return "  ".join(cells)


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
) -> Inspection:
    """Look at flat token ``position``. ``by``: the column whose order the alternatives
    have; ``floors``: mean |delta| between repeats, of the pair of A and each label.
    """
    sequences = session.sequences
    sequence = int(np.searchsorted(sequences.offsets, position, "right")) - 1
    index = position - sequences.bounds(sequence)[0]
    token_id = int(sequences.token_ids[position])
    rows, lists = _captures(session, pair, position, floors or {})
    columns = _most_telling([entry for entry in lists if entry.top.entries])
    by = min(by, max(0, len(columns) - 1))
    return Inspection(
        position=position,
        sequence=sequence,
        index=index,
        token_id=token_id,
        text=session.pieces.text(token_id),
        raw=session.pieces.get(token_id),
        in_prompt=index < int(sequences.prompt_lengths[sequence]),
        masked=int(sequences.mask[position]) == 0,
        delta=_delta(pair, position),
        captures=rows,
        columns=tuple(column.label for column in columns),
        top=_union(session, [column.top for column in columns], token_id, by),
        rest=tuple(column.top.rest for column in columns),
        k=tuple(len(column.top.entries) for column in columns),
        by=by,
        mark=mark,
        part=_part(session, position, sequence),
    )


def _delta(pair: Pair | None, position: int) -> float | None:
    if pair is None or position >= pair.tokens:
        return None
    return float(pair.delta[position])


# ---- a token that is a part of a character


def _part(
    session: Session, position: int, sequence: int
) -> tuple[str, int, int] | None:
    sequences = session.sequences
    pieces = session.pieces
    raw = pieces.get(int(sequences.token_ids[position]))
    if raw is None or whole_text(raw):
        return None
    # A character has at most four bytes, so its others are in the three tokens before
    # or after.
    start, stop = sequences.bounds(sequence)
    first = max(start, position - 3)
    last = min(stop, position + 4)
    neighbours = sequences.token_ids[first:last].tolist()
    part = part_of([pieces.get(i) or b"" for i in neighbours], position - first)
    if part is None:
        return None
    char, first_piece, last_piece = part
    offset = first - start
    return char, first_piece + offset, last_piece + offset


# ---- the captures


def _most_telling(lists: list[_Alternatives]) -> list[_Alternatives]:
    """A and B first, then one capture of every other backend, then the rest: a narrow
    table shows the first few.
    """
    sides = sorted((entry for entry in lists if entry.side), key=lambda e: e.side)
    backends = {entry.backend for entry in sides}
    first: list[_Alternatives] = []
    rest: list[_Alternatives] = []
    for entry in lists:
        if not entry.side:
            (rest if entry.backend in backends else first).append(entry)
            backends.add(entry.backend)
    return [*sides, *first, *rest]


def _captures(
    session: Session, pair: Pair | None, position: int, floors: Mapping[str, float]
) -> tuple[tuple[CaptureRow, ...], list[_Alternatives]]:
    """A row for each capture, and the alternatives of those that have the token."""
    a = None
    if pair is not None and position < pair.tokens:
        a = _scalar(pair.logprob_a[position])
    rows: list[CaptureRow] = []
    lists: list[_Alternatives] = []
    for info in session.captures:
        side = _side_of(pair, info.label)
        scores = _scores(session, info, position)
        if isinstance(scores, str):
            rows.append(CaptureRow(info.label, side, note=scores))
            continue
        rows.append(_row(info.label, side, scores, a, floors.get(info.label)))
        lists.append(_Alternatives(info.label, side, scores.top_list()))
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
    label: str, side: str, scores: _Scores, a: float | None, floor: float | None
) -> CaptureRow:
    delta = _difference(a, scores.logprob)
    return CaptureRow(
        label=label,
        side=side,
        logprob=scores.logprob,
        rank=scores.rank,
        delta=delta,
        entropy=scores.entropy,
        note=scores.note,
        times=_times(delta, floor),
        broken=scores.broken,
    )


@dataclass(frozen=True, eq=False, repr=False)
class _Scores:
    """What a capture says of one token. ``broken``: its score is NaN itself."""

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
    """What a capture says of one token, or why it says nothing."""
    try:
        capture = session.capture(info.label)
        if position >= capture.tokens:
            if info.status == "failed":
                return "failed"
            return "not captured yet"
        return _read_scores(capture, position)
    except LogdriftError as error:
        return reason(session, error)


def _read_scores(capture: Capture, position: int) -> _Scores:
    """Read one row. Raises InputError where the part has become another one."""

    def row(column: Column) -> Any:
        return column.rows(position, position + 1)[0]

    logprob = _scalar(row(capture.logprob))
    return _Scores(
        logprob=logprob,
        broken=logprob is None and capture.nan is not None and bool(row(capture.nan)),
        rank=int(row(capture.rank)) or None,
        entropy=None if capture.entropy is None else _scalar(row(capture.entropy)),
        top_ids=row(capture.top_ids),
        top_logprobs=row(capture.top_logprobs),
    )


def _union(
    session: Session, lists: list[TopList], target: int, by: int
) -> tuple[TopRow, ...]:
    # The first list gives the order: the chosen one is moved there, and its cells back
    # to their column.
    ordered = [*lists[by : by + 1], *lists[:by], *lists[by + 1 :]]
    rows = []
    for entry in alternatives(ordered, target):
        chosen = entry.cells[:1]
        before = entry.cells[1 : by + 1]
        after = entry.cells[by + 1 :]
        text = session.pieces.text(entry.token_id)
        cells = (*before, *chosen, *after)
        rows.append(TopRow(entry.token_id, text, entry.target, cells))
    return tuple(rows)


def _scalar(value: Any) -> float | None:
    number = float(value)
    if math.isnan(number):
        return None
    return number


def _difference(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    if a == b:
        return 0.0
    return a - b


def _times(delta: float | None, floor: float | None) -> float | None:
    if delta is None or floor is None:
        return None
    if not floor:
        if delta == 0:
            return 0.0
        return math.inf
    return abs(delta) / floor
