"""The list of the worst tokens: each with its numbers and its text in context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len

from logdrift.core.compare.pair import Pair
from logdrift.core.compare.token_values import Stretch
from logdrift.core.numbers import NOTHING, counted, number, signed
from logdrift.core.session.joining import PART
from logdrift.tui.models.flow import FragmentCache
from logdrift.tui.models.modes import mode_of
from logdrift.tui.models.places import sequence_of, write_place
from logdrift.tui.models.sizes import NO_TOKENS, WORST_SORTS, Ranking

if TYPE_CHECKING:
    import numpy.typing as npt

_AROUND = 24
"""Tokens before and after that are shown at most: no row has room for more."""
_SHARED = 4
"""Tokens beyond them that are looked at: a character's bytes may lie in so many."""
HEADS = (
    "place",
    "delta",
    "logprob_a",
    "logprob_b",
    "rank_a",
    "rank_b",
    "token_id",
    "before",
    "token",
    "after",
)
"""The columns of the table as it is copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedToken:
    """One row: a token, what both sides gave it, and the text around it.

    Log-probabilities and ``delta`` in nats, NaN where a side has none; a rank is 0
    there. ``level`` is that of its delta. The texts are visible.
    """

    position: int
    place: str
    token_id: int
    delta: float
    logprob_a: float
    logprob_b: float
    rank_a: int
    rank_b: int
    level: int
    before: str
    token: str
    after: str

    @property
    def delta_text(self) -> str:
        """Delta with its sign; NaN is said, for it is why the token is listed."""
        if np.isnan(self.delta):
            return "NaN"
        return signed(self.delta, 3)

    @property
    def ranks(self) -> str:
        """A's rank → B's rank."""
        return f"{_rank(self.rank_a)}→{_rank(self.rank_b)}"

    def cells(self) -> list[str]:
        """The row as it is copied, in the order of `HEADS`."""
        return [
            self.place,
            f"{self.delta:.6g}",
            f"{self.logprob_a:.6g}",
            f"{self.logprob_b:.6g}",
            _rank(self.rank_a),
            _rank(self.rank_b),
            str(self.token_id),
            self.before,
            self.token,
            self.after,
        ]


def _rank(rank: int) -> str:
    if rank <= 0:
        return NOTHING
    return str(rank)


class WorstList:
    """The worst tokens of a pair in an order, made row by row as they are seen.

    ``threshold`` (nats) gives the colours. ``ranking`` holds the rows.
    """

    def __init__(self, pair: Pair, threshold: float, fragments: FragmentCache) -> None:
        self.pair = pair
        self.threshold = threshold
        self.sort = WORST_SORTS[0]
        self.filter = ""
        self.ranking: Ranking = NO_TOKENS
        self.ready = False
        """Whether the ranking was worked out."""
        self._fragments = fragments
        self._rows: dict[int, ListedToken] = {}

    def __len__(self) -> int:
        return len(self.ranking.positions)

    def take(self, ranking: Ranking) -> None:
        """Show another ranking."""
        self.ranking = ranking
        self.ready = True

    def position(self, index: int) -> int:
        """The flat position of a row."""
        return int(self.ranking.positions[index])

    def row(self, index: int) -> ListedToken:
        """Row ``index``."""
        position = self.position(index)
        row = self._rows.get(position)
        if row is None:
            row = self._make(position)
            self._rows[position] = row
        return row

    def _make(self, position: int) -> ListedToken:
        pair = self.pair
        sequences = pair.sequences
        token = Stretch(pair, position, position + 1)
        levels = mode_of("delta").levels(token, self.threshold)
        before, shown, after = self._context(position)
        return ListedToken(
            position=position,
            place=write_place(sequences, position),
            token_id=int(sequences.token_ids[position]),
            delta=float(pair.delta[position]),
            logprob_a=float(pair.logprob_a[position]),
            logprob_b=float(pair.logprob_b[position]),
            rank_a=int(pair.a.rank.whole()[position]),
            rank_b=int(pair.b.rank.whole()[position]),
            level=int(levels[0]),
            before=before,
            token=shown,
            after=after,
        )

    def _context(self, position: int) -> tuple[str, str, str]:
        """The text before a token, its own, and the text behind it."""
        sequences = self.pair.sequences
        start, stop = sequences.bounds(sequence_of(sequences, position))
        first = max(start, position - _AROUND)
        last = min(stop, position + _AROUND + 1)
        shared_first = max(start, first - _SHARED)
        shared_last = min(stop, last + _SHARED)
        ids = sequences.token_ids[shared_first:shared_last]
        texts = self._texts(ids)[first - shared_first : last - shared_first]
        at = position - first
        before = _without_parts(texts[:at])
        after = _without_parts(texts[at + 1 :])
        return before, texts[at], after

    def _texts(self, ids: npt.NDArray[np.int32]) -> list[str]:
        """The visible text of each token; a character that tokens share is whole."""
        shown = self._fragments.joined(ids)
        texts = []
        for token_id in shown.tolist():
            fragments = self._fragments[token_id]
            texts.append("".join(fragment.text for fragment in fragments))
        return texts

    # ---- in words

    def counted(self) -> str:
        """How many tokens there are, and what was cut."""
        if not self.ready:
            return "looking for them …"
        count = self.ranking.total
        listed = len(self)
        if listed < count:
            return f"the worst {listed:,} of {count:,} that differ"
        verb = "differs" if count == 1 else "differ"
        return f"{counted(count, 'token')} {verb}"

    def as_table(self, most_bytes: int | None = None) -> tuple[str, int]:
        """The table with tabs between its cells, and how many rows it has: all, or as
        many as fit into ``most_bytes`` of UTF-8.
        """
        lines = ["\t".join(HEADS)]
        used = len(lines[0])
        for index in range(len(self)):
            line = "\t".join(self.row(index).cells())
            used += 1 + len(line.encode("utf-8", "replace"))
            if most_bytes is not None and used > most_bytes:
                break
            lines.append(line)
        return "\n".join(lines), len(lines) - 1


def _without_parts(texts: list[str]) -> str:
    """The texts of neighbours as one, without the signs for parts of characters."""
    return "".join(text for text in texts if text != PART)


# How a row is cut to the screen.


_BEFORE_TEXT = 2
"""Blank cells before the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstColumns:
    """Cells of the columns before the text, and of the text; 0 leaves one out."""

    place: int
    delta: int
    logprob: int
    floor: int
    ranks: int
    text: int


