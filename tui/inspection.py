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

from logdrift.core.compare.alternatives import Cell, TopList, alternatives, top_list
from logdrift.core.compare.pair import Pair
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import number, signed
from logdrift.core.session.reader import Capture, Session
from logdrift.core.session.tensors import Column
from logdrift.tui.flow import part_of
from logdrift.tui.views import reason

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
        return math.exp(self.delta) if self.delta < 700 else math.inf


@dataclass(frozen=True, eq=False, repr=False)
class TopRow:
    """One id of the union of the top-k lists. ``target`` is the token that really
    follows.
    """

    token_id: int
    text: str
    target: bool
    cells: tuple[Cell, ...]


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
class _Side:
    label: str
    top: TopList


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
    start, _ = sequences.bounds(sequence)
    token_id = int(sequences.token_ids[position])
    sides, rows = _captures(session, pair, position, floors or {})
    shown = [side for side in sides if side.top.entries]
    shown = _most_telling(shown, {side.label: rows[side.label].side for side in shown})
    by = min(by, max(0, len(shown) - 1))
    delta = (
        float(pair.delta[position])
        if pair is not None and position < pair.tokens
        else None
    )
    return Inspection(
        position,
        sequence,
        position - start,
        token_id,
        session.pieces.text(token_id),
        session.pieces.get(token_id),
        position - start < int(sequences.prompt_lengths[sequence]),
        int(sequences.mask[position]) == 0,
        delta,
        tuple(rows.values()),
        tuple(side.label for side in shown),
        _union(session, shown, token_id, by),
        tuple(side.top.rest for side in shown),
        tuple(len(side.top.entries) for side in shown),
        by,
        mark,
        _part(session, position, start),
    )


def _part(session: Session, position: int, start: int) -> tuple[str, int, int] | None:
    raw = session.pieces.get(int(session.sequences.token_ids[position]))
    if raw is None or _is_text(raw):
        return None
    # A character has at most four bytes, so its others are in the three tokens before
    # or after.
    _, end = session.sequences.bounds(
        int(np.searchsorted(session.sequences.offsets, position, "right")) - 1
    )
    first, last = max(start, position - 3), min(end, position + 4)
    pieces = [
        session.pieces.get(i) or b""
        for i in session.sequences.token_ids[first:last].tolist()
    ]
    found = part_of(pieces, position - first)
    return (
        None
        if found is None
        else (found[0], found[1] + first - start, found[2] + first - start)
    )


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _most_telling(sides: list[_Side], marks: Mapping[str, str]) -> list[_Side]:
    """A and B first, then one capture of every other backend, then the rest: a narrow
    table shows the first few.
    """
    seen = {side.label.partition("/")[0] for side in sides if marks[side.label]}
    first: list[_Side] = []
    rest: list[_Side] = []
    for side in sides:
        backend = side.label.partition("/")[0]
        if not marks[side.label]:
            (rest if backend in seen else first).append(side)
            seen.add(backend)
    return [
        *sorted((s for s in sides if marks[s.label]), key=lambda s: marks[s.label]),
        *first,
        *rest,
    ]


def _captures(
    session: Session, pair: Pair | None, position: int, floors: Mapping[str, float]
) -> tuple[list[_Side], dict[str, CaptureRow]]:
    a = (
        _scalar(pair.logprob_a[position])
        if pair is not None and position < pair.tokens
        else None
    )
    sides, rows = [], {}
    for info in session.captures:
        marks = "" if pair is None else "A" if info.label == pair.a.info.label else ""
        marks = "B" if pair is not None and info.label == pair.b.info.label else marks
        label = info.label
        try:
            capture = session.capture(label)
        except LogdriftError as error:
            rows[label] = CaptureRow(label, marks, note=reason(session, error))
            continue
        if position >= capture.tokens:
            note = "failed" if info.status == "failed" else "not captured yet"
            rows[label] = CaptureRow(label, marks, note=note)
            continue
        try:
            scores = _scores(capture, position)
        except LogdriftError as error:
            rows[label] = CaptureRow(label, marks, note=reason(session, error))
            continue
        logprob, rank, entropy = scores.logprob, scores.rank, scores.entropy
        delta = _difference(a, logprob)
        note = (
            "" if logprob is not None else "NaN" if scores.broken else "no score here"
        )
        rows[label] = CaptureRow(
            label,
            marks,
            logprob,
            rank,
            delta,
            entropy,
            note=note,
            times=_times(delta, floors.get(label)),
            broken=scores.broken,
        )
        sides.append(
            _Side(label, top_list(scores.top_ids, scores.top_logprobs, logprob, rank))
        )
    return sides, rows


@dataclass(frozen=True, eq=False, repr=False)
class _Scores:
    """What a capture says of one token. ``broken``: its score is NaN itself."""

    logprob: float | None
    broken: bool
    rank: int | None
    entropy: float | None
    top_ids: Any
    top_logprobs: Any


def _scores(capture: Capture, position: int) -> _Scores:
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
    session: Session, sides: list[_Side], target: int, by: int
) -> tuple[TopRow, ...]:
    # The first list gives the order: the chosen one is moved there, and its cells back
    # to their column.
    lists = [side.top for side in sides]
    ordered = [*lists[by : by + 1], *lists[:by], *lists[by + 1 :]]
    return tuple(
        TopRow(
            found.token_id,
            session.pieces.text(found.token_id),
            found.target,
            (*found.cells[1 : by + 1], *found.cells[:1], *found.cells[by + 1 :]),
        )
        for found in alternatives(ordered, target)
    )


def _scalar(value: Any) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number


def _difference(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    return 0.0 if a == b else a - b


def _times(delta: float | None, floor: float | None) -> float | None:
    if delta is None or floor is None:
        return None
    return abs(delta) / floor if floor else 0.0 if delta == 0 else math.inf
