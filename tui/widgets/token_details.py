"""The rows about one token: its place and bytes, and each capture's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.style import Style

from logdrift.core.numbers import NOTHING, number, probability, signed
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import DOWN, UP, fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run, Runs

if TYPE_CHECKING:
    from logdrift.tui.models.inspection import CaptureRow, Inspection

_BYTES = 16
"""How many bytes of a token are written out at most."""
_LABEL = 8
"""The fewest cells of a capture's label."""
_CAPTURE = 1 + 2 + _LABEL + 30
"""Cells of a capture's row without its last two columns: margin, side, label,
numbers.
"""
_FLOOR = 9
_RATIO = 9
"""Cells of the last two columns: Δ over its floor, and the ratio."""


@dataclass(frozen=True, eq=False, repr=False)
class TokenDetails:
    """Writes an `Inspection` as rows of runs.

    ``level`` is the level of the token's delta, as `Palette.level` takes it.
    ``greyed``: the pair cannot be compared.
    """

    view: Inspection
    level: int
    greyed: bool
    palette: Palette

    @property
    def value(self) -> Style:
        """The style of numbers."""
        if self.greyed:
            return self.palette.muted
        return self.palette.text

    # ---- the token itself

    def head(self, width: int) -> Runs:
        """Where the token is, its text and its id."""
        view = self.view
        palette = self.palette
        where = "prompt" if view.in_prompt else "completion"
        if view.masked:
            where += "  masked"
        position = f"[{view.index}] "
        tail = f" id {view.token_id}  {where}  seq {view.sequence}"
        room = max(4, width - len(position) - len(tail) - 3)
        text = quoted(view.text)
        if cell_len(text) > room:
            text = fit(text, room).rstrip()
        return [
            (position, palette.muted),
            (text, palette.strong),
            (tail, palette.muted),
        ]

    def bytes(self) -> Runs:
        """The bytes of the token, and the character that they are a part of."""
        raw = self.view.raw
        palette = self.palette
        if raw is None:
            words = "bytes unknown: the session has no piece for this id"
            return [(words, palette.warn)]
        text = raw[:_BYTES].hex(" ") or "none"
        if len(raw) > _BYTES:
            text += f" … {len(raw)} bytes"
        runs: Runs = [("bytes ", palette.muted), (text, palette.text)]
        return runs + self._part()

    def _part(self) -> Runs:
        """The character that the token has a part of, and where the text shows it."""
        if self.view.part is None:
            return []
        char, first, last = self.view.part
        where = f"at [{last}]"
        if self.view.index == last:
            where = "here"
        muted = self.palette.muted
        return [
            ("  part of ", muted),
            (quoted(char), self.palette.strong),
            (f" with [{first}]-[{last}]: the text shows it {where}", muted),
        ]

    # ---- the pair

    def pair(self) -> Iterator[Runs]:
        """The rows that a narrow pane has in place of the last two columns."""
        yield self.delta()
        words = self.floor_words()
        if words:
            yield [("  ", self.palette.text), (words, self.palette.muted)]

    def delta(self) -> Runs:
        """Δ of the pair and what it means, or why there is none."""
        delta = self.view.delta
        palette = self.palette
        head: Run = ("Δ ", palette.strong)
        rows = self.view.captures
        broken = [row.label for row in rows if row.side and row.broken]
        if broken:
            labels = visible(" and ".join(broken))
            return [head, (f"NaN in {labels}", palette.bad)]
        if delta is None or math.isnan(delta):
            return [head, ("no score on both sides here", palette.muted)]
        words = f"  {_delta_words(delta)}"
        return [head, self._marked_delta(delta), (words, palette.muted)]

    def _marked_delta(self, delta: float) -> Run:
        """Δ with the mark and the colour of its level."""
        if not self.level:
            return signed(delta), self.value
        if self.level > 0:
            mark = UP
        else:
            mark = DOWN
        return f"{mark}{signed(delta)}", self.palette.level(self.level)

    def floor_words(self) -> str:
        """Δ of the pair as a multiple of its floor, "" where that is not known."""
        row = self._row_of("B")
        if row is None or row.times is None:
            return ""
        if math.isinf(row.times):
            return "the floor is 0"
        return f"{_times(row.times)} the floor"

    # ---- the captures

    def side(self, side: str, width: int) -> Runs:
        """The numbers of A or B in one line of a narrow screen."""
        row = self._row_of(side)
        palette = self.palette
        if row is None:
            return [(f"{side} no capture", palette.muted)]
        label = fit(row.label, max(8, min(28, width - 36)))
        logprob = fit(number(row.logprob), 9, right=True)
        chance = probability(row.logprob)
        rank = rank_text(row.rank)
        return [
            (f"{side} ", palette.strong),
            (label, palette.text),
            (f" {logprob}  p {chance:<6} rank {rank:<5}", self.value),
            (row.note, self._note_style(row)),
        ]

    def _row_of(self, side: str) -> CaptureRow | None:
        for row in self.view.captures:
            if row.side == side:
                return row
        return None

    def fits_all_columns(self, width: int) -> bool:
        """Whether the captures have all their columns."""
        return width >= _CAPTURE + _FLOOR + _RATIO

    def captures(self, width: int) -> Iterator[Runs]:
        """A row of heads, then one row for each capture.

        The columns of Δ over its floor and of the ratio are there if there is room.
        """
        palette = self.palette
        rows = self.view.captures
        spare = width - _CAPTURE
        extra = 0
        for cells in (_FLOOR, _RATIO):
            if spare < cells:
                break
            spare -= cells
            extra += 1
        longest = max((cell_len(row.label) for row in rows), default=0)
        label_width = max(_LABEL, min(longest, _LABEL + spare))
        yield [(_captures_head(label_width, extra), palette.muted)]
        for row in rows:
            style = palette.muted
            if row.side:
                style = palette.text
            side = row.side or " "
            yield [
                (f"{side} ", palette.strong),
                (fit(visible(row.label), label_width), style),
                *self._numbers(row, extra),
            ]

    def _numbers(self, row: CaptureRow, extra: int) -> Runs:
        """The numbers of a capture; ``extra``: how many of the last columns fit."""
        if row.logprob is None:
            note = row.note or NOTHING
            return [(f" {note}", self._note_style(row))]
        logprob = number(row.logprob)
        chance = probability(row.logprob)
        rank = rank_text(row.rank)
        numbers = (f" {logprob:>8} {chance:>6} {rank:>4} ", self.value)
        if row.side == "A":
            return [numbers]

        columns = [
            f"{_times(row.times):>{_FLOOR}}",
            f"{number(row.ratio, 3):>{_RATIO}}",
        ]
        tail = ("".join(columns[:extra]), self.value)
        if row.side != "B" or row.delta is None:
            delta = signed(row.delta)
            return [numbers, (f"{delta:>8}", self.value), tail]
        text, style = self._marked_delta(row.delta)
        blanks = " " * (8 - len(text))
        return [numbers, (blanks, self.value), (text, style), tail]

    def _note_style(self, row: CaptureRow) -> Style:
        if row.broken:
            return self.palette.bad
        return self.palette.muted


