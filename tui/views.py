"""What the panes are given: frozen records made from a session, with no widget in sight.

Everything here reads a handful of rows of mapped arrays and can be called on each key press.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.compare.pair import Pair, default_pair, list_pairs, make_pair
from core.errors import LogdriftError
from core.session.layout import LOGS
from core.session.reader import Session, open_session
from core.session.visible import visible, visible_bytes

# Records without comparison and repr: making those of ten classes is a fiftieth of a start.

if TYPE_CHECKING:
    import numpy.typing as npt

    from core.compare.errors import ErrorStats
    from core.compare.gate import Gate

_LOG_BYTES = 256 * 1024
_SGR = re.compile(rb"\x1b\[[0-9;]*m")


@dataclass(frozen=True, eq=False, repr=False)
class PairRow:
    """One line of the pair list. ``problem`` says why there are no numbers."""

    a: str
    b: str
    mae: float | None = None
    verdict: str | None = None
    problem: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class PairView:
    """A pair with its judgement. ``stats`` and ``gate`` are None until they have been worked out."""

    pair: Pair
    stats: ErrorStats | None = None
    gate: Gate | None = None

    @property
    def labels(self) -> tuple[str, str]:
        return self.pair.a.info.label, self.pair.b.info.label

    @property
    def comparable(self) -> bool:
        return self.gate is None or self.gate.verdict != "not_comparable"


def judged(session: Session, pair: Pair) -> PairView:
    """The pair with the report's statistics (of the completions, where there are any) and gate. Walks all tokens: not for the event loop."""
    # Imported here because the first screen is drawn without them.
    from core.compare.errors import error_stats
    from core.compare.gate import judge
    from core.compare.pair import default_scope

    keep = pair.scope_mask(default_scope(pair.sequences))
    stats = error_stats(pair.delta[keep], pair.logprob_a[keep], pair.logprob_b[keep])
    # Kept by the pair from here on, so that the first key press finds them made.
    _ = pair.worst, pair.mean_abs
    return PairView(pair, stats, judge(session, pair))


def open_pair(session: Session, wanted: tuple[str, str] | None) -> tuple[Pair | None, str | None]:
    """The wanted pair, or the first that opens, and a notice where it is not the wanted one."""
    choices = [*([wanted] if wanted else []), *filter(None, [default_pair(session)]), *list_pairs(session)]
    problem: str | None = None
    for a, b in dict.fromkeys(choices):
        try:
            return make_pair(session, a, b), problem
        except LogdriftError as error:
            problem = problem or reason(session, error)
    return None, problem


def reason(session: Session, error: Exception) -> str:
    """An error's text for one short line: files by their place in the session, so that the cause is not cut off."""
    return visible(str(error).replace(f"{session.folder}{os.sep}", ""))


def pair_row(session: Session, a: str, b: str) -> PairRow:
    """One judged line of the pair list."""
    try:
        view = judged(session, make_pair(session, a, b))
    except LogdriftError as error:
        return PairRow(a, b, problem=reason(session, error))
    return PairRow(a, b, view.stats.mae if view.stats else None, view.gate.verdict if view.gate else None)


@dataclass(frozen=True, eq=False, repr=False)
class CaptureRow:
    """One capture's numbers at the cursor; ``delta`` is log p of the pair's A minus this one's, nats."""

    label: str
    side: str
    logprob: float | None = None
    rank: int | None = None
    delta: float | None = None
    entropy: float | None = None
    note: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """One side's say on an alternative: a value with its rank, or the value that it must lie below."""

    logprob: float | None = None
    rank: int | None = None
    below: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class TopRow:
    """One id of the union of the top-k lists. ``target`` is the token that really follows."""

    token_id: int
    text: str
    target: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Inspection:
    """Everything about one token. ``columns`` are the captures of ``top``, A and B of the pair first."""

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


@dataclass(frozen=True, eq=False, repr=False)
class _Side:
    label: str
    target_logprob: float | None
    target_rank: int | None
    entries: dict[int, tuple[int, float]] = field(default_factory=dict)

    @property
    def kth(self) -> float | None:
        return min((value for _, value in self.entries.values()), default=None)


def inspect(session: Session, pair: Pair | None, position: int, *, others: bool = True) -> Inspection:
    """Look at flat token ``position``. ``others``: also list the top-k of captures outside of the pair."""
    sequences = session.sequences
    sequence = int(np.searchsorted(sequences.offsets, position, "right")) - 1
    start, _ = sequences.bounds(sequence)
    token_id = int(sequences.token_ids[position])
    sides, rows = _captures(session, pair, position)
    shown = [side for side in sides if side.entries and (others or rows[side.label].side)]
    shown = _most_telling(shown, {side.label: rows[side.label].side for side in shown})
    delta = float(pair.delta[position]) if pair is not None and position < pair.tokens else None
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
        _union(session, shown, token_id),
        tuple(_rest(side) for side in shown),
        tuple(len(side.entries) for side in shown),
    )


def _most_telling(sides: list[_Side], marks: Mapping[str, str]) -> list[_Side]:
    """A and B first, then one capture of every other backend, then the rest: a narrow table shows the first few."""
    seen = {side.label.partition("/")[0] for side in sides if marks[side.label]}
    first, rest = [], []
    for side in sides:
        backend = side.label.partition("/")[0]
        if not marks[side.label]:
            (rest if backend in seen else first).append(side)
            seen.add(backend)
    return [*sorted((s for s in sides if marks[s.label]), key=lambda s: marks[s.label]), *first, *rest]