def columns_of(width: int, *, place: int, floor: bool) -> WorstColumns:
    """The columns for a screen of ``width`` cells; ``place`` are the cells of the
    longest place, ``floor`` says whether there is a floor above 0.
    """
    over_floor = 9 if floor and width >= 100 else 0
    place = max(6, place) + 2
    fixed = place + 9 + 2 * 9 + over_floor + 13 + _BEFORE_TEXT
    return WorstColumns(
        place=place,
        delta=9,
        logprob=9,
        floor=over_floor,
        ranks=13,
        text=max(10, width - fixed),
    )


def cut_context(row: ListedToken, width: int) -> tuple[str, str, str]:
    """Before, token and after in ``width`` cells, the tokens of all rows below each
    other.
    """
    before_room = width * 2 // 5
    token = _start_of(row.token, width - before_room)
    after_room = width - before_room - cell_len(token)
    before = _end_of(row.before, before_room)
    return before, token, _start_of(row.after, after_room)


def _start_of(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells, an ellipsis where its end is cut."""
    if cell_len(text) <= width:
        return text
    kept = ""
    cells = 1
    for char in text:
        cells += cell_len(char)
        if cells > width:
            break
        kept += char
    return f"{kept}…" if width else ""


def _end_of(text: str, width: int) -> str:
    """``text`` in exactly ``width`` cells, its end at the right, an ellipsis where its
    start is cut.
    """
    if cell_len(text) > width:
        while text and cell_len(text) >= width:
            text = text[1:]
        text = f"…{text}"
    return " " * (width - cell_len(text)) + text


def over_floor_text(row: ListedToken, floor: float) -> str:
    """Delta as a multiple of the floor."""
    if np.isnan(row.delta):
        return NOTHING
    return f"{number(abs(row.delta) / floor, 2)}×"