def _captures_head(label_width: int, extra: int) -> str:
    """The heads of the columns; ``extra``: how many of the last two there are."""
    widths = {
        "logprob": 9,
        "p": 7,
        "rank": 5,
        "Δ A−": 9,
        "Δ/floor": _FLOOR,
        "ratio": _RATIO,
    }
    heads = [f"{name:>{cells}}" for name, cells in widths.items()]
    numbers = "".join(heads[: 4 + extra])
    capture = fit("capture", label_width)
    return f"  {capture}{numbers}"


def _delta_words(delta: float) -> str:
    """Which side finds the token more likely, and how many times."""
    if delta == 0:
        return "both alike"
    if math.isinf(delta):
        side = "B" if delta > 0 else "A"
        return f"{side} calls it impossible"
    more = "more" if delta > 0 else "less"
    ratio = math.exp(max(-99.0, min(99.0, delta)))
    return f"A {more} likely, ratio {number(ratio)}"


def _times(times: float | None) -> str:
    """A multiple of the floor."""
    if times is None or not math.isfinite(times):
        return number(times, 3)
    return f"{number(times, 3)}×"


def quoted(text: str) -> str:
    """A piece in quotes, with a dot for each blank so that blanks can be counted."""
    dotted = text.replace(" ", "·")
    return f'"{dotted}"'


def rank_text(rank: int | None) -> str:
    """A rank, `NOTHING` where there is none."""
    if rank is None:
        return NOTHING
    return str(rank)