def _captures(session: Session, pair: Pair | None, position: int) -> tuple[list[_Side], dict[str, CaptureRow]]:
    a = _scalar(pair.logprob_a[position]) if pair is not None and position < pair.tokens else None
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
        logprob = _scalar(capture.logprob.rows(position, position + 1)[0])
        rank = int(capture.rank.rows(position, position + 1)[0]) or None
        entropy = None if capture.entropy is None else _scalar(capture.entropy.rows(position, position + 1)[0])
        rows[label] = CaptureRow(
            label, marks, logprob, rank, _difference(a, logprob), entropy, "no score here" if logprob is None else ""
        )
        ids = capture.top_ids.rows(position, position + 1)[0]
        values = capture.top_logprobs.rows(position, position + 1)[0]
        sides.append(_Side(label, logprob, rank, _entries(ids, values)))
    return sides, rows


def _entries(ids: npt.NDArray[Any], values: npt.NDArray[Any]) -> dict[int, tuple[int, float]]:
    """id -> (rank within the list, logprob); empty slots have id -1 or NaN."""
    order = np.argsort(-values, kind="stable")
    kept = [(int(ids[i]), float(values[i])) for i in order if ids[i] >= 0 and not math.isnan(values[i])]
    return {token_id: (rank, value) for rank, (token_id, value) in enumerate(kept, 1)}


def _union(session: Session, sides: list[_Side], target: int) -> tuple[TopRow, ...]:
    ids: dict[int, None] = {}
    for side in sides:
        ids.update(dict.fromkeys(side.entries))
    if sides:
        ids[target] = None

    def best(token_id: int) -> tuple[int, int]:
        ranks = [side.entries.get(token_id, (1 << 30, 0.0))[0] for side in sides]
        return ranks[0], min(ranks)

    return tuple(
        TopRow(
            token_id,
            session.pieces.text(token_id),
            token_id == target,
            tuple(_cell(s, token_id, target) for s in sides),
        )
        for token_id in sorted(ids, key=best)
    )


def _cell(side: _Side, token_id: int, target: int) -> Cell:
    if token_id in side.entries:
        rank, value = side.entries[token_id]
        return Cell(value, side.target_rank if token_id == target and side.target_rank else rank)
    if token_id == target and side.target_logprob is not None:
        return Cell(side.target_logprob, side.target_rank)
    return Cell(below=side.kth)


def _rest(side: _Side) -> float | None:
    if not side.entries:
        return None
    return max(0.0, 1.0 - sum(math.exp(value) for _, value in side.entries.values()))


def _scalar(value: Any) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number


def _difference(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    return 0.0 if a == b else a - b


@dataclass(frozen=True)
class SessionRow:
    """One line of the sessions screen. ``problem``: why the folder does not open."""

    folder: Path
    name: str
    model: str = ""
    backends: str = ""
    tokens: int = 0
    state: str = ""
    progress: float | None = None
    mae: float | None = None
    verdict: str | None = None
    created: str = ""
    problem: str | None = None


def progress(session: Session) -> float | None:
    """Share of the planned sequences of all captures that is finished, 0 to 1; None where nothing is planned."""
    planned = session.manifest.sequences.planned * len(session.captures)
    if not planned:
        return None
    return min(1.0, sum(info.sequences for info in session.captures) / planned)


def session_row(folder: Path, *, numbers: bool) -> SessionRow:
    """Open one folder for the list; ``numbers`` also works out MAE and verdict of its default pair."""
    name = visible(folder.name)
    try:
        session = open_session(folder)
        row = SessionRow(
            folder,
            name,
            visible(Path(session.manifest.model.id).name or session.manifest.model.id),
            visible(", ".join(dict.fromkeys(info.backend for info in session.captures))),
            sum(part.tokens for part in session.manifest.sequences.parts),
            session.state,
            progress(session),
            created=visible(session.manifest.created[:16].replace("T", " ")),
        )
        if not numbers:
            return row
        pair = default_pair(session)
        if pair is None:
            return row
        judgement = pair_row(session, *pair)
    except LogdriftError as error:
        # The row names the folder already: what is wrong must not be cut off behind its path.
        return SessionRow(folder, name, problem=visible(str(error).removeprefix(f"session {folder}: ")))
    return SessionRow(**{**row.__dict__, "mae": judgement.mae, "verdict": judgement.verdict})


def log_lines(session: Session, backend: str, limit: int = 500) -> list[str]:
    """The last lines of a backend's log, made visible. Not for the event loop."""
    folder = session.folder / LOGS
    path = folder / f"{backend}.log"
    if path.resolve().parent != folder.resolve():
        return [f"the log of {visible(backend)} would lie outside of the session folder: not read"]
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_BYTES))
            data = file.read()
    except OSError as error:
        return [f"{visible(str(path))}: {error.strerror}"]
    # Colours are dropped, and of a progress bar, which rewrites its line, the last state is kept.
    lines = [line.rstrip(b"\r").rpartition(b"\r")[2] for line in _SGR.sub(b"", data).rstrip(b"\n").split(b"\n")]
    return [visible_bytes(line) for line in lines[-limit:]]
